"""What a worker does: train and measure the runs of a job."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from explorer.data import Dataset, open_dataset
from explorer.errors import ExplorerError
from explorer.machine import isa, isa_switches
from explorer.training.bits import pack, pack_classes
from explorer.training.run import Run

if TYPE_CHECKING:
    from explorer.training.trainer import Measurement
    from explorer.training.trunks import Trunks

REPORT_SECONDS = 1.0  # time between reports of a run's speed
SPEEDS = "explorer-speeds"  # topic of these reports

Job: TypeAlias = tuple[Run, ...]
"""Runs that one worker performs together. Their budgets only differ in increasing epochs, and share a trunk."""

Rows: TypeAlias = list[dict[str, Any]]
"""The ledger columns that a worker measured, for each run of a job."""


class DataUnreadable(Exception):  # noqa: N818 (the coordinator prepares the data again)
    """A worker could not open the data set."""


def _log_speed(key: str, images_per_second: float) -> None:
    from explorer.training.dask_import import get_worker

    get_worker().log_event(SPEEDS, (key, images_per_second))


SEND_SPEED: ContextVar[Callable[[str, float], None]] = ContextVar("send_speed", default=_log_speed)
"""How a worker reports the speed of a run in progress."""


def perform(job: Job, dataset_folder: Path, trunks: Trunks | None = None) -> Rows:
    """Verify the network's cost, train it and measure it in a worker. Return the ledger columns of each run.

    With `trunks`, training continues from the stored trunk of a smaller budget and stores the new one. This does not
    change any column: `seconds` and `images_per_second` cover the whole run, including the stored part.
    """
    import torch

    from explorer.networks.verification import CostMismatch, verify
    from explorer.training.trainer import RunFailed, measure_rungs
    from explorer.training.trunks import trunk_key

    torch.set_num_threads(1)
    rows: Rows = []
    first, budgets = job[0], [run.budget for run in job]
    try:
        verify(first.network)
        dataset = _opened(dataset_folder)
        with _reporting_speed(first):
            if first.treatment is not None:
                return [_treated(run, dataset) for run in job]
            settings = first.network, dataset, first.recipe, budgets, first.seed, first.numerics
            if trunks is None:
                rungs = measure_rungs(*settings)
            else:
                key = trunk_key(first)
                rungs = measure_rungs(*settings, start=trunks.load(key), keep=partial(trunks.save, key))
            rows.extend(_failed(rung) if isinstance(rung, RunFailed) else _done(rung) for rung in rungs)
    except CostMismatch as error:
        rows = [_failed(error)] * len(job)
    return rows


def _treated(run: Run, dataset: Dataset) -> dict[str, Any]:
    """Perform a run that starts from the weights of another one."""
    from explorer.training.trainer import RunFailed, train_run

    if run.treatment is not None and not run.treatment.weights:
        return _failed(RuntimeError("the run that it starts from did not finish")) | {"state": "crashed"}
    try:
        trained = train_run(run, dataset)
    except (RunFailed, ExplorerError) as error:
        return _failed(error)
    size = None if trained.file is None else len(trained.file)
    return _done(trained.measurement) | {"file_bytes": size}


def perform_keeping_weights(job: Job, dataset_folder: Path) -> Rows:
    """Perform a job of one run, whose row also has its trained weights as a safetensors file: `weights`."""
    import torch

    from explorer.networks.verification import CostMismatch, verify
    from explorer.training.trainer import RunFailed, train_run
    from explorer.training.transfer import written_weights

    torch.set_num_threads(1)
    (run,) = job
    try:
        verify(run.network)
        with _reporting_speed(run):
            dataset = _opened(dataset_folder)
            trained = train_run(run, dataset)
    except (CostMismatch, RunFailed) as error:
        return [_failed(error)]
    return [_done(trained.measurement) | {"weights": written_weights(trained.model)}]


def perform_with_trunks(job: Job, dataset_folder: Path) -> Rows:
    """Perform a job with the trunks in the cache of the worker's machine."""
    from explorer.training.trunks import Trunks

    return perform(job, dataset_folder, Trunks.in_cache())


@lru_cache(maxsize=1)
def _opened(dataset_folder: Path) -> Dataset:
    """Open the data set once per worker. This keeps the files open even if they are deleted."""
    try:
        return open_dataset(dataset_folder)
    except ExplorerError as error:
        raise DataUnreadable(str(error)) from None


@contextmanager
def _reporting_speed(run: Run) -> Iterator[None]:
    """Report the speed of a run about once per second, without its first step, which is slower."""
    from torch.optim.optimizer import register_optimizer_step_post_hook

    send = SEND_SPEED.get()
    batch = min(run.recipe.batch_size, run.budget.images)
    steps, started, reported = 0, 0.0, 0.0

    def step(*_: object) -> None:
        nonlocal steps, started, reported
        now = time.perf_counter()
        if steps == 0:
            started = reported = now
        elif now - reported > REPORT_SECONDS:
            reported = now
            send(run.key, steps * batch / (now - started))
        steps += 1

    hook = register_optimizer_step_post_hook(step)
    try:
        yield
    finally:
        hook.remove()


def _failed(error: Exception) -> dict[str, Any]:
    return {"state": "failed", "reason": str(error), "host": host()}


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
        "host": host() | isa(),
        **pack(measured.correct, measured.top_probability),
        "predicted": pack_classes(measured.predicted),
    }


def host() -> dict[str, str]:
    """Return the host and the settings that are not in the key but can change the last bits of a result."""
    return {"name": platform.node(), **isa_switches()}
