"""The report as the last step of training, which may fail without losing anything."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

import pandas as pd

from explorer.analysis import Findings
from explorer.errors import ExplorerError, ReportFailed
from explorer.networks.quantities import units
from explorer.reporting.stored import Destination, report
from explorer.reporting.view_note import annotate_view
from explorer.storage.ledger import DEFAULT_STORAGE, Ledger
from explorer.storage.record import StudyRecord

FIRST = ("accuracy", "low", "high", "runs", "state")
"""Columns after the metaparameters in the frame of a sweep."""


def reported(
    record: StudyRecord, storage: str | Path, reports: str | Path | None, figures: Collection[str]
) -> pd.DataFrame:
    """Write the report of a study that has been trained, and return its points."""
    if reports is not None:
        with own_step(_report_command(record.study.name, storage, reports)):
            points = report(record.study.name, storage=storage, reports=reports, figures=figures).points
            annotate_view(points, storage)
    else:
        points = Findings(record).points.copy()
        points.attrs |= {"study": record.study.name, "unfinished": record.unfinished}
        points.attrs["units"] = units(map(str, points.columns))
    before = ["point", *record.metaparameters, *FIRST]
    return points[[*before, *(name for name in points.columns if name not in before)]]


@contextmanager
def own_step(again: str) -> Iterator[None]:
    """Wrap the report step after training. Its errors state that the runs are stored, and how to retry."""
    try:
        yield
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"stopped; the runs are stored, and `{again}` writes the report") from None
    except Exception as error:
        reason = str(error) if isinstance(error, ExplorerError) else f"{type(error).__name__}: {error}"
        raise ReportFailed(f"the runs are stored, but not their report: {reason}; retry with `{again}`") from error


def check_written(storage: str | Path | None, reports: str | Path | None, figures: Collection[str]) -> None:
    """Raise `ExplorerError` if the folder for reports or the storage cannot be written."""
    if reports is not None:
        Destination.checked(reports, figures)
    if storage is not None:
        Ledger(storage, create=True)


def _report_command(study: str, storage: str | Path, reports: str | Path) -> str:
    again = ["python", "-m", "explorer", "report", study]
    again += [] if str(storage) == DEFAULT_STORAGE else ["--storage", str(storage)]
    again += [] if str(reports) == "reports" else ["--reports", str(reports)]
    return shlex.join(again)
