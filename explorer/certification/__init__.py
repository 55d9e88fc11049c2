"""Certificates, which show how well short runs rank networks, compared with long runs."""
