"""Write reports on stored studies into a folder of reports with an index."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from explorer.analysis import Findings
from explorer.analysis.comparison import Comparison
from explorer.certification.coverage import find_certificate
from explorer.certification.model import Certificate
from explorer.certification.statistics import rankers
from explorer.drawing.formats import check_formats
from explorer.errors import ExplorerError, unknown
from explorer.files import check_folder, user_path
from explorer.machine import collection_paused
from explorer.networks.quantities import LATENCY, QUANTITIES, quantity_key, units
from explorer.reporting.answer import answer
from explorer.reporting.certificate import write_certificate
from explorer.reporting.comparison import statements, write_comparison
from explorer.reporting.index import write_index
from explorer.reporting.notes import rounds_note
from explorer.reporting.study import write_report
from explorer.reporting.trust import missing_points, trust
from explorer.storage.ledger import DEFAULT_STORAGE, Ledger


@dataclass(frozen=True)
class Destination:
    """A folder for reports, and the formats of their figures."""

    folder: Path
    formats: tuple[str, ...]

    @classmethod
    def checked(cls, reports: str | Path, figures: Collection[str]) -> Destination:
        """Raise `ExplorerError` if a format is unknown or the folder is not writable."""
        formats = check_formats(figures)
        folder = user_path(reports)
        check_folder(folder)
        return cls(folder, formats)


@dataclass(frozen=True)
class StudyReport:
    """The report of a study: the HTML page, the rows of `points.csv`, the number of unfinished runs and the answer.

    `points` also has the columns for fronts. `points.attrs` repeats the other fields, with the page as `report`, and
    adds the `units` of the columns. Those of a search have the `front` and the `best` point, by number.
    """

    study: str
    page: Path
    points: pd.DataFrame
    unfinished: int
    answer: str


@dataclass(frozen=True)
class ComparisonReport:
    """A report on several studies: the page, the result as sentences, the rows of `budgets.csv`, and the cost."""

    page: Path
    statements: list[str]
    budgets: pd.DataFrame
    comparable: bool
    cost: str


@dataclass(frozen=True)
class CertificateReport:
    """A certificate and its report: the HTML page, the result as sentences, and the rows of `rankers.csv`."""

    page: Path
    statements: list[str]
    certificate: Certificate
    rankers: pd.DataFrame


@collection_paused()
def report(
    study: str,
    *,
    storage: str | Path = DEFAULT_STORAGE,
    reports: str | Path = "reports",
    figures: Collection[str] = (),
) -> StudyReport:
    """Write the report of a study from its stored runs.

    Args:
        study: Name of a stored study, such as `squeeze_ratio@cifar10`.
        storage: SQLite file or database URL.
        reports: Folder for reports, each in its own sub-folder.
        figures: Formats to save figures in besides SVG: `pdf`, `png`.

    Raises:
        ExplorerError: The study or a format is unknown, or the folder is not writable.
    """
    destination = Destination.checked(reports, figures)
    ledger = Ledger(storage)
    record = ledger.studies.load(study)
    if record.points.empty:
        raise ExplorerError(f"{study}: the search was stopped before it proposed a point; run it again to go on")
    findings = Findings(record, ledger.latencies.of(study))
    certificate = find_certificate(record, map(Certificate.model_validate_json, ledger.certificates.all()))
    page = write_report(findings, destination.folder / study, certificate, ledger.tests.of(study), destination.formats)
    write_index(destination.folder)
    points, said = findings.points.copy(), " ".join(answer(findings))
    points.attrs |= {"study": study, "report": str(page), "answer": said, "unfinished": record.unfinished}
    points.attrs["trial"] = record.study.is_trial
    points.attrs["seeds_added"] = rounds_note(findings)
    points.attrs["units"] = units(map(str, points.columns))
    return StudyReport(study, page, points, record.unfinished, said)


def compare(
    studies: Sequence[str],
    *,
    against: str | None = None,
    storage: str | Path = DEFAULT_STORAGE,
    reports: str | Path = "reports",
    figures: Collection[str] = (),
    command: str = "explorer.compare in Python",
) -> ComparisonReport:
    """Write a report that shows which stored study is more accurate at equal cost, and how certain that is.

    Args:
        studies: Names of two or more stored studies.
        against: The cost, such as `params` or `latency_seconds`; by default FLOPs, or what the first study measures.
        storage: SQLite file or database URL.
        reports: Folder for reports, each in its own sub-folder.
        figures: Formats to save figures in besides SVG: `pdf`, `png`.
        command: The command shown in the report.

    Raises:
        ExplorerError: A study, the cost or a format is unknown, a study has no finished runs, the cost of a measured
            point is unknown, or latencies were measured under different conditions.
    """
    known = {key: one for key, one in QUANTITIES.items() if one.front or one.run_column}
    costs = [key for key, one in known.items() if not one.more_is_better]
    cost = None if against is None else quantity_key(against)
    if cost is not None and cost not in costs:
        raise unknown("cost", cost, costs)
    if len(studies) < 2 or len(set(studies)) < len(studies):  # noqa: PLR2004 (one cannot be compared)
        raise ExplorerError(f"compare {' '.join(studies)}: give two or more different studies")
    destination = Destination.checked(reports, figures)
    ledger = Ledger(storage)
    found = [Findings(ledger.studies.load(name), ledger.latencies.of(name)) for name in studies]
    cost = cost or next(iter(found[0].record.study.form.measures), "macs")
    for findings in found:
        _check_comparable(findings, cost)
    conditions = {findings.latency.conditions for findings in found if findings.latency}
    if cost == LATENCY.key and len(conditions) > 1:
        raise ExplorerError(
            f"--against {cost}: latencies were measured under different conditions: {'; '.join(sorted(conditions))}"
        )
    comparison = Comparison(found, cost)
    page = write_comparison(comparison, destination.folder / "-vs-".join(studies), command, destination.formats)
    write_index(destination.folder)
    comparable = comparison.same_images and not comparison.tells_nothing
    return ComparisonReport(page, statements(comparison), comparison.at_budgets, comparable, cost)


def report_certificate(certificate: Certificate, destination: Destination) -> CertificateReport:
    """Write the report of a certificate."""
    page = write_certificate(certificate, destination.folder / certificate.name, destination.formats)
    write_index(destination.folder)
    said = [*trust(certificate), *missing_points(certificate)]
    return CertificateReport(page, said, certificate, rankers(certificate))


def _check_comparable(findings: Findings, against: str) -> None:
    name = findings.record.study.name
    if findings.measured.empty:
        raise ExplorerError(f"{name}: no runs have finished, so there is nothing to compare")
    if against != LATENCY.key and against not in findings.costs:
        raise ExplorerError(f"--against {against}: not a cost of {name}, which has {' and '.join(findings.costs)}")
    if against not in findings.points or findings.measured[against].isna().any():
        raise ExplorerError(f"{name}: not all points have a {against}; `explorer latency {name}` measures latency")
