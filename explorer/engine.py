"""Runs on all cores: a Dask cluster of one-thread processes that survives the death of any of them."""

from __future__ import annotations

import logging
import os
import platform
import signal
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dask
from distributed import Client, LocalCluster, Worker, WorkerPlugin, as_completed
from distributed.scheduler import KilledWorker

from explorer.data import open_dataset
from explorer.ledger import pack
from explorer.run import Run

ATTEMPTS = 3
"""How often a run is started before the deaths of its workers count as its own fault."""

SETTINGS = {
    # One task to a worker, so that a death is that task's; retries are counted here, where the reason can be recorded.
    "distributed.scheduler.allowed-failures": 0,
    "distributed.scheduler.worker-saturation": 1.0,
    # Dask would pause a worker at 80 % of its memory without a word; the limit that ends it stays.
    "distributed.worker.memory.target": False,
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": False,
    # glibc otherwise returns large blocks to the kernel and faults them in again at every training step.
    "distributed.nanny.pre-spawn-environ.MALLOC_MMAP_THRESHOLD_": 1 << 32,
    "distributed.nanny.pre-spawn-environ.MALLOC_TRIM_THRESHOLD_": 1 << 33,
}


@dataclass(frozen=True)
class Outcome:
    """How a run ended: `done` with its measurement, `failed` for good, or `crashed`, to be tried again by a later command.

    `row` is the run as the ledger stores it.
    """

    run: Run
    row: dict[str, Any]

    @property
    def state(self) -> str:
        """`done`, `failed` or `crashed`."""
        return str(self.row["state"])


def execute(runs: Sequence[Run], dataset_folder: Path, workers: int) -> Iterator[Outcome]:
    """Performs the runs in the order given and yields each as it ends, on `workers` processes of one thread each."""
    if not runs:
        return
    waiting = deque(runs)
    attempts = dict.fromkeys((run.key for run in runs), 0)
    with cluster(min(workers, len(runs))) as client:
        completed = as_completed()
        flying: dict[Any, Run] = {}

        def launch(run: Run) -> None:
            attempts[run.key] += 1
            future = client.submit(perform, run, dataset_folder, key=f"{run.key}-{attempts[run.key]}", pure=False)
            flying[future] = run
            completed.add(future)

        for _ in range(min(workers, len(waiting))):
            launch(waiting.popleft())
        for future in completed:
            run = flying.pop(future)
            error = future.exception()
            if isinstance(error, KilledWorker) and attempts[run.key] < ATTEMPTS:
                launch(run)
                continue
            yield _outcome(run, future.result() if error is None else _crash(error))
            if waiting:
                launch(waiting.popleft())


def perform(run: Run, dataset_folder: Path) -> dict[str, Any]:
    """In a worker: checks the network's cost, trains and measures it; returns the columns of the ledger that it fills."""
    import torch

    from explorer.training import RunFailed, measure
    from explorer.verification import CostMismatch, verify

    torch.set_num_threads(1)
    try:
        verify(run.network)
        measured = measure(run.network, open_dataset(dataset_folder), run.recipe, run.budget, run.seed, run.numerics)
    except (RunFailed, CostMismatch) as error:
        return {"state": "failed", "reason": str(error), "host": _host()}
    return {
        "state": "done",
        "reason": "",
        "accuracy": measured.accuracy,
        "accuracies": list(measured.accuracies),
        "train_losses": list(measured.train_losses),
        "seconds": measured.seconds,
        "images_per_second": measured.images_per_second,
        "peak_memory_bytes": measured.peak_memory_bytes,
        "host": _host() | {"isa": torch.backends.cpu.get_cpu_capability()},
        **pack(measured.correct, measured.top_probability),
    }


def _crash(error: BaseException) -> dict[str, Any]:
    if isinstance(error, KilledWorker):
        reason = f"its worker died {ATTEMPTS} times (killed, or out of memory)"
    else:
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
    return {"state": "crashed", "reason": reason, "host": _host()}


def _outcome(run: Run, measured: dict[str, Any]) -> Outcome:
    row = {
        "key": run.key,
        "network": run.network.digest,
        "data_fingerprint": run.data_fingerprint,
        "settings": run.settings,
        "seed": run.seed,
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        **measured,
    }
    return Outcome(run, row)


def _host() -> dict[str, str]:
    """Where a run was done, with the settings beyond its key that can change its last bits."""
    switches = ("ONEDNN_MAX_CPU_ISA", "ATEN_CPU_CAPABILITY")
    return {"name": platform.node(), **{name: os.environ[name] for name in switches if name in os.environ}}


class _IgnoreInterrupt(WorkerPlugin):
    """Ctrl-C in a terminal reaches every process; only the coordinator answers it, and ends the workers in order."""

    def setup(self, worker: Worker) -> None:  # noqa: ARG002
        signal.signal(signal.SIGINT, signal.SIG_IGN)


@contextmanager
def cluster(workers: int) -> Iterator[Client]:
    """A client of `workers` processes on this machine, one thread each, set up for training."""
    environment = dict(os.environ)
    with (
        dask.config.set(SETTINGS),
        LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            processes=True,
            # None of Dask's pages: by default they listen on all interfaces.
            dashboard_address="127.0.0.1:0",
            scheduler_kwargs={"dashboard": False},
            host="127.0.0.1",
            silence_logs=logging.CRITICAL,
        ) as processes,
        Client(processes) as client,
    ):
        client.register_plugin(_IgnoreInterrupt())
        try:
            yield client
        finally:
            # Dask writes the workers' environment into this process's own.
            os.environ.clear()
            os.environ.update(environment)
