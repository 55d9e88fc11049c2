"""Run studies: train missing runs, store them, and measure latency."""
