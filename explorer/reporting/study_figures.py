"""The figures of a study."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from explorer.analysis import (
    CONFIDENCE,
    Findings,
    front_column,
    is_ordered,
    plane_params,
    probability_column,
    published_curve,
    published_source,
    share_columns,
    triangle,
)
from explorer.analysis.edf import edf, is_sample
from explorer.analysis.surrogate import Surrogate
from explorer.drawing import maps, model_plots, plots, population_plots
from explorer.drawing.figures import PANEL_INCHES, TALL_INCHES, Panel, panel
from explorer.drawing.marks import CROWD, MOST_LABELS
from explorer.networks.quantities import QUANTITIES
from explorer.reporting.choices import choice_name, chosen_points
from explorer.study.coordinates import Number

_FEWEST_ERRORS = 8  # points for an error distribution function
_FINE_LINE, _FINE_SIDE = 200, 48  # points of a smooth line, and of each side of a smooth map
_CROWDED_CURVES = 12  # with more learning curves, the figure is taller


def draw(findings: Findings) -> dict[str, Panel]:
    """Draw the figures of a study, by name.

    Always `curve` and `learning_curves`. If applicable, `map`, `published`, a front for each cost, `surrogate`,
    `importance`, `parallel` (three or more varied metaparameters) and `edf` (eight or more measured points).
    """
    panels = [
        *FIGURES[findings.figure](findings),
        *_published(findings),
        *(_front(findings, cost) for cost in findings.costs if QUANTITIES[cost].figure),
        *_surrogate(findings),
        *_parallel(findings),
        *_errors(findings),
        _learning_curves(findings),
    ]
    return {panel.name: panel for panel in panels}


def _triangle(findings: Findings) -> Iterator[Panel]:
    frame = triangle(findings.record, findings.points)
    kept = findings.choices[findings.choices["reason"] == ""]
    chosen = {
        choice_name(findings, row["name"]): [float(row[share]) for share in share_columns(frame)]
        for _, row in kept.iterrows()
    }
    caption = "Each grid line towards a corner adds a fifth to the share of its factor. " + _ringed("ring", frame)
    notes = "; ".join(dict.fromkeys(note for note in kept["note"] if note))
    caption += f" Diamond: the published factors{f' ({notes})' if notes else ''}." if chosen else ""
    draw = partial(maps.ternary, frame, chosen=chosen)
    yield panel("map", "Accuracy over the shares", caption, draw, TALL_INCHES)
    yield from _curve(findings)


def _plane(findings: Findings) -> Iterator[Panel]:
    record, frame = findings.record, findings.points
    own, params, caption = chosen_points(findings), pd.DataFrame(columns=[*record.metaparameters, "params"]), ""
    if findings.verified.unchanged:
        params = plane_params(record)
        caption = "Lines of equal params, exact at cell centres and interpolated between them. "
    caption += "Ring: the best point." if len(frame) > maps.MOST_CELLS else _ringed("frame", frame)
    caption += f" Diamond: as in {', '.join(own.values())}." if own else ""
    title = f"Accuracy over {' and '.join(record.metaparameters)}"
    yield panel("map", title, caption, partial(maps.plane, frame, params, chosen=own), TALL_INCHES)
    yield from _curve(findings)


def _series(findings: Findings) -> Iterator[Panel]:
    frame, against = findings.points, findings.record.study.plot.against
    caption = (
        "Mean over the seeds; bars: 95 % intervals. Lines are slightly offset. Black: a network that several series "
        f"share.{_hollow(frame)}"
    )
    draw = partial(plots.scaling_curves, frame, against=against)
    yield panel("curve", f"Accuracy against {QUANTITIES[against].noun}", caption, draw, TALL_INCHES)


def _ringed(mark: str, frame: pd.DataFrame) -> str:
    texts = {
        f"Thick {mark}: the best point.": (frame["standing"] == "best").any(),
        "Thin: not separated from it.": (frame["standing"] == "not separated").any(),
        "* some seeds missing.": (frame["state"] == "partly done").any(),
    }
    return " ".join(text for text, holds in texts.items() if holds)


def _hollow(frame: pd.DataFrame) -> str:
    return " Hollow: some seeds missing." if (frame["state"] == "partly done").any() else ""


def _curve(findings: Findings) -> Iterator[Panel]:
    record, frame = findings.record, findings.points
    against, measured = record.study.plot.against, len(findings.measured)
    ordered = len(record.metaparameters) == 1 and is_ordered(frame[record.metaparameters[0]])
    names = record.study.form.label_title or ", ".join(record.metaparameters)
    caption = (
        f"Mean over the seeds; {'band' if ordered else 'bars'}: 95 % intervals"
        f"{' of some points of the front' if measured > CROWD and not ordered else ''}; labels"
        f"{' where there is room' if measured > MOST_LABELS else ''}: {names}.{_hollow(frame)}"
    )
    papers = _of_the_paper(findings) if ordered else None
    if papers is not None:
        key = record.metaparameters[0]
        caption += (
            f" Orange: {papers['metric'].iloc[0]} accuracy of the paper at the same {key}, on a separate axis scaled "
            "to the same height: compare the shapes."
        )
    draw = partial(plots.curve, frame, against=against, chosen=chosen_points(findings), papers=papers)
    yield panel("curve", f"Accuracy against {QUANTITIES[against].noun}", caption, draw)


FIGURES = {"triangle": _triangle, "plane": _plane, "series": _series, "points": _curve}
"""The first figures of a study, by the `figure` of its form."""


def _of_the_paper(findings: Findings) -> pd.DataFrame | None:
    """Return the published curve over a metaparameter of the study, if there is one."""
    name = findings.record.study.plot.published
    found = (published_curve(name, key) for key in findings.record.metaparameters) if name else ()
    return next((frame for frame in found if frame is not None), None)


def _published(findings: Findings) -> Iterator[Panel]:
    frame = _of_the_paper(findings)
    if frame is not None:
        source = published_source(str(findings.record.study.plot.published))
        caption = f"{source} Full training on another data set: compare the shapes, not the heights."
        yield panel("published", "The published curve", caption, partial(plots.paper_curve, frame))


def _front(findings: Findings, cost: str) -> Panel:
    measured = findings.measured[findings.measured[cost].notna()]
    on_front = measured[measured[front_column(cost)]]
    caption = f"Line: the front, with {len(on_front)} of {len(measured)} points."
    if len(measured) > 1 and len(set(measured[cost])) == 1:
        names = ", ".join(on_front["label"])
        caption = f"All points cost the same, so only the most accurate is on the front: {names}."
    probable = measured[probability_column(cost)].notna().any()
    caption += " Fuller marks are more likely on the front." if probable else " Filled: on the front."
    caption += f" Bars: 95 % intervals{' of some points of the front' if len(measured) > CROWD else ''}."
    title = f"Pareto front of accuracy and {QUANTITIES[cost].noun}"
    draw = partial(plots.front, findings.points, cost=cost, chosen=chosen_points(findings))
    return panel(QUANTITIES[cost].figure, title, caption if len(measured) else "", draw)


def _learning_curves(findings: Findings) -> Panel:
    caption = "Thin: one seed. Thick, with marks: mean over the seeds. At the last epoch the learning rate is zero."
    measured = len(findings.measured)
    if measured > _CROWDED_CURVES:
        caption += " Names where there is room."
    if measured > plots.MOST_CURVES:
        caption = f"The {plots.MOST_CURVES} most accurate of {measured} points. {caption}"
    draw = partial(plots.learning_curves, findings.runs)
    inches = TALL_INCHES if measured > _CROWDED_CURVES else PANEL_INCHES
    return panel("learning_curves", "Accuracy after each epoch", caption, draw, inches)


def _surrogate(findings: Findings) -> Iterator[Panel]:
    if findings.surrogate is None:
        return
    yield _smooth(findings, findings.surrogate)
    if findings.importance is not None:
        caption = (
            "Share of the variance of the predicted accuracy over the study's ranges due to a metaparameter alone, and "
            "including its interactions (Sobol' indices of the surrogate). Bars: 95 % intervals."
        )
        draw = partial(model_plots.importance, findings.importance)
        yield panel("importance", "Which metaparameters matter", caption, draw)


def _smooth(findings: Findings, surrogate: Surrogate) -> Panel:
    axes, points, simplex = surrogate.coordinates.axes, findings.measured, surrogate.coordinates.simplex
    fitted, measured = len(surrogate.points), surrogate.measured
    caption = f"Fitted to {fitted} of {measured} points. " if fitted < measured else ""
    numbers = [axis for axis in axes if isinstance(axis, Number)]
    if len(axes) == len(numbers) == 1:
        (axis,) = numbers
        frame = _predicted(surrogate, {axis.name: _steps(axis, _FINE_LINE)}).rename(columns={axis.name: "value"})
        caption += "Line: smooth surrogate (Gaussian process) with its 95 % band. Marks: measured means with 95 % "
        draw = partial(model_plots.surrogate_line, frame, points, axis.name)
        return panel("surrogate", f"Smooth accuracy over {axis.name}", f"{caption}intervals.", draw)
    if simplex and len(axes) == 3:  # noqa: PLR2004 (a triangle)
        lattice = simplex.lattice(_FINE_SIDE)
        frame = _predicted(surrogate, dict(zip(surrogate.coordinates.names, lattice.T, strict=True)))
        draw = partial(model_plots.surrogate_triangle, frame, triangle(findings.record, points))
        title = "Smooth accuracy over the shares"
    elif len(axes) == len(numbers) == 2:  # noqa: PLR2004 (a plane)
        grid = np.meshgrid(*(_steps(axis, _FINE_SIDE) for axis in numbers))
        frame = _predicted(surrogate, {axis.name: side.ravel() for axis, side in zip(numbers, grid, strict=True)})
        draw = partial(model_plots.surrogate_plane, frame, points)
        title = f"Smooth accuracy over {' and '.join(frame.columns[:2])}"
    else:
        caption += (
            "For each point, the prediction of a smooth surrogate (Gaussian process) of all others, with its 95 % "
            f"interval{' (not drawn)' if fitted > CROWD else ''}. Orange: the measured accuracy is outside. Dashed "
            "line: prediction equals measurement."
        )
        draw = partial(model_plots.predicted, surrogate.leave_one_out())
        return panel("surrogate", "How well a smooth surrogate predicts", caption, draw)
    half = 100 * frame["half"].to_numpy(dtype=float)
    caption += (
        "Colour: accuracy of a smooth surrogate (Gaussian process). Its 95 % interval is from "
        f"\N{PLUS-MINUS SIGN}{half.min():.1f} to \N{PLUS-MINUS SIGN}{half.max():.1f} points"
        f"{' (lines)' if model_plots.varies(half) else ''}."
    )
    caption += " Marks: the measured points." if len(points) <= CROWD else ""
    return panel("surrogate", title, caption, draw, TALL_INCHES)


def _steps(axis: Number, count: int) -> NDArray[np.float64]:
    return (np.geomspace if axis.logarithmic else np.linspace)(axis.low, axis.high, count)


def _predicted(surrogate: Surrogate, columns: Mapping[str, NDArray[np.float64]]) -> pd.DataFrame:
    """Return designs with their predicted `mean`, its 95 % interval (`low`, `high`), and `half` its width."""
    mean, deviation = surrogate.predict(columns)
    half = float(stats.norm.ppf((1 + CONFIDENCE) / 2)) * deviation
    return pd.DataFrame({**columns, "mean": mean, "half": half, "low": mean - half, "high": mean + half})


def _parallel(findings: Findings) -> Iterator[Panel]:
    form = findings.record.study.form
    axes = [axis for axis in form.axes if axis.varies]
    # The map already shows a lattice of shares.
    mapped = findings.figure == "triangle" and not form.is_sample
    if len(axes) < 3 or not form.complete or mapped or findings.measured.empty:  # noqa: PLR2004
        return
    frame = findings.measured.assign(**form.columns(findings.measured))
    frame = frame.rename(columns={axis.name: axis.title for axis in axes})
    caption = "One line for each measured point, coloured by accuracy; the most accurate are on top and thicker."
    draw = partial(population_plots.parallel, frame, [axis.title for axis in axes])
    yield panel("parallel", "All metaparameters and accuracy", caption, draw)


def _errors(findings: Findings) -> Iterator[Panel]:
    if len(findings.measured) < _FEWEST_ERRORS:
        return
    sample = is_sample(findings.record, findings.points)
    # In a random sample every draw counts, merged or not.
    counted = findings.points if sample else findings.measured
    steps = edf(counted["accuracy"].to_numpy(dtype=float), sample=sample)
    caption = f"{int(counted['accuracy'].notna().sum())} networks, mean over the seeds. "
    if sample:
        caption += "Band: contains the whole function of the population with 95 % confidence."
    else:
        caption += "There is no band because the points are not a random sample."
    yield panel("edf", "How the errors are distributed", caption, partial(population_plots.error_distribution, steps))
