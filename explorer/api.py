"""The functions that train: sweeps and certificates."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import pandas as pd

from explorer.analysis import summarise
from explorer.certification.making import QUICK_BUDGET, QUICK_POINTS, certificate_study, make_certificate
from explorer.errors import ExplorerError
from explorer.reporting.stored import CertificateReport, Destination, StudyReport, report, report_certificate
from explorer.storage.ledger import DEFAULT_STORAGE
from explorer.study.files import load_study
from explorer.study.model import Study
from explorer.sweeping.sweeping import Watcher, run_studies
from explorer.training.recipe import Budget


def sweep(
    study: Study | str | Path,
    *,
    storage: str | Path = DEFAULT_STORAGE,
    data_dir: Path | None = None,
    workers: int | None = None,
    watcher: Watcher | None = None,
) -> pd.DataFrame:
    """Train the missing runs of a study.

    In a script, call it under `if __name__ == "__main__":`, because the workers import the script; not needed in
    notebooks.

    Args:
        study: A study, the name of a built-in one, or a file; `load_study` gives one with other settings.
        storage: SQLite file or database URL.
        data_dir: Folder with the files of CIFAR-10.
        workers: Processes that train; one per core if not given.
        watcher: Follows the progress.

    Returns:
        One row for each point, as `explorer.analysis.summarise` describes it.

    Raises:
        ExplorerError: The study or data set is unknown, it has fewer images than the study asks for, or another process
            writes to the storage.
    """
    command = "explorer.sweep in Python"
    (record,) = run_studies(
        [_loaded(study)], storage=storage, data_dir=data_dir, workers=workers, command=command, watcher=watcher
    )
    return summarise(record)


def sweep_and_report(
    study: Study | str | Path,
    *,
    storage: str | Path = DEFAULT_STORAGE,
    data_dir: Path | None = None,
    workers: int | None = None,
    reports: str | Path = "reports",
    figures: Collection[str] = (),
    command: str = "explorer.sweep_and_report in Python",
    watcher: Watcher | None = None,
) -> StudyReport:
    """Train the missing runs of a study and write its report, as the command `sweep` does.

    The arguments are those of `sweep` and `report`; `command` is what the report shows as its command.

    Raises:
        ExplorerError: As for `sweep`; also, before training, if a format is unknown or the folder cannot be written.
    """
    Destination.checked(reports, figures)
    (record,) = run_studies(
        [_loaded(study)], storage=storage, data_dir=data_dir, workers=workers, command=command, watcher=watcher
    )
    return report(record.study.name, storage=storage, reports=reports, figures=figures)


def certify(
    space: str,
    preset: str = "cifar",
    *,
    data: str = "proxy",
    budget: Budget | str | None = None,
    points: int = 32,
    seeds: int = 2,
    quick: bool = False,
    storage: str | Path = DEFAULT_STORAGE,
    data_dir: Path | None = None,
    workers: int | None = None,
    reports: str | Path = "reports",
    figures: Collection[str] = (),
    command: str = "explorer.certify in Python",
    watcher: Watcher | None = None,
) -> CertificateReport:
    """Measure whether the ranking of short runs of a space holds at 2, 4 and 8 times the budget.

    Missing runs are trained. Reports of studies with this space, data, recipe and budget show the result.

    Args:
        space: Name of the space.
        preset: The preset that points are drawn around.
        data: `cifar10`, `proxy`, or a folder of images in class sub-folders.
        budget: The budget to certify, or text such as `10000x2`; the default budget if not given.
        points: Design points; studies use certificates of 32 or more.
        seeds: Runs of each point at each budget.
        quick: Whether to try everything in a minute or two, which certifies nothing.
        storage: SQLite file or database URL.
        data_dir: Folder with the files of CIFAR-10.
        workers: Processes that train; one per core if not given.
        reports: Folder for reports; each has its own folder there.
        figures: Formats to save figures in besides SVG: `pdf`, `png`.
        command: What the certificate shows as its command.
        watcher: Follows the progress.

    Raises:
        ExplorerError: A name is unknown, points or seeds are too few, or as for `sweep_and_report`.
    """
    if quick and budget is not None:
        raise ExplorerError(f"--budget {budget}: --quick has its own budget; drop one of them")
    chosen = QUICK_BUDGET if quick else Budget.read(budget) if isinstance(budget, str) else budget or Budget()
    study = certificate_study(space, preset, data, chosen, QUICK_POINTS if quick else points, seeds)
    destination = Destination.checked(reports, figures)
    certificate = make_certificate(
        study, storage=storage, data_dir=data_dir, workers=workers, command=command, watcher=watcher
    )
    return report_certificate(certificate, destination)


def _loaded(study: Study | str | Path) -> Study:
    return study if isinstance(study, Study) else load_study(study)
