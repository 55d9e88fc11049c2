"""CIFAR-10 from its official files (binary or Python version), in a folder, an archive or a download.

The format is described at https://www.cs.toronto.edu/~kriz/cifar.html. The training pool consists of the five training
batches; only `explorer.data.held_out` reads the test batch. Reading the pickles of the Python version never runs code
from them.
"""

from __future__ import annotations

import io
import logging
import pickle
import sys
import tarfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from explorer.data.dataset import (
    SIZE,
    Dataset,
    ImageBlock,
    Labels,
    Pixels,
    cache_folder,
    cached,
    progress_bar,
    store,
    unwritable,
)
from explorer.errors import ExplorerError

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
BATCHES = 5
RECORDS = 10_000
"""Images in each batch."""
PER_CLASS = BATCHES * RECORDS // len(CLASSES)
_PIXELS = 3 * SIZE * SIZE
_BINARY_BYTES = RECORDS * (1 + _PIXELS)
# The official pickles have 31 MB each. Reject anything much larger.
_LARGEST_PICKLE = 64_000_000


@dataclass(frozen=True)
class Download:
    """A remote archive and its checksum in pooch's notation."""

    url: str = "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"
    checksum: str = "md5:c32a1d4ab5d03f1284b67883e8d87530"


@dataclass(frozen=True)
class Files:
    """One version of CIFAR-10, in a folder or a `.tar.gz` archive."""

    path: Path
    binary: bool

    @property
    def is_archive(self) -> bool:
        """Whether the batches are in an archive."""
        return self.path.suffix == ".gz"

    def batch_names(self) -> list[str]:
        """Return the file names of the five training batches."""
        return [self.file_name(f"data_batch_{number}") for number in range(1, BATCHES + 1)]

    def file_name(self, batch: str) -> str:
        """Return the file name of a batch."""
        return f"{batch}.bin" if self.binary else batch

    def key(self) -> str:
        """Identify the files by path, size and modification time."""
        paths = [self.path] if self.is_archive else [self.path / name for name in self.batch_names()]
        stats = [(str(path.resolve()), path.stat().st_size, path.stat().st_mtime_ns) for path in paths]
        return f"cifar10 {stats}"

    def check(self) -> None:
        """Check that every batch in a folder exists and has the right size, without reading the batches."""
        if self.is_archive:
            return
        for name in self.batch_names():
            path = self.path / name
            if not path.is_file():
                raise ExplorerError(
                    f"CIFAR-10 needs its {BATCHES} training batches, but {path} is missing; unpack the archive again"
                )
            self._check_size(str(path), path.stat().st_size)

    def blocks(self, names: Sequence[str]) -> Iterator[ImageBlock]:
        """Yield images (10000, 32, 32, 3) and labels (10000,) of each named batch."""
        for name, data in self._contents(names):
            where = f"{self.path}/{name}"
            yield _decode_binary(where, data) if self.binary else _decode_pickle(where, data)

    def _contents(self, names: Sequence[str]) -> Iterator[tuple[str, bytes]]:
        """Yield (name, content) of each batch. Archives are read in memory and never unpacked to disk."""
        try:
            if not self.is_archive:
                for name in names:
                    self._check_size(f"{self.path}/{name}", (self.path / name).stat().st_size)
                    yield name, (self.path / name).read_bytes()
                return
            found = {}
            with tarfile.open(self.path, "r:gz") as archive:
                # Read once in archive order, because seeking back in a gzip stream would decompress it again.
                for member in archive:
                    name = Path(member.name).name
                    if name in names and name not in found and member.isreg():
                        self._check_size(f"{self.path}/{name}", member.size)
                        file = archive.extractfile(member)
                        assert file is not None  # a regular member has content
                        found[name] = file.read()
        except (OSError, EOFError, tarfile.TarError, zlib.error) as error:
            raise ExplorerError(
                f"CIFAR-10 files must be readable, but {self.path} is not ({error}); download it again"
            ) from error
        for name in names:
            if name not in found:
                raise ExplorerError(
                    f"CIFAR-10 has {BATCHES} training batches and a test batch, but {self.path} does not contain "
                    f"{name}; download it again"
                )
            yield name, found.pop(name)

    def _check_size(self, where: str, size: int) -> None:
        if self.binary and size != _BINARY_BYTES:
            raise ExplorerError(
                f"a CIFAR-10 batch has {_BINARY_BYTES:,} bytes, but {where} has {size:,}; download it again"
            )
        if size > _LARGEST_PICKLE:
            raise ExplorerError(
                f"a CIFAR-10 batch has about 31,000,000 bytes, but {where} has {size:,}; download it again"
            )


