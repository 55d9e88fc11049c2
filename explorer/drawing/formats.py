"""The folder and the formats of figure files."""

from __future__ import annotations

from collections.abc import Collection

from explorer.errors import unknown

FOLDER = "figures"
"""Folder of the figures, next to the page."""
OPTIONAL = ("pdf", "png")
"""Formats saved on request; SVG is always saved."""


def check_formats(names: Collection[str]) -> tuple[str, ...]:
    """Return the optional formats in `names`; raise `ExplorerError` for an unknown format."""
    known = ("svg", *OPTIONAL)
    for name in names:
        if name not in known:
            raise unknown("figure format", name, known)
    return tuple(name for name in OPTIONAL if name in names)
