"""Carry out studies: train what is missing, store it, and measure latency."""
