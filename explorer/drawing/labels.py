"""What all pictures share: labels that cover neither marks nor each other."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.transforms import Transform
from numpy.typing import NDArray

from explorer.drawing.colours import GREY, INK, LINE
from explorer.networks import quantities

LABEL_SIZE = 9.5  # points of type
_, ACCURACY = quantities.ACCURACY.axis()

_DIRECTIONS = [(np.cos(angle), np.sin(angle)) for angle in np.radians([90, 270, 0, 180, 45, 135, 225, 315])]
_STEPS = (2, 5, 9, 14, 21, 29)  # points of type between a mark and its text
_NEAR = 5  # points of type up to which a text needs no line to its mark
_CROWD = 300  # marks beyond which only their middles are kept free
_BEHIND = 1.02  # where the names of lines stand, as a share of the width of the axes
_FAR_BEHIND = 1.09  # where there are so many that they stand far above or below the ends of their lines
_MANY_ENDS = 8
_FAR = 90.0  # points of type that the name of a line may stand above or below its end
_LINE = 11.0  # points of type from one of these names to the next


def tidy(ax: Axes) -> None:
    """An axis with no more lines than it needs."""
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(visible=True, axis="y", color=LINE, linewidth=0.8)
    ax.set_axisbelow(True)


def say(ax: Axes, text: str) -> None:
    """What stands in place of a picture that cannot be drawn."""
    ax.set_axis_off()
    ax.text(0.5, 0.5, text, transform=ax.transAxes, ha="center", va="center", color=GREY)


def say_nothing_is_done(ax: Axes) -> None:
    """What stands in place of a picture of no measured point."""
    say(ax, "no run is done yet")


def settle(ax: Axes) -> float:
    """Settles the limits and the layout, which pixels depend on; returns the pixels of a point of type."""
    figure = ax.get_figure()
    assert figure is not None
    engine = figure.get_layout_engine()
    if engine is not None and isinstance(figure, Figure):
        engine.execute(figure)
    ax.apply_aspect()
    ax.get_xlim()  # limits are worked out when they are asked for
    return figure.dpi / 72


def pixels(line: NDArray[np.float64], transform: Transform) -> NDArray[np.float64]:
    """A polyline as a dense row of pixel coordinates, (k, 2)."""
    corners = transform.transform(line[np.isfinite(line).all(axis=1)].reshape(-1, 2))
    if len(corners) < 2:  # noqa: PLR2004
        return np.asarray(corners)
    shares = np.linspace(0, 1, 40)[:, None]
    return np.concatenate([start + shares * (end - start) for start, end in pairwise(corners)])


def place_labels(
    ax: Axes,
    dots: float,
    points: NDArray[np.float64],
    texts: Sequence[str],
    obstacles: Sequence[NDArray[np.float64]],
    *,
    aside: NDArray[np.float64] | None = None,
    grey: Sequence[bool] | None = None,
    radius: float | Sequence[float] = 4.0,
    optional: Sequence[bool] | None = None,
    reach: float = 5.0,
) -> None:
    """Writes a text beside each point, (k, 2), where it covers no mark, obstacle or other text, as near as can be.

    Every text tries the directions around its point at growing distances; what it would cover is counted and the least is
    taken. A text that ends up far from its point gets a thin line to it. `dots` are the pixels of a point of type, and
    `obstacles` are pixels as well, each (k, 2). `aside` says by how many points of type each mark stands to the right of its point,
    and `radius` is that of the marks, or of each of them, in points of type. Points without a text are marks that are not to be covered. A text for which
    there is no room covers what it must; an optional one stands within `reach` points of type of its mark or is left out, and these come last.
    """
    shifts = np.zeros(len(points)) if aside is None else aside
    marks = ax.transData.transform(points) + np.column_stack([shifts * dots, np.zeros(len(points))])
    radii = np.broadcast_to(np.asarray(radius, dtype=float), len(points))
    taken = np.concatenate([_rings(marks, radii * dots), *obstacles])
    ways = np.array([(step, *direction) for step in _STEPS for direction in _DIRECTIONS])
    may_miss = [False] * len(texts) if optional is None else optional
    frame, legend = np.array(ax.get_window_extent().padded(-3 * dots).extents), ax.get_legend()
    boxes = [np.array(artist.get_window_extent().extents) for artist in (*ax.texts, legend) if artist is not None]
    leaders = []
    for index in sorted(range(len(texts)), key=may_miss.__getitem__):
        if not texts[index]:
            continue
        note = ax.annotate(
            texts[index],
            xy=(points[index, 0], points[index, 1]),
            xytext=(0, 0),
            textcoords="offset points",
            ha="center",
            va="center",
            fontsize=LABEL_SIZE,
            color=GREY if grey is not None and grey[index] else INK,
            linespacing=1.0,
            parse_math=False,
            annotation_clip=False,
        )
        # Inside the axes, so that the layout is settled without it.
        note.set_in_layout(False)
        box = note.get_window_extent()
        tried = ways[ways[:, 0] <= reach] if may_miss[index] else ways
        offsets = tried[:, 1:] * ((radii[index] + tried[:, :1]) * dots + np.array([box.width, box.height]) / 2)
        half = np.array([box.width, box.height]) / 2
        low, high = marks[index] + offsets - half - dots, marks[index] + offsets + half + dots
        near = taken[((taken >= low.min(axis=0)) & (taken <= high.max(axis=0))).all(axis=1)]
        covered = ((near >= low[:, None]) & (near <= high[:, None])).all(axis=2).sum(axis=1)
        outside = (np.maximum(frame[:2] - low, 0) + np.maximum(high - frame[2:], 0)).sum(axis=1)
        clash = np.sum([_overlap(low, high, box) for box in boxes] or [np.zeros(len(tried))], axis=0)
        badness = 30 * clash + 6 * covered + 10 * outside + tried[:, 0]
        best = int(badness.argmin())
        if may_miss[index] and (clash[best] > 2 * dots or covered[best] or outside[best] > dots):
            note.remove()
            continue
        boxes.append(np.concatenate([low[best], high[best]]))
        note.set_position((offsets[best] / dots + np.array([shifts[index], 0])).tolist())
        note.set_multialignment(_ALIGNED[round(tried[best, 1])])
        if tried[best, 0] > _NEAR:
            leaders.append((index, offsets[best] / dots, half / dots))
    _draw_leaders(ax, points, shifts, leaders, radii)


_ALIGNED: dict[int, Literal["left", "center", "right"]] = {-1: "right", 0: "center", 1: "left"}


def _rings(marks: NDArray[np.float64], radii: NDArray[np.float64]) -> NDArray[np.float64]:
    """The pixels of marks: their middles, and unless they are many, points around them."""
    if len(marks) > _CROWD:
        return marks
    turns = np.linspace(0, 2 * np.pi, 8, endpoint=False)
    ring = np.column_stack([np.cos(turns), np.sin(turns)])
    ring = np.vstack([ring, [0, 0]])
    return np.asarray((marks[:, None] + radii[:, None, None] * ring).reshape(-1, 2))


def _draw_leaders(
    ax: Axes,
    points: NDArray[np.float64],
    shifts: NDArray[np.float64],
    leaders: Sequence[tuple[int, NDArray[np.float64], NDArray[np.float64]]],
    radii: NDArray[np.float64],
) -> None:
    """Thin lines from marks to texts that stand far away: by index, offset and half the size of the text, in points of type."""
    if not leaders:
        return
    lines = []
    for index, offset, half in leaders:
        with np.errstate(divide="ignore"):
            # Where the way from the middle of the text to the mark leaves the text.
            inside = min(1.0, float((half / np.abs(offset)).min()))
        start = radii[index] * offset / np.hypot(*offset)
        lines.append((np.array([start, (1 - inside) * offset]) + np.array([shifts[index], 0])) / 72)
    figure = ax.get_figure()
    assert figure is not None
    ax.add_collection(
        LineCollection(
            lines,
            offsets=points[[index for index, _, _ in leaders]],
            offset_transform=ax.transData,
            transform=figure.dpi_scale_trans,
            colors=GREY,
            linewidths=0.6,
            label="leader",
        ),
        autolim=False,
    )


def _overlap(low: NDArray[np.float64], high: NDArray[np.float64], box: NDArray[np.float64]) -> NDArray[np.float64]:
    """How far each of many boxes reaches into one, in pixels: the shorter side of what they share."""
    shared = np.minimum(high, box[2:]) - np.maximum(low, box[:2])
    reach: NDArray[np.float64] = np.maximum(shared, 0).min(axis=1)
    return reach


def label_ends(
    ax: Axes, ends: Sequence[tuple[float, float]], texts: Sequence[str], colours: Sequence[tuple[float, ...] | str]
) -> None:
    """Writes a text for the end of each line, in one column behind all of them, moved up or down until none covers another.

    Where they would be moved far, as the ends of many lines are close to each other, only the highest ones are written.
    """
    ax.margins(x=0.02)
    behind = _FAR_BEHIND if len(ends) > _MANY_ENDS else _BEHIND
    notes = [
        ax.annotate(
            text,
            xy=end,
            xytext=(behind, 0),
            textcoords=("axes fraction", "offset points"),
            va="center",
            fontsize=LABEL_SIZE,
            color=INK,
            parse_math=False,
            annotation_clip=False,
        )
        for end, text in zip(ends, texts, strict=True)
    ]
    # The layout needs the widths of the texts only, which do not change from here on.
    dots = settle(ax)
    places = ax.transData.transform(np.array(ends, dtype=float))
    heights = places[:, 1] / dots
    area = ax.get_window_extent()
    order = np.argsort(heights, kind="stable")
    wanted = _spread(heights[order], _LINE, area.y0 / dots, area.y1 / dots)
    if len(ends) > _MANY_ENDS and np.abs(wanted - heights[order]).max() > _FAR:
        for index in order[:-_MANY_ENDS]:
            notes[index].remove()
        order = order[-_MANY_ENDS:]
        wanted = _spread(heights[order], _LINE, area.y0 / dots, area.y1 / dots)
    starts = ax.transAxes.inverted().transform(places)
    for index, height in zip(order, wanted, strict=True):
        notes[index].set_position((behind, height - heights[index]))
    ax.add_collection(
        LineCollection(
            [
                [starts[index], (behind - 0.005, (height * dots - area.y0) / area.height)]
                for index, height in zip(order, wanted, strict=True)
            ],
            colors=[colours[index] for index in order],
            linewidths=1.2,
            transform=ax.transAxes,
            clip_on=False,
            label="leader",
        ),
        autolim=False,
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
