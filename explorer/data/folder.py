"""Data sets from folders of images, with one sub-folder for each class."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from explorer.data.dataset import SIZE, Dataset, ImageBlock, Pixels, progress_bar, recall, store
from explorer.errors import ExplorerError

SMALLEST_POOL = 4
"""Fewest images in a training pool; with fewer, a quarter for validation would be empty."""
_BLOCK_BYTES = 32_000_000
# Raise it when the same files give other pixels or another selection, so that stored copies are rebuilt.
_VERSION = 2


@dataclass(frozen=True)
class FolderSource:
    """Images in the class folders of `root`, cropped to the central square and resized to 32 x 32 px."""

    name: str
    root: Path
    """Folder with one sub-folder for each class."""
    classes: tuple[str, ...]
    hold_out: bool
    """Whether a tenth of each class is set aside as test set, because the folder has none."""

    @property
    def class_count(self) -> int:
        """Number of class folders."""
        return len(self.classes)

    def prepare(self) -> Dataset:
        """Return the training pool; the first call decodes every image, about a thousand a second."""
        files = self._files()
        key = f"folder {_VERSION} {self.name!r} {SIZE} {[(str(path), _stamp(path)) for path, _ in files]}"
        return recall(key) or store(key, self.name, self.classes, (len(files), SIZE), self.blocks(files))

    def _files(self) -> list[tuple[Path, int]]:
        files = []
        for label, name in enumerate(self.classes):
            paths = images_below(self.root / name)
            if not paths:
                raise ExplorerError(
                    f"every class folder must hold images, but {self.root / name} holds none; add some or remove it"
                )
            held_out = tenth(self.root, paths) if self.hold_out else set()
            files += [(path, label) for path in paths if path not in held_out]
        if len(files) < SMALLEST_POOL:
            raise ExplorerError(
                f"a data set needs at least {SMALLEST_POOL} training images, but {self.root} has {len(files)}; add some"
            )
        return files

    def blocks(self, files: Sequence[tuple[Path, int]]) -> Iterator[ImageBlock]:
        """Yield the images of (path, label) pairs, cropped and resized, with their labels."""
        step = max(1, _BLOCK_BYTES // (3 * SIZE * SIZE))
        with progress_bar(len(files), f"reading {self.name}", "image") as bar:
            for start in range(0, len(files), step):
                part = files[start : start + step]
                images = np.empty((len(part), SIZE, SIZE, 3), np.uint8)
                for index, (path, _) in enumerate(part):
                    images[index] = _read(path)
                    bar.update()
                yield images, np.array([label for _, label in part], np.int64)


def find(path: Path) -> FolderSource:
    """Find the class folders: those of `path/train` if that is a split, otherwise those of `path`."""
    train = path / "train"
    # A class may be called "train": it is a split only beside another split or with sub-folders.
    is_split = train.is_dir() and ((path / "test").is_dir() or (path / "val").is_dir() or bool(class_folders(train)))
    root = train if is_split else path
    classes = class_folders(root)
    if len(classes) < 2:  # noqa: PLR2004 -- a classifier needs two
        raise ExplorerError(
            f"a folder of images needs a sub-folder for each of at least 2 classes, but {root} has {len(classes)}; "
            "sort the images into such folders"
        )
    return FolderSource(path.resolve().name, root.resolve(), classes, not is_split)


def class_folders(path: Path) -> tuple[str, ...]:
    """Return the sorted names of the sub-folders that are not hidden."""
    return tuple(sorted(entry.name for entry in path.iterdir() if entry.is_dir() and not entry.name.startswith(".")))


def images_below(folder: Path) -> list[Path]:
    """Return the sorted images in `folder` and its sub-folders, by file extension, without hidden ones."""
    extensions = {extension for extension, kind in Image.registered_extensions().items() if kind in Image.OPEN}
    paths = []
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        paths += [
            Path(parent, name) for name in names if not name.startswith(".") and Path(name).suffix.lower() in extensions
        ]
    return sorted(paths)


def tenth(root: Path, paths: Sequence[Path]) -> set[Path]:
    """Return the tenth of `paths` with the lowest name hashes, so that images added later hardly change the split."""
    ranks = {path: hashlib.sha256(path.relative_to(root).as_posix().encode()).digest() for path in paths}
    return set(sorted(paths, key=ranks.__getitem__)[: len(paths) // 10])


def _stamp(path: Path) -> tuple[int, int]:
    try:
        stat = path.stat()
    except OSError as error:
        raise ExplorerError(
            f"every image must be readable, but {path} is not: {error.strerror}; fix or remove it"
        ) from None
    return stat.st_size, stat.st_mtime_ns


def _read(path: Path) -> Pixels:
    """Read the central square of an image, averaged when it shrinks, bicubic when it grows."""
    try:
        with Image.open(path) as stored:
            image = _upright_rgb(stored)
            side = min(image.size)
            left, top = (image.width - side) // 2, (image.height - side) // 2
            filter_ = Image.Resampling.BOX if side > SIZE else Image.Resampling.BICUBIC
            square = image.crop((left, top, left + side, top + side))
            return np.asarray(square.resize((SIZE, SIZE), filter_), np.uint8)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise ExplorerError(
            f"every image must be readable, but {path} is not ({error}); replace or remove it"
        ) from error


def _upright_rgb(image: Image.Image) -> Image.Image:
    """Convert to 8-bit RGB, rotated as its EXIF tag says; 16-bit images keep their upper 8 bits."""
    upright = ImageOps.exif_transpose(image)
    if upright.mode.startswith("I;16"):
        upright = Image.fromarray((np.asarray(upright) >> 8).astype(np.uint8))
    return upright.convert("RGB")
