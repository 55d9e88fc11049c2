"""Where data sets come from: the built-in names, or any folder of images."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from explorer.data import cifar10, folder, proxy
from explorer.data.dataset import Dataset
from explorer.errors import ExplorerError, unknown

BUILT_IN = ("cifar10", "proxy")
"""Names that `find_source` knows; anything else is the path of a folder of images."""


class Source(Protocol):
    """A data set that can be prepared; until then nothing is read, downloaded or made."""

    @property
    def name(self) -> str:
        """Returns the name of the data set, as reports show it."""

    @property
    def class_count(self) -> int:
        """Returns the number of classes, which networks need; known without loading a pixel."""

    def prepare(self) -> Dataset:
        """Returns the data set, from the cache where it is there, else read, downloaded or made; may take minutes.

        Raises ExplorerError where files are missing or damaged, the network fails, or the cache cannot be written.
        """


def find_source(name: str, data_dir: Path | None = None, progress: bool = True, size: int = 32) -> Source:
    """Finds a data set by name: `cifar10`, `proxy`, or the path of a folder of images in class folders. Cheap.

    `data_dir` is where the files of CIFAR-10 are; without it they come from the cache or the network. `size` is the side
    in pixels that a folder's images are brought to; the built-in sets are 32 px. `progress` shows bars on stderr.

    Raises ExplorerError for an unknown name and for everything missing that can be seen without reading pixels.
    """
    if data_dir is not None and name != "cifar10":
        raise ExplorerError(
            f"--data-dir says where the files of 'cifar10' are; data set {name!r} does not use it: drop it"
        )
    if name in BUILT_IN and size != proxy.SIZE:
        raise ExplorerError(
            f"{name!r} has images of {proxy.SIZE} px, not {size}; only a folder of images can be resized"
        )
    if name == "cifar10":
        return cifar10.find(data_dir, progress=progress)
    if name == "proxy":
        return proxy.ProxySource(progress=progress)
    path = Path(name).expanduser()
    if path.is_dir():
        return folder.find(path, size=size, progress=progress)
    if path.exists():
        raise ExplorerError(
            f"a data set is a name or a folder, but {name!r} is a file; choose {' or '.join(BUILT_IN)} or a folder"
        )
    error = unknown("data set", name, BUILT_IN)
    raise ExplorerError(f"{error}; the path of an existing folder of images in class folders also works")
