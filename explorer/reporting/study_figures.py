"""The figures of a study: its points, and a published curve to compare them with."""

from __future__ import annotations

import math
from functools import partial

import pandas as pd

from explorer.analysis import (
    Findings,
    plane_params,
    published_curve,
    published_source,
    share_columns,
    triangle,
)
from explorer.drawing import maps, plots, search_plots
from explorer.drawing.figures import TALL_INCHES, Panel, panel
from explorer.drawing.marks import CROWD, MOST_LABELS
from explorer.networks.quantities import ACCURACY, QUANTITIES
from explorer.reporting.choices import choice_name, chosen_points
from explorer.reporting.search import rungs_figure
from explorer.reporting.words import listed
from explorer.study.coordinates import is_ordered


def main_figure(findings: Findings) -> Panel:
    """Draw the points of a study as a `map` over two dimensions or a `curve` against a cost."""
    return FIGURES[findings.figure](findings)


def further_figure(findings: Findings) -> Panel | None:
    """Draw the points over a further column, such as images per class, if the study's form has one."""
    form = findings.record.study.form
    if not form.further:
        return None
    frame = _points(findings)
    lines = [form.line(point.metaparameters) for point in findings.record.study.design_points()]
    noun = form.further.replace("_", " ")
    caption = f"The same points over {noun}. Mean over the seeds; bars: 95 % intervals.{_hollow(frame)}"
    draw = partial(plots.scaling_curves, frame.assign(series=lines), against=form.further)
    return panel("further", f"Accuracy against {noun}", caption, draw, TALL_INCHES)


def paper_figure(findings: Findings) -> Panel | None:
    """Draw the published curve over one of the study's metaparameters, if one exists."""
    name = findings.record.study.plot.published
    found = (published_curve(name, key) for key in findings.record.metaparameters) if name else iter(())
    frame = next((frame for frame in found if frame is not None), None)
    if frame is None:
        return None
    caption = f"{published_source(str(name))} Full training on another data set: compare the shapes, not the heights."
    return panel("published", "The published curve", caption, partial(plots.paper_curve, frame))


def _triangle(findings: Findings) -> Panel:
    frame = triangle(findings.record, _points(findings))
    kept = findings.choices[findings.choices["reason"] == ""]
    chosen = {
        choice_name(findings, row["name"]): [float(row[share]) for share in share_columns(frame)]
        for _, row in kept.iterrows()
    }
    caption = "Each grid line towards a corner adds a fifth to that factor's share. " + _ringed("ring", frame)
    notes = "; ".join(dict.fromkeys(note for note in kept["note"] if note))
    caption += f" Diamond: the published factors{f' ({notes})' if notes else ''}." if chosen else ""
    draw = partial(maps.ternary, frame, chosen=chosen)
    return panel("map", "Accuracy over the shares", caption, draw, TALL_INCHES)


def _plane(findings: Findings) -> Panel:
    record, frame = findings.record, _points(findings)
    own, params, caption = chosen_points(findings), pd.DataFrame(columns=[*record.metaparameters, "params"]), ""
    if findings.verified.unchanged:
        params = plane_params(record)
        caption = "Lines of equal params, exact at cell centres and interpolated between them. "
    caption += "Ring: the best point." if len(frame) > maps.MOST_CELLS else _ringed("frame", frame)
    caption += f" Diamond: as in {', '.join(own.values())}." if own else ""
    title = f"Accuracy over {' and '.join(record.metaparameters)}"
    return panel("map", title, caption, partial(maps.plane, frame, params, chosen=own), TALL_INCHES)


def _series(findings: Findings) -> Panel:
    frame, study = _points(findings), findings.record.study
    against = study.form.over or study.plot.against
    noun = QUANTITIES[against].noun if against in QUANTITIES else against.replace("_", " ")
    caption = (
        "Mean over the seeds; bars: 95 % intervals. Lines are slightly offset. Black: a network that several series "
        f"share.{_hollow(frame)}"
    )
    baselines: list[str] = []
    if study.form.over and study.form.baseline:
        column, value, text = study.form.baseline
        baselines = list(dict.fromkeys(frame.loc[frame[column] == value, "series"]))
        caption = f"Mean over the seeds; bars: 95 % intervals. Lines are slightly offset. Dashed: {text}."
        caption += _hollow(frame)
    draw = partial(plots.scaling_curves, frame, against=against, baselines=baselines)
    return panel("curve", f"Accuracy against {noun}", caption, draw, TALL_INCHES)


def _curve(findings: Findings) -> Panel:
    record, frame = findings.record, _points(findings)
    against, measured = record.study.plot.against, len(findings.measured)
    ordered = len(record.metaparameters) == 1 and is_ordered(frame[record.metaparameters[0]])
    names = record.study.form.label_title or ", ".join(record.metaparameters)
    caption = (
        f"Mean over the seeds; {'band' if ordered else 'bars'}: 95 % intervals"
        f"{' for some points on the front' if measured > CROWD and not ordered else ''}; labels"
        f"{' where there is room' if measured > MOST_LABELS else ''}: {names}.{_hollow(frame)}"
    )
    draw = partial(plots.curve, frame, against=against, chosen=chosen_points(findings))
    return panel("curve", f"Accuracy against {QUANTITIES[against].noun}", caption, draw)


def _front(findings: Findings) -> Panel:
    study = findings.record.study
    against = next(iter(study.form.costs), study.plot.against)
    if findings.measured.empty and not study.is_trial:
        return rungs_figure(findings)
    objectives = listed([ACCURACY.noun, *(QUANTITIES[cost].noun for cost in study.form.costs)])
    caption = (
        f"The points at the top rung, by number; filled: on the front of {objectives}. Mean over the seeds; bars: "
        f"95 % intervals{' for some points on the front' if len(findings.measured) > CROWD else ''}."
    )
    draw = partial(search_plots.search_front, _points(findings), cost=against, chosen=chosen_points(findings))
    return panel("front", f"Accuracy against {QUANTITIES[against].noun}", caption, draw)


FIGURES = {"triangle": _triangle, "plane": _plane, "series": _series, "points": _curve, "front": _front}
"""The function that draws the main figure of a study, keyed by the `figure` of its form."""


def _points(findings: Findings) -> pd.DataFrame:
    """Return the points. For a trial run, leave out intervals and standings."""
    points = findings.points
    return points.assign(low=math.nan, high=math.nan, standing="") if findings.record.study.is_trial else points


def _ringed(mark: str, frame: pd.DataFrame) -> str:
    texts = {
        f"Thick {mark}: the best point.": (frame["standing"] == "best").any(),
        "Thin: not separated from it.": (frame["standing"] == "not separated").any(),
        "* some seeds missing.": (frame["state"] == "partly done").any(),
    }
    return " ".join(text for text, holds in texts.items() if holds)


def _hollow(frame: pd.DataFrame) -> str:
    return " Hollow: some seeds missing." if (frame["state"] == "partly done").any() else ""
