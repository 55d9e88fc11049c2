"""Whether a file can be written, asked before there is anything to write."""

from __future__ import annotations

import os
from pathlib import Path

from explorer.errors import ExplorerError


def check_file(path: Path) -> None:
    """Raises `ExplorerError` where no file can be written at the path."""
    if not path.parent.is_dir():
        raise ExplorerError(f"{path}: cannot be written: {path.parent} is no folder that exists")
    if path.is_dir():
        raise ExplorerError(f"{path}: cannot be written: it is a folder; name a file in it")
    if not os.access(path.parent, os.W_OK):
        raise ExplorerError(f"{path}: cannot be written: Permission denied")
