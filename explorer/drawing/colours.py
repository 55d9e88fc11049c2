"""Colours for all figures, and the contrast between two colours.

Data colours have a contrast of at least 3 with white and with the dark page background, as WCAG requires for graphics.
Pages replace the neutral colours. People with colour vision deficiency can tell all colours apart: categories use
seaborn's "colorblind" palette, and ordered lines go from indigo through blue and green to gold.
"""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
from matplotlib.colors import LinearSegmentedColormap, to_hex, to_rgba
from matplotlib.typing import ColorType

# Neutral colours. Pages replace them to keep figures readable on a dark background.
INK, GREY, LINE, GROUND = "#333333", "#6b6b6b", "#dddddd", "#ffffff"
VARIABLES = {INK: "var(--ink)", GREY: "var(--soft)", LINE: "var(--line)", GROUND: "var(--ground)"}

# For text on coloured cells. These are not neutral, because pages keep the colours of the cells.
ON_DARK, ON_LIGHT = "#fefefe", "#010101"

# Colours in seaborn's palette with enough contrast on both backgrounds: blue, vermilion, green, purple, grey.
CATEGORIES = ("#0173b2", "#d55e00", "#029e73", "#cc78bc", "#949494")
BLUE, ORANGE = CATEGORIES[:2]

# Sequential colours for areas. Few steps keep files small.
CELLS = mpl.colormaps["viridis"].resampled(64)
# Sequential colours for lines and marks: hues like viridis, with luminance limited to 0.135 to 0.285.
_HUES = ("#6457c2", "#396ac8", "#0078be", "#0083a7", "#008d8b", "#00966e", "#449a4f", "#7b972e", "#a49219")
LINES = LinearSegmentedColormap.from_list("lines", _HUES, N=64)


def categories(count: int) -> list[str]:
    """Return `count` colours for unordered categories."""
    return list(CATEGORIES[:count]) if count <= len(CATEGORIES) else ordered(count)


def ordered(count: int) -> list[str]:
    """Return `count` colours for ordered categories."""
    return [to_hex(LINES(place / max(1, count - 1))) for place in range(count)]


def on(ground: ColorType) -> str:
    """Return a text colour that contrasts with a cell of colour `ground`."""
    return max((ON_DARK, ON_LIGHT), key=lambda ink: contrast(ink, ground))


def contrast(one: ColorType, other: ColorType) -> float:
    """Return the contrast of two colours as defined by WCAG 2, from 1 to 21."""
    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def luminance(colour: ColorType) -> float:
    """Return the relative luminance of a colour as defined by WCAG 2, in [0, 1]."""
    shares = np.array(to_rgba(colour)[:3], dtype=float)
    linear = np.where(shares <= _DARKEST, shares / 12.92, ((shares + 0.055) / 1.055) ** 2.4)
    return float(linear @ (0.2126, 0.7152, 0.0722))


_DARKEST = 0.04045  # channel value up to which sRGB is linear
