"""Pictures of the surrogate of a study: the smooth accuracy that it sees, how well it predicts, and what it says matters.

All are drawn into an axis that is given, from frames; accuracies are drawn in percent.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import Normalize
from matplotlib.contour import ContourSet
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator
from numpy.typing import ArrayLike, NDArray

from explorer.drawing.colours import BLUE, CELLS, GREY, GROUND, INK, LINE, ORANGE
from explorer.drawing.labels import ACCURACY, LABEL_SIZE, say_nothing_is_done, scale_axis, settle, tidy
from explorer.drawing.maps import TRIANGLE, colour_bar, contours, triangle, write_levels
from explorer.drawing.marks import CROWD, MOST_MARKS
from explorer.spaces.space import label

_LEVELS = 12  # of a smooth map
_UNLIKE = 1.3  # times by which half-widths differ where lines are drawn of them
_MOST_TICKS, _MOST_VALUES = 7, 12  # ticks of a logarithmic axis, and values up to which these are its ticks
_FEW = 40  # points up to which their marks are large


def surrogate_line(smooth: pd.DataFrame, points: pd.DataFrame, key: str, ax: Axes) -> None:
    """The smooth accuracy over one metaparameter with its 95 % band, and the measured points with their intervals.

    `smooth` has the columns `value`, `mean`, `low` and `high` (fractions), `points` are of `analysis.measured`.
    """
    tidy(ax)
    values = points[key].to_numpy(dtype=float)
    mean, low, high = (100 * smooth[name].to_numpy(dtype=float) for name in ("mean", "low", "high"))
    ax.fill_between(smooth["value"], low, high, color=BLUE, alpha=0.18, linewidth=0, zorder=1, label="band")
    ax.plot(smooth["value"], mean, color=BLUE, zorder=2, label="surrogate")
    _draw_points(ax, values, points)
    _scale(ax, key, smooth["value"], values)
    ax.set_ylabel(ACCURACY)
    ax.margins(0.05, 0.08)
    ax.autoscale_view()


def surrogate_plane(smooth: pd.DataFrame, points: pd.DataFrame, ax: Axes) -> None:
    """The smooth accuracy over two metaparameters as a coloured map; lines of equal half-width of its 95 % interval; the measured points.

    `smooth` has the two metaparameters as its first columns, on a grid, then `mean` and `half` (fractions).
    """
    across, up = smooth.columns[:2]
    x, y = (np.unique(smooth[key].to_numpy(dtype=float)) for key in (across, up))
    table = smooth.sort_values([up, across])
    mean, half = (100 * table[name].to_numpy(dtype=float).reshape(len(y), len(x)) for name in ("mean", "half"))
    levels = _levels(mean)
    colours = Normalize(levels[0], levels[-1])
    ax.contourf(x, y, mean, levels, cmap=CELLS, norm=colours, zorder=0)
    values = points[[across, up]].to_numpy(dtype=float)
    _mark(ax, values)
    _scale(ax, across, x, values[:, 0])
    _scale(ax, up, y, values[:, 1], vertical=True)
    ax.spines[:].set_visible(False)
    colour_bar(ax, colours)
    settle(ax)
    _uncertainty(ax, partial(ax.contour, x, y, half), half)


def surrogate_triangle(smooth: pd.DataFrame, points: pd.DataFrame, ax: Axes) -> None:
    """The smooth accuracy over the shares of three factors, as `surrogate_plane` has it for two metaparameters.

    `smooth` has the three shares as its first columns, then `mean` and `half` (fractions).
    """
    shares = list(smooth.columns[:3])
    triangle(ax, [share.removeprefix("share_") for share in shares])
    x, y = (smooth[shares].to_numpy(dtype=float) @ TRIANGLE).T
    mean, half = (100 * smooth[name].to_numpy(dtype=float) for name in ("mean", "half"))
    levels = _levels(mean)
    colours = Normalize(levels[0], levels[-1])
    ax.tricontourf(x, y, mean, levels, cmap=CELLS, norm=colours, zorder=0)
    places = points[shares].to_numpy(dtype=float) @ TRIANGLE
    _mark(ax, places)
    colour_bar(ax, colours)
    settle(ax)
    _uncertainty(ax, partial(ax.tricontour, x, y, half), half)


def predicted(left_out: pd.DataFrame, ax: Axes) -> None:
    """What a surrogate without a point says of it, of `Surrogate.leave_one_out`, against what was measured.

    Bars are its 95 % predictive intervals; those that do not hold the measured accuracy are orange.
    """
    tidy(ax)
    if left_out.empty:
        return say_nothing_is_done(ax)
    measured, said, low, high = (
        100 * left_out[name].to_numpy(dtype=float) for name in ("accuracy", "predicted", "low", "high")
    )
    inside = left_out["inside"].to_numpy(dtype=bool)
    crowded = len(left_out) > CROWD
    colours = np.where(inside, BLUE, ORANGE).tolist()
    if not crowded:
        ends = [np.column_stack([measured, end]) for end in (low, high)]
        ax.add_collection(
            LineCollection(
                list(np.stack(ends, axis=1)), colors=colours, linewidths=1.3, alpha=0.6, zorder=1, label="interval"
            )
        )
    ax.scatter(
        measured,
        said,
        s=9 if crowded else 30,
        facecolors=colours,
        edgecolors=colours,
        linewidths=0.5,
        rasterized=len(left_out) > MOST_MARKS,
        zorder=3,
        label="point",
    )
    ax.autoscale_view()
    ends = [min(measured.min(), said.min()), max(measured.max(), said.max())]
    ax.plot(ends, ends, color=GREY, linewidth=0.9, linestyle=(0, (4, 3)), zorder=2, label="equal")
    ax.set_xlabel("Measured accuracy (%)")
    ax.set_ylabel("Predicted without it (%)")
    return None


def importance(table: pd.DataFrame, ax: Axes) -> None:
    """How much of the differences in accuracy each metaparameter makes, of `analysis.importance`: by itself, and with all that it takes part in."""
    tidy(ax)
    ax.grid(visible=False, axis="y")
    ax.grid(visible=True, axis="x", color=LINE, linewidth=0.8)
    rows = table.sort_values("total", kind="stable", ignore_index=True)
    places = np.arange(len(rows), dtype=float)
    for name, colour, aside, form in (("total", ORANGE, 0.13, "s"), ("first", BLUE, -0.13, "o")):
        low, high, middle = (100 * rows[key].to_numpy(dtype=float) for key in (f"{name}_low", f"{name}_high", name))
        ax.hlines(places + aside, low, high, color=colour, linewidth=1.6, alpha=0.7, zorder=2, label=f"{name} interval")
        ax.plot(middle, places + aside, form, color=colour, markersize=6, zorder=3, label=name)
        text = "with others" if name == "total" else "by itself"
        top = len(rows) - 1
        ax.annotate(
            text,
            (middle[top], top + aside),
            (0, 7 if name == "total" else -7),
            textcoords="offset points",
            ha="center",
            va="bottom" if name == "total" else "top",
            fontsize=LABEL_SIZE,
            color=INK,
            annotation_clip=False,
        )
    ax.set_yticks(places, rows["metaparameter"].tolist(), parse_math=False)
    ax.tick_params(axis="y", length=0)
    ax.set(xlim=(-3, 103), ylim=(-0.6, len(rows) - 0.3))
    ax.set_xlabel("Share of the variance of accuracy (%)")


def _mark(ax: Axes, places: NDArray[np.float64]) -> None:
    """The measured points on a smooth map, unless they would hide it."""
    if len(places) <= CROWD:
        ax.scatter(
            places[:, 0],
            places[:, 1],
            s=20 if len(places) <= _FEW else 9,
            facecolors=GROUND,
            edgecolors=INK,
            linewidths=0.8,
            zorder=4,
            clip_on=False,
            label="point",
        )


def _uncertainty(
    ax: Axes,
    draw: Callable[..., ContourSet],
    half: NDArray[np.float64],
) -> None:
    """Lines of equal half-width of an interval, in points of percent, each with its amount."""
    low, high = float(half.min()), float(half.max())
    if not varies(half):
        return
    levels = [level for level in MaxNLocator(4, steps=[1, 2, 5, 10]).tick_values(low, high) if low < level < high]
    write_levels(ax, contours(draw, levels), lambda level: f"\N{PLUS-MINUS SIGN}{level:g}")


def varies(half: NDArray[np.float64]) -> bool:
    """Whether the half-widths of intervals differ enough for lines of equal ones to say something."""
    return float(half.max()) > _UNLIKE * float(half.min())


def _levels(mean: NDArray[np.float64]) -> NDArray[np.float64]:
    """The levels between the colours of a smooth map, in percent."""
    low, high = float(mean.min()), float(mean.max())
    if high - low < 1e-6:  # noqa: PLR2004 (points of percent: all the same)
        return np.array([low - 0.5, high + 0.5])
    return np.asarray(MaxNLocator(_LEVELS, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high))


def _draw_points(ax: Axes, values: NDArray[np.float64], points: pd.DataFrame) -> None:
    crowded = len(points) > CROWD
    ends = [np.column_stack([values, 100 * points[end].to_numpy(dtype=float)]) for end in ("low", "high")]
    if not crowded:
        ax.add_collection(
            LineCollection(
                list(np.stack(ends, axis=1)), colors=INK, linewidths=1.1, alpha=0.8, zorder=3, label="interval"
            )
        )
    ax.scatter(
        values,
        100 * points["accuracy"],
        s=6 if crowded else 24,
        facecolors=GROUND,
        edgecolors=INK,
        linewidths=0.4 if crowded else 1.1,
        rasterized=len(points) > MOST_MARKS,
        zorder=4,
        label="point",
    )
    ax.update_datalim(np.concatenate([end[np.isfinite(end).all(axis=1)] for end in ends]))


def _scale(ax: Axes, key: str, drawn: ArrayLike, values: NDArray[np.float64], *, vertical: bool = False) -> None:
    """The axis of a metaparameter; a logarithmic one has some of the measured values as ticks."""
    axis = ax.yaxis if vertical else ax.xaxis
    axis.set_label_text(key, parse_math=False)
    known = np.unique(values)
    if scale_axis(ax, drawn, vertical=vertical) and len(known) <= _MOST_VALUES:
        axis.set_major_locator(FixedLocator(_spread(known).tolist()))
    axis.set_major_formatter(FuncFormatter(lambda value, _: label(float(f"{value:.4g}")).removesuffix(".0")))


def _spread(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of values that stand too close to each other on a logarithmic axis only one."""
    kept = [values[-1]]
    room = np.log(values[-1] / values[0]) / _MOST_TICKS if len(values) > 1 else 0.0
    for value in values[-2::-1]:
        if np.log(kept[-1] / value) >= room:
            kept.append(value)
    return np.array(kept[::-1])
