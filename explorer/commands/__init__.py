"""The commands, by subject; `explorer.commands.cli` puts them together. They import what they need when they run, so that `--help` is quick."""
