"""A study's report: one self-contained page with its figures and tables, and these as files beside it.

Everything is made from stored rows, without torch, and the same rows give the same bytes: no time, no random identifier.
"""

from __future__ import annotations

import io
import os
import re
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import matplotlib as mpl
import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from explorer import analysis, maps, plots
from explorer.certificate import Certificate
from explorer.errors import ExplorerError
from explorer.record import StudyRecord
from explorer.report_tables import dropped_points, how_measured, measured_points, trained_runs
from explorer.sentences import COSTS, answer, enlarged_note, interval_note, no_certificate, progress, ratio_note, trust

PANEL_INCHES = (4.2, 3.3)  # small, so that its type is still read on a phone
TALL_INCHES = (4.2, 4.6)  # for maps, and for lines that lie close together


@dataclass(frozen=True)
class Panel:
    """A figure: its file's name without the ending, what stands above and below it, and its SVG."""

    name: str
    title: str
    caption: str
    svg: str

    @property
    def inline(self) -> Markup:
        """The SVG as a part of a page: named for those who do not see it, its identifiers its own."""
        body = self.svg[self.svg.index("<svg") :]
        body = re.sub(r"<!--.*?-->|<metadata>.*?</metadata>|<style[^>]*>.*?</style>", "", body, flags=re.DOTALL)
        body = re.sub(
            r"<[^>]+>", lambda tag: re.sub(r'( id="|url\(#|href="#)', rf"\g<1>{self.name}-", tag.group()), body
        )
        body = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", body, count=1)
        body = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", body, count=1)
        name = Markup('<svg role="img" aria-label="{}" ').format(self.title)
        return Markup(re.sub(r"\n\s*", "\n", body.replace("<svg ", str(name), 1)))  # noqa: S704 (drawn here, its texts escaped)


def write_report(record: StudyRecord, folder: Path, certificate: Certificate | None = None) -> Path:
    """Writes `report.html`, the tables as CSV and Parquet and the figures as SVG into a folder; returns the page's path.

    `certificate` is the one that covers the study, if there is any.
    """
    check_folder(folder)
    return write_files(report_files(record, certificate), folder)


def write_files(files: Mapping[str, bytes], folder: Path) -> Path:
    """Writes a report's files into a folder and returns its page's path; a failure leaves the report as it was."""
    check_folder(folder)
    drafts = {name: folder / f".{name}.partial" for name in files}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            drafts[name].write_bytes(content)
        for name, draft in drafts.items():
            draft.replace(folder / name)
    except OSError as error:
        raise ExplorerError(f"report {folder}: cannot be written: {error.strerror}") from None
    finally:
        for draft in drafts.values():
            draft.unlink(missing_ok=True)
    return folder / "report.html"


def check_folder(folder: Path) -> None:
    """Raises `ExplorerError` where no report could be written to the folder, before anything is trained for one."""
    nearest = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    if not nearest.is_dir() or not os.access(nearest, os.W_OK):
        reason = "Permission denied" if nearest.is_dir() else "Not a directory"
        raise ExplorerError(f"report {folder}: cannot be written: {reason}: {nearest}")


def report_files(record: StudyRecord, certificate: Certificate | None = None) -> dict[str, bytes]:
    """The files of a report by name, `report.html` last."""
    points, runs = analysis.points_table(record), analysis.runs_table(record)
    panels = draw_panels(record)
    files = {}
    for name, table in (("points", points), ("runs", runs)):
        files[f"{name}.csv"] = table.to_csv(index=False, lineterminator="\n").encode()
        buffer = io.BytesIO()
        table.to_parquet(buffer, index=False)
        files[f"{name}.parquet"] = buffer.getvalue()
    files |= {f"{name}.svg": panel.svg.encode() for name, panel in panels.items()}
    return files | {"report.html": render(record, panels, certificate).encode()}


