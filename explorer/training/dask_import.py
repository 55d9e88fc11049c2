"""Import Dask without the user's settings, because some settings make the import fail.

Dask reads its settings on import, from YAML files and environment variables. If the user has imported Dask before,
their settings stay in effect, and `dask_defaults` overrides them.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from explorer.machine import environment

__all__ = [
    "MEMORY_LIMIT",
    "CancelledError",
    "Client",
    "Future",
    "KilledWorker",
    "LocalCluster",
    "Security",
    "Worker",
    "dask_defaults",
    "get_worker",
    "rpc",
    "wait",
]

NOWHERE = f"{os.devnull}/nowhere"
"""A folder that cannot exist."""


_SETTINGS: dict[str, str | None] = {
    **dict.fromkeys(name for name in os.environ if name.startswith("DASK_")),
    **dict.fromkeys(("HOME", "DASK_CONFIG", "DASK_ROOT_CONFIG"), NOWHERE),
}

with environment(_SETTINGS):
    import dask
    from distributed import CancelledError, Client, Future, LocalCluster, Security, Worker, get_worker, wait
    from distributed.core import rpc
    from distributed.scheduler import KilledWorker
    from distributed.system import MEMORY_LIMIT


@contextmanager
def dask_defaults(settings: Mapping[str, Any]) -> Iterator[None]:
    """Temporarily use Dask's defaults with these settings, not the user's, and silence its messages."""
    logger = logging.getLogger("distributed")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with dask.config.set(dask.config.merge(*dask.config.defaults)), dask.config.set(settings):
            yield
    finally:
        logger.setLevel(before)
