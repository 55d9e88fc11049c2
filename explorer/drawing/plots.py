"""Pictures of a study, drawn into an axis that is given: for reports and for notebooks.

Every function takes a frame of `explorer.analysis` and a matplotlib `Axes`. Costs are drawn in thousands, millions or MiB and
accuracies in percent, and these are the data coordinates too. `style` holds the look; no setting outlives it.

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

from explorer.analysis import front_column, is_ordered, measured, pareto_front, probability_column
from explorer.drawing.colours import BLUE, GREY, GROUND, INK, LINE, ORANGE, categories, ordered
from explorer.drawing.labels import (
    ACCURACY,
    LABEL_SIZE,
    label_ends,
    pixels,
    place_labels,
    say_nothing_is_done,
    scale_axis,
    settle,
    tidy,
)
from explorer.drawing.marks import MOST_MARKS, Marks, short
from explorer.networks.quantities import QUANTITIES

MOST_LABELS = 14
"""Beyond so many points, what is on the front is labelled, and in a curve others where there is room."""
MOST_CURVES = 20
"""So many points have learning curves of their own."""

_FEWEST_SHARED = 3  # values that a published curve and a study must share to be compared in shape
_ASIDE = 2.4  # points of type between the lines of two series
UNLIKELY = 0.05
"""Probability up to which a mark has the colour of those that are on no front."""
_MOST_TRIED = 60  # labels that are tried to be placed


@contextmanager
def style() -> Iterator[None]:
    """The look of all pictures, while it lasts: make the figure, draw and save inside it."""
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
        # Texts stay texts: in a vector file they are found, and can be set anew.
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
    """Accuracy against a cost: a mark for each measured point of `analysis.summarise`, labelled with its metaparameters.

    Where a single metaparameter varies and is a number, a line joins the points in its order with the 95 % interval as a band;
    otherwise each point has its interval as a bar. The names of the metaparameters are in `frame.attrs`. Hollow marks miss some of their
    seeds. `chosen` has the points that stand where a published network does, by number, with its name: these have a diamond. `papers` is
    a published curve over that metaparameter, of `analysis.published`: it is laid over the points of the same values, on an axis of its
    own.
    """
    points = measured(frame)
    tidy(ax)
    if points.empty:
        return say_nothing_is_done(ax)
    marks = Marks(points, ax, against, chosen)
    on_front = pareto_front(points, against).to_numpy()
    keys = frame.attrs.get("metaparameters", [])
    colours = [BLUE] * len(points)
    obstacles = []
    barred = True
    if len(keys) == 1 and is_ordered(points[keys[0]]) and not marks.categories:
        order = np.argsort(points[keys[0]].to_numpy(dtype=float), kind="stable")
        x, y = marks.x[order], marks.y[order]
        ax.plot(x, y, color=BLUE, zorder=2)
        obstacles.append(np.column_stack([x, y]))
        barred = not ((np.diff(x) > 0).all() or (np.diff(x) < 0).all()) or len(x) == 1
        if not barred:
            low, high = marks.low[order], marks.high[order]
            ax.fill_between(x, low, high, color=BLUE, alpha=0.18, linewidth=0, zorder=1)
            obstacles += [np.column_stack([x, low + share * (high - low)]) for share in (0, 0.25, 0.5, 0.75, 1)]
        if papers is not None:
            obstacles += _lay_over(
                ax, papers, dict(zip(points[keys[0]], zip(marks.x, marks.y, strict=True), strict=True))
            )
    if barred:
        marks.bars(colours, _spaced(on_front, marks.x) if marks.crowded else None)
    marks.draw(colours, (points["state"] != "partly done").to_numpy(dtype=float), on_front)
    wanted = np.ones(len(points), dtype=bool)
    optional = np.zeros(len(points), dtype=bool)
    if len(points) > MOST_LABELS:
        # In a crowd only the points of the front are sure of their names, or the best one where these are many too.
        optional = ~on_front
        if on_front.sum() > MOST_LABELS / 2:
            optional = marks.y < marks.y.max()
        wanted = _first(wanted, np.lexsort((-marks.y, ~on_front)))
    marks.label(wanted, obstacles, optional=optional)
    return None


def _lay_over(ax: Axes, papers: pd.DataFrame, places: Mapping[float, tuple[float, float]]) -> list[NDArray[np.float64]]:
    """Draws a published curve at the places, (x, y), of the same values; its axis lets both span the same height there.

    Returns its line in the coordinates of the given axis; nothing is drawn where fewer than three values are shared, or nothing rises.
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


