"""CIFAR-10 from its official files: the binary or the Python version, in a folder or an archive, or downloaded.

Format: https://www.cs.toronto.edu/~kriz/cifar.html. A data set is made of the five training batches; the test batch is named in
`explorer.data.held_out` alone.
The Python version consists of pickles; they are read without running anything that they contain.
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
import pooch
from tqdm import tqdm

from explorer.data.dataset import Block, Dataset, Labels, Pixels, cache_folder, recall, store, unwritable
from explorer.errors import ExplorerError

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
SIZE = 32
BATCHES = 5
RECORDS = 10_000
"""Images in each batch."""
PER_CLASS = BATCHES * RECORDS // len(CLASSES)
_PIXELS = 3 * SIZE * SIZE
_BINARY_BYTES = RECORDS * (1 + _PIXELS)
# The official pickles take 31 MB; anything much larger is something else, and would only fill the memory.
_LARGEST_PICKLE = 64_000_000


@dataclass(frozen=True)
class Download:
    """An archive in the network with its checksum in pooch's notation."""

    url: str = "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"
    checksum: str = "md5:c32a1d4ab5d03f1284b67883e8d87530"


@dataclass(frozen=True)
class Files:
    """The batches of one version of CIFAR-10, in a folder or in a `.tar.gz` archive."""

    path: Path
    binary: bool

    @property
    def is_archive(self) -> bool:
        """Returns whether the batches are inside an archive."""
        return self.path.suffix == ".gz"

    def batch_names(self) -> list[str]:
        """Returns the file names of the five training batches."""
        return [self.file_name(f"data_batch_{number}") for number in range(1, BATCHES + 1)]

    def file_name(self, batch: str) -> str:
        """Returns the file name of a batch in this version."""
        return f"{batch}.bin" if self.binary else batch

    def key(self) -> str:
        """Returns what identifies these files: paths, sizes and times of change."""
        paths = [self.path] if self.is_archive else [self.path / name for name in self.batch_names()]
        stats = [(str(path.resolve()), path.stat().st_size, path.stat().st_mtime_ns) for path in paths]
        return f"cifar10 {stats}"

    def check(self) -> None:
        """Raises ExplorerError for a missing batch or, where it is fixed, a wrong size; reads nothing."""
        if self.is_archive:
            return
        for name in self.batch_names():
            path = self.path / name
            if not path.is_file():
                raise ExplorerError(
                    f"CIFAR-10 needs its {BATCHES} training batches, but {path} is missing; unpack the archive again"
                )
            self._check_size(str(path), path.stat().st_size)

    def blocks(self, names: Sequence[str]) -> Iterator[Block]:
        """Yields images (10000, 32, 32, 3) and labels (10000,) of one of the named batches after the other.

        Raises ExplorerError for a batch that is missing, unreadable or not what the format says.
        """
        for name, data in self._contents(names):
            where = f"{self.path}/{name}"
            yield _decode_binary(where, data) if self.binary else _decode_pickle(where, data)

    def _contents(self, names: Sequence[str]) -> Iterator[tuple[str, bytes]]:
        """Yields name and bytes of the named batches. Archives are read in memory: nothing of them is unpacked to disk."""
        try:
            if not self.is_archive:
                for name in names:
                    self._check_size(f"{self.path}/{name}", (self.path / name).stat().st_size)
                    yield name, (self.path / name).read_bytes()
                return
            found = {}
            with tarfile.open(self.path, "r:gz") as archive:
                # One pass in the archive's own order: going back in a gzip stream would decompress it again.
                for member in archive:
                    name = Path(member.name).name
                    if name in names and name not in found and member.isreg():
                        self._check_size(f"{self.path}/{name}", member.size)
                        file = archive.extractfile(member)
                        assert file is not None  # a regular member has content
                        found[name] = file.read()
        except (OSError, EOFError, tarfile.TarError, zlib.error) as error:
            raise ExplorerError(
                f"the files of CIFAR-10 must be readable, but {self.path} is not ({error}); get it again"
            ) from error
        for name in names:
            if name not in found:
                raise ExplorerError(
                    f"CIFAR-10 needs its {BATCHES} training batches and the test batch, but {self.path} does not hold {name}; "
                    "get it again"
                )
            yield name, found.pop(name)

    def _check_size(self, where: str, size: int) -> None:
        if self.binary and size != _BINARY_BYTES:
            raise ExplorerError(
                f"a CIFAR-10 batch has {_BINARY_BYTES:,} bytes, but {where} has {size:,}; get the file again"
            )
        if size > _LARGEST_PICKLE:
            raise ExplorerError(
                f"a CIFAR-10 batch has about 31,000,000 bytes, but {where} has {size:,}; get the file again"
            )


