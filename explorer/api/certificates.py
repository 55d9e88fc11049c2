"""Certify short runs."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from explorer.api.reports import check_written, own_step
from explorer.certification.making import QUICK_BUDGET, QUICK_POINTS, certificate_study, make_certificate
from explorer.certification.model import FACTORS
from explorer.errors import ExplorerError
from explorer.reporting.stored import CertificateReport, Destination, report_certificate
from explorer.storage.ledger import DEFAULT_STORAGE
from explorer.study.model import Study
from explorer.sweeping import dry_run as planning
from explorer.sweeping.bar import Bar
from explorer.sweeping.dry_run import DryRun
from explorer.sweeping.resources import Resources
from explorer.sweeping.sweeping import Watcher
from explorer.training.cluster import Cluster
from explorer.training.recipe import Budget


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
        points: Number of design points. Studies only use certificates with 24 points or more.
        seeds: Number of runs per point and budget.
        vary: Metaparameters to vary in addition to the space's ranges, or with different ranges. Each has a list of
            values or a range as text, such as `{"bypass": ["none", "simple"], "squeeze_ratio": "0.1..0.5"}`.
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
            resources=Resources.read(workers, workers_per_gpu, memory_limit, run_timeout, cluster),
            command=command,
            watcher=follower,
        )
    with own_step(command):
        return report_certificate(certificate, destination)


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
    check_written(storage, reports, figures)
    study = _certified(space, preset, data, budget, points, seeds, vary, quick=quick)
    return planning.dry_run(
        study,
        data_dir=data_dir,
        resources=Resources.read(workers, workers_per_gpu, cluster=cluster),
        factors=FACTORS,
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
