"""The style of all figures: seaborn's "ticks" style with our settings. It does not depend on the user's settings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import matplotlib as mpl
import seaborn as sns

from explorer.drawing.colours import GROUND, INK, LINE

LABEL_SIZE = 9.5  # in points

_SETTINGS: dict[Any, Any] = {
    **sns.axes_style("ticks"),
    **sns.plotting_context("notebook", rc={"font.size": 10, "axes.labelsize": 10}),
    "axes.labelpad": 5,
    **dict.fromkeys(("xtick.labelsize", "ytick.labelsize", "legend.fontsize"), LABEL_SIZE),
    **dict.fromkeys(("axes.linewidth", "xtick.major.width", "ytick.major.width"), 0.8),
    **dict.fromkeys(("xtick.major.size", "ytick.major.size"), 4),
    # Use only these colours, because pages replace them.
    **dict.fromkeys(("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), INK),
    "grid.color": LINE,
    "figure.facecolor": GROUND,
    "axes.facecolor": "none",
    "lines.linewidth": 1.6,
    "lines.markersize": 6,
    # This font comes with matplotlib, so labels have the same size everywhere.
    "font.sans-serif": ["DejaVu Sans"],
    # Keep text as text, so vector files can be searched and restyled.
    "svg.fonttype": "none",
    "pdf.fonttype": 42,
}


@contextmanager
def style(settings: Mapping[Any, Any] | None = None) -> Iterator[None]:
    """Apply the style and any further settings. Create, draw and save figures inside this context.

    The user's settings are ignored inside it and restored afterwards.
    """
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(_SETTINGS | dict(settings or {}))
        yield
