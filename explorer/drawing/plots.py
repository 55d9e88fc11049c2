"""Plots of a study, for reports and notebooks.

Every function draws a frame from `explorer.analysis` into a matplotlib `Axes`. Data coordinates are costs in the unit
of their axis and accuracies in percent. Call the functions inside `style`, which restores your settings afterwards.

    with plots.style():
        figure, ax = plt.subplots()
        plots.curve(analysis.summarise(record), ax)
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.transforms import ScaledTranslation, Transform

from explorer.analysis import measured, probability_column
from explorer.drawing.colours import BLUE, GREY, GROUND, INK, ORANGE, categories
from explorer.drawing.labels import (
    cost_axis,
    label_ends,
    place_labels,
    say_no_runs,
    tidy,
)
from explorer.drawing.marks import CROWD, MOST_MARKS, Marks, short
from explorer.drawing.style import style
from explorer.networks.quantities import QUANTITIES
from explorer.study.coordinates import is_ordered

__all__ = ["curve", "front", "paper_curve", "scaling_curves", "style"]

_ASIDE = 2.4  # horizontal shift between the lines of two series, in points
UNLIKELY = 0.05
"""A mark with at most this front probability is coloured as off the front."""


def curve(
    frame: pd.DataFrame,
    ax: Axes,
    against: str = "params",
    *,
    chosen: Mapping[int, str] | None = None,
) -> None:
    """Draw accuracy against a cost, with a labelled mark for each measured point of `analysis.summarise`.

    If the only varied metaparameter is a number, a line joins the points and a band shows the 95 % interval. Otherwise,
    bars show the intervals. A hollow mark means that some seeds are missing.

    Args:
        frame: The points. `frame.attrs` lists the names of the metaparameters.
        ax: Axes to draw into.
        against: The cost.
        chosen: Names of published networks, which get diamonds, keyed by the number of the point with the same values.
    """
    points = measured(frame)
    tidy(ax)
    if points.empty:
        return say_no_runs(ax)
    marks = Marks(points, ax, against, chosen)
    keys = frame.attrs.get("metaparameters", [])
    lines, barred = [], True
    if len(keys) == 1 and is_ordered(points[keys[0]]) and not marks.categories:
        order = np.argsort(points[keys[0]].to_numpy(dtype=float), kind="stable")
        x, y, low, high = (values[order] for values in (marks.x, marks.y, marks.low, marks.high))
        ax.plot(x, y, color=BLUE, zorder=2)
        lines.append(np.column_stack([x, y]))
        barred = not ((np.diff(x) > 0).all() or (np.diff(x) < 0).all()) or len(x) == 1
        if not barred:
            ax.fill_between(x, low, high, color=BLUE, alpha=0.18, linewidth=0, zorder=1)
            lines += [np.column_stack([x, low + share * (high - low)]) for share in (0, 0.25, 0.5, 0.75, 1)]
    colours = [BLUE] * len(points)
    if barred:
        marks.bars(colours)
    marks.draw(colours, (points["state"] != "partly done").to_numpy(dtype=float))
    marks.label(lines)
    return None


def front(
    frame: pd.DataFrame,
    ax: Axes,
    cost: str,
    *,
    chosen: Mapping[int, str] | None = None,
) -> None:
    """Draw the Pareto front of accuracy and a cost as a staircase, and fill all points by their front probability.

    Without probabilities (from `Findings.points`), points on the front are filled and the others are hollow. `chosen`
    works as in `curve`.
    """
    points = measured(frame)
    points = points[points[cost].notna()]
    tidy(ax)
    if points.empty:
        return say_no_runs(ax)
    marks = Marks(points, ax, cost, chosen)
    on_front = marks.on_front
    sure = points.get(probability_column(cost), pd.Series(math.nan, points.index)).to_numpy(dtype=float)
    filled = np.where(np.isnan(sure), on_front, sure)
    marks.bars(np.where(on_front, BLUE, GREY).tolist())
    marks.draw(np.where(on_front | (filled > UNLIKELY), BLUE, GREY).tolist(), filled)
    lines = []
    if not marks.categories:
        better_right = QUANTITIES[cost].more_is_better
        costs = -marks.x if better_right else marks.x
        order = np.flatnonzero(on_front)[np.lexsort((marks.y[on_front], costs[on_front]))]
        left, right = ax.get_xlim()
        x = np.append(marks.x[order], left if better_right else right)
        y = np.append(marks.y[order], marks.y[order][-1])
        ax.set_xlim(left, right)
        ax.step(x, y, where="post", color=BLUE, linewidth=1.2, zorder=2)
        lines.append(np.column_stack([np.repeat(x, 2)[1:], np.repeat(y, 2)[:-1]]))
    marks.label(lines, only_front=True, grey=~on_front)
    return None


def paper_curve(frame: pd.DataFrame, ax: Axes) -> None:
    """Draw a curve from `analysis.published_curve`. Hollow marks were read off a figure."""
    tidy(ax)
    x, y = frame["model_mib"].to_numpy(dtype=float), 100 * frame["accuracy"].to_numpy(dtype=float)
    printed = frame["printed"].to_numpy(dtype=bool)
    ax.margins(0.1, 0.14)
    ax.set_xlabel(QUANTITIES["model_bytes"].axis()[1])
    ax.set_ylabel(f"{frame['metric'].iloc[0]} accuracy (%)", parse_math=False)
    lines = []
    if is_ordered(frame["value"]):
        ax.plot(x, y, color=ORANGE, zorder=2)
        lines.append(np.column_stack([x, y]))
    for kind, name in ((True, "printed"), (False, "read off the figure")):
        if (printed == kind).any():
            face = ORANGE if kind else GROUND
            ax.plot(x[printed == kind], y[printed == kind], "s", color=ORANGE, mfc=face, label=name, zorder=3)
    if len(set(printed)) > 1:
        ax.legend(loc="lower right", frameon=False, handletextpad=0.2)
    place_labels(ax, np.column_stack([x, y]), frame["label"].tolist(), lines)


def scaling_curves(frame: pd.DataFrame, ax: Axes, against: str = "macs", *, baselines: Collection[str] = ()) -> None:
    """Draw accuracy against a cost, with a line for each series of `analysis.summarise` and intervals as bars.

    A network shared by several series is drawn as one black mark. Lines are shifted slightly to keep bars of equal cost
    apart. A hollow mark means that some seeds are missing.

    Args:
        frame: The points.
        ax: Axes to draw into.
        against: The cost, or a metaparameter.
        baselines: Series of one point that others are compared with, drawn as dashed lines.
    """
    points = frame[frame["accuracy"].notna()]
    tidy(ax)
    if points.empty:
        return say_no_runs(ax)
    ax.margins(0.07, 0.08)
    costs, _ = cost_axis(ax, against, points[against].to_numpy(dtype=float))
    networks = points["same_as"].fillna(points["point"])
    points = points.assign(
        x=costs,
        source=networks,
        shared=points.groupby(networks)["series"].transform("nunique") > 1,
    )
    names = list(dict.fromkeys(points["series"]))
    colours = categories(len(names))
    figure = ax.get_figure()
    assert figure is not None
    ends = []
    for place, (series, colour, form) in enumerate(zip(names, colours, itertools.cycle("os^Dv<>"))):
        aside = ScaledTranslation(_ASIDE * (place - (len(names) - 1) / 2) / 72, 0, figure.dpi_scale_trans)
        line = points[points["series"] == series].sort_values("x", kind="stable")
        x, y = line["x"], 100 * line["accuracy"]
        ax.plot(x, y, color=colour, transform=ax.transData + aside, zorder=2, label=series)
        _draw_points(ax, line[~line["shared"]], colour, form, ax.transData + aside)
        if series in baselines:
            ax.axhline(float(y.iloc[-1]), color=colour, linestyle="--", linewidth=1, zorder=1)
            x = points["x"].sort_values()
        ends.append((float(x.iloc[-1]), float(y.iloc[-1])))
    _draw_points(ax, points[points["shared"]].drop_duplicates("source"), INK, "o", ax.transData)
    # Shifted drawings do not update the axis limits.
    ax.update_datalim(np.concatenate([points[["x", key]].to_numpy() * (1, 100) for key in ("accuracy", "low", "high")]))
    ax.autoscale_view()
    ax.set_xlim(ax.get_xlim())
    label_ends(ax, ends, [short(series) for series in names], colours)
    return None


def _draw_points(ax: Axes, points: pd.DataFrame, colour: str, form: str, transform: Transform) -> None:
    """Draw the marks of a series, hollow if some seeds are missing and small in a crowd, with intervals as bars."""
    y, low, high = (100 * points[key].to_numpy(dtype=float) for key in ("accuracy", "low", "high"))
    few = len(points) <= CROWD
    if few:
        ax.vlines(
            points["x"], low, high, colors=colour, linewidths=1.2, alpha=0.7, label="interval", transform=transform
        )
    ax.scatter(
        points["x"],
        y,
        s=36 if few else 9,
        marker=form,
        facecolors=[GROUND if state == "partly done" else colour for state in points["state"]],
        edgecolors=colour,
        linewidths=1.0 if few else 0.5,
        rasterized=len(points) > MOST_MARKS,
        zorder=3,
        label="point",
        transform=transform,
    )
