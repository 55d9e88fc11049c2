"""Perform runs on all cores: a Dask cluster of one-thread workers that survives the death of any of them."""

from __future__ import annotations

import logging
import multiprocessing
import os
import platform
import signal
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import dask
from distributed import Client, Future, LocalCluster, Worker, WorkerPlugin, as_completed
from distributed.scheduler import KilledWorker

from explorer.data import open_dataset
from explorer.errors import ExplorerError
from explorer.machine import isa, isa_switches
from explorer.training.bits import pack, pack_classes
from explorer.training.run import Run

if TYPE_CHECKING:
    from explorer.training.trainer import Measurement

ATTEMPTS = 3
"""Attempts before a job whose workers keep dying is recorded as crashed."""

MOST_NETWORKS = 12
"""Networks that a worker trains before it is replaced: torch retains 15 to 30 MB for each."""

Job: TypeAlias = tuple[Run, ...]
"""Runs that one worker performs together: their budgets differ only in epochs, which increase, and share a trunk."""

SETTINGS = {
    # One task for each worker, so that a death has one cause; this module counts attempts and records the reason.
    "distributed.scheduler.allowed-failures": 0,
    "distributed.scheduler.worker-saturation": 1.0,
    # By default, Dask silently pauses a worker at 80 % of its memory; the limit that ends it stays.
    "distributed.worker.memory.target": False,
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": False,
    # Otherwise glibc returns large blocks to the kernel and page-faults them in again at every training step.
    "distributed.nanny.pre-spawn-environ.MALLOC_MMAP_THRESHOLD_": 1 << 32,
    "distributed.nanny.pre-spawn-environ.MALLOC_TRIM_THRESHOLD_": 1 << 33,
}


@dataclass(frozen=True)
class Outcome:
    """A run and its ledger row: `done` with a measurement, `failed` for good, or `crashed` and to be retried later."""

    run: Run
    row: dict[str, Any]

    @property
    def state(self) -> str:
        """`done`, `failed` or `crashed`."""
        return str(self.row["state"])


def execute(jobs: Sequence[Job], dataset_folder: Path, workers: int) -> Iterator[Outcome]:
    """Perform the jobs in order on `workers` one-thread processes and yield their outcomes as jobs finish."""
    if not jobs:
        return
    waiting = deque(jobs)
    attempts = dict.fromkeys((job[0].key for job in jobs), 0)
    with cluster(min(workers, len(jobs))) as client:
        completed = as_completed()
        flying: dict[Any, Job] = {}
        trained: dict[str, set[str]] = {}  # digests of the networks trained, by address of the worker

        def launch(job: Job) -> None:
            key = job[0].key
            attempts[key] += 1
            future = client.submit(perform, job, dataset_folder, key=f"{key}-{attempts[key]}", pure=False)
            flying[future] = job
            completed.add(future)

        for _ in range(min(workers, len(waiting))):
            launch(waiting.popleft())
        for future in completed:
            job = flying.pop(future)
            error = future.exception()
            if isinstance(error, KilledWorker) and attempts[job[0].key] < ATTEMPTS:
                launch(job)
                continue
            rows = future.result() if error is None else [_crash(error)] * len(job)
            if error is None and waiting:
                (home,) = client.who_has([future])[future.key]
                trained.setdefault(home, set()).add(job[0].network.digest)
                if len(trained[home]) >= MOST_NETWORKS:
                    _replace(client, home, future)
            for run, row in zip(job, rows, strict=True):
                yield _outcome(run, row)
            if waiting:
                launch(waiting.popleft())


def perform(job: Job, dataset_folder: Path) -> list[dict[str, Any]]:
    """Verify the network's cost, train it and measure it in a worker; return the ledger columns of each run."""
    import torch

    from explorer.networks.verification import CostMismatch, verify
    from explorer.training.trainer import RunFailed, measure_rungs

    torch.set_num_threads(1)
    rows: list[dict[str, Any]] = []
    first, budgets = job[0], [run.budget for run in job]
    try:
        verify(first.network)
        dataset = open_dataset(dataset_folder)
        rungs = measure_rungs(first.network, dataset, first.recipe, budgets, first.seed, first.numerics)
        rows.extend(_failed(rung) if isinstance(rung, RunFailed) else _done(rung) for rung in rungs)
    except CostMismatch as error:
        rows = [_failed(error)] * len(job)
    return rows


def _failed(error: Exception) -> dict[str, Any]:
    return {"state": "failed", "reason": str(error), "host": _host()}


def _done(measured: Measurement) -> dict[str, Any]:
    return {
        "state": "done",
        "reason": "",
        "accuracy": measured.accuracy,
        "accuracies": list(measured.accuracies),
        "train_losses": list(measured.train_losses),
        "seconds": measured.seconds,
        "images_per_second": measured.images_per_second,
        "peak_memory_bytes": measured.peak_memory_bytes,
        "host": _host() | isa(),
        **pack(measured.correct, measured.top_probability),
        "predicted": pack_classes(measured.predicted),
    }


def _replace(client: Client, home: str, future: Future[Any]) -> None:
    """End an idle worker; its nanny starts a new one."""
    # Release the result, or Dask would recompute it elsewhere.
    future.release()
    client.run(_leave, workers=[home])
    while home in client.scheduler_info(n_workers=-1)["workers"]:
        time.sleep(0.05)


def _leave() -> None:
    # The delay lets the reply leave first; no cleanup is needed.
    threading.Timer(0.1, os._exit, (0,)).start()


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
    """Return the host, with the settings outside the key that can change the last bits of a result."""
    return {"name": platform.node(), **isa_switches()}


class _IgnoreInterrupt(WorkerPlugin):
    """Ctrl-C in a terminal reaches every process; only the coordinator handles it and shuts down the workers."""

    def setup(self, worker: Worker) -> None:  # noqa: ARG002
        signal.signal(signal.SIGINT, signal.SIG_IGN)


def refuse_in_worker() -> None:
    """Raise `ExplorerError` in a worker that imports its parent's script, which would start more workers."""
    # Set by multiprocessing while a child process imports its parent's script.
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        raise ExplorerError(
            'a script that trains must call it under `if __name__ == "__main__":`, because workers import the script'
        )


@contextmanager
def cluster(workers: int) -> Iterator[Client]:
    """Start `workers` one-thread processes on this machine, configured for training, and yield a client."""
    environment = dict(os.environ)
    with (
        dask.config.set(SETTINGS),
        LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            processes=True,
            # No dashboard: by default it listens on all interfaces.
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
            # Dask writes the workers' environment into this process.
            os.environ.clear()
            os.environ.update(environment)
