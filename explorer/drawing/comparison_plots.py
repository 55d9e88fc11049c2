"""Pictures of several studies in one: their fronts over one cost, their errors, and the networks that two of them share."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from numpy.typing import NDArray

from explorer.analysis import front_column
from explorer.analysis.comparison import Comparison
from explorer.analysis.edf import edf
from explorer.drawing.colours import BLUE, GREY, categories
from explorer.drawing.labels import ACCURACY, label_ends, scale_axis, tidy
from explorer.drawing.marks import short
from explorer.networks.quantities import QUANTITIES


def fronts(comparison: Comparison, ax: Axes) -> None:
    """The points of each study, those on its own front with their intervals, and its front as a staircase; one colour each."""
    tidy(ax)
    cost = comparison.cost
    frames = [one.measured for one in comparison.studies]
    largest = max(float(frame[cost].max()) for frame in frames)
    scale, name = QUANTITIES[cost].axis(largest)
    colours, ends = categories(len(frames)), []
    for frame, colour in zip(frames, colours, strict=True):
        x, y = frame[cost].to_numpy(dtype=float) / scale, 100 * frame["accuracy"].to_numpy(dtype=float)
        ax.plot(x, y, "o", color=colour, ms=3, alpha=0.4, mew=0, label="points", rasterized=len(x) > 1000)  # noqa: PLR2004
        best = frame[frame[front_column(cost)]].sort_values([cost, "accuracy"])
        steps = best[cost].to_numpy(dtype=float) / scale
        heights, low, high = (100 * best[key].to_numpy(dtype=float) for key in ("accuracy", "low", "high"))
        ax.vlines(steps, low, high, color=colour, lw=1, alpha=0.6, label="interval")
        ax.plot(steps, heights, "o", color=colour, ms=5, label="front")
        stairs = np.append(steps, largest / scale), np.append(heights, heights[-1])
        ax.step(*stairs, where="post", color=colour, lw=1.4, label="stairs")
        ends.append((float(stairs[0][-1]), float(stairs[1][-1])))
    scale_axis(ax, np.concatenate([frame[cost].to_numpy(dtype=float) for frame in frames]) / scale)
    ax.set_xlabel(name, parse_math=False)
    ax.set_ylabel(ACCURACY)
    label_ends(ax, ends, [short(text) for text in comparison.names], colours)


def errors(comparison: Comparison, ax: Axes) -> None:
    """Of the networks of each study, which share has an error of at most so much."""
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
    """The accuracies that two studies measured of the same networks, of `Comparison.common`."""
    tidy(ax)
    x, y = (100 * together[key].to_numpy(dtype=float) for key in ("first", "second"))
    ax.plot(x, y, "o", color=BLUE, ms=5, label="network")
    if _is_alike(x, y):
        low, high = min(x.min(), y.min()), max(x.max(), y.max())
        ax.plot([low, high], [low, high], color=GREY, lw=0.8, ls=(0, (4, 3)), zorder=1, label="equal")
    ax.set_xlabel(f"Accuracy in {short(names[0])} (%)", parse_math=False)
    ax.set_ylabel(f"Accuracy in {short(names[1])} (%)", parse_math=False)


def _is_alike(x: NDArray[np.float64], y: NDArray[np.float64]) -> bool:
    """Whether both are about as high, so that a line of equal accuracy is no waste of room."""
    return bool(abs(np.mean(x - y)) < np.ptp(x) + np.ptp(y))
