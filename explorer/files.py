"""Write files completely or not at all, and check early that they can be written."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from explorer.errors import ExplorerError


def check_file(path: Path) -> None:
    """Raise `ExplorerError` if no file can be written at the path."""
    if not path.parent.is_dir():
        raise ExplorerError(f"{path}: cannot be written: folder {path.parent} does not exist")
    if path.is_dir():
        raise ExplorerError(f"{path}: cannot be written: it is a folder; add a file name")
    if not os.access(path.parent, os.W_OK):
        raise ExplorerError(f"{path}: cannot be written: Permission denied")


def check_folder(folder: Path) -> None:
    """Raise `ExplorerError` if no files can be written to the folder, which need not exist yet."""
    nearest = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    if not nearest.is_dir() or not os.access(nearest, os.W_OK):
        reason = "Permission denied" if nearest.is_dir() else "Not a directory"
        raise ExplorerError(f"{folder}: cannot be written: {reason}: {nearest}")


def write_file(path: Path, content: bytes) -> None:
    """Write a file, replacing an existing one only when complete; raises `ExplorerError` on failure."""
    draft = path.with_name(f".{path.name}.partial")
    try:
        draft.write_bytes(content)
        draft.replace(path)
    except OSError as error:
        raise ExplorerError(f"{path}: cannot be written: {error.strerror}") from None
    finally:
        draft.unlink(missing_ok=True)


def write_files(files: Mapping[str, bytes], folder: Path) -> None:
    """Write files by their paths in a folder, created if needed; none is replaced before all are complete."""
    drafts = {name: (folder / name).with_name(f".{Path(name).name}.partial") for name in files}
    try:
        for name, content in files.items():
            drafts[name].parent.mkdir(parents=True, exist_ok=True)
            drafts[name].write_bytes(content)
        for name, draft in drafts.items():
            draft.replace(folder / name)
    except OSError as error:
        raise ExplorerError(f"{folder}: cannot be written: {error.strerror}") from None
    finally:
        for draft in drafts.values():
            draft.unlink(missing_ok=True)
