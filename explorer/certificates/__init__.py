"""Certificates that come with the explorer, as JSON files that `explorer certify` wrote."""
