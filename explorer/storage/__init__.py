"""Stored runs and studies, and their Optuna view, in one database."""
