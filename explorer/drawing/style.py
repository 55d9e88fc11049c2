"""The style of all figures: seaborn's "ticks" style with our settings, whatever the user's settings are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import matplotlib as mpl
import seaborn as sns

from explorer.drawing.colours import GROUND, INK, LINE

LABEL_SIZE = 9.5  # points of type

_SETTINGS: dict[Any, Any] = {
    **sns.axes_style("ticks"),
    **sns.plotting_context("notebook", rc={"font.size": 10, "axes.labelsize": 10}),
    "axes.labelpad": 5,
    **dict.fromkeys(("xtick.labelsize", "ytick.labelsize", "legend.fontsize"), LABEL_SIZE),
    **dict.fromkeys(("axes.linewidth", "xtick.major.width", "ytick.major.width"), 0.8),
    **dict.fromkeys(("xtick.major.size", "ytick.major.size"), 4),
    # These alone, so that a page can replace them by its own.
    **dict.fromkeys(("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), INK),
    "grid.color": LINE,
    "figure.facecolor": GROUND,
    "axes.facecolor": "none",
    "lines.linewidth": 1.6,
    "lines.markersize": 6,
    # Comes with matplotlib, so that labels are measured alike everywhere.
    "font.sans-serif": ["DejaVu Sans"],
    # Text stays text, so that a vector file can be searched and its type changed.
    "svg.fonttype": "none",
    "pdf.fonttype": 42,
}


@contextmanager
def style(settings: Mapping[Any, Any] | None = None) -> Iterator[None]:
    """Apply the style and further settings; create, draw and save the figure inside.

    The user's settings do not count inside, and are as before afterwards.
    """
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(_SETTINGS | dict(settings or {}))
        yield
