"""The report of a study: a self-contained page, with figures and tables as files next to it.

The same rows give the same bytes, because pages contain no timestamps or random identifiers.
"""

from __future__ import annotations

import io
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from explorer.analysis import Findings, published_source
from explorer.analysis.claims import Judged, judge
from explorer.certification.model import Certificate
from explorer.drawing.figures import Panel
from explorer.drawing.formats import FOLDER
from explorer.reporting.answer import answer, more
from explorer.reporting.details import details
from explorer.reporting.front_data import front_data
from explorer.reporting.front_view import FrontView
from explorer.reporting.index import SUMMARY, Summary
from explorer.reporting.notes import (
    changed_note,
    cost_note,
    enlarged_note,
    evidence,
    frozen_note,
    interval_note,
    progress,
    rounds_note,
    small_maps_note,
    space_note,
    start_cost_note,
    tested_note,
    verdict,
    volume_notes,
)
from explorer.reporting.pages import data_files, render, write_page
from explorer.reporting.prose import papers
from explorer.reporting.search import SearchCourse, search_course
from explorer.reporting.setting import data_name, last_day, setting
from explorer.reporting.study_figures import further_figure, main_figure, paper_figure
from explorer.reporting.tables import how_measured, measured_points, trained_runs
from explorer.reporting.trust import not_certified, plainly, settled_by, trust

SECTIONS = {
    "costs": "Accuracy and cost",
    "points": "Points",
    "search": "The search",
    "trust": "How far to trust it",
    "statistics": "Statistics",
    "runs": "Runs",
    "measured": "How it was measured",
    "files": "Files and sources",
}


def write_report(
    findings: Findings,
    folder: Path,
    certificate: Certificate | None = None,
    tests: pd.DataFrame | None = None,
    formats: Collection[str] = (),
) -> Path:
    """Write `report.html`, the tables as CSV and Parquet, and the figures. Return the path of the page.

    Args:
        findings: The analysis of the study.
        folder: The folder to write to.
        certificate: The certificate that covers the study.
        tests: Test accuracies from `ledger.tests.of`.
        formats: Formats to save figures in besides SVG: `pdf`, `png`.
    """
    return write_page(report_files(findings, certificate, tests, formats), folder)


def report_files(
    findings: Findings,
    certificate: Certificate | None = None,
    tests: pd.DataFrame | None = None,
    formats: Collection[str] = (),
) -> dict[str, bytes]:
    """Return the files of a report by name."""
    study = findings.record.study
    found = (draw(findings) for draw in (main_figure, further_figure, paper_figure))
    panels = [panel for panel in found if panel]
    judged = [] if study.is_trial else judge(findings)
    course = None if study.is_trial else search_course(findings)
    tables = {"points": findings.table, "runs": findings.runs}
    if study.form.grows:
        tables["rungs"] = findings.ended
    files = data_files(tables, [*panels, *(course.panels if course else [])], formats)
    for name, table in tables.items():
        table.to_parquet(buffer := io.BytesIO(), index=False, engine="pyarrow")
        files[f"{name}.parquet"] = buffer.getvalue()
    summary = Summary(
        name=study.name,
        title=study.title,
        answer=" ".join(answer(findings)),
        progress=progress(findings.record)[1],
        day=last_day(findings),
        figure=f"{FOLDER}/{panels[0].name}.svg",
        verdicts=tuple(verdict(one, findings) for one in judged),
    )
    page = _page(findings, judged, panels, course, list(files), certificate, tests)
    return files | {SUMMARY: summary.as_bytes(), "report.html": page}


def _page(
    findings: Findings,
    judged: Sequence[Judged],
    panels: Sequence[Panel],
    course: SearchCourse | None,
    files: Sequence[str],
    certificate: Certificate | None,
    tests: pd.DataFrame | None,
) -> bytes:
    """Return the page for these judged claims and figures, with the names of the files next to it."""
    record, study = findings.record, findings.record.study
    sizes = (enlarged_note(record), small_maps_note(record))
    notes = (frozen_note(findings), rounds_note(findings), changed_note(findings), space_note(record), *sizes)
    shared: dict[str, Any] = {
        "study": study,
        "data": data_name(study.data),
        "setting": setting(findings),
        "progress": progress(record),
        "notes": list(filter(None, notes)),
        "cost": " ".join(filter(None, [cost_note(findings.effort), start_cost_note(record)])),
        "runs": trained_runs(findings.runs, search=study.form.grows),
        "measured_facts": how_measured(findings),
        "command_text": record.command,
        "versions": record.versions,
        "machine": record.machine,
        "file_names": files,
        "papers": papers(_sources(findings)),
    }
    if study.is_trial:
        return render(
            "trial.html.j2",
            trial=" ".join(answer(findings)),
            panel=replace(panels[0], caption="What a trial run draws."),
            points=measured_points(findings, trial=True),
            **shared,
        )
    factor = certificate.factor_of(record) if certificate else None
    view = None if findings.measured.empty or findings.tells_nothing else FrontView(findings)
    shown = view if view and view.first else None
    points = measured_points(findings)
    missing = {name for name, part in {"costs": shown, "points": points.rows, "search": course}.items() if not part}
    return render(
        "report.html.j2",
        scripts=["report.js"] if shown else [],
        answer=answer(findings),
        trained_claims=study.latency_claims != study.claims,
        judged=[(one, verdict(one, findings), evidence(one, findings)) for one in judged],
        view=shown,
        front_data=front_data(shown) if shown else "",
        more=more(findings),
        panels=panels,
        course=course,
        sections={name: title for name, title in SECTIONS.items() if name not in missing},
        details=details(findings),
        volumes=volume_notes(findings),
        tested=tested_note(findings, tests),
        intervals=interval_note(findings),
        points=points,
        ranked=plainly(certificate, factor) if certificate and factor else "",
        settled=settled_by(record, certificate),
        trust=trust(certificate, factor) if certificate and factor else [],
        not_certified=not_certified(record, certificate),
        **shared,
    )


def _sources(findings: Findings) -> list[str]:
    """Return the sources of the claims and of the published curve."""
    study = findings.record.study
    published = [published_source(study.plot.published)] if study.plot.published else []
    return [*(claim.source for claim in study.claims), *published]
