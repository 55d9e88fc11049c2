"""Plots: drawn into a given axis, and saved as figures for pages and papers."""

from explorer.drawing.matplotlib_import import import_matplotlib

# Before the other modules of this room import it.
import_matplotlib()
