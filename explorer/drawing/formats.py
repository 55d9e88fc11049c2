"""The files of figures: their folder and formats."""

from __future__ import annotations

from collections.abc import Collection

from explorer.errors import unknown

FOLDER = "figures"
"""The folder of figure files, beside the page."""
OPTIONAL = ("pdf", "png")
"""Formats that figures are saved in on request; SVG is always saved."""


def check_formats(names: Collection[str]) -> tuple[str, ...]:
    """Returns the formats among `names` that are to be saved beside SVG; an unknown one is an error."""
    known = ("svg", *OPTIONAL)
    for name in names:
        if name not in known:
            raise unknown("figure format", name, known)
    return tuple(name for name in OPTIONAL if name in names)
