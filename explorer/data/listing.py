"""List the image files below a folder, and count the files that are not read."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from PIL import Image

from explorer.errors import ExplorerError
from explorer.networks.quantities import counted

NO_SUFFIX = "no suffix"
MOST_KINDS = 6  # kinds of files listed in a sentence
# Pillow recognises these formats, but cannot decode them without other programs.
_UNREADABLE = {"BUFR", "EPS", "GRIB", "HDF5", "MPEG", "WMF"}


@dataclass(frozen=True)
class Ignored:
    """Counts of files that are not read, by suffix, and linked folders that are not followed."""

    files: Counter[str] = field(default_factory=Counter)
    links: list[Path] = field(default_factory=list)

    def __str__(self) -> str:
        """Return text such as `12 files ignored (.heic 10, no suffix 2)`, or an empty string."""
        said = []
        if self.files:
            ordered = sorted(self.files.items(), key=lambda kind: (-kind[1], kind[0]))
            kinds = [f"{suffix} {count:,}" for suffix, count in ordered[:MOST_KINDS]]
            rest = sum(count for _, count in ordered[MOST_KINDS:])
            kinds += [f"others {rest:,}"] if rest else []
            said.append(f"{counted(self.files.total(), 'file')} ignored ({', '.join(kinds)})")
        if self.links:
            first = f"{self.links[0]}{', ...' if self.links[1:] else ''}"
            said.append(f"{counted(len(self.links), 'linked folder')} not followed ({first})")
        return "; ".join(said)


def images_below(folder: Path, ignored: Ignored | None = None) -> list[Path]:
    """Return the sorted images in `folder` and its sub-folders, identified by suffix. Hidden ones are skipped.

    Other files and linked sub-folders are added to `ignored`.
    """
    images = []
    for parent, links, names in _walk(folder):
        for name in names:
            path = Path(parent, name)
            if path.suffix.lower() in suffixes():
                images.append(path)
            elif ignored is not None:
                ignored.files[path.suffix.lower() or NO_SUFFIX] += 1
        if ignored is not None:
            ignored.links.extend(Path(parent, name) for name in links)
    return sorted(images)


def folders_below(folder: Path) -> Iterator[Path]:
    """Yield the sub-folders at any depth that `images_below` reads."""
    return (Path(parent) for parent, _, _ in _walk(folder) if parent != str(folder))


def holds_images(folder: Path, *, deep: bool = True) -> bool:
    """Whether a folder or, if `deep`, any of its sub-folders contains images."""
    for _, _, names in _walk(folder):
        if any(Path(name).suffix.lower() in suffixes() for name in names):
            return True
        if not deep:
            break
    return False


@cache
def suffixes() -> frozenset[str]:
    """Return the lower-case suffixes of the images that Pillow can decode."""
    kinds = Image.registered_extensions()  # must come first, because it fills OPEN
    return frozenset(suffix for suffix, kind in kinds.items() if kind in Image.OPEN and kind not in _UNREADABLE)


def _walk(folder: Path) -> Iterable[tuple[str, list[str], list[str]]]:
    """Yield each visible folder with its visible files and its linked sub-folders, which are not followed."""
    for parent, folders, names in os.walk(folder, onerror=_refuse):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        links = [name for name in folders if Path(parent, name).is_symlink()]
        yield parent, links, [name for name in names if not name.startswith(".")]


def _refuse(error: OSError) -> None:
    raise ExplorerError(f"every folder of images must be readable, but {error.filename} is not: {error.strerror}")