def environment() -> Environment:
    """What makes pages of the templates: all that they are given is escaped."""
    return Environment(
        loader=PackageLoader("explorer"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def render(record: StudyRecord, panels: Mapping[str, Panel], certificate: Certificate | None = None) -> str:
    """The page, around figures that are drawn already."""
    summary = analysis.points_table(record)
    return (
        environment()
        .get_template("report.html.j2")
        .render(
            study=record.study,
            answer=answer(record),
            progress=progress(record),
            panels=panels,
            first=[panels[name] for name in ("map", "curve", "published") if name in panels],
            notes=[note for note in (ratio_note(record), enlarged_note(record), interval_note(record)) if note],
            tables={
                "points": measured_points(record, summary),
                "dropped": dropped_points(record, summary),
                "runs": trained_runs(analysis.runs_table(record)),
            },
            trust=trust(certificate) if certificate else [no_certificate(record)],
            measured=how_measured(record),
            command=record.command,
            versions=record.versions,
            machine=record.machine,
        )
    )


def draw_panels(record: StudyRecord) -> dict[str, Panel]:
    """The figures by name: `curve`, `front_params`, `front_macs`, `learning_curves`, and `map` and `published` where there is one."""
    summary = analysis.summarise(record)
    panels = [
        *_map(record),
        _curve(record, summary),
        *_published(record),
        *(_front(summary, cost) for cost in analysis.FRONTS),
        panel(
            "learning_curves",
            "Accuracy after each epoch",
            "Thin: one seed. Thick, with marks: the mean over the seeds. The rate has fallen to zero at the last epoch.",
            lambda ax: plots.learning_curves(analysis.runs_table(record), ax),
        ),
    ]
    return {panel.name: panel for panel in panels}


def _map(record: StudyRecord) -> Iterable[Panel]:
    """Accuracy over two dimensions of the space, for the studies whose points have these."""
    shape = analysis.shape(record)
    if shape == "triangle":
        frame = analysis.triangle(record)
        caption = "Each grid line towards a corner gives a fifth more to its factor. " + _ringed("ring", frame)
        yield panel("map", "Accuracy over the shares", caption, lambda ax: maps.ternary(frame, ax), TALL_INCHES)
    if shape == "plane":
        frame, params = analysis.ranked(record), analysis.plane_params(record)
        caption = "Lines of equal params, exact at the middles of the cells and in proportion between them. " + _ringed(
            "frame", frame
        )
        title = f"Accuracy over {' and '.join(record.metaparameters)}"
        yield panel("map", title, caption, lambda ax: maps.plane(frame, params, ax), TALL_INCHES)


def _ringed(mark: str, frame: pd.DataFrame) -> str:
    texts = {
        f"Thick {mark}: the best point.": (frame["standing"] == "best").any(),
        "Thin: not separated from it.": (frame["standing"] == "not separated").any(),
        "* misses some seeds.": (frame["state"] == "partly done").any(),
    }
    return " ".join(text for text, holds in texts.items() if holds)


def _curve(record: StudyRecord, summary: pd.DataFrame) -> Panel:
    """Accuracy against the cost that the study names; a line for each series where there are such."""
    against = record.study.plot.against
    title = f"Accuracy against {COSTS[against]}"
    hollow = "Hollow marks miss some seeds." if (summary["state"] == "partly done").any() else ""
    if analysis.shape(record) == "series":
        caption = (
            "Mean over the seeds, with the 95 % interval as bars. Lines stand a little aside from each other. Black: a network that "
            f"several lines share. {hollow}"
        )
        draw = partial(plots.scaling_curves, summary, against=against)
        return panel("curve", title, caption, draw, TALL_INCHES)
    ordered = len(record.metaparameters) == 1 and analysis.is_ordered(summary[record.metaparameters[0]])
    crowded = len(analysis.measured(summary)) > plots.MOST_LABELS
    names = (
        "shares in percent, in the order of the corners" if record.study.simplex else ", ".join(record.metaparameters)
    )
    caption = (
        f"Mean over the seeds, with the 95 % interval as {'a band' if ordered else 'bars'}; labels"
        f"{' where there is room' if crowded else ''}: {names}. {hollow}"
    )
    return panel("curve", title, caption, lambda ax: plots.curve(summary, ax, against))


def _published(record: StudyRecord) -> Iterable[Panel]:
    name = record.study.plot.published
    for key in record.metaparameters if name else ():
        frame = analysis.published(str(name), key)
        if frame is not None:
            caption = f"{analysis.published_source(str(name))} Another data set and a full training: compare the shapes, not the heights."
            yield panel("published", "The published curve", caption, partial(plots.published_curve, frame))
            return


def _front(summary: pd.DataFrame, cost: str) -> Panel:
    measured = summary[summary["accuracy"].notna() & summary["same_as"].isna()]
    on_front = measured[analysis.pareto_front(measured, cost)]
    caption = "Filled: points that no other beats in both." if len(measured) else ""
    if len(on_front) < len(measured):
        caption += " Hollow: another one is at least as accurate and costs no more."
    if len(measured) > 1 and len(set(measured[cost])) == 1:
        caption = f"All points cost the same, so the front is the most accurate one: {', '.join(on_front['label'])}. {caption}"
    elif len(measured):
        caption = f"{len(on_front)} of {len(measured)} points are on the front. {caption}"
    title = f"Pareto front of accuracy and {COSTS[cost]}"
    return panel(f"front_{cost}", title, caption, lambda ax: plots.front(summary, ax, cost))


def panel(
    name: str, title: str, caption: str, draw: Callable[[Axes], None], inches: tuple[float, float] = PANEL_INCHES
) -> Panel:
    """A figure, drawn by `draw` in the look of all."""
    buffer = io.StringIO()
    with plots.style(), mpl.rc_context({"svg.hashsalt": name}), warnings.catch_warnings():
        # The text stays text, and whoever shows it has fonts of their own.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure = Figure(figsize=inches)
        figure.set_layout_engine("constrained", w_pad=0.08, h_pad=0.08)
        draw(figure.subplots())
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Title": title})
    return Panel(name, title, caption, buffer.getvalue())
