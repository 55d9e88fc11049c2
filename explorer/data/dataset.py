"""The data set that runs use: cached arrays, a fingerprint of their content and a seeded split."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import numpy as np
import platformdirs
from numpy.typing import NDArray
from tqdm import tqdm

from explorer.data.splitting import LARGEST_VALIDATION, Split, stratified_split
from explorer.errors import ExplorerError

Pixels: TypeAlias = NDArray[np.uint8]
Labels: TypeAlias = NDArray[np.int64]
ImageBlock: TypeAlias = tuple[Pixels, Labels]
"""Consecutive images (m, size, size, 3) and their labels (m,). Data sets are read and written in such blocks."""

SIZE = 32
"""Side of the images in pixels, the same for all data sets."""
FILES = ("images.npy", "labels.npy", "meta.json")
"""The files of a data set in its folder."""
SPLIT_KEYS = ("stratified", "given_validation")
CHECKED_IMAGES = 5_000  # at a time


class Labelled(Protocol):
    """Images with class labels, from the training pool or elsewhere."""

    @property
    def images(self) -> Pixels:
        """Pixels (n, size, size, 3) uint8, RGB."""

    @property
    def labels(self) -> Labels:
        """Class indices (n,) int64."""


@dataclass(frozen=True, eq=False)
class Dataset:
    """The training pool of a data set, which runs train and validate on. It does not include the test set.

    Only the folder is pickled. Workers on one machine open the same files and share their memory pages.
    """

    name: str
    """`cifar10`, `proxy` or the name of the folder of images."""
    classes: tuple[str, ...]
    images: Pixels
    """(n, size, size, 3) uint8, RGB, memory-mapped. Writing to it affects only this process."""
    labels: Labels
    """(n,) int64, indices into `classes`, read-only."""
    fingerprint: str
    """SHA-256 (hex) of the shape, class names, kind of split, pixels and labels, but not of the name."""
    folder: Path
    """Holds `images.npy`, `labels.npy` and `meta.json`."""
    stratified: bool = False
    """Whether both parts of the split and all subsets have the same class proportions. True for image folders."""
    given_validation: int = 0
    """Number of validation images at the end of the pool; 0 if the split draws them."""
    notes: tuple[str, ...] = ()
    """Notes for the user about the data, such as skipped files, one per line."""

    @property
    def size(self) -> int:
        """Side of the square images in pixels."""
        return int(self.images.shape[1])

    def split(self, seed: int = 0) -> Split:
        """Split the pool into training and validation images by a seeded permutation, the same on every machine.

        Validation takes min(5,000, n // 4) images; in a stratified pool, at least 100 but no more than half of it.
        A budget of k images trains on the first k of `train`, so smaller budgets use subsets of larger ones.
        """
        count = len(self.labels)
        # NumPy guarantees that a bit generator's raw stream never changes, but not Generator.permutation.
        order = np.argsort(np.random.PCG64(seed).random_raw(count), kind="stable").astype(np.int64)
        if self.stratified:
            return stratified_split(self.labels, order, self.given_validation)
        held_out = min(LARGEST_VALIDATION, count // 4)
        return Split(train=order[held_out:], validation=order[:held_out])

    def __reduce__(self) -> tuple[Callable[[Path], Dataset], tuple[Path]]:
        return open_dataset, (self.folder,)


def cache_folder() -> Path:
    """Return the folder for cached data sets, which may not exist yet. Set `XDG_CACHE_HOME` to move it."""
    try:
        return Path(platformdirs.user_cache_dir("cnn-design-explorer"))
    except RuntimeError:
        raise ExplorerError(
            "the data cache needs a folder, but the home folder is unknown; set HOME or XDG_CACHE_HOME"
        ) from None


def unwritable(error: OSError) -> ExplorerError:
    """Return the error for a cache folder that cannot be created or written."""
    reason = error.strerror or str(error)
    return ExplorerError(
        f"the data cache must be writable, but {cache_folder()} is not: {reason}; "
        "set XDG_CACHE_HOME to a folder that you can write to"
    )


def open_dataset(folder: Path) -> Dataset:
    """Open a stored data set. This takes milliseconds because the images are memory-mapped.

    Raises:
        ExplorerError: The folder is missing, incomplete or damaged.
    """
    try:
        meta = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
        # Copy-on-write: torch rejects read-only memory, and writes must not reach the file.
        with warnings.catch_warnings(action="ignore"):
            images = np.load(folder / "images.npy", mmap_mode="c", allow_pickle=False)
            labels = np.load(folder / "labels.npy", allow_pickle=False)
        name, classes, fingerprint = meta["name"], tuple(meta["classes"]), meta["fingerprint"]
        split = {key: meta[key] for key in SPLIT_KEYS if key in meta}
    except Exception as error:  # a damaged file can raise anything
        raise ExplorerError(
            f"a stored data set needs valid images.npy, labels.npy and meta.json, but {folder} does not have them "
            f"({error}); delete that folder and run the command again"
        ) from error
    labels.setflags(write=False)
    return Dataset(name, classes, images, labels, fingerprint, folder, **split)


def progress_bar(total: int, doing: str, unit: str) -> tqdm[Any]:
    """Return a bar on stderr that disappears when done. Outside a terminal, no bar is shown."""
    return tqdm(total=total, desc=doing, unit=unit, disable=None, leave=False)


def cached(key: str, make: Callable[[], Dataset]) -> Dataset:
    """Return the data set stored under `key`. If it is missing or damaged, `make` it again.

    The fingerprint is recomputed to make sure that no run trains on images that differ from its key.
    """
    try:
        folder = _stored_folder(key)
    except (OSError, ValueError):
        return make()
    if not folder.exists():
        return make()
    try:
        dataset = open_dataset(folder)
        if is_intact(dataset):
            return dataset
    except ExplorerError:
        pass
    dataset = make()
    note = f"the stored copy of {dataset.name} was damaged and has been rebuilt from its source ({folder})"
    return replace(dataset, notes=(*dataset.notes, note))


def is_intact(dataset: Dataset) -> bool:
    """Check in under a second that the pixels, labels and class names still match the fingerprint."""
    digest = _digest(dataset.images.shape, dataset.classes, dataset.stratified, dataset.given_validation)
    if dataset.images.dtype != np.uint8 or len(dataset.labels) != len(dataset.images):
        return False
    for start in range(0, len(dataset.images), CHECKED_IMAGES):
        digest.update(np.ascontiguousarray(dataset.images[start : start + CHECKED_IMAGES]).tobytes())
    digest.update(dataset.labels.astype("<i8").tobytes())
    found = digest.hexdigest()
    return found == dataset.fingerprint and dataset.folder.name.endswith(found[:16])


def store(
    key: str,
    name: str,
    classes: Sequence[str],
    shape: tuple[int, int],
    blocks: Iterable[ImageBlock],
    *,
    stratified: bool = False,
    given_validation: int = 0,
) -> Dataset:
    """Write a data set to the cache block by block and open it. The same content is stored only once.

    The data set is written to a temporary folder and renamed, so an interruption cannot leave a partial one.
    `key` identifies its source (files with sizes and times, or a generator and its version) for `cached`.
    `shape` is (number of images, size in pixels).
    """
    datasets = cache_folder() / "datasets"
    try:
        datasets.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=".writing-", dir=datasets))
    except OSError as error:
        raise unwritable(error) from error
    try:
        split = {"stratified": stratified, "given_validation": given_validation}
        fingerprint = _write(temporary, name, classes, shape, blocks, split)
        final = datasets / f"{re.sub(r'[^A-Za-z0-9._-]+', '-', name).lstrip('.-')}-{fingerprint[:16]}"
        _install(temporary, final)
        _point(key, final.name)
    except OSError as error:
        raise unwritable(error) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return open_dataset(final)


def _digest(shape: Sequence[int], classes: Sequence[str], stratified: bool, given_validation: int) -> hashlib._Hash:
    """Return a SHA-256 hash object that the caller updates with pixels and labels."""
    header: dict[str, Any] = {"shape": list(shape), "classes": list(classes)}
    if stratified:
        header["split"] = {"stratified": True, "given_validation": given_validation}
    return hashlib.sha256(json.dumps(header).encode())


def _write(
    folder: Path,
    name: str,
    classes: Sequence[str],
    shape: tuple[int, int],
    blocks: Iterable[ImageBlock],
    split: Mapping[str, Any],
) -> str:
    count, size = shape
    full_shape = (count, size, size, 3)
    digest = _digest(full_shape, classes, **split)
    labels = np.empty(count, np.int64)
    done = 0
    with (folder / "images.npy").open("wb") as file:
        # Append to a plain file, because a memory map of the whole array would count towards this process's memory.
        header = {"descr": "|u1", "fortran_order": False, "shape": full_shape}
        np.lib.format.write_array_header_1_0(file, header)
        for block_images, block_labels in blocks:
            if block_images.shape != (len(block_labels), size, size, 3):
                raise ValueError(f"{name}: a block of shape {block_images.shape} does not fit images of {size} px")
            data = np.ascontiguousarray(block_images, np.uint8).tobytes()
            digest.update(data)
            file.write(data)
            labels[done : done + len(block_labels)] = block_labels
            done += len(block_labels)
    if done != count:
        raise ValueError(f"{name}: expected {count} images, got {done}")
    digest.update(labels.astype("<i8").tobytes())
    np.save(folder / "labels.npy", labels)
    meta = {"name": name, "classes": list(classes), "fingerprint": digest.hexdigest(), **split}
    (folder / "meta.json").write_text(json.dumps(meta, indent=1), encoding="utf-8")
    return digest.hexdigest()


def _install(temporary: Path, final: Path) -> None:
    if final.exists():
        try:
            if is_intact(open_dataset(final)):
                return
        except ExplorerError:
            pass
        # Move the folder first, so no process opens a partial one. Workers with the damaged files open keep them.
        aside = temporary.with_name(f"{temporary.name}-damaged")
        with suppress(FileNotFoundError):
            final.rename(aside)
        shutil.rmtree(aside, ignore_errors=True)
    try:
        temporary.rename(final)
    except OSError:
        # Another process may have stored the same content first.
        if not final.exists():
            raise


def _stored_folder(key: str) -> Path:
    """Return the folder stored under `key`; raise `OSError` or `ValueError` if it is missing or invalid."""
    name = _pointer(key).read_text(encoding="utf-8")
    if not name or name != Path(name).name:
        raise ValueError(f"{name!r} is not a folder name")
    return cache_folder() / "datasets" / name


def _pointer(key: str) -> Path:
    return cache_folder() / "sources" / hashlib.sha256(key.encode()).hexdigest()[:32]


def _point(key: str, folder_name: str) -> None:
    pointer = _pointer(key)
    pointer.parent.mkdir(parents=True, exist_ok=True)
    temporary = pointer.with_name(f"{pointer.name}.{os.getpid()}")
    temporary.write_text(folder_name, encoding="utf-8")
    temporary.replace(pointer)
