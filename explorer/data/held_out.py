"""The test images of a data set, which only `explorer export` reads, once per run.

They are not a `Dataset`, so nothing can train on them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from explorer.data.cifar10 import CLASSES, Cifar10Source
from explorer.data.dataset import ImageBlock, Labels, Pixels
from explorer.data.folder import FolderSource
from explorer.data.layout import class_folders
from explorer.data.proxy import BLOCK, ProxySource, make_block, make_pictures
from explorer.data.source import Source
from explorer.data.subset import Subset, parts_of
from explorer.errors import ExplorerError

PROXY_COUNT = 10_000
"""Number of test images in the procedural data set, the same as in CIFAR-10."""
PROXY_FIRST = 1_000_000
"""Number and seed of the first test block, far from those of the training pool."""


class NoTestImages(ExplorerError):  # noqa: N818 (a property of the data; exports continue without them)
    """The data set has no test images. The message says why."""


@dataclass(frozen=True, eq=False)
class TestImages:
    """The test images of a data set."""

    images: Pixels
    """(n, size, size, 3) uint8, RGB."""
    labels: Labels
    """(n,) int64, indices into the classes of the data set."""


@runtime_checkable
class TestedSource(Protocol):
    """A data source of another package that has test images."""

    def test_blocks(self) -> Iterable[ImageBlock]:
        """Yield the test images (n, size, size, 3) uint8 and their labels (n,) int64, in blocks."""


def read_test_images(source: Source) -> TestImages:
    """Read the test images, cropped and resized like the training pool. This takes seconds.

    CIFAR-10 has a test batch. The procedural set draws 10,000 more images of the same kind. A folder with splits
    has a test folder. Any other folder uses the tenth of each class that is held out of the training pool. Some classes
    of a data set have its test images of these classes.

    Raises:
        NoTestImages: The data set has no test images.
    """
    match source:
        case Cifar10Source():
            return _cifar10(source)
        case ProxySource():
            return _proxy()
        case FolderSource():
            return _folder(source)
        case Subset():
            return _subset(source)
        case TestedSource():
            return _joined(list(source.test_blocks()))
    raise NoTestImages(f"{source.name} has no test images")


def _cifar10(source: Cifar10Source) -> TestImages:
    files = source.fetched()
    name = files.file_name("test_batch")
    if not files.is_archive and not (files.path / name).is_file():
        raise NoTestImages(f"cifar10 has no test images here: {files.path / name} is missing")
    part = _joined(list(files.blocks([name])))
    counts = np.bincount(part.labels, minlength=len(CLASSES))
    if (counts != len(part.labels) // len(CLASSES)).any():
        raise ExplorerError(
            f"CIFAR-10 has the same number of test images per class, but {files.path}/{name} has "
            f"{counts.min()} to {counts.max()}; download it again"
        )
    return part


def _proxy() -> TestImages:
    pictures = make_pictures()
    return _joined([make_block(pictures, PROXY_FIRST + number) for number in range(PROXY_COUNT // BLOCK)])


def _subset(source: Subset) -> TestImages:
    whole = read_test_images(source.whole)
    numbers = source.numbers(source.whole.prepare().classes)
    return _joined(list(parts_of([(whole.images, whole.labels)], numbers)))


def _folder(source: FolderSource) -> TestImages:
    layout = source.layout
    if layout.test is not None and not class_folders(layout.test):
        raise NoTestImages(f"{source.name} has no test images: {layout.test} has no class folders")
    files = source.test_files()
    if files:
        return _joined(list(source.blocks(files)))
    if not layout.is_split:
        reason = "a tenth of each class is less than one image"
    elif layout.test is None:
        reason = f"{layout.training.parent} has no test folder"
    else:
        reason = f"the class folders of {layout.test} are empty"
    raise NoTestImages(f"{source.name} has no test images: {reason}")


def _joined(blocks: Sequence[ImageBlock]) -> TestImages:
    images = np.ascontiguousarray(np.concatenate([images for images, _ in blocks]))
    return TestImages(images, np.concatenate([labels for _, labels in blocks]))
