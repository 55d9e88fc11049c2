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
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.ticker import MaxNLocator
from matplotlib.transforms import ScaledTranslation, Transform
from numpy.typing import NDArray

from explorer.analysis import is_ordered, measured, metaparameters, pareto_front
from explorer.labels import (
    ACCURACY,
    GREY,
    INK,
    LABEL_SIZE,
    label_ends,
    pixels,
    place_labels,
    say_nothing_is_done,
    settle,
    tidy,
    unit,
)

BLUE, ORANGE = sns.color_palette("colorblind").as_hex()[:2]

_DODGE = 7.0  # points of type between marks of equal cost
_ASIDE = 2.4  # points of type between the lines of two series
_LONGEST_LABEL = 30  # characters
MOST_LABELS = 14  # beyond, what is on the front is labelled, and in a curve others where there is room


@contextmanager
def style() -> Iterator[None]:
    """The look of all pictures, while it lasts: make the figure, draw and save inside it."""
    settings: dict[Any, Any] = {
        **sns.axes_style("ticks"),
        **sns.plotting_context("notebook", rc={"font.size": 10, "axes.labelsize": 10}),
        "axes.labelpad": 5,
        **dict.fromkeys(("xtick.labelsize", "ytick.labelsize", "legend.fontsize"), LABEL_SIZE),
        **dict.fromkeys(("axes.linewidth", "xtick.major.width", "ytick.major.width"), 0.8),
        "lines.linewidth": 1.6,
        "lines.markersize": 6,
        # Comes with matplotlib, so that labels are measured alike everywhere.
        "font.sans-serif": ["DejaVu Sans"],
        "svg.fonttype": "none",
    }
    with mpl.rc_context(settings):
        yield


def curve(frame: pd.DataFrame, ax: Axes, against: str = "params") -> None:
    """Accuracy against a cost: a mark for each measured point of `analysis.summarise`, labelled with its metaparameters.

    Where a single metaparameter varies and is a number, a line joins the points in its order with the 95 % interval as a band;
    otherwise each point has its interval as a bar. Hollow marks miss some of their seeds.
    """
    points = measured(frame)
    tidy(ax)
    if points.empty:
        return say_nothing_is_done(ax)
    marks = _Marks(points, ax, against)
    keys = metaparameters(frame)
    obstacles = []
    if len(keys) == 1 and is_ordered(points[keys[0]]) and not marks.categories:
        order = np.argsort(points[keys[0]].to_numpy(dtype=float), kind="stable")
        x, y = marks.x[order], marks.y[order]
        ax.plot(x, y, color=BLUE, zorder=2)
        obstacles.append(np.column_stack([x, y]))
        rising = bool((np.diff(x) > 0).all() or (np.diff(x) < 0).all())
        if rising and len(x) > 1:
            low, high = marks.low[order], marks.high[order]
            ax.fill_between(x, low, high, color=BLUE, alpha=0.18, linewidth=0, zorder=1)
            obstacles += [np.column_stack([x, low + share * (high - low)]) for share in (0, 0.25, 0.5, 0.75, 1)]
        else:
            marks.bars(ax, BLUE)
    else:
        marks.bars(ax, BLUE)
    marks.draw(ax, [BLUE] * len(points), (points["state"] != "partly done").tolist())
    optional = [False] * len(points)
    if len(points) > MOST_LABELS:
        # In a crowd only the points of the front are sure of their names, or the best one where these are many too.
        chosen = pareto_front(points, against)
        sure = chosen if chosen.sum() <= MOST_LABELS / 2 else points["accuracy"] == points["accuracy"].max()
        optional = (~sure).tolist()
    marks.label(ax, [True] * len(points), obstacles, optional=optional)
    return None


def front(frame: pd.DataFrame, ax: Axes, cost: str) -> None:
    """The Pareto front of accuracy and a cost: filled marks and a staircase; dominated points are hollow and grey."""
    points = measured(frame)
    tidy(ax)
    if points.empty:
        return say_nothing_is_done(ax)
    marks = _Marks(points, ax, cost)
    chosen = pareto_front(points, cost).to_numpy()
    marks.bars(ax, GREY)
    marks.draw(ax, [BLUE if on else GREY for on in chosen], chosen.tolist())
    obstacles = []
    if not marks.categories:
        order = np.flatnonzero(chosen)[np.lexsort((marks.y[chosen], marks.x[chosen]))]
        x = np.append(marks.x[order], ax.get_xlim()[1])
        y = np.append(marks.y[order], marks.y[order][-1])
        ax.set_xlim(ax.get_xlim())
        ax.step(x, y, where="post", color=BLUE, linewidth=1.2, zorder=2)
        obstacles.append(np.column_stack([np.repeat(x, 2)[1:], np.repeat(y, 2)[:-1]]))
    wanted = chosen.tolist() if len(points) > MOST_LABELS else [True] * len(points)
    marks.label(ax, wanted, obstacles, grey=(~chosen).tolist())
    return None


