"""A data set as runs see it: arrays in the user's cache, a fingerprint of their content, and a seeded split."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeAlias

import numpy as np
import platformdirs
from numpy.typing import NDArray

from explorer.errors import ExplorerError

Pixels: TypeAlias = NDArray[np.uint8]
Labels: TypeAlias = NDArray[np.int64]
Block: TypeAlias = tuple[Pixels, Labels]
"""Consecutive images (m, size, size, 3) with their labels (m,): data sets are read and written in blocks."""

LARGEST_VALIDATION = 5_000
"""Images in the validation split of a pool of 20,000 and more; a smaller pool gives a quarter of itself."""


@dataclass(frozen=True, eq=False)
class Split:
    """Indices into a training pool: `train` (int64, in seeded order) and `validation` (int64), disjoint, together all."""

    train: NDArray[np.int64]
    validation: NDArray[np.int64]


class Labelled(Protocol):
    """Images with their classes, wherever they are from."""

    @property
    def images(self) -> Pixels:
        """Returns pixels (n, size, size, 3) uint8, RGB."""

    @property
    def labels(self) -> Labels:
        """Returns the classes (n,) int64, as indices."""


@dataclass(frozen=True, eq=False)
class Dataset:
    """The training pool of a data set: what runs train and validate on. The test set is not part of it.

    Pickling one sends its folder only; the receiver opens the same files, so workers on one machine share the pages.
    """

    name: str
    """`cifar10`, `proxy`, or the name of the folder that the images come from."""
    classes: tuple[str, ...]
    images: Pixels
    """(n, size, size, 3) uint8, RGB, memory-mapped; what is written to it stays in the process."""
    labels: Labels
    """(n,) int64, indices into `classes`, read-only."""
    fingerprint: str
    """SHA-256 (hex) of shape, class names, pixels and labels; the name is not part of it."""
    folder: Path
    """Where `images.npy`, `labels.npy` and `meta.json` are."""

    @property
    def size(self) -> int:
        """Returns the side of the square images in pixels."""
        return int(self.images.shape[1])

    def split(self, seed: int = 0) -> Split:
        """Cuts the pool into training and validation images by a seeded permutation, the same on every machine.

        Validation is min(5,000, n // 4) images. The training indices stay in permuted order: a budget of k images takes
        the first k, so the subsets of growing budgets are nested.
        """
        count = len(self.labels)
        held_out = min(LARGEST_VALIDATION, count // 4)
        # NumPy promises the raw stream of a bit generator for good, but not what Generator.permutation makes of it.
        order = np.argsort(np.random.PCG64(seed).random_raw(count), kind="stable").astype(np.int64)
        return Split(train=order[held_out:], validation=order[:held_out])

    def __reduce__(self) -> tuple[Callable[[Path], Dataset], tuple[Path]]:
        """Returns the recipe for pickling: open the folder again."""
        return open_dataset, (self.folder,)


def cache_folder() -> Path:
    """Returns where data sets are kept between commands; `XDG_CACHE_HOME` moves it. It need not exist yet."""
    return Path(platformdirs.user_cache_dir("cnn-design-explorer"))


def unwritable(error: OSError) -> ExplorerError:
    """Returns the error for a cache folder that cannot be made or written (permissions, a full disk)."""
    reason = error.strerror or str(error)
    return ExplorerError(
        f"the data cache must be writable, but {cache_folder()} is not: {reason}; "
        "set XDG_CACHE_HOME to a folder that you can write to"
    )


def open_dataset(folder: Path) -> Dataset:
    """Opens a stored data set; images are memory-mapped, so this takes milliseconds and no memory.

    Raises ExplorerError where the folder is missing, incomplete or damaged.
    """
    try:
        meta = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
        # Copy-on-write: torch takes no read-only memory, and nothing that is written here would reach the file.
        images = np.load(folder / "images.npy", mmap_mode="c", allow_pickle=False)
        labels = np.load(folder / "labels.npy", allow_pickle=False)
        name, classes, fingerprint = meta["name"], tuple(meta["classes"]), meta["fingerprint"]
    except (OSError, ValueError, KeyError, TypeError, EOFError) as error:
        raise ExplorerError(
            f"a stored data set needs whole files images.npy, labels.npy and meta.json, but {folder} does not hold them "
            f"({error}); delete that folder and run the command again"
        ) from error
    labels.setflags(write=False)
    return Dataset(name, classes, images, labels, fingerprint, folder)


def recall(key: str) -> Dataset | None:
    """Returns the data set that `store` kept for this key, or None where there is none, or a damaged one."""
    try:
        return open_dataset(cache_folder() / "datasets" / _pointer(key).read_text(encoding="utf-8"))
    except (OSError, ValueError, ExplorerError):
        return None


def store(key: str, name: str, classes: Sequence[str], shape: tuple[int, int], blocks: Iterable[Block]) -> Dataset:
    """Writes a data set into the cache, block by block, and opens it.

    `key` names what it was made from (files with sizes and times, or a generator and its version) for `recall`; `shape`
    is (number of images, size in pixels). The same content is kept once. Everything is written to a temporary folder
    and renamed, so neither an interruption nor a second process leaves half a data set behind.

    Raises ExplorerError where the cache cannot be written; what `blocks` raises passes through.
    """
    datasets = cache_folder() / "datasets"
    try:
        datasets.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=".writing-", dir=datasets))
    except OSError as error:
        raise unwritable(error) from error
    try:
        fingerprint = _write(temporary, name, classes, shape, blocks)
        final = datasets / f"{re.sub(r'[^A-Za-z0-9._-]+', '-', name).lstrip('.-')}-{fingerprint[:16]}"
        _install(temporary, final)
        _point(key, final.name)
    except OSError as error:
        raise unwritable(error) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return open_dataset(final)


def _write(folder: Path, name: str, classes: Sequence[str], shape: tuple[int, int], blocks: Iterable[Block]) -> str:
    """Writes the three files into `folder` and returns the fingerprint."""
    count, size = shape
    full_shape = (count, size, size, 3)
    digest = hashlib.sha256(json.dumps({"shape": full_shape, "classes": list(classes)}).encode())
    labels = np.empty(count, np.int64)
    done = 0
    with (folder / "images.npy").open("wb") as file:
        # Appended to a plain file: a memory map of the whole array would count as this process's memory.
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
    meta = {"name": name, "classes": list(classes), "fingerprint": digest.hexdigest()}
    (folder / "meta.json").write_text(json.dumps(meta, indent=1), encoding="utf-8")
    return digest.hexdigest()


def _install(temporary: Path, final: Path) -> None:
    """Renames the finished folder into place, unless the same content is there already and whole."""
    if final.exists():
        try:
            open_dataset(final)
        except ExplorerError:
            shutil.rmtree(final)
        else:
            return
    try:
        temporary.rename(final)
    except OSError:
        # Another process may have been faster with the same content.
        if not final.exists():
            raise


def _pointer(key: str) -> Path:
    return cache_folder() / "sources" / hashlib.sha256(key.encode()).hexdigest()[:32]


def _point(key: str, folder_name: str) -> None:
    """Remembers, atomically, which stored folder belongs to `key`."""
    pointer = _pointer(key)
    pointer.parent.mkdir(parents=True, exist_ok=True)
    temporary = pointer.with_name(f"{pointer.name}.{os.getpid()}")
    temporary.write_text(folder_name, encoding="utf-8")
    temporary.replace(pointer)
