"""What is stored: runs and studies in one database, and the Optuna view of them."""
