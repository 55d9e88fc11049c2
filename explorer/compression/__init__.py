"""Compress trained networks: prune weights, share values, and code both into one file."""
