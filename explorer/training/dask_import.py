"""Import Dask without the user's settings, some of which make the import fail.

Settings are YAML files and variables, which Dask reads on import. If the user has imported Dask before, their settings
stay in effect, and `crew` overrides them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = [
    "MEMORY_LIMIT",
    "CancelledError",
    "Client",
    "Future",
    "KilledWorker",
    "LocalCluster",
    "Worker",
    "dask",
    "get_worker",
    "wait",
]

NOWHERE = f"{os.devnull}/nowhere"
"""A folder that cannot exist."""


@contextmanager
def _without_settings() -> Iterator[None]:
    """Hide Dask's variables, and the settings files of the user and the machine."""
    before = {name: value for name, value in os.environ.items() if name == "HOME" or name.startswith("DASK_")}
    for name in before:
        del os.environ[name]
    hidden = dict.fromkeys(("HOME", "DASK_CONFIG", "DASK_ROOT_CONFIG"), NOWHERE)
    os.environ.update(hidden)
    try:
        yield
    finally:
        for name in hidden:
            del os.environ[name]
        os.environ.update(before)


with _without_settings():
    import dask
    from distributed import CancelledError, Client, Future, LocalCluster, Worker, get_worker, wait
    from distributed.scheduler import KilledWorker
    from distributed.system import MEMORY_LIMIT
