"""Add the answer, the path of the report and the intervals to a study's Optuna view once its report is written."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from explorer.errors import ExplorerError
from explorer.storage.database import log
from explorer.storage.ledger import Ledger

MOST_ROWS = 50  # rows in the table of the note, most accurate first


def annotate_view(points: pd.DataFrame, storage: str | Path) -> None:
    """Add the answer, the path of the report and the intervals to a study's view, given the `points` of its report.

    If this fails, the reason is only logged, because the view is just a convenience.
    """
    from explorer.storage.optuna_view import annotate

    report = str(Path(points.attrs["report"]).absolute())
    try:
        ledger = Ledger(storage)
        with ledger.writing(points.attrs["study"]):
            annotate(ledger, points.attrs["study"], report, note(points, report), intervals(points))
    except ExplorerError as error:
        log.warning("%s; the Optuna view has no answer and no intervals", error)


def note(points: pd.DataFrame, report: str) -> str:
    """Return the answer, the path of the report and the points with their intervals as Markdown."""
    measured = points[points["accuracy"].notna()].sort_values("accuracy", ascending=False, kind="stable")
    found = intervals(points)
    rows = [
        f"| {_cell(row['label'])} | {row['accuracy']:.1%} | {found.get(row['point'], '-')} |"
        for row in measured.head(MOST_ROWS).to_dict(orient="records")
    ]
    table = ["| point | accuracy | 95 % interval |", "|---|---|---|", *rows] if rows else []
    return "\n".join([points.attrs["answer"], "", f"Report: `{report}`", "", *table])


def intervals(points: pd.DataFrame) -> Mapping[int, str]:
    """Return the 95 % intervals of the accuracies, by point."""
    known = points[points["low"].notna() & points["high"].notna()]
    rows = known.to_dict(orient="records")
    return {int(row["point"]): f"{row['low']:.1%} to {row['high']:.1%}" for row in rows}


def _cell(text: object) -> str:
    return str(text).replace("|", "\\|")