def published_curve(frame: pd.DataFrame, ax: Axes) -> None:
    """A published curve of `analysis.published` on its own axis. Hollow marks are read off a figure, not printed."""
    tidy(ax)
    x, y = frame["model_mib"].to_numpy(dtype=float), 100 * frame["accuracy"].to_numpy(dtype=float)
    printed = frame["printed"].to_numpy(dtype=bool)
    ax.margins(0.1, 0.14)
    ax.set_xlabel("Model size (MiB)")
    ax.set_ylabel(f"{frame['metric'].iloc[0]} accuracy (%)", parse_math=False)
    obstacles = []
    if is_ordered(frame["value"]):
        ax.plot(x, y, color=ORANGE, zorder=2)
        obstacles.append(np.column_stack([x, y]))
    for kind, name in ((True, "printed"), (False, "read off the figure")):
        if (printed == kind).any():
            face = ORANGE if kind else "white"
            ax.plot(x[printed == kind], y[printed == kind], "s", color=ORANGE, mfc=face, label=name, zorder=3)
    if len(set(printed)) > 1:
        ax.legend(loc="lower right", frameon=False, handletextpad=0.2)
    dots = settle(ax)
    taken = [pixels(line, ax.transData) for line in obstacles]
    place_labels(ax, dots, np.column_stack([x, y]), frame["label"].tolist(), taken, [ax.transData] * len(x))


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
    scale, name = unit(against, float(points[against].max()))
    ax.set_xlabel(name, parse_math=False)
    ax.set_ylabel(ACCURACY)
    ax.margins(0.07, 0.08)
    networks = points["same_as"].fillna(points["point"])
    points = points.assign(
        x=points[against].astype(float) / scale,
        **{key: 100 * points[key] for key in ("accuracy", "low", "high")},
        source=networks,
        shared=points.groupby(networks)["series"].transform("nunique") > 1,
    )
    names = list(dict.fromkeys(points["series"]))
    colours = sns.color_palette("colorblind", len(names)).as_hex()
    ends = []
    for place, (series, colour, form) in enumerate(zip(names, colours, itertools.cycle("os^Dv<>"))):
        aside = ScaledTranslation(_ASIDE * (place - (len(names) - 1) / 2) / 72, 0, ax.figure.dpi_scale_trans)
        line = points[points["series"] == series].sort_values("x", kind="stable")
        ax.plot(line["x"], line["accuracy"], color=colour, transform=ax.transData + aside, zorder=2, label=series)
        _draw_points(ax, line[~line["shared"]], colour, form, ax.transData + aside)
        ends.append((float(line["x"].iloc[-1]), float(line["accuracy"].iloc[-1])))
    _draw_points(ax, points[points["shared"]].drop_duplicates("source"), INK, "o", ax.transData)
    # What is drawn aside does not move the limits of the axis.
    ax.update_datalim(np.concatenate([points[["x", key]].dropna() for key in ("accuracy", "low", "high")]))
    ax.autoscale_view()
    ax.set_xlim(ax.get_xlim())
    label_ends(ax, ends, names, [to_rgb(colour) for colour in colours])
    return None


def _draw_points(ax: Axes, points: pd.DataFrame, colour: str, form: str, transform: Transform) -> None:
    """Marks with their intervals as bars; hollow where some seeds are missing."""
    for _, row in points.iterrows():
        ax.plot(
            [row["x"]] * 2,
            [row["low"], row["high"]],
            color=colour,
            lw=1.3,
            alpha=0.7,
            transform=transform,
            label="interval",
        )
        face = "white" if row["state"] == "partly done" else colour
        ax.plot(
            [row["x"]], [row["accuracy"]], form, color=colour, mfc=face, transform=transform, zorder=3, label="point"
        )


def learning_curves(runs: pd.DataFrame, ax: Axes) -> None:
    """Validation accuracy after each epoch, of `analysis.runs_table`: a thin line a run, a thick one for the mean of a point."""
    tidy(ax)
    known = runs[runs["accuracies"].map(lambda entries: entries is not None and np.ndim(entries) == 1)]
    if known.empty:
        return say_nothing_is_done(ax)
    groups = [(_short(group["label"].iloc[0]), list(group["accuracies"])) for _, group in known.groupby("point")]
    numbers = pd.to_numeric(pd.Series([label for label, _ in groups]), errors="coerce").notna().all()
    # A run of colours for what has an order; hues otherwise. The label at the end of each line says which it is.
    colours = sns.color_palette("viridis_r" if numbers or len(groups) > 10 else "colorblind", len(groups))  # noqa: PLR2004
    ends = []
    for colour, (_, curves) in zip(colours, groups, strict=True):
        longest = max(map(len, curves))
        table = np.array([[*entries, *[math.nan] * (longest - len(entries))] for entries in curves]) * 100
        epochs = np.arange(1, longest + 1)
        for row in table:
            ax.plot(epochs, row, color=colour, alpha=0.35, linewidth=0.7)
        whole = table[:, ~np.isnan(table).all(axis=0)]
        mean = np.nanmean(whole, axis=0)
        ax.plot(epochs[: len(mean)], mean, color=colour, marker="o", markersize=3)
        ends.append((len(mean), mean[-1]))
    ax.set_xlabel("Epoch")
    ax.set_ylabel(ACCURACY)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    label_ends(ax, ends, [label for label, _ in groups], [tuple(colour) for colour in colours])
    return None


