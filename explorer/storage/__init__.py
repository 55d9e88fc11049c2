"""The stored runs and studies, and the Optuna view of them, in one database."""