@dataclass(frozen=True)
class Cifar10Source:
    """CIFAR-10 from `files`; if None, from the cache or the network."""

    files: Files | None
    download: Download = Download()

    @property
    def name(self) -> str:
        """`cifar10`."""
        return "cifar10"

    @property
    def class_count(self) -> int:
        """The number of classes, 10."""
        return len(CLASSES)

    def prepare(self) -> Dataset:
        """Return the 50,000 training images. The first call takes seconds, plus a 162 MiB download if needed."""
        key = self.files.key() if self.files is not None else f"cifar10 {self.download.checksum}"
        return cached(key, lambda: self._store(key, self.fetched()))

    def fetched(self) -> Files:
        """Return the files, downloaded if needed."""
        return self.files or _fetch(self.download)

    def _store(self, key: str, files: Files) -> Dataset:
        files.check()
        with progress_bar(BATCHES, "reading cifar10", "batch") as bar:
            return store(key, self.name, CLASSES, (BATCHES * RECORDS, SIZE), self._checked(files, bar))

    def _checked(self, files: Files, bar: tqdm[Any]) -> Iterator[ImageBlock]:
        """Yield the training batches, then check that each class has the published number of images."""
        counts = np.zeros(len(CLASSES), np.int64)
        for images, labels in files.blocks(files.batch_names()):
            counts += np.bincount(labels, minlength=len(CLASSES))
            bar.update()
            yield images, labels
        for name, count in zip(CLASSES, counts.tolist(), strict=True):
            if count != PER_CLASS:
                raise ExplorerError(
                    f"CIFAR-10 has {PER_CLASS:,} training images of each class, "
                    f"but {files.path} has {count:,} of {name!r}; download them again"
                )


def find(data_dir: Path | None) -> Cifar10Source:
    """Find and check the files in `data_dir`, or in the cache if it is None. `prepare` downloads missing files."""
    if data_dir is None:
        files = _locate(_downloads())
    else:
        files = _locate(data_dir)
        if files is None:
            what = "contains none of them" if data_dir.is_dir() else "is not a folder"
            raise ExplorerError(
                f"--data-dir must contain cifar-10-batches-bin, cifar-10-batches-py, cifar-10-binary.tar.gz or "
                f"cifar-10-python.tar.gz, but {data_dir} {what}; give another folder, or drop --data-dir to download it"
            )
    if files is not None:
        files.check()
    return Cifar10Source(files)


def _downloads() -> Path:
    """Return the folder for downloaded archives. Users may also put an archive there by hand."""
    return cache_folder() / "downloads"


def _locate(folder: Path) -> Files | None:
    for files in (
        Files(folder, binary=True),
        Files(folder, binary=False),
        Files(folder / "cifar-10-batches-bin", binary=True),
        Files(folder / "cifar-10-batches-py", binary=False),
    ):
        # One batch is enough to recognise a layout. A later check reports missing batches.
        if any((files.path / name).is_file() for name in files.batch_names()):
            return files
    for name in ("cifar-10-binary.tar.gz", "cifar-10-python.tar.gz"):
        if (folder / name).is_file():
            return Files(folder / name, binary="binary" in name)
    return None


def _fetch(download: Download) -> Files:
    import pooch

    folder = _downloads()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise unwritable(error) from error
    logger = pooch.get_logger()
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        path = pooch.retrieve(
            download.url,
            known_hash=download.checksum,
            fname="cifar-10-binary.tar.gz",
            path=folder,
            downloader=pooch.HTTPDownloader(progressbar=sys.stderr.isatty()),
        )
    except PermissionError as error:
        raise unwritable(error) from error
    except (OSError, ValueError) as error:  # network errors are OSErrors, a wrong checksum is a ValueError
        raise ExplorerError(
            f"CIFAR-10 could not be downloaded from {download.url} ({' '.join(str(error).split())}); try again, "
            "or download it yourself and pass its folder with --data-dir, or use 'proxy', which needs no network"
        ) from error
    finally:
        logger.setLevel(level)
    return Files(Path(path), binary=True)


