"""The public functions that train: sweeps, searches and certificates, each with its report."""
