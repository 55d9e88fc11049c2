"""A study's report: one self-contained page, with its figures and tables as files beside it.

Everything is made from stored rows, without torch, and the same rows give the same bytes: no time, no random identifier.
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
from explorer.reporting.pages import environment, script, write_page
from explorer.reporting.tables import dropped_points, how_measured, measured_points, trained_runs
from explorer.reporting.trust import no_certificate, trust
from explorer.storage.record import StudyRecord


def write_report(
    findings: Findings,
    folder: Path,
    certificate: Certificate | None = None,
    tests: pd.DataFrame | None = None,
    formats: Collection[str] = (),
) -> Path:
    """Writes `report.html`, the tables as CSV and Parquet, and the figures into a folder; returns the page's path.

    Args:
        findings: What is computed of the study.
        folder: Where the files go.
        certificate: The one that covers the study, if there is any.
        tests: The test accuracies, as `ledger.tests.of` returns them.
        formats: In which of `pdf` and `png` figures are saved, beside SVG.
    """
    return write_page(report_files(findings, certificate, tests, formats), folder)


def report_files(
    findings: Findings,
    certificate: Certificate | None = None,
    tests: pd.DataFrame | None = None,
    formats: Collection[str] = (),
) -> dict[str, bytes]:
    """The files of a report by name."""
    panels, judged = study_figures.draw(findings), judge(findings)
    files = {}
    for name, table in (("points", findings.table), ("runs", findings.runs)):
        files[f"{name}.csv"] = table.to_csv(index=False, lineterminator="\n").encode()
        buffer = io.BytesIO()
        table.to_parquet(buffer, index=False)
        files[f"{name}.parquet"] = buffer.getvalue()
    for panel in panels.values():
        files |= panel.files(formats)
    files[SUMMARY] = _summary(findings, judged, panels)
    return files | {"report.html": render(findings, judged, panels, certificate, tests).encode()}


def render(
    findings: Findings,
    judged: Sequence[Judged],
    panels: Mapping[str, Panel],
    certificate: Certificate | None = None,
    tests: pd.DataFrame | None = None,
) -> str:
    """The page, around claims that are judged and figures that are drawn already."""
    record, found = findings.record, details(findings, panels)
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
            details=found,
            volumes=volume_notes(findings),
            tested=tested_note(findings, tests),
            notes=list(filter(None, notes)),
            cost=cost_note(findings.effort),
            tables={
                "points": measured_points(findings),
                "dropped": dropped_points(findings),
                "runs": trained_runs(findings.runs),
            },
            trust=_trust(record, certificate),
            measured=how_measured(findings),
            command=record.command,
            versions=record.versions,
            machine=record.machine,
        )
    )


def _trust(record: StudyRecord, certificate: Certificate | None) -> list[str]:
    factor = certificate.factor_of(record) if certificate else None
    return trust(certificate, factor) if certificate and factor else [no_certificate(record)]


def _day(findings: Findings) -> str:
    return "" if findings.effort is None else f"{findings.effort.last:%Y-%m-%d}"


def _summary(findings: Findings, judged: Sequence[Judged], panels: Mapping[str, Panel]) -> bytes:
    """What an index of reports shows of this one."""
    study = findings.record.study
    shown = next(name for name in ("map", "curve", "front_params") if name in panels)
    return Summary(
        name=study.name,
        title=study.title,
        answer=" ".join(answer(findings)),
        progress=progress(findings.record)[1],
        day=_day(findings),
        figure=f"{FOLDER}/{shown}.svg",
        verdicts=[one.verdict for one in judged],
    ).as_bytes()
