"""Plots of a study, for reports and notebooks.

Every function draws a frame of `explorer.analysis` into a matplotlib `Axes`. Data coordinates are costs in the unit of
their axis and accuracies in percent. Use `style` around it; no setting outlives it.

    with plots.style():
        figure, ax = plt.subplots()
        plots.curve(analysis.summarise(record), ax)
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.ticker import MaxNLocator
from matplotlib.transforms import ScaledTranslation, Transform
from numpy.typing import NDArray

from explorer.analysis import is_ordered, measured, probability_column
from explorer.drawing.colours import BLUE, GREY, GROUND, INK, LINE, ORANGE, categories, ordered
from explorer.drawing.labels import (
    ACCURACY,
    LABEL_SIZE,
    cost_axis,
    label_ends,
    place_labels,
    say_no_runs,
    tidy,
)
from explorer.drawing.marks import Marks, measured_marks, short
from explorer.networks.quantities import QUANTITIES

MOST_CURVES = 20
"""Only the most accurate points have learning curves."""

_FEWEST_SHARED = 3  # values that a published curve and a study must share to be compared in shape
_ASIDE = 2.4  # points of type between the lines of two series
UNLIKELY = 0.05
"""Front probability up to which a mark has the colour of points off the front."""


@contextmanager
def style() -> Iterator[None]:
    """Apply the style of all plots; create, draw and save the figure inside."""
    settings: dict[Any, Any] = {
        **sns.axes_style("ticks"),
        **sns.plotting_context("notebook", rc={"font.size": 10, "axes.labelsize": 10}),
        "axes.labelpad": 5,
        **dict.fromkeys(("xtick.labelsize", "ytick.labelsize", "legend.fontsize"), LABEL_SIZE),
        **dict.fromkeys(("axes.linewidth", "xtick.major.width", "ytick.major.width"), 0.8),
        **dict.fromkeys(("xtick.major.size", "ytick.major.size"), 4),
        # These alone, so that a page can replace them by its own.
        **dict.fromkeys(("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), INK),
        "grid.color": LINE,
        "figure.facecolor": GROUND,
        "axes.facecolor": "none",
        "lines.linewidth": 1.6,
        "lines.markersize": 6,
        # Comes with matplotlib, so that labels are measured alike everywhere.
        "font.sans-serif": ["DejaVu Sans"],
        # Text stays text, so that a vector file can be searched and its type changed.
        "svg.fonttype": "none",
        "pdf.fonttype": 42,
    }
    with mpl.rc_context(settings):
        yield


def curve(
    frame: pd.DataFrame,
    ax: Axes,
    against: str = "params",
    *,
    chosen: Mapping[int, str] | None = None,
    papers: pd.DataFrame | None = None,
) -> None:
    """Draw accuracy against a cost: a labelled mark for each measured point of `analysis.summarise`.

    If the only varied metaparameter is a number, a line joins the points, with the 95 % interval as a band; otherwise
    each point has its interval as a bar. Hollow marks miss some seeds.

    Args:
        frame: The points; `frame.attrs` has the names of the metaparameters.
        ax: Where to draw.
        against: The cost.
        chosen: The names of published networks by the numbers of points with the same values; these have a diamond.
        papers: A published curve over the metaparameter, of `analysis.published_curve`, drawn with an axis of its own.
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
        if papers is not None:
            lines += _lay_over(ax, papers, dict(zip(points[keys[0]], zip(marks.x, marks.y, strict=True), strict=True)))
    colours = [BLUE] * len(points)
    if barred:
        marks.bars(colours)
    marks.draw(colours, (points["state"] != "partly done").to_numpy(dtype=float))
    marks.label(lines)
    return None


