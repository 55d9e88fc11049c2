"""Any folder of images in class sub-folders as a data set."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps
from tqdm import tqdm

from explorer.data.dataset import Block, Dataset, Pixels, recall, store
from explorer.errors import ExplorerError

SMALLEST_POOL = 4
"""Images that a training pool needs: below, a quarter for validation would be none."""
_BLOCK_BYTES = 32_000_000
# Counts up when the same files give other pixels or another selection, so that stored copies are made anew.
_VERSION = 2


@dataclass(frozen=True)
class FolderSource:
    """Images of `root`'s class folders, cropped to the central square and resized to `size` x `size` px."""

    name: str
    root: Path
    """Holds one sub-folder for each class."""
    classes: tuple[str, ...]
    hold_out: bool
    """Whether a tenth of each class is kept apart as test set, because the folder brings none of its own."""
    size: int = 32
    progress: bool = True

    @property
    def class_count(self) -> int:
        """Returns the number of class folders."""
        return len(self.classes)

    def prepare(self) -> Dataset:
        """Returns the training pool; the first time decodes every image, some thousand a second.

        Raises ExplorerError for a class without images, a broken image (named) and an unwritable cache.
        """
        files = self._files()
        key = f"folder {_VERSION} {self.name!r} {self.size} {[(str(path), _stamp(path)) for path, _ in files]}"
        return recall(key) or store(key, self.name, self.classes, (len(files), self.size), self.blocks(files))

    def _files(self) -> list[tuple[Path, int]]:
        """Returns the images of the training pool with their labels, in the order of class and path."""
        files = []
        for label, name in enumerate(self.classes):
            paths = images_below(self.root / name)
            if not paths:
                raise ExplorerError(
                    f"every class folder must hold images, but {self.root / name} holds none; fill or remove it"
                )
            held_out = tenth(self.root, paths) if self.hold_out else set()
            files += [(path, label) for path in paths if path not in held_out]
        if len(files) < SMALLEST_POOL:
            raise ExplorerError(
                f"a data set needs at least {SMALLEST_POOL} training images, but {self.root} has {len(files)}; add some"
            )
        return files

    def blocks(self, files: Sequence[tuple[Path, int]]) -> Iterator[Block]:
        """Yields the images of files with their labels, cropped and resized; a broken one is an ExplorerError that names it."""
        step = max(1, _BLOCK_BYTES // (3 * self.size * self.size))
        with tqdm(
            total=len(files),
            desc=f"reading {self.name}",
            unit="image",
            disable=None if self.progress else True,
            leave=False,
        ) as bar:
            for start in range(0, len(files), step):
                part = files[start : start + step]
                images = np.empty((len(part), self.size, self.size, 3), np.uint8)
                for index, (path, _) in enumerate(part):
                    images[index] = _read(path, self.size)
                    bar.update()
                yield images, np.array([label for _, label in part], np.int64)


def find(path: Path, *, size: int, progress: bool) -> FolderSource:
    """Finds the class folders: those of `path/train` if it exists as a split, otherwise those of `path` itself.

    Raises ExplorerError where there are fewer than two class folders, or `size` is not positive.
    """
    if size < 1:
        raise ExplorerError(f"images need a size of at least 1 px, not {size}; choose 32, for instance")
    train = path / "train"
    # A class may itself be called "train": it is a split if it stands beside another split or holds folders.
    is_split = train.is_dir() and ((path / "test").is_dir() or (path / "val").is_dir() or bool(class_folders(train)))
    root = train if is_split else path
    classes = class_folders(root)
    if len(classes) < 2:  # noqa: PLR2004 -- one class is nothing to tell apart
        raise ExplorerError(
            f"a folder of images needs a sub-folder for each of at least 2 classes, but {root} has {len(classes)}; "
            "sort the images into such folders"
        )
    return FolderSource(path.resolve().name, root.resolve(), classes, not is_split, size, progress)


def class_folders(path: Path) -> tuple[str, ...]:
    """Returns the names of the sub-folders of a folder, sorted, without hidden ones."""
    return tuple(sorted(entry.name for entry in path.iterdir() if entry.is_dir() and not entry.name.startswith(".")))


def images_below(folder: Path) -> list[Path]:
    """Returns the images in `folder` and its sub-folders, sorted, without hidden ones; images are known by extension."""
    extensions = {extension for extension, kind in Image.registered_extensions().items() if kind in Image.OPEN}
    paths = []
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        paths += [
            Path(parent, name) for name in names if not name.startswith(".") and Path(name).suffix.lower() in extensions
        ]
    return sorted(paths)


def tenth(root: Path, paths: Sequence[Path]) -> set[Path]:
    """Returns the tenth of `paths` whose names hash lowest: images added later do not move the others across."""
    ranks = {path: hashlib.sha256(path.relative_to(root).as_posix().encode()).digest() for path in paths}
    return set(sorted(paths, key=ranks.__getitem__)[: len(paths) // 10])


def _stamp(path: Path) -> tuple[int, int]:
    """Returns size and time of change, which stand for the content of a file."""
    try:
        stat = path.stat()
    except OSError as error:
        raise ExplorerError(
            f"every image must be readable, but {path} is not: {error.strerror}; mend or remove it"
        ) from None
    return stat.st_size, stat.st_mtime_ns


def _read(path: Path, size: int) -> Pixels:
    """Returns one image (size, size, 3): RGB, the central square, averaged when it shrinks and bicubic when it grows."""
    try:
        with Image.open(path) as stored:
            image = _upright_rgb(stored)
            side = min(image.size)
            left, top = (image.width - side) // 2, (image.height - side) // 2
            filter_ = Image.Resampling.BOX if side > size else Image.Resampling.BICUBIC
            square = image.crop((left, top, left + side, top + side))
            return np.asarray(square.resize((size, size), filter_), np.uint8)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise ExplorerError(
            f"every image must be readable, but {path} is not ({error}); replace or remove it"
        ) from error


def _upright_rgb(image: Image.Image) -> Image.Image:
    """Returns the image as a camera's tag says that it is held, in 8 bits a channel; sixteen bits keep the upper eight."""
    upright = ImageOps.exif_transpose(image)
    if upright.mode.startswith("I;16"):
        upright = Image.fromarray((np.asarray(upright) >> 8).astype(np.uint8))
    return upright.convert("RGB")