@dataclass(frozen=True)
class Cifar10Source:
    """CIFAR-10 from the files given, or, where `files` is None, from the cache or the network."""

    files: Files | None
    progress: bool = True
    download: Download = Download()

    @property
    def name(self) -> str:
        """Returns `cifar10`."""
        return "cifar10"

    @property
    def class_count(self) -> int:
        """Returns 10."""
        return len(CLASSES)

    def prepare(self) -> Dataset:
        """Returns the 50,000 training images. The first time takes seconds, and a download of 162 MiB if needed.

        Raises ExplorerError for damaged files, a failed download and an unwritable cache.
        """
        key = self.files.key() if self.files is not None else f"cifar10 {self.download.checksum}"
        return recall(key) or self._store(key, self.fetched())

    def fetched(self) -> Files:
        """Returns the files, which are downloaded where there are none; raises ExplorerError where that fails."""
        return self.files or _fetch(self.download, progress=self.progress)

    def _store(self, key: str, files: Files) -> Dataset:
        files.check()
        bar = tqdm(
            total=BATCHES, desc="reading cifar10", unit="batch", disable=None if self.progress else True, leave=False
        )
        with bar:
            return store(key, self.name, CLASSES, (BATCHES * RECORDS, SIZE), self._checked(files, bar))

    def _checked(self, files: Files, bar: tqdm[Any]) -> Iterator[Block]:
        """Yields the blocks of `files` and holds the number of images of each class to the published one."""
        counts = np.zeros(len(CLASSES), np.int64)
        for images, labels in files.blocks(files.batch_names()):
            counts += np.bincount(labels, minlength=len(CLASSES))
            bar.update()
            yield images, labels
        for name, count in zip(CLASSES, counts.tolist(), strict=True):
            if count != PER_CLASS:
                raise ExplorerError(
                    f"CIFAR-10 has {PER_CLASS:,} training images of each class, but {files.path} has {count:,} of {name!r}; "
                    "get the files again"
                )


def find(data_dir: Path | None, *, progress: bool) -> Cifar10Source:
    """Looks for the files in `data_dir`, or, where that is None, in the cache; without either they are downloaded later.

    Raises ExplorerError where `data_dir` is given and holds no training batch, or not all of them in the right size.
    """
    if data_dir is None:
        files = _locate(_downloads())
    else:
        files = _locate(data_dir.expanduser())
        if files is None:
            what = "holds none of these" if data_dir.expanduser().is_dir() else "is not a folder"
            raise ExplorerError(
                f"--data-dir must hold cifar-10-batches-bin, cifar-10-batches-py, cifar-10-binary.tar.gz or "
                f"cifar-10-python.tar.gz, but {data_dir} {what}; give another folder, or drop --data-dir to download it"
            )
    if files is not None:
        files.check()
    return Cifar10Source(files, progress)


def _downloads() -> Path:
    """Returns the folder in the cache for archives; one put there by hand is used as well."""
    return cache_folder() / "downloads"


def _locate(folder: Path) -> Files | None:
    """Returns the first official layout in `folder`: itself, the two unpacked folders, the two archives."""
    for files in (
        Files(folder, binary=True),
        Files(folder, binary=False),
        Files(folder / "cifar-10-batches-bin", binary=True),
        Files(folder / "cifar-10-batches-py", binary=False),
    ):
        # One batch is enough to recognise the layout; the error then names the batch that is missing.
        if any((files.path / name).is_file() for name in files.batch_names()):
            return files
    for name in ("cifar-10-binary.tar.gz", "cifar-10-python.tar.gz"):
        if (folder / name).is_file():
            return Files(folder / name, binary="binary" in name)
    return None


def _fetch(download: Download, *, progress: bool) -> Files:
    """Downloads the archive into the cache, unless it is there with the right checksum, and returns it.

    Raises ExplorerError where the network or the checksum fails; pooch then leaves nothing behind.
    """
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
            downloader=pooch.HTTPDownloader(progressbar=progress and sys.stderr.isatty()),
        )
    except PermissionError as error:
        raise unwritable(error) from error
    except (OSError, ValueError) as error:  # network errors are OSErrors, a wrong checksum is a ValueError
        raise ExplorerError(
            f"CIFAR-10 could not be downloaded from {download.url} ({' '.join(str(error).split())}); try again, or get it "
            "by hand and give its folder with --data-dir, or use the data set 'proxy', which needs no network"
        ) from error
    finally:
        logger.setLevel(level)
    return Files(Path(path), binary=True)


