"""What all pictures share: their words and units, and labels that cover neither marks nor each other."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.transforms import Transform
from numpy.typing import NDArray

INK, GREY = "#333333", "#6b6b6b"
LABEL_SIZE = 9.5  # points of type
ACCURACY = "Validation accuracy (%)"

_NAMES = {"params": "Params", "macs": "FLOPs (multiply-adds)", "activations": "Activations"}
_NAMES_OF_BYTES = {
    "model_bytes": "Model size",
    "memory_access_bytes": "Memory access",
    "peak_activation_bytes": "Peak activations",
}


def prefixed(value: float) -> tuple[float, str]:
    """What to divide an amount by so that it is read easily, and the prefix of its unit: `1e6, "M"`."""
    return next((step for step in ((1e9, "G"), (1e6, "M"), (1e3, "k")) if value >= step[0]), (1.0, ""))


def unit(quantity: str, largest: float) -> tuple[float, str]:
    """How an amount of a cost is drawn: what to divide it by, and the name of the axis with its unit."""
    if quantity in _NAMES_OF_BYTES:
        return 2.0**20, f"{_NAMES_OF_BYTES[quantity]} (MiB)"
    scale, prefix = prefixed(largest)
    name = _NAMES[quantity]
    if not prefix:
        return scale, name
    return scale, f"{name[:-1]}, {prefix})" if name.endswith(")") else f"{name} ({prefix})"


def tidy(ax: Axes) -> None:
    """An axis with no more lines than it needs."""
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(visible=True, axis="y", color="#e6e6e6", linewidth=0.8)
    ax.set_axisbelow(True)


def say_nothing_is_done(ax: Axes) -> None:
    """What stands in place of a picture of no measured point."""
    ax.set_axis_off()
    ax.text(0.5, 0.5, "no run is done yet", transform=ax.transAxes, ha="center", va="center", color=GREY)


def settle(ax: Axes) -> float:
    """Settles the limits and the layout, which pixels depend on; returns the pixels of a point of type."""
    figure = ax.get_figure()
    if isinstance(figure, Figure):
        figure.draw_without_rendering()
    return figure.dpi / 72 if figure else 1.0


def pixels(line: NDArray[np.float64], transform: Transform) -> NDArray[np.float64]:
    """A polyline as a dense row of pixel coordinates, (k, 2)."""
    corners = transform.transform(line[np.isfinite(line).all(axis=1)].reshape(-1, 2))
    if len(corners) < 2:  # noqa: PLR2004
        return corners
    shares = np.linspace(0, 1, 40)[:, None]
    return np.concatenate([start + shares * (end - start) for start, end in pairwise(corners)])


def place_labels(
    ax: Axes,
    dots: float,
    points: NDArray[np.float64],
    texts: Sequence[str],
    obstacles: Sequence[NDArray[np.float64]],
    transforms: Sequence[Transform],
    grey: Sequence[bool] | None = None,
    *,
    radius: float = 4.0,
    optional: Sequence[bool] | None = None,
) -> None:
    """Writes a text beside each point, (k, 2), where it covers no mark, obstacle or other text, as near as can be.

    Every text tries the directions around its point at growing distances; what it would cover is counted and the least is
    taken. A text that ends up far from its point gets a thin line to it. `dots` are the pixels of a point of type, and
    `obstacles` are pixels as well, each (k, 2); `radius` is that of the marks, in points of type. A text for which there is no room
    covers what it must; an optional one stands close to its mark or is left out, and these come last.
    """
    marks = np.array([transform.transform(point) for point, transform in zip(points, transforms, strict=True)])
    turns = np.linspace(0, 2 * np.pi, 8, endpoint=False)
    ring = radius * dots * np.column_stack([np.cos(turns), np.sin(turns)])
    taken = np.concatenate([(marks[:, None] + ring).reshape(-1, 2), *obstacles])
    frame, legend = np.array(ax.get_window_extent().padded(-3 * dots).extents), ax.get_legend()
    boxes = [np.array(artist.get_window_extent().extents) for artist in (*ax.texts, legend) if artist is not None]
    angles = np.radians([90, 270, 0, 180, 45, 135, 225, 315])
    every_way = [(radius + step, np.cos(angle), np.sin(angle)) for step in (2, 5, 9, 14, 21, 29) for angle in angles]
    may_miss = [False] * len(texts) if optional is None else optional
    for index in sorted(range(len(texts)), key=may_miss.__getitem__):
        text = texts[index]
        if not text:
            continue
        ways = every_way[: 2 * len(angles)] if may_miss[index] else every_way
        # A hidden copy tells the size of the text.
        probe = ax.text(0, 0, text, fontsize=LABEL_SIZE, linespacing=1.0, parse_math=False)
        size = np.array([probe.get_window_extent().width, probe.get_window_extent().height])
        probe.remove()
        offsets = np.array(
            [[away * dots * a + a * size[0] / 2, away * dots * b + b * size[1] / 2] for away, a, b in ways]
        )
        centres = marks[index] + offsets
        low, high = centres - size / 2 - dots, centres + size / 2 + dots
        covered = ((taken >= low[:, None]) & (taken <= high[:, None])).all(axis=2).sum(axis=1)
        outside = (np.maximum(frame[:2] - low, 0) + np.maximum(high - frame[2:], 0)).sum(axis=1)
        clash = np.sum([_overlap(low, high, box) for box in boxes] or [np.zeros(len(ways))], axis=0)
        badness = 30 * clash + 6 * covered + 4 * outside + np.array([away for away, _, _ in ways])
        best = int(badness.argmin())
        if may_miss[index] and (clash[best] > 2 * dots or covered[best] or outside[best] > dots):
            continue
        boxes.append(np.concatenate([low[best], high[best]]))
        far = ways[best][0] > radius + 5
        ax.annotate(
            text,
            xy=(points[index, 0], points[index, 1]),
            xycoords=transforms[index],
            xytext=tuple(offsets[best] / dots),
            textcoords="offset points",
            ha="center",
            va="center",
            fontsize=LABEL_SIZE,
            color=GREY if grey is not None and grey[index] else INK,
            linespacing=1.0,
            parse_math=False,
            arrowprops={"arrowstyle": "-", "color": "#9a9a9a", "linewidth": 0.6, "shrinkA": 0, "shrinkB": 4}
            if far
            else None,
        )


def _overlap(low: NDArray[np.float64], high: NDArray[np.float64], box: NDArray[np.float64]) -> NDArray[np.float64]:
    """How far each of many boxes reaches into one, in pixels: the shorter side of what they share."""
    shared = np.minimum(high, box[2:]) - np.maximum(low, box[:2])
    reach: NDArray[np.float64] = np.maximum(shared, 0).min(axis=1)
    return reach


def label_ends(
    ax: Axes, ends: Sequence[tuple[float, float]], texts: Sequence[str], colours: Sequence[tuple[float, ...]]
) -> None:
    """Writes a text for the end of each line, in one column behind all of them, moved up or down until none covers another."""
    ax.margins(x=0.02)
    dots = settle(ax)
    heights = ax.transData.transform(np.array(ends, dtype=float))[:, 1] / dots
    order = np.argsort(heights, kind="stable")
    area = ax.get_window_extent()
    wanted = _spread(heights[order], 11.0, area.y0 / dots, area.y1 / dots)
    for index, height in zip(order, wanted, strict=True):
        ax.annotate(
            texts[index],
            xy=ends[index],
            xytext=(1.02, height - heights[index]),
            textcoords=("axes fraction", "offset points"),
            va="center",
            fontsize=LABEL_SIZE,
            color=INK,
            parse_math=False,
            annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": colours[index], "linewidth": 1.2, "shrinkA": 1, "shrinkB": 2},
        )


def _spread(heights: NDArray[np.float64], gap: float, bottom: float, top: float) -> NDArray[np.float64]:
    """Rising heights moved as little as needed to be `gap` apart, and inside the limits where there is room."""
    placed = heights.copy()
    for _ in range(200):
        close = np.diff(placed) < gap - 1e-6
        if not close.any():
            break
        for index in np.flatnonzero(close):
            push = (gap - (placed[index + 1] - placed[index])) / 2
            placed[index] -= push
            placed[index + 1] += push
        placed += max(0.0, bottom - placed[0]) - max(0.0, placed[-1] - top)
    return placed
