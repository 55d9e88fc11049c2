"""Plots: drawn into a given axis, and saved as figures for pages and papers."""
