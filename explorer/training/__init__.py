"""Short training runs: recipe and budget, the trainer, and a cluster of workers that trains many."""