def _lay_over(ax: Axes, papers: pd.DataFrame, places: Mapping[float, tuple[float, float]]) -> list[NDArray[np.float64]]:
    """Draw a published curve at the places, (x, y), of equal values, as high as the study's; return its line.

    Nothing is drawn if fewer than three values are shared or one of the curves is flat.
    """
    shared = papers[papers["value"].isin(list(places))].sort_values("value")
    x, own = (np.array([places[value][axis] for value in shared["value"]]) for axis in (0, 1))
    theirs = 100 * shared["accuracy"].to_numpy(dtype=float)
    if len(shared) < _FEWEST_SHARED or not np.ptp(own) or not np.ptp(theirs):
        return []
    scale = np.ptp(own) / np.ptp(theirs)
    right = ax.secondary_yaxis(
        "right",
        functions=(lambda y: (y - own.min()) / scale + theirs.min(), lambda y: (y - theirs.min()) * scale + own.min()),
    )
    right.set_ylabel(f"{papers['metric'].iloc[0]} (%)", color=ORANGE, parse_math=False)
    right.tick_params(colors=ORANGE)
    right.spines["right"].set_color(ORANGE)
    y = (theirs - theirs.min()) * scale + own.min()
    ax.plot(x, y, color=ORANGE, lw=1.2, ls=(0, (4, 2)), marker="s", ms=3.5, zorder=2, label="published")
    return [np.column_stack([x, y])]


def front(
    frame: pd.DataFrame,
    ax: Axes,
    cost: str,
    *,
    chosen: Mapping[int, str] | None = None,
) -> None:
    """Draw the Pareto front of accuracy and a cost as a staircase, and all points filled by their front probability.

    Without probabilities (`Findings.points` has them) points on the front are filled and others hollow; `chosen` is as
    in `curve`.
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
    """Draw a published curve of `analysis.published_curve`; hollow marks were read off a figure."""
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


def scaling_curves(frame: pd.DataFrame, ax: Axes, against: str = "macs") -> None:
    """Draw accuracy against a cost, with a line for each series of `analysis.summarise` and intervals as bars.

    A network shared by several series is one black mark. Lines are shifted a little so that bars of equal cost can be
    told apart. Hollow marks miss some seeds.
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
        ends.append((float(x.iloc[-1]), float(y.iloc[-1])))
    _draw_points(ax, points[points["shared"]].drop_duplicates("source"), INK, "o", ax.transData)
    # What is drawn aside does not move the limits of the axis.
    ax.update_datalim(np.concatenate([points[["x", key]].to_numpy() * (1, 100) for key in ("accuracy", "low", "high")]))
    ax.autoscale_view()
    ax.set_xlim(ax.get_xlim())
    label_ends(ax, ends, [short(series) for series in names], colours)
    return None


def _draw_points(ax: Axes, points: pd.DataFrame, colour: str, form: str, transform: Transform) -> None:
    """Draw the marks of a series; hollow if some seeds are missing."""
    faces = [GROUND if state == "partly done" else colour for state in points["state"]]
    measured_marks(ax, points["x"].to_numpy(), points, face=faces, edge=colour, form=form, size=36, transform=transform)


def learning_curves(runs: pd.DataFrame, ax: Axes) -> None:
    """Draw accuracy after each epoch, of `analysis.runs_table`: thin lines for runs, thick ones for means."""
    tidy(ax)
    known = runs[runs["accuracies"].map(lambda entries: entries is not None and np.ndim(entries) == 1)]
    if known.empty:
        return say_no_runs(ax)
    best = known.groupby("point")["accuracy"].mean().sort_values(ascending=False, kind="stable").index[:MOST_CURVES]
    known = known[known["point"].isin(best)]
    groups = [(short(group["label"].iloc[0]), list(group["accuracies"])) for _, group in known.groupby("point")]
    numbers = pd.to_numeric(pd.Series([label for label, _ in groups]), errors="coerce").notna().all()
    # A run of colours for what has an order; hues otherwise. The label at the end of each line says which it is.
    colours = ordered(len(groups)) if numbers else categories(len(groups))
    ends = []
    for colour, (_, curves) in zip(colours, groups, strict=True):
        longest = max(map(len, curves))
        table = np.array([[*entries, *[math.nan] * (longest - len(entries))] for entries in curves]) * 100
        epochs = np.arange(1, longest + 1)
        runs_of_point = LineCollection(
            [np.column_stack([epochs, row]) for row in table], colors=colour, alpha=0.45, linewidths=0.7, label="run"
        )
        ax.add_collection(runs_of_point)
        whole = table[:, ~np.isnan(table).all(axis=0)]
        mean = np.nanmean(whole, axis=0)
        ax.plot(epochs[: len(mean)], mean, color=colour, marker="o", markersize=3, label="mean")
        ends.append((float(len(mean)), float(mean[-1])))
    ax.set_xlabel("Epoch")
    ax.set_ylabel(ACCURACY)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    label_ends(ax, ends, [label for label, _ in groups], colours)
    return None
