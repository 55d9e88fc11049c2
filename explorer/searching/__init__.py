"""Searches: propose points, train them at growing budgets, and find the Pareto front with little training."""
