"""The index of a folder of reports, newest first, with figures, answers and dates, and the methodology page."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import get_args

from pydantic import BaseModel, ConfigDict, ValidationError

from explorer.analysis.claims import Verdict
from explorer.files import write_file
from explorer.reporting.methodology import PAGE, methodology
from explorer.reporting.pages import render

SUMMARY = "summary.json"


class Summary(BaseModel):
    """The entry of a report. `figure` is the path of its thumbnail, and `day` the date when its last run finished."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    title: str
    answer: str
    figure: str
    progress: str = ""
    day: str = ""
    verdicts: tuple[str, ...] = ()
    """One verdict per claim, such as `refuted at 20,000 images`."""

    @property
    def claims(self) -> str:
        """Count the verdicts: `2 supported, 1 undecided at 20,000 images`."""
        parts = [verdict.partition(" at ") for verdict in self.verdicts]
        counts = Counter(verdict for verdict, _, _ in parts)
        found = ", ".join(f"{counts[verdict]} {verdict}" for verdict in get_args(Verdict) if counts[verdict])
        budgets = dict.fromkeys(budget for _, _, budget in parts if budget)
        return f"{found} at {', '.join(budgets)}" if budgets else found

    def as_bytes(self) -> bytes:
        """Return the content of `summary.json`."""
        return f"{self.model_dump_json(indent=1)}\n".encode()


def write_index(reports: Path) -> Path:
    """Write `index.html` from the summaries in the sub-folders, and `methodology.html`. Return the path of the index.

    Sub-folders without a summary that this version can read are skipped.
    """
    found = []
    for file in sorted(reports.glob(f"*/{SUMMARY}")):
        try:
            found.append((file.parent.name, Summary.model_validate_json(file.read_bytes())))
        except ValidationError:
            continue
    found.sort(key=lambda one: one[1].day, reverse=True)
    page = render("index.html.j2", reports=found, images="'self' data: file:")
    write_file(reports / PAGE, methodology())
    write_file(reports / "index.html", page)
    return reports / "index.html"
