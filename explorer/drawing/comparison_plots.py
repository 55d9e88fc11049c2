"""Plots that compare studies: fronts over one cost, error distributions, and networks shared by two studies."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from numpy.typing import NDArray

from explorer.analysis import front_column
from explorer.analysis.comparison import Comparison
from explorer.analysis.edf import edf
from explorer.drawing.colours import BLUE, GREY, categories
from explorer.drawing.labels import cost_axis, label_ends, tidy
from explorer.drawing.marks import MOST_MARKS, short


def fronts(comparison: Comparison, ax: Axes) -> None:
    """Draw each study in its own colour: its points, its front as a staircase, and the intervals of front points."""
    tidy(ax)
    cost, frames = comparison.cost, [one.measured for one in comparison.studies]
    amounts, _ = cost_axis(ax, cost, np.concatenate([frame[cost].to_numpy(dtype=float) for frame in frames]))
    drawn = np.split(amounts, np.cumsum([len(frame) for frame in frames])[:-1])
    colours, ends = categories(len(frames)), []
    for frame, x, colour in zip(frames, drawn, colours, strict=True):
        y, low, high = (100 * frame[key].to_numpy(dtype=float) for key in ("accuracy", "low", "high"))
        ax.plot(x, y, "o", color=colour, ms=3, alpha=0.4, mew=0, label="points", rasterized=len(x) > MOST_MARKS)
        (best,) = np.nonzero(frame[front_column(cost)])
        best = best[np.lexsort((y[best], x[best]))]
        ax.vlines(x[best], low[best], high[best], color=colour, lw=1, alpha=0.6, label="interval")
        ax.plot(x[best], y[best], "o", color=colour, ms=5, label="front")
        ends.append((float(amounts.max()), float(y[best[-1]])))
        ax.step([*x[best], ends[-1][0]], [*y[best], ends[-1][1]], where="post", color=colour, lw=1.4, label="stairs")
    label_ends(ax, ends, [short(text) for text in comparison.names], colours)


def errors(comparison: Comparison, ax: Axes) -> None:
    """Draw the error distribution of each study: the share of its networks with at most a given error."""
    tidy(ax)
    colours, ends = categories(len(comparison.studies)), []
    steps = [edf(one.accuracies.means) for one in comparison.studies]
    last = max(100 * float(one["error"].max()) for one in steps)
    for one, colour in zip(steps, colours, strict=True):
        x, y = 100 * np.append(one["error"], last / 100), 100 * np.append(one["share"], 1)
        ax.step(np.append(x[0], x), np.append(0, y), where="post", color=colour, label="share")
        ends.append((float(x[-1]), float(y[-1])))
    ax.set(ylim=(0, 102))
    ax.set_xlabel("Validation error (%)")
    ax.set_ylabel("Networks with at most this error (%)")
    label_ends(ax, ends, [short(text) for text in comparison.names], colours)


def shared(together: pd.DataFrame, names: tuple[str, str], ax: Axes) -> None:
    """Draw the accuracies of the networks shared by two studies, from `Comparison.common`."""
    tidy(ax)
    x, y = (100 * together[key].to_numpy(dtype=float) for key in ("first", "second"))
    ax.plot(x, y, "o", color=BLUE, ms=5, label="network")
    if _is_alike(x, y):
        low, high = min(x.min(), y.min()), max(x.max(), y.max())
        ax.plot([low, high], [low, high], color=GREY, lw=0.8, ls=(0, (4, 3)), zorder=1, label="equal")
    ax.set_xlabel(f"Accuracy in {short(names[0])} (%)", parse_math=False)
    ax.set_ylabel(f"Accuracy in {short(names[1])} (%)", parse_math=False)


def _is_alike(x: NDArray[np.float64], y: NDArray[np.float64]) -> bool:
    """Return whether both have similar levels, because a line of equal accuracy then fits in the plot."""
    return bool(abs(np.mean(x - y)) < np.ptp(x) + np.ptp(y))
