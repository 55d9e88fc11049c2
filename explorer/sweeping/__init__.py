"""Carry out a study: train what is missing, store it, and measure latency."""
