"""Data sets made from folders of images with one sub-folder per class."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

import numpy as np

from explorer.data.dataset import SIZE, Dataset, ImageBlock, cached, progress_bar, store
from explorer.data.layout import Layout, find_layout, split_of
from explorer.data.listing import Ignored, folders_below, images_below
from explorer.data.pixels import read_square
from explorer.errors import ExplorerError

SMALLEST_POOL = 4
"""Minimum number of images in a training pool; fewer would leave one to train on or none to validate on."""
_BLOCK_BYTES = 32_000_000
# Raise this to rebuild stored copies when the same files yield different pixels or a different selection.
_VERSION = 3

LabelledFile: TypeAlias = tuple[Path, int]


@dataclass(frozen=True)
class FolderSource:
    """Images in class folders, cropped to the central square and resized to 32 x 32 px."""

    name: str
    layout: Layout

    @property
    def class_count(self) -> int:
        """Number of class folders."""
        return len(self.layout.classes)

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names; bytes of folder names that are not valid UTF-8 are replaced."""
        return tuple(_shown(name) for name in self.layout.classes)

    def prepare(self) -> Dataset:
        """Return the training pool. The first call decodes every image, at about a thousand per second."""
        ignored = Ignored()
        training, validation = self._training_files(ignored), self._validation_files(ignored)
        files = [*training, *validation]
        _refuse_shared({"training": training, "validation": validation, "test": self.test_files()})
        stamps = [(str(path), _stamp(path)) for path, _ in files]
        key = f"folder {_VERSION} {self.name!r} {SIZE} {len(validation)} {stamps}"
        shape = (len(files), SIZE)

        def make() -> Dataset:
            blocks = self.blocks(files)
            return store(key, self.name, self.classes, shape, blocks, stratified=True, given_validation=len(validation))

        dataset = cached(key, make)
        return replace(dataset, notes=(*dataset.notes, *self.layout.notes, *filter(None, [str(ignored)])))

    def test_files(self) -> list[LabelledFile]:
        """Return the test images: those in the test folder or, without splits, a tenth of each class."""
        if not self.layout.is_split:
            return [
                (path, label)
                for label, folder in enumerate(self._class_folders(self.layout.training))
                for path in sorted(self._tenth(images_below(folder)))
            ]
        return self._files_of(self.layout.test) if self.layout.test else []

    def _training_files(self, ignored: Ignored) -> list[LabelledFile]:
        files: list[LabelledFile] = []
        for label, folder in enumerate(self._class_folders(self.layout.training)):
            _refuse_splits_in(folder)
            paths = images_below(folder, ignored)
            if not paths:
                raise ExplorerError(
                    f"every class folder must contain images, but {folder} has none; add some or remove it"
                )
            held_out = set() if self.layout.is_split else self._tenth(paths)
            files += [(path, label) for path in paths if path not in held_out]
        if len(files) < SMALLEST_POOL:
            raise ExplorerError(
                f"a data set needs at least {SMALLEST_POOL} training images, but {self.layout.training} has "
                f"{len(files)}; add some"
            )
        return files

    def _validation_files(self, ignored: Ignored) -> list[LabelledFile]:
        folder = self.layout.validation
        files = self._files_of(folder, ignored) if folder else []
        if folder and not files:
            raise ExplorerError(f"validation folders must contain images, but {folder} has none; add some or remove it")
        return files

    def _files_of(self, root: Path, ignored: Ignored | None = None) -> list[LabelledFile]:
        folders = enumerate(self._class_folders(root))
        return [(path, label) for label, folder in folders if folder.is_dir() for path in images_below(folder, ignored)]

    def _class_folders(self, root: Path) -> list[Path]:
        return [root / name for name in self.layout.classes]

    def _tenth(self, paths: Sequence[Path]) -> set[Path]:
        """Return the tenth with the lowest name hashes, so adding images later hardly changes the split."""
        names = {path: os.fsencode(path.relative_to(self.layout.training).as_posix()) for path in paths}
        ranked = sorted(paths, key=lambda path: hashlib.sha256(names[path]).digest())
        return set(ranked[: len(paths) // 10])

    def blocks(self, files: Sequence[LabelledFile]) -> Iterator[ImageBlock]:
        """Yield the images of (path, label) pairs, cropped and resized, with their labels."""
        step = max(1, _BLOCK_BYTES // (3 * SIZE * SIZE))
        with progress_bar(len(files), f"reading {self.name}", "image") as bar:
            for start in range(0, len(files), step):
                part = files[start : start + step]
                images = np.empty((len(part), SIZE, SIZE, 3), np.uint8)
                for index, (path, _) in enumerate(part):
                    images[index] = read_square(path)
                    bar.update()
                yield images, np.array([label for _, label in part], np.int64)


def find(path: Path) -> FolderSource:
    """Find the class folders and splits of a folder."""
    # The path is not resolved, so a linked folder keeps the name and neighbours that the user gave it.
    path = path.absolute()
    name = path.name if path.name not in {"", ".."} else path.resolve().name
    return FolderSource(_shown(name) or "data", find_layout(path))


def _refuse_splits_in(folder: Path) -> None:
    for inner in folders_below(folder):
        if split_of(inner.name) in {"validation", "test"}:
            raise ExplorerError(
                f"images for testing must not be trained on, but the class folder {folder} contains {inner.name!r}; "
                f"sort the images into train/{folder.name} and test/{folder.name}, or rename it"
            )


def _refuse_shared(parts: Mapping[str, Sequence[LabelledFile]]) -> None:
    """Raise `ExplorerError` if an image is in two parts, which is possible with links."""
    owners: dict[tuple[int, int], tuple[str, Path]] = {}
    for part, files in parts.items():
        for path, _ in files:
            found = _stat(path)
            other, first = owners.setdefault((found.st_dev, found.st_ino), (part, path))
            if other != part:
                raise ExplorerError(
                    f"{part} images must not be {other} images, but {path} is the same file as {first}; remove one"
                )


def _stat(path: Path) -> os.stat_result:
    try:
        return path.stat()
    except OSError as error:
        raise ExplorerError(
            f"every image must be readable, but {path} is not: {error.strerror}; fix or remove it"
        ) from None


def _stamp(path: Path) -> tuple[int, ...]:
    """Return values that change with a file's content. The path may stay the same, because a folder may be a link."""
    found = _stat(path)
    if not stat.S_ISREG(found.st_mode):
        raise ExplorerError(f"every image must be a file, but {path} is not; remove it")
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino


def _shown(name: str) -> str:
    return os.fsencode(name).decode("utf-8", "replace")
