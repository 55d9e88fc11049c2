"""Certificates: how well short runs rank networks, compared with long runs."""