def _decode_binary(where: str, data: bytes) -> ImageBlock:
    """Decode records, which have one label byte and three planes (red, green, blue) of 1024 bytes."""
    records = np.frombuffer(data, np.uint8).reshape(RECORDS, 1 + _PIXELS)
    return _images(records[:, 1:]), _labels(where, records[:, 0].astype(np.int64))


def _decode_pickle(where: str, data: bytes) -> ImageBlock:
    """Decode a pickled dictionary with `data`, (10000, 3072) uint8, and `labels`, a list."""
    try:
        batch = _ArrayUnpickler(io.BytesIO(data), encoding="latin1").load()
    except Exception as error:  # a damaged pickle can raise anything
        raise ExplorerError(
            f"a CIFAR-10 batch is a pickle of arrays and nothing else, but {where} is not ({error}); download it again"
        ) from error
    if not isinstance(batch, dict):
        raise ExplorerError(
            f"a CIFAR-10 batch is a dictionary, but {where} contains a {type(batch).__name__}; download it again"
        )
    batch = {key.decode("latin1") if isinstance(key, bytes) else key: value for key, value in batch.items()}
    if missing := {"data", "labels"} - batch.keys():
        raise ExplorerError(
            f"a CIFAR-10 batch has the keys 'data' and 'labels', but {where} lacks {sorted(missing)}; download it again"
        )
    pixels, labels = batch["data"], batch["labels"]
    if not isinstance(pixels, np.ndarray) or pixels.dtype != np.uint8 or pixels.shape != (RECORDS, _PIXELS):
        shape = getattr(pixels, "shape", type(pixels).__name__)
        raise ExplorerError(
            f"'data' of a CIFAR-10 batch has shape ({RECORDS}, {_PIXELS}), but {where} has {shape}; download it again"
        )
    if not isinstance(labels, list) or len(labels) != RECORDS or not all(type(label) is int for label in labels):
        raise ExplorerError(
            f"'labels' of a CIFAR-10 batch must be a list of {RECORDS:,} integers, but {where} has something else; "
            "download it again"
        )
    return _images(pixels), _labels(where, np.array(labels, np.int64))


def _images(planes: Pixels) -> Pixels:
    return planes.reshape(RECORDS, 3, SIZE, SIZE).transpose(0, 2, 3, 1)


def _labels(where: str, labels: Labels) -> Labels:
    wrong = (labels < 0) | (labels >= len(CLASSES))
    if wrong.any():
        index = int(wrong.argmax())
        raise ExplorerError(
            f"CIFAR-10 labels are 0 to {len(CLASSES) - 1}, but record {index} of {where} has {labels[index]}; "
            "download it again"
        )
    return labels


class _ArrayUnpickler(pickle.Unpickler):
    """Unpickle only built-in values and uint8 arrays.

    The four globals that a pickled array needs are replaced by harmless stand-ins. All other globals are refused.
    """

    def find_class(self, module: str, name: str) -> object:
        """Return the stand-in for a global."""
        match module, name:
            case ("numpy.core.multiarray" | "numpy._core.multiarray", "_reconstruct"):
                return _empty_array
            case ("numpy", "dtype"):
                return _uint8
            case ("numpy", "ndarray"):
                return "numpy.ndarray"  # only used as an argument of _reconstruct
            case ("_codecs", "encode"):
                return _encode
        raise pickle.UnpicklingError(f"it refers to {module}.{name}")


def _empty_array(*_: object) -> Pixels:
    return np.empty(0, np.uint8)


def _uint8(code: object, *_: object) -> np.dtype[np.uint8]:
    # Ignore the other arguments, because Python 2 wrote align=0, which NumPy 2.4 warns about.
    if code not in ("u1", "|u1"):
        raise pickle.UnpicklingError(f"it contains an array of type {code!r}")
    return np.dtype(np.uint8)


def _encode(text: str, _encoding: str) -> bytes:
    # Older pickle protocols of Python 3 write bytes as latin1 text.
    return text.encode("latin1")
