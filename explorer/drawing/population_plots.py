"""Plots of a study's points as a population: the distribution of errors, and what the best have in common."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from numpy.typing import NDArray

from explorer.analysis import is_ordered
from explorer.drawing.colours import BLUE, GREY, GROUND, LINE, LINES
from explorer.drawing.labels import LABEL_SIZE, say_no_runs, tidy
from explorer.drawing.marks import short, slant
from explorer.spaces.space import label

MOST_LINES = 600
"""With more points only the best and a sample of the others have lines."""
_MOST_TICKS = 8  # values that are written beside an axis of a metaparameter
_WIDTHS = (0.6, 2.4)  # points of type: lines of the least and the most accurate points
_APART = 0.035  # of the height of an axis, between lines through the same value
_WIDEST_NAMES = 45  # characters that fit below a panel of a report
_MANY = 200  # lines beyond which all but the best are thin and see-through


def error_distribution(steps: pd.DataFrame, ax: Axes) -> None:
    """Draw the error distribution of `analysis.edf`, with its 95 % band if known."""
    tidy(ax)
    if steps.empty:
        return say_no_runs(ax)
    errors = 100 * steps["error"].to_numpy(dtype=float)
    room = 0.04 * (errors[-1] - errors[0]) or 1.0
    # The function is 0 before its first step, and stays at 1 after its last.
    x = np.concatenate([[errors[0] - room], errors, [errors[-1] + room]])
    y = 100 * np.concatenate([[0], steps["share"], [1]])
    if steps["low"].notna().all():
        low, high = (100 * np.concatenate([[0], steps[end], steps[end].iloc[-1:]]) for end in ("low", "high"))
        high[0] = high[1] - (y[1] - y[0])
        ax.fill_between(x, low, high, step="post", color=BLUE, alpha=0.15, linewidth=0, zorder=1, label="band")
    ax.step(x, y, where="post", color=BLUE, zorder=2, label="share")
    middle = int(np.searchsorted(y, 50))
    ax.plot([x[0], x[middle], x[middle]], [50, 50, 0], color=GREY, linewidth=0.8, linestyle=(0, (4, 3)), label="median")
    ax.annotate(
        f"half: {x[middle]:.1f} % or less",
        (x[middle], 0),
        (4, 5),
        textcoords="offset points",
        fontsize=LABEL_SIZE,
        color=GREY,
    )
    ax.set(xlim=(x[0], x[-1]), ylim=(0, 102))
    ax.set_xlabel("Validation error (%)")
    ax.set_ylabel("Networks with at most this error (%)")
    return None


def parallel(frame: pd.DataFrame, keys: Sequence[str], ax: Axes) -> None:
    """Draw parallel coordinates: an axis for each key and one for accuracy, and a line for each measured point.

    Lines are coloured by accuracy, the best on top and thicker. Numbers are placed by their amount or, if few, evenly;
    other values in the order of the study.
    """
    points = frame[frame["accuracy"].notna()].sort_values("accuracy", kind="stable")
    if len(points) > MOST_LINES:
        best = np.arange(len(points) - MOST_LINES // 6, len(points))
        others = np.linspace(0, best[0] - 1, MOST_LINES - len(best)).round().astype(int)
        points = points.iloc[[*others, *best]]
    ax.spines[:].set_visible(False)
    ax.grid(visible=False)
    if points.empty:
        return say_no_runs(ax)
    accuracies = 100 * points["accuracy"].to_numpy(dtype=float)
    low, high = accuracies.min(), accuracies.max()
    axes = [_axis(frame[key], points[key], len(points)) for key in keys]
    shades = _scaled(accuracies, low, high)
    heights = np.column_stack([*(places for places, _ in axes), shades])
    many, ranks = len(points) > _MANY, np.linspace(0, 1, len(points))
    colours = LINES(shades if high > low else np.zeros(len(points)))
    colours[:, 3] = 0.15 + 0.85 * ranks**20 if many else 0.55 + 0.45 * ranks
    ax.add_collection(
        LineCollection(
            [np.column_stack([np.arange(heights.shape[1]), row]) for row in heights],
            colors=colours,
            linewidths=(_WIDTHS[0] + (_WIDTHS[1] - _WIDTHS[0]) * ranks ** (40 if many else 6)).tolist(),
            capstyle="round",
            zorder=2,
            label="point",
        )
    )
    ends = {0.0: f"{low:.1f}", 1.0: f"{high:.1f}"} if high > low else {0.5: f"{high:.1f}"}
    for place, ticks in enumerate([*(ticks for _, ticks in axes), ends]):
        ax.plot([place, place], [0, 1], color=LINE, linewidth=1.2, zorder=1, label="axis")
        _write_ticks(ax, place, ticks, behind=place == len(keys))
    ax.set(xlim=(-0.1, len(keys) + 0.1), ylim=(-0.05, 1.05))
    names = [short(key).replace(" ", "\n") for key in [*keys, "accuracy (%)"]]
    ax.set_xticks(range(len(names)), names, parse_math=False)
    ax.set_yticks([])
    ax.tick_params(axis="x", length=0, pad=6)
    slant(ax, sum(max(map(len, name.split("\n"))) for name in names) > _WIDEST_NAMES)
    return None


def _axis(known: pd.Series[Any], drawn: pd.Series[Any], count: int) -> tuple[NDArray[np.float64], dict[float, str]]:
    """Return where lines cross an axis, in [0, 1], and the texts beside it by height."""
    values = {label(value): value for value in known if value is not None}
    numbers = is_ordered(list(values.values()))
    if numbers and len(values) > _MOST_TICKS:
        least, most = float(known.min()), float(known.max())
        digits = 2 - math.floor(math.log10(most - least))
        ends = {place: f"{round(end, digits):,.6g}" for place, end in ((0.0, least), (1.0, most))}
        return _scaled(drawn.to_numpy(dtype=float), least, most), ends
    names = [label(value) for value in sorted(values.values())] if numbers else list(values)
    height = dict(zip(names, np.linspace(0, 1, len(names)).tolist() if len(names) > 1 else [0.5], strict=True))
    ticks = {place: short(name) for name, place in height.items() if len(names) <= _MOST_TICKS or place in {0.0, 1.0}}
    places = np.array([height[label(value)] for value in drawn])
    if count <= _MANY:
        # Lines through the same value are a little above each other, in their order, so that each is seen.
        gap = min(_APART, 0.5 / len(height))
        for value in set(places.tolist()):
            (same,) = np.nonzero(places == value)
            places[same] += gap * (np.linspace(-1, 1, len(same)) if len(same) > 1 else 0)
    return places, ticks


def _scaled(amounts: NDArray[np.float64], low: float, high: float) -> NDArray[np.float64]:
    return (amounts - low) / (high - low) if high > low else np.full(len(amounts), 0.5)


def _write_ticks(ax: Axes, place: int, ticks: dict[float, str], *, behind: bool) -> None:
    for height, text in ticks.items():
        ax.annotate(
            text,
            (place, height),
            (4 if behind else -4, 0),
            textcoords="offset points",
            ha="left" if behind else "right",
            va="center",
            fontsize=LABEL_SIZE - 1,
            parse_math=False,
            annotation_clip=False,
            zorder=5,
            bbox={"boxstyle": "square,pad=0.1", "fc": GROUND, "ec": "none", "alpha": 0.75},
        )
