"""Runs, studies and their Optuna view, stored in one database."""
