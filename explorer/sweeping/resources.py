"""What trains: processes on this machine, or the workers of a cluster."""

from __future__ import annotations

import math
import re
import sys
from dataclasses import dataclass
from typing import Any, Self

from explorer.errors import ExplorerError
from explorer.machine import cores, memory
from explorer.networks.quantities import counted
from explorer.training.cluster import Cluster
from explorer.training.crew import WORKER_BYTES
from explorer.training.software import gpus

GIB = 2**30
COORDINATOR_BYTES = GIB // 2
SMALLEST_WORKER_BYTES = GIB // 4
"""Memory that torch alone needs in a worker."""


@dataclass(frozen=True)
class Resources:
    """What trains the runs of a command, and its limits. By default, one process per core.

    Attributes:
        workers: Number of processes, or the most of a cluster's threads to use.
        workers_per_gpu: Number of processes that share a GPU; one if None.
        memory_limit: Bytes that a process may use; an equal share of the memory if None.
        run_timeout: Seconds that a run may take; see `execute` for the default.
        cluster: A running Dask scheduler, whose workers train instead of processes on this machine.
    """

    workers: int | None = None
    workers_per_gpu: int | None = None
    memory_limit: int | None = None
    run_timeout: float | None = None
    cluster: Cluster | None = None

    @classmethod
    def read(
        cls,
        workers: int | None = None,
        workers_per_gpu: int | None = None,
        memory_limit: int | str | None = None,
        run_timeout: float | None = None,
        cluster: Cluster | str | None = None,
    ) -> Self:
        """Read the memory limit (bytes, or such as `2GiB`) and the cluster (or its address).

        Raises:
            ExplorerError: One of them is invalid.
        """
        if run_timeout is not None and not 0 < run_timeout < math.inf:
            raise ExplorerError(f"run_timeout = {run_timeout}: a run's time limit must be a number of seconds above 0")
        if workers_per_gpu is not None and workers_per_gpu < 1:
            raise ExplorerError(f"workers_per_gpu = {workers_per_gpu}: at least one worker must use a GPU")
        return cls(workers, workers_per_gpu, read_memory(memory_limit), run_timeout, Cluster.read(cluster))

    def count(self) -> int:
        """Return the number of workers: as requested, or one per core if memory allows, or one or more for each GPU.

        For a cluster, it is the number of its threads, at least one; its workers decide how many of them train.

        Raises:
            ExplorerError: The workers do not fit in memory, there is no GPU to share, or the cluster does not answer.
        """
        if self.cluster is not None:
            return max(1, min(self.cluster.threads(), self.workers or sys.maxsize))
        graphics = gpus()
        if self.workers_per_gpu is not None and not graphics:
            raise ExplorerError(
                f"workers per GPU = {self.workers_per_gpu}: torch finds no GPU on this machine; give --workers instead"
            )
        limit = memory()
        room = math.inf if limit is None else limit - COORDINATOR_BYTES
        fitting = max(1, int(min(cores(), room / WORKER_BYTES)))
        workers = self.workers or (self.workers_per_gpu or 1) * graphics or fitting
        if limit is not None and workers * SMALLEST_WORKER_BYTES > room:
            need = (COORDINATOR_BYTES + workers * WORKER_BYTES) / GIB
            hint = f"; give --workers {fitting}" if workers > fitting and room >= SMALLEST_WORKER_BYTES else ""
            raise ExplorerError(
                f"memory limit {limit / GIB:.2f} GiB: training with {counted(workers, 'worker')} needs about "
                f"{need:.1f} GiB{hint}"
            )
        return workers

    def options(self, count: int) -> dict[str, Any]:
        """Return the arguments of `execute` for this many workers, or for all that a cluster has."""
        return {
            "workers": count if self.cluster is None else self.workers,
            "cluster": self.cluster,
            "memory_limit": self.memory_limit,
            "workers_per_gpu": self.workers_per_gpu or 1,
            "run_timeout": self.run_timeout,
        }


HERE = Resources()
"""The default: one process per core of this machine."""


def read_memory(limit: int | str | None) -> int | None:
    """Return a memory limit in bytes, given as a number or such as `2GiB` or `500MB`."""
    if limit is None:
        return None
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(?:([KMGT])(i?))?B?", str(limit).strip(), re.IGNORECASE)
    if not found:
        raise ExplorerError(f"memory limit {limit}: give a size such as 2GiB or 500MB")
    number, prefix, binary = float(found[1]), (found[2] or "").upper(), found[3]
    size = int(number * (1024 if binary else 1000) ** " KMGT".index(prefix or " "))
    if size < SMALLEST_WORKER_BYTES:
        raise ExplorerError(f"memory limit {limit}: a worker needs at least {SMALLEST_WORKER_BYTES / GIB:.2f} GiB")
    return size
