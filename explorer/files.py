"""Write files completely or not at all, and check early that they can be written."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from explorer.errors import ExplorerError

LONGEST_NAME = 255
"""Longest file name in bytes that common file systems allow."""


def user_path(path: str | Path) -> Path:
    """Expand `~` in a user's path; raise `ExplorerError` if the home folder is unknown."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise ExplorerError(f"{path}: the home folder is unknown; set HOME, or write the path without ~") from None


def is_text(path: str | Path) -> bool:
    """Whether databases and pages can store a path as text. File names may contain bytes that are not valid text."""
    return not any("\ud800" <= character <= "\udfff" for character in str(path))


def check_file(path: Path) -> None:
    """Raise `ExplorerError` if no file can be written at the path."""
    if not path.parent.is_dir():
        raise ExplorerError(f"{path}: cannot be written: folder {path.parent} does not exist")
    if path.is_dir():
        raise ExplorerError(f"{path}: cannot be written: it is a folder; add a file name")
    if not os.access(path.parent, os.W_OK):
        raise ExplorerError(f"{path}: cannot be written: Permission denied")


def check_folder(folder: Path) -> None:
    """Raise `ExplorerError` if no files can be written to the folder. It need not exist yet."""
    if too_long := next((name for name in folder.parts if len(os.fsencode(name)) > LONGEST_NAME), ""):
        raise ExplorerError(f"{folder}: cannot be written: File name too long: {len(os.fsencode(too_long))} bytes")
    nearest = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    if not nearest.is_dir() or not os.access(nearest, os.W_OK):
        reason = "Permission denied" if nearest.is_dir() else "Not a directory"
        raise ExplorerError(f"{folder}: cannot be written: {reason}: {nearest}")


def write_file(path: Path, content: bytes) -> None:
    """Write a file, replacing an existing one only when complete; raise `ExplorerError` on failure."""
    _write({path: content}, path)


def write_files(files: Mapping[str, bytes], folder: Path) -> None:
    """Write files, keyed by their path in a folder. No existing file is replaced until all are complete."""
    _write({folder / name: content for name, content in files.items()}, folder)


def _write(files: Mapping[Path, bytes], target: Path) -> None:
    drafts = {path: path.with_name(f".{path.name}.partial") for path in files}
    try:
        for path, draft in drafts.items():
            draft.parent.mkdir(parents=True, exist_ok=True)
            draft.write_bytes(files[path])
        for path, draft in drafts.items():
            draft.replace(path)
    except OSError as error:
        raise ExplorerError(f"{target}: cannot be written: {error.strerror}") from None
    finally:
        for draft in drafts.values():
            draft.unlink(missing_ok=True)