def _decode_binary(where: str, data: bytes) -> Block:
    """Returns the images and labels of records of one label byte and three planes (red, green, blue) of 1024 bytes."""
    records = np.frombuffer(data, np.uint8).reshape(RECORDS, 1 + _PIXELS)
    return _images(records[:, 1:]), _labels(where, records[:, 0].astype(np.int64))


def _decode_pickle(where: str, data: bytes) -> Block:
    """Returns the images and labels of a pickled dictionary with `data` (10000, 3072) uint8 and a list `labels`."""
    try:
        batch = _ArrayUnpickler(io.BytesIO(data), encoding="latin1").load()
    except Exception as error:  # a damaged pickle can raise anything
        raise ExplorerError(
            f"a CIFAR-10 batch is a pickle of arrays and nothing else, but {where} is not ({error}); get the file again"
        ) from error
    if not isinstance(batch, dict):
        raise ExplorerError(
            f"a CIFAR-10 batch is a dictionary, but {where} holds a {type(batch).__name__}; get the file again"
        )
    batch = {key.decode("latin1") if isinstance(key, bytes) else key: value for key, value in batch.items()}
    if missing := {"data", "labels"} - batch.keys():
        raise ExplorerError(
            f"a CIFAR-10 batch has the keys 'data' and 'labels', but {where} lacks {sorted(missing)}; get the file again"
        )
    pixels, labels = batch["data"], batch["labels"]
    if not isinstance(pixels, np.ndarray) or pixels.dtype != np.uint8 or pixels.shape != (RECORDS, _PIXELS):
        shape = getattr(pixels, "shape", type(pixels).__name__)
        raise ExplorerError(
            f"'data' of a CIFAR-10 batch has shape ({RECORDS}, {_PIXELS}), but {where} has {shape}; get the file again"
        )
    if not isinstance(labels, list) or len(labels) != RECORDS or not all(type(label) is int for label in labels):
        raise ExplorerError(
            f"'labels' of a CIFAR-10 batch is a list of {RECORDS:,} integers, but that of {where} is not; get the file again"
        )
    return _images(pixels), _labels(where, np.array(labels, np.int64))


def _images(planes: Pixels) -> Pixels:
    return planes.reshape(RECORDS, 3, SIZE, SIZE).transpose(0, 2, 3, 1)


def _labels(where: str, labels: Labels) -> Labels:
    wrong = (labels < 0) | (labels >= len(CLASSES))
    if wrong.any():
        index = int(wrong.argmax())
        raise ExplorerError(
            f"labels of CIFAR-10 are 0 to {len(CLASSES) - 1}, but record {index} of {where} has {labels[index]}; get the file again"
        )
    return labels


class _ArrayUnpickler(pickle.Unpickler):
    """Reads pickles of built-in values and uint8 arrays; any other global in the file is refused, not looked up.

    What it does admit are stand-ins of our own, so that a pickle cannot call anything that it was not meant to call.
    """

    def find_class(self, module: str, name: str) -> object:
        """Returns the stand-in for one of the four globals that a pickled array names."""
        match module, name:
            case ("numpy.core.multiarray" | "numpy._core.multiarray", "_reconstruct"):
                return _empty_array
            case ("numpy", "dtype"):
                return _uint8
            case ("numpy", "ndarray"):
                return "numpy.ndarray"  # only ever an argument of _reconstruct
            case ("_codecs", "encode"):
                return _encode
        raise pickle.UnpicklingError(f"it asks for {module}.{name}")


def _empty_array(*_: object) -> Pixels:
    """Returns an array for the pickle to fill; the arguments are always ndarray, (0,) and b'b'."""
    return np.empty(0, np.uint8)


def _uint8(code: object, *_: object) -> np.dtype[np.uint8]:
    # Python 2 wrote align as 0, which np.dtype warns about from NumPy 2.4 on; so the further arguments stop here.
    if code not in ("u1", "|u1"):
        raise pickle.UnpicklingError(f"it holds an array of type {code!r}")
    return np.dtype(np.uint8)


def _encode(text: str, _encoding: str) -> bytes:
    """Returns the bytes that Python 3 writes as text, always latin1, in the older pickle protocols."""
    return text.encode("latin1")
