"""What trains: a sweep, its report, and a certificate."""

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
from explorer.sweeping.sweeping import Watcher, run_study
from explorer.training.recipe import Budget


def sweep(
    study: Study | str | Path,
    *,
    storage: str | Path = DEFAULT_STORAGE,
    data_dir: Path | None = None,
    workers: int | None = None,
    watcher: Watcher | None = None,
) -> pd.DataFrame:
    """Train what is missing of a study.

    In a script, call it under `if __name__ == "__main__":`, because the workers import the script; notebooks need no such guard.

    Args:
        study: A study, the name of a built-in one, or a file; `load_study` gives one with other settings.
        storage: SQLite file or database URL.
        data_dir: Folder with the files of CIFAR-10.
        workers: Processes that train; one a core if not given.
        watcher: Follows the progress.

    Returns:
        One row for each point, as `explorer.analysis.summarise` describes it.

    Raises:
        ExplorerError: For an unknown study or data set, more images than there are, or a storage that another process writes to.
    """
    command = "explorer.sweep in Python"
    chosen = study if isinstance(study, Study) else load_study(study)
    record = run_study(chosen, storage=storage, data_dir=data_dir, workers=workers, command=command, watcher=watcher)
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
    """Train what is missing of a study and write its report, as the command `sweep` does.

    The arguments are those of `sweep` and `report`; `command` is what the report gives as its origin.

    Raises:
        ExplorerError: As for `sweep`, and for an unknown format or a folder that cannot be written, before anything is trained.
    """
    Destination.checked(reports, figures)
    chosen = study if isinstance(study, Study) else load_study(study)
    record = run_study(chosen, storage=storage, data_dir=data_dir, workers=workers, command=command, watcher=watcher)
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
    """Measure how far short runs of a space can be trusted: does their ranking hold at 2, 4 and 8 times the budget?

    What is missing is trained. Reports of studies with this space, data, recipe and budget show the result.

    Args:
        space: Name of the space.
        preset: The preset that points are drawn around.
        data: `cifar10`, `proxy`, or a folder of images in class sub-folders.
        budget: The budget that is certified, also as text such as `10000x2`; the default one if not given.
        points: Design points; studies go by certificates of 32 or more.
        seeds: Trainings of every point at every budget.
        quick: Whether to try the whole chain in a minute or two, which certifies nothing.
        storage: SQLite file or database URL.
        data_dir: Folder with the files of CIFAR-10.
        workers: Processes that train; one a core if not given.
        reports: Folder that the report's own folder is made in.
        figures: Formats that figures are saved in beside SVG: `pdf`, `png`.
        command: What the certificate gives as its origin.
        watcher: Follows the progress.

    Raises:
        ExplorerError: For unknown names, for points or seeds that are too few, and as for `sweep_and_report`.
    """
    if quick and budget is not None:
        raise ExplorerError(f"--budget {budget}: --quick has a budget of its own; drop one of them")
    chosen = QUICK_BUDGET if quick else Budget.read(budget) if isinstance(budget, str) else budget or Budget()
    study = certificate_study(space, preset, data, chosen, QUICK_POINTS if quick else points, seeds)
    destination = Destination.checked(reports, figures)
    certificate = make_certificate(
        study, storage=storage, data_dir=data_dir, workers=workers, command=command, watcher=watcher
    )
    return report_certificate(certificate, destination)
