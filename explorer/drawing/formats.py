"""Folder and formats of figure files."""

from __future__ import annotations

from collections.abc import Collection

from explorer.errors import unknown

FOLDER = "figures"
"""The folder, next to the page."""
OPTIONAL = ("pdf", "png")
"""Formats saved on request; SVG is always saved."""


def check_formats(names: Collection[str]) -> tuple[str, ...]:
    """Return the optional formats among `names`; raise `ExplorerError` for an unknown one."""
    known = ("svg", *OPTIONAL)
    for name in names:
        if name not in known:
            raise unknown("figure format", name, known)
    return tuple(name for name in OPTIONAL if name in names)
