"""Plots of a study's surrogate: predicted accuracy, quality of the predictions, and importance of metaparameters."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator
from numpy.typing import ArrayLike, NDArray

from explorer.drawing.colours import BLUE, CELLS, GREY, GROUND, INK, LINE, ORANGE
from explorer.drawing.labels import ACCURACY, LABEL_SIZE, say_no_runs, scale_axis, settle, tidy
from explorer.drawing.maps import TRIANGLE, colour_bar, contours, triangle, write_levels
from explorer.drawing.marks import CROWD, measured_marks
from explorer.spaces.simplex import SHARE
from explorer.spaces.space import label

_LEVELS = 12  # of a smooth map
_UNLIKE = 1.3  # ratio of half-widths from which lines of equal ones are drawn
_MOST_TICKS, _MOST_VALUES = 7, 12  # ticks of a logarithmic axis, and values up to which these are its ticks
_FEW = 40  # points up to which their marks are large


def surrogate_line(smooth: pd.DataFrame, points: pd.DataFrame, key: str, ax: Axes) -> None:
    """Draw predicted accuracy over one metaparameter with its 95 % band, and the measured points with intervals.

    `smooth` has the columns `value`, `mean`, `low` and `high` (fractions); `points` are of `analysis.measured`.
    """
    tidy(ax)
    values = points[key].to_numpy(dtype=float)
    mean, low, high = (100 * smooth[name].to_numpy(dtype=float) for name in ("mean", "low", "high"))
    ax.fill_between(smooth["value"], low, high, color=BLUE, alpha=0.18, linewidth=0, zorder=1, label="band")
    ax.plot(smooth["value"], mean, color=BLUE, zorder=2, label="surrogate")
    measured_marks(ax, values, points, face=GROUND, edge=INK, size=24)
    _scale(ax, key, smooth["value"], values)
    ax.set_ylabel(ACCURACY)
    ax.margins(0.05, 0.08)
    ax.autoscale_view()


def surrogate_plane(smooth: pd.DataFrame, points: pd.DataFrame, ax: Axes) -> None:
    """Draw predicted accuracy over two metaparameters, half-widths of its 95 % interval as lines, and the points.

    `smooth` has the two metaparameters as its first columns, on a grid, then `mean` and `half` (fractions).
    """
    across, up = smooth.columns[:2]
    x, y = (smooth[key].to_numpy(dtype=float) for key in (across, up))
    places = points[[across, up]].to_numpy(dtype=float)
    _scale(ax, across, x, places[:, 0])
    _scale(ax, up, y, places[:, 1], vertical=True)
    ax.spines[:].set_visible(False)
    _map(ax, x, y, smooth, places)


def surrogate_triangle(smooth: pd.DataFrame, points: pd.DataFrame, ax: Axes) -> None:
    """Draw the same over the shares of three factors, which are the first columns of `smooth`."""
    shares = list(smooth.columns[:3])
    triangle(ax, [share.removeprefix(SHARE) for share in shares])
    x, y = (smooth[shares].to_numpy(dtype=float) @ TRIANGLE).T
    _map(ax, x, y, smooth, points[shares].to_numpy(dtype=float) @ TRIANGLE)


def _map(
    ax: Axes, x: NDArray[np.float64], y: NDArray[np.float64], smooth: pd.DataFrame, places: NDArray[np.float64]
) -> None:
    """Draw `mean` as colours, `half` as lines, and the measured points unless they would hide the map."""
    mean, half = (100 * smooth[name].to_numpy(dtype=float) for name in ("mean", "half"))
    levels = _levels(mean)
    colours = Normalize(levels[0], levels[-1])
    ax.tricontourf(x, y, mean, levels, cmap=CELLS, norm=colours, zorder=0)
    if len(places) <= CROWD:
        look: dict[str, Any] = {"facecolors": GROUND, "edgecolors": INK, "linewidths": 0.8, "label": "point"}
        ax.scatter(places[:, 0], places[:, 1], s=20 if len(places) <= _FEW else 9, zorder=4, clip_on=False, **look)
    colour_bar(ax, colours)
    settle(ax)
    if varies(half):
        low, high = half.min(), half.max()
        steps = MaxNLocator(4, steps=[1, 2, 5, 10]).tick_values(low, high)
        lines = contours(partial(ax.tricontour, x, y, half), [level for level in steps if low < level < high])
        write_levels(ax, lines, lambda level: f"\N{PLUS-MINUS SIGN}{level:g}")


def predicted(left_out: pd.DataFrame, ax: Axes) -> None:
    """Draw predictions without the point, of `Surrogate.leave_one_out`, against measurements.

    Bars are 95 % predictive intervals; points outside their interval are orange.
    """
    tidy(ax)
    if left_out.empty:
        return say_no_runs(ax)
    measured, said = (100 * left_out[name].to_numpy(dtype=float) for name in ("accuracy", "predicted"))
    colours = np.where(left_out["inside"], BLUE, ORANGE).tolist()
    predictions = left_out.assign(accuracy=left_out["predicted"])
    measured_marks(ax, measured, predictions, face=colours, edge=colours, width=0.5)
    ends = [min(measured.min(), said.min()), max(measured.max(), said.max())]
    ax.plot(ends, ends, color=GREY, linewidth=0.9, linestyle=(0, (4, 3)), zorder=2, label="equal")
    ax.set_xlabel("Measured accuracy (%)")
    ax.set_ylabel("Predicted without it (%)")
    return None


def importance(table: pd.DataFrame, ax: Axes) -> None:
    """Draw the importance of each metaparameter, of `analysis.importance`: by itself and with others."""
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


def varies(half: NDArray[np.float64]) -> bool:
    """Return whether half-widths differ enough to draw lines of equal ones."""
    return float(half.max()) > _UNLIKE * float(half.min())


def _levels(mean: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the levels between the colours of a map, in percent."""
    low, high = float(mean.min()), float(mean.max())
    if high - low < 1e-6:  # noqa: PLR2004 (points of percent: all the same)
        return np.array([low - 0.5, high + 0.5])
    return np.asarray(MaxNLocator(_LEVELS, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high))


def _scale(ax: Axes, key: str, drawn: ArrayLike, values: NDArray[np.float64], *, vertical: bool = False) -> None:
    """Label and scale the axis of a metaparameter; a logarithmic one has measured values as ticks."""
    axis = ax.yaxis if vertical else ax.xaxis
    axis.set_label_text(key, parse_math=False)
    known = np.unique(values)
    if scale_axis(ax, drawn, vertical=vertical) and len(known) <= _MOST_VALUES:
        axis.set_major_locator(FixedLocator(_spread(known).tolist()))
    axis.set_major_formatter(FuncFormatter(lambda value, _: label(float(f"{value:.4g}")).removesuffix(".0")))


def _spread(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Leave out values that are close to another on a logarithmic axis."""
    kept = [values[-1]]
    room = np.log(values[-1] / values[0]) / _MOST_TICKS if len(values) > 1 else 0.0
    for value in values[-2::-1]:
        if np.log(kept[-1] / value) >= room:
            kept.append(value)
    return np.array(kept[::-1])