def _first(wanted: NDArray[np.bool_], order: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Those that are wanted, but only as many as labels are tried for."""
    kept = np.zeros(len(wanted), dtype=bool)
    kept[order[wanted[order]][:_MOST_TRIED]] = True
    return kept


def front(
    frame: pd.DataFrame,
    ax: Axes,
    cost: str,
    *,
    chosen: Mapping[int, str] | None = None,
) -> None:
    """The Pareto front of accuracy and a cost: marks filled by their probability of being on it, and a staircase through its points.

    Without probabilities (`Findings.points` has them), points on the front are filled and the others hollow. `chosen` is as in
    `curve`.
    """
    points = measured(frame)
    points = points[points[cost].notna()]
    tidy(ax)
    if points.empty:
        return say_nothing_is_done(ax)
    marks = Marks(points, ax, cost, chosen)
    on_front = (points[front_column(cost)] if front_column(cost) in points else pareto_front(points, cost)).to_numpy()
    sure = points[probability_column(cost)] if probability_column(cost) in points else pd.Series(math.nan, points.index)
    filled = sure.fillna(pd.Series(on_front, points.index).astype(float)).to_numpy(dtype=float)
    colours = [BLUE if on or share > UNLIKELY else GREY for on, share in zip(on_front, filled, strict=True)]
    few = _spaced(on_front, marks.x) if on_front.sum() > MOST_LABELS else on_front
    marks.bars([BLUE if on else GREY for on in on_front], few if marks.crowded else None)
    marks.draw(colours, filled, on_front)
    obstacles = []
    if not marks.categories:
        better_right = QUANTITIES[cost].more_is_better
        costs = -marks.x if better_right else marks.x
        order = np.flatnonzero(on_front)[np.lexsort((marks.y[on_front], costs[on_front]))]
        left, right = ax.get_xlim()
        x = np.append(marks.x[order], left if better_right else right)
        y = np.append(marks.y[order], marks.y[order][-1])
        ax.set_xlim(left, right)
        ax.step(x, y, where="post", color=BLUE, linewidth=1.2, zorder=2)
        obstacles.append(np.column_stack([np.repeat(x, 2)[1:], np.repeat(y, 2)[:-1]]))
    wanted = np.ones(len(points), dtype=bool)
    if len(points) > MOST_LABELS:
        wanted = few
    # Of many the best one is sure of its name.
    optional = (marks.y < marks.y.max()) & (len(points) > MOST_LABELS)
    marks.label(wanted, obstacles, grey=~on_front, optional=optional)
    return None


def _spaced(on_front: NDArray[np.bool_], costs: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Of the points of a long front some, from the first to the last by cost."""
    order = np.flatnonzero(on_front)[np.argsort(costs[on_front], kind="stable")]
    kept = np.zeros(len(on_front), dtype=bool)
    kept[order[np.unique(np.linspace(0, len(order) - 1, MOST_LABELS).round().astype(int))]] = True
    return kept


def published_curve(frame: pd.DataFrame, ax: Axes) -> None:
    """A published curve of `analysis.published` on its own axis. Hollow marks are read off a figure, not printed."""
    tidy(ax)
    x, y = frame["model_mib"].to_numpy(dtype=float), 100 * frame["accuracy"].to_numpy(dtype=float)
    printed = frame["printed"].to_numpy(dtype=bool)
    ax.margins(0.1, 0.14)
    ax.set_xlabel(QUANTITIES["model_bytes"].axis()[1])
    ax.set_ylabel(f"{frame['metric'].iloc[0]} accuracy (%)", parse_math=False)
    obstacles = []
    if is_ordered(frame["value"]):
        ax.plot(x, y, color=ORANGE, zorder=2)
        obstacles.append(np.column_stack([x, y]))
    for kind, name in ((True, "printed"), (False, "read off the figure")):
        if (printed == kind).any():
            face = ORANGE if kind else GROUND
            ax.plot(x[printed == kind], y[printed == kind], "s", color=ORANGE, mfc=face, label=name, zorder=3)
    if len(set(printed)) > 1:
        ax.legend(loc="lower right", frameon=False, handletextpad=0.2)
    dots = settle(ax)
    taken = [pixels(line, ax.transData) for line in obstacles]
    place_labels(ax, dots, np.column_stack([x, y]), frame["label"].tolist(), taken)


def scaling_curves(frame: pd.DataFrame, ax: Axes, against: str = "macs") -> None:
    """Accuracy against a cost, a line for each series of `analysis.summarise` with its name at the end, intervals as bars.

    A network that several series share, such as the one that they scale, is one black mark, and their lines pass through it. The
    lines stand a few points of type aside from each other, so that bars of equal cost can be told apart. Hollow marks miss some
    of their seeds.
    """
    points = frame[frame["accuracy"].notna()]
    tidy(ax)
    if points.empty:
        return say_nothing_is_done(ax)
    costs = points[against].astype(float)
    scale, name = QUANTITIES[against].axis(float(costs.max()))
    ax.set_xlabel(name, parse_math=False)
    ax.set_ylabel(ACCURACY)
    ax.margins(0.07, 0.08)
    scale_axis(ax, costs / scale)
    networks = points["same_as"].fillna(points["point"])
    points = points.assign(
        x=costs / scale,
        **{key: 100 * points[key] for key in ("accuracy", "low", "high")},
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
        ax.plot(line["x"], line["accuracy"], color=colour, transform=ax.transData + aside, zorder=2, label=series)
        _draw_points(ax, line[~line["shared"]], colour, form, ax.transData + aside)
        ends.append((float(line["x"].iloc[-1]), float(line["accuracy"].iloc[-1])))
    _draw_points(ax, points[points["shared"]].drop_duplicates("source"), INK, "o", ax.transData)
    # What is drawn aside does not move the limits of the axis.
    ax.update_datalim(np.concatenate([points[["x", key]].dropna() for key in ("accuracy", "low", "high")]))
    ax.autoscale_view()
    ax.set_xlim(ax.get_xlim())
    label_ends(ax, ends, [short(series) for series in names], colours)
    return None


def _draw_points(ax: Axes, points: pd.DataFrame, colour: str, form: str, transform: Transform) -> None:
    """Marks with their intervals as bars; hollow where some seeds are missing."""
    if points.empty:
        return
    ends = [points[["x", key]].to_numpy(dtype=float) for key in ("low", "high")]
    ax.add_collection(
        LineCollection(
            list(np.stack(ends, axis=1)),
            colors=colour,
            linewidths=1.3,
            alpha=0.7,
            transform=transform,
            rasterized=len(points) > MOST_MARKS,
            label="interval",
        ),
        autolim=False,
    )
    ax.scatter(
        points["x"],
        points["accuracy"],
        s=36,
        marker=form,
        facecolors=[GROUND if state == "partly done" else colour for state in points["state"]],
        edgecolors=colour,
        linewidths=1,
        transform=transform,
        zorder=3,
        rasterized=len(points) > MOST_MARKS,
        label="point",
    )


def learning_curves(runs: pd.DataFrame, ax: Axes) -> None:
    """Validation accuracy after each epoch, of `analysis.runs_table`: a thin line a run, a thick one for the mean of a point.

    Of many points only the `MOST_CURVES` most accurate are drawn.
    """
    tidy(ax)
    known = runs[runs["accuracies"].map(lambda entries: entries is not None and np.ndim(entries) == 1)]
    if known.empty:
        return say_nothing_is_done(ax)
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
