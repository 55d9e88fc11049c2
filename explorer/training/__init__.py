"""One short run: its recipe and budget, training it, and a cluster of processes that trains many."""
