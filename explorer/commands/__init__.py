"""The commands, by subject; `cli` puts them together.

They import what they need when they run, so that `--help` is quick.
"""