class _Marks:
    """The measured points as they are drawn against a cost: coordinates in drawn units, one entry a point.

    Where all points cost the same, the axis would show one column of overlapping marks: they are then set side by side under
    their names. Points that share a cost with some others only are moved apart by a few points of type.
    """

    def __init__(self, points: pd.DataFrame, ax: Axes, cost: str) -> None:
        costs = points[cost].to_numpy(dtype=float)
        scale, name = unit(cost, costs.max())
        self.labels = [_short(text) for text in points["label"]]
        self.x = costs / scale
        self.y, self.low, self.high = (100 * points[key].to_numpy(dtype=float) for key in ("accuracy", "low", "high"))
        self.categories = len(costs) > 1 and len(set(costs)) == 1
        ax.set_ylabel(ACCURACY)
        ax.margins(0.1, 0.14)
        if self.categories:
            amount = f"{self.x[0]:,.3g}"
            self.x = np.arange(len(costs), dtype=float)
            ax.set_xticks(self.x, self.labels, parse_math=False)
            if sum(map(len, self.labels)) > 44:  # noqa: PLR2004 (characters that fit under a panel of a report)
                ax.tick_params(axis="x", rotation=35)
            name = f"{', '.join(metaparameters(points))}; {name}: {amount} at every point"
        ax.set_xlabel(name, parse_math=False)
        self.transforms = self._transforms(ax)
        self.with_bars = False

    def _transforms(self, ax: Axes) -> list[Transform]:
        transforms: list[Transform] = [ax.transData] * len(self.x)
        for value in set(self.x):
            (same,) = np.nonzero(self.x == value)
            if len(same) > 1:
                for place, index in enumerate(same):
                    shift = _DODGE * (place - (len(same) - 1) / 2) / 72
                    transforms[index] = ax.transData + ScaledTranslation(shift, 0, ax.figure.dpi_scale_trans)
        return transforms

    def bars(self, ax: Axes, colour: str) -> None:
        for x, low, high, transform in zip(self.x, self.low, self.high, self.transforms, strict=True):
            ax.plot(
                [x, x], [low, high], color=colour, lw=1.3, alpha=0.7, transform=transform, zorder=1, label="interval"
            )
        self.with_bars = True

    def draw(self, ax: Axes, colours: list[str], filled: list[bool]) -> None:
        for x, y, colour, fill, transform in zip(self.x, self.y, colours, filled, self.transforms, strict=True):
            face = colour if fill else "white"
            ax.plot([x], [y], "o", color=colour, mfc=face, transform=transform, zorder=3, label="point")
        # Marks that are moved aside do not move the limits of the axis; the points themselves do.
        ends = np.column_stack([np.tile(self.x, 3), np.concatenate([self.y, self.low, self.high])])
        ax.update_datalim(ends[np.isfinite(ends).all(axis=1)])
        ax.autoscale_view()

    def label(
        self,
        ax: Axes,
        wanted: list[bool],
        obstacles: list[NDArray[np.float64]],
        grey: Sequence[bool] | None = None,
        optional: Sequence[bool] | None = None,
    ) -> None:
        """Labels those that are wanted; the optional ones where there is room."""
        if self.categories:
            return
        dots = settle(ax)
        taken = [pixels(line, ax.transData) for line in obstacles]
        if self.with_bars:
            bars = zip(self.x, self.low, self.high, self.transforms, strict=True)
            taken += [pixels(np.array([[x, low], [x, high]]), transform) for x, low, high, transform in bars]
        texts = [text if want else "" for text, want in zip(self.labels, wanted, strict=True)]
        place_labels(
            ax, dots, np.column_stack([self.x, self.y]), texts, taken, self.transforms, grey, optional=optional
        )


def _short(text: str) -> str:
    """A label that leaves room for the picture; tables have the whole of it."""
    return text if len(text) <= _LONGEST_LABEL else f"{text[: _LONGEST_LABEL - 1]}\N{HORIZONTAL ELLIPSIS}"
