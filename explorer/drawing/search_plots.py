"""Plots of a search: its front, how the front grew, and the accuracies at each rung."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator

from explorer.analysis.fronts import ON_FRONT
from explorer.drawing.colours import BLUE, GREY
from explorer.drawing.labels import ACCURACY, say_no_runs, tidy
from explorer.drawing.marks import CROWD, MOST_MARKS, Marks
from explorer.networks.quantities import prefixed

IMAGES = "Training images"


def search_front(frame: pd.DataFrame, ax: Axes, cost: str, *, chosen: Mapping[int, str] | None = None) -> None:
    """Draw accuracy against a cost, filled for points on the front of all objectives, labelled by number.

    Args:
        frame: The points of `Findings.points`, of a search.
        ax: Axes to draw into.
        cost: The cost.
        chosen: Names of published networks, by the number of the point with the same values; they get diamonds.
    """
    points = frame[frame["accuracy"].notna()]
    tidy(ax)
    if points.empty:
        return say_no_runs(ax)
    marks = Marks(points.assign(label=points["point"].map(str)), ax, cost, chosen)
    marks.on_front = points[ON_FRONT].to_numpy(dtype=bool)
    colours = np.where(marks.on_front, BLUE, GREY).tolist()
    marks.bars(colours)
    marks.draw(colours, marks.on_front.astype(float))
    marks.label([], only_front=True, grey=~marks.on_front)
    return None


def growth(frame: pd.DataFrame, ax: Axes) -> None:
    """Draw the hypervolume of a front over the training images, as a share of the last, from `front_growth`."""
    tidy(ax)
    last = float(frame["volume"].iloc[-1])
    scale, prefix = prefixed(float(frame["images"].iloc[-1]))
    ax.step(frame["images"] / scale, 100 * frame["volume"] / (last or 1.0), where="post", color=BLUE, zorder=2)
    ax.set_xlim(left=0)
    ax.set_ylim(bottom=0)
    ax.set_xlabel(f"{IMAGES} ({prefix})" if prefix else IMAGES)
    ax.set_ylabel("Hypervolume (% of the last)")


def rungs(frame: pd.DataFrame, ax: Axes, last: int) -> None:
    """Draw the accuracy of each point at each rung, joined by a line, from `rung_accuracies`. `last` is the top."""
    tidy(ax)
    if frame.empty:
        return say_no_runs(ax)
    epochs = sorted(set(frame["epochs"]))
    places = {one: place for place, one in enumerate(epochs)}
    top = set(frame.loc[frame["epochs"] == last, "point"])
    few = frame["point"].nunique() <= CROWD
    for point, own in frame.groupby("point"):
        ax.plot(
            own["epochs"].map(places),
            100 * own["accuracy"],
            color=BLUE if point in top else GREY,
            marker="o",
            markersize=3.5 if few else 2,
            linewidth=0.9 if few else 0.4,
            alpha=0.7,
            zorder=3 if point in top else 2,
            rasterized=len(frame) > MOST_MARKS,
        )
    counts = frame.groupby("epochs")["point"].nunique()
    ax.xaxis.set_major_locator(FixedLocator(list(range(len(epochs)))))
    ax.set_xticklabels([f"{one}\n{counts[one]:,} points" if counts[one] > 1 else f"{one}\n1 point" for one in epochs])
    ax.set_xlim(-0.3, len(epochs) - 0.7)
    ax.set_xlabel("Epochs")
    ax.set_ylabel(ACCURACY)
    return None
