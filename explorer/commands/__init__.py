"""The commands, by subject; they import what they need when they run, so that `--help` is quick."""
