"""Find a data set by its built-in name or the path of an image folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from explorer.data import cifar10, folder, proxy
from explorer.data.source import Source
from explorer.data.subset import Subset
from explorer.errors import ExplorerError, unknown
from explorer.files import user_path
from explorer.plugins import broken, names, plugins

GROUP = "explorer.data"
"""The entry points by which other packages add data sets: functions that return a `Source`."""


BUILT_IN = ("cifar10", "proxy")


def named_sources() -> tuple[str, ...]:
    """Return the names that `find_source` accepts besides paths of image folders."""
    return (*BUILT_IN, *names(GROUP))


def is_named(data: str) -> bool:
    """Whether this is a data set with a name, or some classes of one, and not a folder."""
    return data.partition(":")[0] in named_sources()


def find_source(data: str, data_dir: str | Path | None = None, *, beside: str = "") -> Source:
    """Find a data set without reading any image.

    Args:
        data: `cifar10`, `proxy`, a data set of an installed package, or a folder of images in class folders. Some
            classes of a named data set are chosen after a colon, by number or name: `cifar10:0-4`, `cifar10:cat,dog`.
        data_dir: Folder with the CIFAR-10 files. If it is not given, they come from the cache or the network.
        beside: Another data set that the same study uses, which `data_dir` may be meant for.

    Raises:
        ExplorerError: The name is unknown, or files are missing.
    """
    name, colon, classes = data.partition(":")
    if colon and is_named(data):
        return Subset.read(find_source(name, data_dir, beside=beside), classes)
    name = data
    if data_dir is not None and name != "cifar10":
        if beside.partition(":")[0] != "cifar10":
            raise ExplorerError(
                f"--data-dir is the folder of the 'cifar10' files, but the data set is {name!r}; drop --data-dir"
            )
        data_dir = None
    installed = plugins(GROUP, name)
    if installed and name in BUILT_IN:
        raise ExplorerError(f"{installed[0][0]}: {name!r} is a data set of the explorer; rename the other one")
    if name == "cifar10":
        return cifar10.find(None if data_dir is None else user_path(data_dir))
    if name == "proxy":
        return proxy.ProxySource()
    if installed:
        return _made(*installed[0])
    path, known = user_path(name), named_sources()
    if path.is_dir():
        return folder.find(path)
    if path.exists():
        raise ExplorerError(
            f"a data set is a name or a folder, but {name!r} is a file; use {' or '.join(known)} or a folder"
        )
    raise unknown("data set", name, known, "or give the path to a folder with one sub-folder of images per class")


def _made(where: str, make: Callable[[], object]) -> Source:
    try:
        source = make()
    except Exception as error:  # noqa: BLE001 (of a foreign package)
        raise broken(where, error) from None
    if not isinstance(source, Source):
        raise ExplorerError(f"{where}: must return a data source with name, class_count and prepare()")
    return source
