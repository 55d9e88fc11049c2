"""The commands, grouped by subject. They import what they need when they run, which keeps `--help` quick."""
