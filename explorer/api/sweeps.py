"""Train studies."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

import pandas as pd

from explorer.api.reports import check_written, reported
from explorer.errors import ExplorerError
from explorer.files import check_folder
from explorer.networks.quantities import read_count
from explorer.reporting.stored import Destination
from explorer.storage.ledger import DEFAULT_STORAGE, Ledger
from explorer.study.files import load_study
from explorer.study.model import Study
from explorer.sweeping import dry_run as planning
from explorer.sweeping.bar import Bar
from explorer.sweeping.dry_run import DryRun
from explorer.sweeping.latency import latency_for_claims
from explorer.sweeping.resources import Resources
from explorer.sweeping.sweeping import Watcher, run_studies
from explorer.training.cluster import Cluster


def sweep(
    study: Study | str | Path,
    *,
    data: str | None = None,
    seeds: int | None = None,
    epochs: int | None = None,
    images: int | str | None = None,
    until_decided: bool = False,
    quick: bool = False,
    storage: str | Path = DEFAULT_STORAGE,
    data_dir: str | Path | None = None,
    workers: int | None = None,
    workers_per_gpu: int | None = None,
    memory_limit: int | str | None = None,
    run_timeout: float | None = None,
    cluster: Cluster | str | None = None,
    reports: str | Path | None = "reports",
    figures: Collection[str] = (),
    progress: bool | None = None,
    command: str = "explorer.sweep in Python",
    watcher: Watcher | None = None,
) -> pd.DataFrame:
    """Train the missing runs of a study, write its report, and return its points.

    Args:
        study: A study, the name of a built-in study, or a file. Use `load_study` to change its settings.
        data: Another data set; see `load_study`. Like the next three, it becomes part of the study's name.
        seeds: Number of runs per point.
        epochs: Number of epochs per run.
        images: Number of training images per run, such as 10000 or `10k`.
        until_decided: Whether to train two seeds of each point, and then further ones only of points that undecided
            claims compare, up to `seeds`. Intervals are wider, so that they hold wherever the study stops.
        quick: Whether to cut a named study down to a trial run of less than a minute.
        storage: SQLite file or database URL.
        data_dir: Folder with the CIFAR-10 files.
        workers: Number of worker processes; one per core if not given.
        workers_per_gpu: Number of worker processes that share a GPU; one if not given.
        memory_limit: Memory that a worker process may use, in bytes or such as `2GiB`. By default, an equal share.
        run_timeout: Seconds before a run is stopped and retried, up to three attempts in total. By default, 20 times
            the estimate, but at least 10 minutes.
        cluster: A running Dask scheduler, such as `tcp://host:8786`, whose workers train instead of this machine.
        reports: Folder for reports, each in its own sub-folder. None skips the report.
        figures: Formats to save figures in besides SVG: `pdf`, `png`.
        progress: Whether to show a progress bar; by default, one is shown in terminals and notebooks.
        command: Command shown in the report.
        watcher: Receives the progress instead of the bar.

    Returns:
        One row for each point: the metaparameters, `accuracy` with its 95 % interval from `low` to `high`, and the
        columns of `explorer.analysis.Findings.points`, which `explorer.plots` draws. `attrs` has the `units`, the
        `study` name, the number of `unfinished` runs and, if a report is written, its path as `report` and the
        `answer`.

    Raises:
        ExplorerError: The study or data set is unknown, its images cannot be read, or another process is writing to
            the storage. Unknown formats and folders that cannot be written are reported before training.
    """
    if isinstance(study, Study):
        if quick:
            raise ExplorerError(
                f"{study.name}: quick=True needs the name or file of a study; use load_study(..., quick=True)"
            )
        number = None if images is None else read_count("images", images)
        chosen = study.override(
            data=data, seeds=seeds, epochs=epochs, images=number, until_decided=until_decided or None
        )
    else:
        settings: dict[str, Any] = {"data": data, "seeds": seeds, "epochs": epochs, "images": images}
        chosen = load_study(study, **settings, until_decided=until_decided, quick=quick, data_dir=data_dir)
    return _trained(
        chosen,
        storage,
        reports,
        figures,
        progress,
        watcher,
        data_dir=data_dir,
        resources=Resources.read(workers, workers_per_gpu, memory_limit, run_timeout, cluster),
        command=command,
    )


def retry(
    study: str,
    *,
    storage: str | Path = DEFAULT_STORAGE,
    data_dir: str | Path | None = None,
    workers: int | None = None,
    workers_per_gpu: int | None = None,
    memory_limit: int | str | None = None,
    run_timeout: float | None = None,
    cluster: Cluster | str | None = None,
    reports: str | Path | None = "reports",
    figures: Collection[str] = (),
    progress: bool | None = None,
    command: str = "explorer.retry in Python",
    watcher: Watcher | None = None,
) -> pd.DataFrame:
    """Train the failed and crashed runs of a stored study again, and any missing ones, and rewrite its report.

    Args:
        study: Name of a stored study.
        storage: SQLite file or database URL.
        data_dir: Folder with the CIFAR-10 files.
        workers: Number of worker processes; one per core if not given.
        workers_per_gpu: Number of worker processes that share a GPU; one if not given.
        memory_limit: Memory that a worker process may use; see `sweep`.
        run_timeout: Time limit in seconds; see `sweep`. A longer limit gives runs that took too long another chance.
        cluster: A running Dask scheduler; see `sweep`.
        reports: Folder for reports, each in its own sub-folder. None skips the report.
        figures: Formats to save figures in besides SVG: `pdf`, `png`.
        progress: Whether to show a progress bar; by default, one is shown in terminals and notebooks.
        command: Command shown in the report.
        watcher: Receives the progress instead of the bar.

    Returns:
        The points of the study, in the same form as from `sweep`.

    Raises:
        ExplorerError: The study is unknown, its failed runs cannot be trained again because the images, torch or the
            training code have changed, or one of the errors of `sweep` occurs.
    """
    chosen, broken = Ledger(storage).studies.broken(study)
    if not chosen.size:
        raise ExplorerError(f"{study}: is a search, which chooses its runs itself; continue it with `explorer search`")
    return _trained(
        chosen,
        storage,
        reports,
        figures,
        progress,
        watcher,
        data_dir=data_dir,
        resources=Resources.read(workers, workers_per_gpu, memory_limit, run_timeout, cluster),
        command=command,
        again=broken,
    )


def _trained(
    chosen: Study,
    storage: str | Path,
    reports: str | Path | None,
    figures: Collection[str],
    progress: bool | None,
    watcher: Watcher | None,
    **how: Any,  # noqa: ANN401 (arguments of `run_studies`)
) -> pd.DataFrame:
    """Train a study, measure latencies that it makes claims about, and write its report."""
    if reports is not None:
        check_folder(Destination.checked(reports, figures).folder / chosen.name)
    with Bar.following(watcher, progress) as follower:
        (record,) = run_studies([chosen], storage=storage, watcher=follower, **how)
        latency_for_claims(record.study, storage, follower)
    return reported(record, storage, reports, figures)


def dry_run(
    study: Study | str | Path,
    *,
    data_dir: str | Path | None = None,
    workers: int | None = None,
    workers_per_gpu: int | None = None,
    cluster: Cluster | str | None = None,
    storage: str | Path | None = None,
    reports: str | Path | None = None,
    figures: Collection[str] = (),
) -> DryRun:
    """Plan a study without training it: prepare its data as `sweep` does, and time some of its networks.

    Args:
        study: A study, the name of a built-in study, or a file.
        data_dir: Folder with the CIFAR-10 files.
        workers: Number of worker processes to plan for; one per core if not given.
        workers_per_gpu: Number of worker processes that share a GPU; one if not given.
        cluster: A running Dask scheduler to plan for: all threads of its workers train.
        storage: SQLite file or database URL. Its write access is checked.
        reports: Folder for reports. Its write access is checked.
        figures: Figure formats to check.

    Raises:
        ExplorerError: For the same reasons as `sweep` before training.
    """
    check_written(storage, reports, figures)
    return planning.dry_run(
        study, data_dir=data_dir, resources=Resources.read(workers, workers_per_gpu, cluster=cluster)
    )
