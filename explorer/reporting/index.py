"""The index of a folder of reports: each with its figure, its answer and its date, the newest first."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from explorer.files import write_file
from explorer.reporting.pages import environment

SUMMARY = "summary.json"


class Summary(BaseModel):
    """What a report says of itself: `figure` is the path of its thumbnail beside the page, `day` is when the last run ended."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    title: str
    answer: str
    progress: str
    day: str
    figure: str
    verdicts: list[str]

    def as_bytes(self) -> bytes:
        """The content of its file."""
        return f"{self.model_dump_json(indent=1)}\n".encode()


def write_index(reports: Path) -> Path:
    """Writes `index.html` into a folder of reports, from the summaries that are in its sub-folders; returns its path.

    A sub-folder without a report is passed over, and so is one whose summary is not one of this version's.
    """
    found = []
    for file in sorted(reports.glob(f"*/{SUMMARY}")):
        try:
            found.append((file.parent.name, Summary.model_validate_json(file.read_bytes())))
        except ValidationError:
            continue
    found.sort(key=lambda one: one[1].day, reverse=True)
    page = environment().get_template("index.html.j2").render(reports=found, images="'self' data: file:")
    write_file(reports / "index.html", page.encode())
    return reports / "index.html"
