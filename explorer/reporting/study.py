"""The report of a study: one self-contained page, with figures and tables as files beside it.

The same rows give the same bytes: there are no times and no random identifiers.
"""

from __future__ import annotations

import io
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import pandas as pd

from explorer.analysis import Findings
from explorer.analysis.claims import Judged, judge
from explorer.certification.model import Certificate
from explorer.drawing.figures import Panel
from explorer.drawing.formats import FOLDER
from explorer.reporting import study_figures
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
    interval_note,
    progress,
    space_note,
    tested_note,
    volume_notes,
)
from explorer.reporting.pages import data_files, environment, script, write_page
from explorer.reporting.tables import dropped_points, how_measured, measured_points, trained_runs
from explorer.reporting.trust import no_certificate, trust


def write_report(
    findings: Findings,
    folder: Path,
    certificate: Certificate | None = None,
    tests: pd.DataFrame | None = None,
    formats: Collection[str] = (),
) -> Path:
    """Write `report.html`, the tables as CSV and Parquet, and the figures; return the path of the page.

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
    panels, judged = study_figures.draw(findings), judge(findings)
    tables = {"points": findings.table, "runs": findings.runs}
    files = data_files(tables, panels.values(), formats)
    for name, table in tables.items():
        table.to_parquet(buffer := io.BytesIO(), index=False)
        files[f"{name}.parquet"] = buffer.getvalue()
    study, shown = findings.record.study, next(name for name in ("map", "curve", "front_params") if name in panels)
    summary = Summary(
        name=study.name,
        title=study.title,
        answer=" ".join(answer(findings)),
        progress=progress(findings.record)[1],
        day=_day(findings),
        figure=f"{FOLDER}/{shown}.svg",
        verdicts=tuple(one.verdict for one in judged),
    )
    page = render(findings, judged, panels, certificate, tests)
    return files | {SUMMARY: summary.as_bytes(), "report.html": page.encode()}


def render(
    findings: Findings,
    judged: Sequence[Judged],
    panels: Mapping[str, Panel],
    certificate: Certificate | None = None,
    tests: pd.DataFrame | None = None,
) -> str:
    """Return the page, given the judged claims and the figures."""
    record = findings.record
    factor = certificate.factor_of(record) if certificate else None
    view = None if findings.measured.empty else FrontView(findings)
    notes = (changed_note(findings), space_note(record), enlarged_note(record), interval_note(findings))
    code, code_hash = script("report.js")
    return (
        environment()
        .get_template("report.html.j2")
        .render(
            study=record.study,
            day=_day(findings),
            answer=answer(findings),
            progress=progress(record),
            judged=[(one, evidence(one, findings)) for one in judged],
            view=view,
            data=front_data(view) if view else "",
            script=code,
            script_hash=code_hash,
            more=more(findings),
            panels=panels,
            fronts=[panels[name] for name in panels if name.startswith("front_")],
            first=[panels[name] for name in ("map", "curve", "published") if name in panels],
            details=details(findings, panels),
            volumes=volume_notes(findings),
            tested=tested_note(findings, tests),
            notes=list(filter(None, notes)),
            cost=cost_note(findings.effort),
            tables={
                "points": measured_points(findings),
                "dropped": dropped_points(findings),
                "runs": trained_runs(findings.runs),
            },
            trust=trust(certificate, factor) if certificate and factor else [no_certificate(record)],
            measured=how_measured(findings),
            command=record.command,
            versions=record.versions,
            machine=record.machine,
        )
    )


def _day(findings: Findings) -> str:
    return "" if findings.effort is None else f"{findings.effort.last:%Y-%m-%d}"
