"""Plots, drawn into given axes and saved as figures for pages and papers."""

from explorer.drawing.matplotlib_import import import_matplotlib

# This must run before other modules of this package import matplotlib.
import_matplotlib()
