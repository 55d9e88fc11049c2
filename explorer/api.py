"""Functions that train: sweeps, searches and certificates."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd

from explorer.analysis import Findings
from explorer.certification.making import QUICK_BUDGET, QUICK_POINTS, certificate_study, make_certificate
from explorer.certification.model import FACTORS
from explorer.errors import ExplorerError, ReportFailed
from explorer.files import check_folder
from explorer.networks.quantities import read_count, units
from explorer.reporting.stored import CertificateReport, Destination, report, report_certificate
from explorer.reporting.view_note import annotate_view
from explorer.searching.asking import QUICK_IMAGES, asked_search
from explorer.searching.bar import SearchBar
from explorer.searching.budget import SearchBudget
from explorer.searching.searching import SearchWatcher, run_search
from explorer.storage.ledger import DEFAULT_STORAGE, Ledger
from explorer.storage.record import StudyRecord
from explorer.study.files import load_study
from explorer.study.model import Study
from explorer.sweeping import dry_run as planning
from explorer.sweeping.bar import Bar
from explorer.sweeping.dry_run import DryRun
from explorer.sweeping.sweeping import Watcher, run_studies
from explorer.training.cluster import Cluster
from explorer.training.recipe import Budget

FIRST = ("accuracy", "low", "high", "runs", "state")
"""Columns after the metaparameters in the frame of a sweep."""


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
        workers=workers,
        workers_per_gpu=workers_per_gpu,
        memory_limit=memory_limit,
        run_timeout=run_timeout,
        cluster=cluster,
        command=command,
    )


def search(
    space: str | Study | Path,
    preset: str | None = None,
    settings: Mapping[str, Any] | None = None,
    /,
    *,
    data: str | None = None,
    objectives: Sequence[str] | None = None,
    where: str | None = None,
    sampler: str | None = None,
    budget: Budget | str | None = None,
    seeds: int | None = None,
    seed: int = 0,
    time: float | None = None,
    runs: int | None = None,
    images: int | str | None = None,
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
    command: str = "explorer.search in Python",
    watcher: SearchWatcher | None = None,
    **metaparameters: Any,  # noqa: ANN401
) -> pd.DataFrame:
    """Search a space for the networks that are worth their cost, write the report, and return its points.

    Points are proposed by an Optuna sampler and trained at growing budgets; only those that can still be on the front
    go on. A stored search with the same settings goes on where it stopped.

    Args:
        space: Name of a space, or a study with a table `[search]`: its name, its file, or the study itself.
        preset: The preset that gives all metaparameters that are not searched.
        settings: What to search and what to fix, as `search_study` takes it; also as keywords.
        data: `cifar10`, `proxy`, or a folder of images in class sub-folders.
        objectives: Accuracy and the costs to trade it against.
        where: Limits, such as `"params < 200k and FLOPs <= 5M"`; nothing outside is trained.
        sampler: `tpe`, `gp`, `nsga2`, `nsga3`, `qmc` or `random`.
        budget: Images and epochs of the top rung, such as `10000x8`.
        seeds: Most seeds of a point; only points whose place on the front is undecided get more than one.
        seed: Seed of the proposals.
        time: Seconds to search for; 30 minutes if no limit is given.
        runs: Runs to make, including those of earlier calls.
        images: Training images to use, including those of earlier calls, such as `2M`.
        quick: Whether to do a trial run of about a minute, whose accuracies mean nothing.
        storage: SQLite file or database URL.
        data_dir: Folder with the CIFAR-10 files.
        workers: Number of worker processes; one per core if not given.
        workers_per_gpu: Number of worker processes that share a GPU; one if not given.
        memory_limit: Memory that a worker process may use; see `sweep`.
        run_timeout: Time limit of a run in seconds; see `sweep`.
        cluster: A running Dask scheduler; see `sweep`.
        reports: Folder for reports, each in its own sub-folder. None skips the report.
        figures: Formats to save figures in besides SVG: `pdf`, `png`.
        progress: Whether to show the progress; by default, it is shown in terminals and notebooks.
        command: Command shown in the report.
        watcher: Receives the progress instead.
        metaparameters: Settings as keywords.

    Returns:
        The proposed points, in the same form as from `sweep`. Only those with the state `done` have an accuracy; all of
        these have the same budget. `attrs` also has the `front`: the numbers of the points on the front of all
        objectives, cheapest first, and the number of the `best` one.

    Raises:
        ExplorerError: For unknown names, limits that no design meets, and a budget that is too small for one point.
    """
    given = {**(settings or {}), **metaparameters}
    options: dict[str, Any] = {"objectives": objectives, "where": where, "sampler": sampler, "budget": budget}
    study = asked_search(space, preset, given, data=data, seeds=seeds, seed=seed, quick=quick, **options)
    wanted = read_count("images", images) if images is not None else QUICK_IMAGES if quick and not time else None
    limit = SearchBudget(seconds=time, runs=runs, images=wanted)
    if reports is not None:
        check_folder(Destination.checked(reports, figures).folder / study.name)
    with SearchBar.following(watcher, progress) as follower:
        record = run_search(
            study,
            limit,
            storage=storage,
            data_dir=data_dir,
            workers=workers,
            workers_per_gpu=workers_per_gpu,
            memory_limit=memory_limit,
            run_timeout=run_timeout,
            cluster=cluster,
            command=command,
            watcher=follower,
        )
    return _reported(record, storage, reports, figures)


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
        workers=workers,
        workers_per_gpu=workers_per_gpu,
        memory_limit=memory_limit,
        run_timeout=run_timeout,
        cluster=cluster,
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
    """Train a study and write its report."""
    if reports is not None:
        check_folder(Destination.checked(reports, figures).folder / chosen.name)
    with Bar.following(watcher, progress) as follower:
        (record,) = run_studies([chosen], storage=storage, watcher=follower, **how)
    return _reported(record, storage, reports, figures)


def _reported(
    record: StudyRecord, storage: str | Path, reports: str | Path | None, figures: Collection[str]
) -> pd.DataFrame:
    """Write the report of a study that has been trained, and return its points."""
    if reports is not None:
        with _own_step(_report_command(record.study.name, storage, reports)):
            points = report(record.study.name, storage=storage, reports=reports, figures=figures).points
            annotate_view(points, storage)
    else:
        points = Findings(record).points.copy()
        points.attrs |= {"study": record.study.name, "unfinished": record.unfinished}
        points.attrs["units"] = units(map(str, points.columns))
    before = ["point", *record.metaparameters, *FIRST]
    return points[[*before, *(name for name in points.columns if name not in before)]]


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
    _check_written(storage, reports, figures)
    return planning.dry_run(study, data_dir=data_dir, workers=workers, workers_per_gpu=workers_per_gpu, cluster=cluster)


def _check_written(storage: str | Path | None, reports: str | Path | None, figures: Collection[str]) -> None:
    if reports is not None:
        Destination.checked(reports, figures)
    if storage is not None:
        Ledger(storage, create=True)


def certify(
    space: str,
    preset: str = "cifar",
    *,
    data: str = "proxy",
    budget: Budget | str | None = None,
    points: int = 32,
    seeds: int = 2,
    vary: Mapping[str, Any] | None = None,
    quick: bool = False,
    storage: str | Path = DEFAULT_STORAGE,
    data_dir: str | Path | None = None,
    workers: int | None = None,
    workers_per_gpu: int | None = None,
    memory_limit: int | str | None = None,
    run_timeout: float | None = None,
    cluster: Cluster | str | None = None,
    reports: str | Path = "reports",
    figures: Collection[str] = (),
    progress: bool | None = None,
    command: str = "explorer.certify in Python",
    watcher: Watcher | None = None,
) -> CertificateReport:
    """Measure whether the ranking of networks in short runs holds at 2, 4 and 8 times the budget.

    Only missing runs are trained. Reports on studies with the same space, data, recipe and budget show the result.

    Args:
        space: Name of the space.
        preset: Preset to draw points around.
        data: `cifar10`, `proxy`, or a folder of images in class sub-folders.
        budget: The budget to certify, which may be text such as `10000x2`; the default budget if not given.
        points: Number of design points. Studies only use certificates with 32 points or more.
        seeds: Number of runs per point and budget.
        vary: Metaparameters to vary in addition to the space's ranges, or with other ranges. Each has a list of values
            or a range as text, such as `{"bypass": ["none", "simple"], "squeeze_ratio": "0.1..0.5"}`.
        quick: Whether to do a trial run of a minute or two, which does not certify anything.
        storage: SQLite file or database URL.
        data_dir: Folder with the CIFAR-10 files.
        workers: Number of worker processes; one per core if not given.
        workers_per_gpu: Number of worker processes that share a GPU; one if not given.
        memory_limit: Memory that a worker process may use, in bytes or such as `2GiB`. By default, an equal share.
        run_timeout: Seconds before a run is stopped and retried, up to three attempts in total. By default, 20 times
            the estimate, but at least 10 minutes.
        cluster: A running Dask scheduler, such as `tcp://host:8786`, whose workers train instead of this machine.
        reports: Folder for reports, each in its own sub-folder.
        figures: Formats to save figures in besides SVG: `pdf`, `png`.
        progress: Whether to show a progress bar; by default, one is shown in terminals and notebooks.
        command: Command shown in the certificate.
        watcher: Receives the progress instead of the bar.

    Raises:
        ExplorerError: A name is unknown, there are too few points or seeds, or one of the errors of `sweep` occurs.
        ReportFailed: All runs are stored, but the report could not be written.
    """
    study = _certified(space, preset, data, budget, points, seeds, vary, quick=quick)
    destination = Destination.checked(reports, figures)
    with Bar.following(watcher, progress) as follower:
        certificate = make_certificate(
            study,
            storage=storage,
            data_dir=data_dir,
            workers=workers,
            workers_per_gpu=workers_per_gpu,
            memory_limit=memory_limit,
            run_timeout=run_timeout,
            cluster=cluster,
            command=command,
            watcher=follower,
        )
    with _own_step(command):
        return report_certificate(certificate, destination)


@contextmanager
def _own_step(again: str) -> Iterator[None]:
    """Wrap the report step after training. Its errors state that the runs are stored, and how to retry."""
    try:
        yield
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"stopped; the runs are stored, and `{again}` writes the report") from None
    except Exception as error:
        reason = str(error) if isinstance(error, ExplorerError) else f"{type(error).__name__}: {error}"
        raise ReportFailed(f"the runs are stored, but not their report: {reason}; retry with `{again}`") from error


def _report_command(study: str, storage: str | Path, reports: str | Path) -> str:
    again = ["python", "-m", "explorer", "report", study]
    again += [] if str(storage) == DEFAULT_STORAGE else ["--storage", str(storage)]
    again += [] if str(reports) == "reports" else ["--reports", str(reports)]
    return shlex.join(again)


def plan_certificate(
    space: str,
    preset: str = "cifar",
    *,
    data: str = "proxy",
    budget: Budget | str | None = None,
    points: int = 32,
    seeds: int = 2,
    vary: Mapping[str, Any] | None = None,
    quick: bool = False,
    data_dir: str | Path | None = None,
    workers: int | None = None,
    workers_per_gpu: int | None = None,
    cluster: Cluster | str | None = None,
    storage: str | Path | None = None,
    reports: str | Path | None = None,
    figures: Collection[str] = (),
) -> DryRun:
    """Plan a certificate without training it, like `dry_run` for a study. Takes the same arguments as `certify`."""
    _check_written(storage, reports, figures)
    study = _certified(space, preset, data, budget, points, seeds, vary, quick=quick)
    return planning.dry_run(
        study, data_dir=data_dir, workers=workers, workers_per_gpu=workers_per_gpu, cluster=cluster, factors=FACTORS
    )


def _certified(
    space: str,
    preset: str,
    data: str,
    budget: Budget | str | None,
    points: int,
    seeds: int,
    vary: Mapping[str, Any] | None,
    *,
    quick: bool,
) -> Study:
    if quick and budget is not None:
        raise ExplorerError(f"--budget {budget}: --quick has its own budget; drop one of them")
    chosen = QUICK_BUDGET if quick else Budget.read(budget) if isinstance(budget, str) else budget or Budget()
    return certificate_study(space, preset, data, chosen, QUICK_POINTS if quick else points, seeds, vary)
