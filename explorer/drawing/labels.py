"""Axes and labels for all plots. Labels overlap neither marks nor each other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import Locator, LogLocator, MaxNLocator, NullLocator
from numpy.typing import NDArray

from explorer.drawing.colours import GREY, INK, LINE
from explorer.drawing.placing import place, sampled
from explorer.drawing.style import LABEL_SIZE
from explorer.networks import quantities
from explorer.study.coordinates import is_logarithmic

_, ACCURACY = quantities.ACCURACY.axis()

_MANY_ENDS = 8
_LONG = 500.0  # ratio of the ends of a logarithmic axis from which it has fewer ticks
_BEHIND, _FAR_BEHIND = 1.02, 1.09  # x of line labels in axes coordinates, for a few lines and for many
_FAR = 90.0  # maximum distance from the end of a line to its label, in points
_LINE = 11.0  # distance between successive line labels, in points


def tidy(ax: Axes) -> None:
    """Keep only the axis lines that help the reader."""
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(visible=True, axis="y", color=LINE, linewidth=0.8)
    ax.set_axisbelow(True)


def ticks(low: float, high: float, *, logarithmic: bool) -> Locator:
    """Return the tick locator for an axis. Logarithmic axes have ticks at 1, 2, 5 and 10, long ones at 1 and 10."""
    return (
        LogLocator(subs=(1.0, 2.0, 5.0) if high < _LONG * low else (1.0,))
        if logarithmic
        else MaxNLocator(6, steps=[1, 2, 2.5, 5, 10])
    )


def cost_axis(ax: Axes, cost: str, amounts: NDArray[np.float64]) -> tuple[NDArray[np.float64], bool]:
    """Label the axes for accuracy against a cost or a metaparameter.

    Returns the scaled costs and whether their axis is logarithmic.
    """
    known = quantities.QUANTITIES.get(cost)
    unit, title = known.axis(float(np.nanmax(amounts))) if known else (1.0, cost.replace("_", " ").capitalize())
    ax.set_xlabel(title, parse_math=False)
    ax.set_ylabel(ACCURACY)
    scaled = amounts / unit
    logarithmic = is_logarithmic(float(scaled.min()), float(scaled.max()))
    if logarithmic:
        ax.set_xscale("log")
        ax.xaxis.set_major_locator(ticks(float(scaled.min()), float(scaled.max()), logarithmic=True))
        ax.xaxis.set_minor_locator(NullLocator())
        ax.xaxis.set_major_formatter(lambda value, _: f"{value:,.6g}")
    return scaled, logarithmic


def say_no_runs(ax: Axes) -> None:
    """Show that there is nothing to draw yet."""
    ax.set_axis_off()
    ax.text(0.5, 0.5, "no runs have finished yet", transform=ax.transAxes, ha="center", va="center", color=GREY)


def settle(ax: Axes) -> float:
    """Fix the limits and the layout, which determine pixel positions. Return the number of pixels per point."""
    figure = ax.get_figure()
    assert figure is not None
    engine = figure.get_layout_engine()
    if engine is not None and isinstance(figure, Figure):
        engine.execute(figure)
    ax.apply_aspect()
    ax.get_xlim()  # computes them
    return figure.dpi / 72


def place_labels(
    ax: Axes,
    points: NDArray[np.float64],
    texts: Sequence[str],
    lines: Sequence[NDArray[np.float64]] = (),
    *,
    grey: NDArray[np.bool_] | None = None,
    radius: float | NDArray[np.float64] = 4.0,
    optional: NDArray[np.bool_] | None = None,
    reach: float = 5.0,
) -> None:
    """Label each point without covering anything; see `placing.place`. Fixes the limits and the layout.

    Args:
        ax: Axes with everything else already drawn.
        points: The points, (k, 2), in data coordinates.
        texts: Their labels. A point with an empty label is only kept free of other labels.
        lines: Lines to keep free of labels, (n, 2) each, in data coordinates.
        grey: Which labels are grey.
        radius: Radius of all marks or of each mark, in points.
        optional: Which labels may be left out if there is no room.
        reach: Maximum distance of optional labels from the edge of their marks, in points.
    """
    dots = settle(ax)
    radii = np.broadcast_to(np.asarray(radius, dtype=float), len(points))
    known = [line[np.isfinite(line).all(axis=1)] for line in lines]
    boxes = [artist.get_window_extent() for artist in (*ax.texts, ax.get_legend()) if artist is not None]
    found = place(
        ax.transData.transform(points) / dots,
        radii,
        _sizes(ax, dots, texts),
        frame=np.array(ax.get_window_extent().padded(-3 * dots).extents) / dots,
        obstacles=[sampled(ax.transData.transform(line) / dots) for line in known if len(line)],
        boxes=[np.array(box.extents) / dots for box in boxes],
        optional=optional,
        reach=reach,
    )
    for index, placed in enumerate(found):
        if placed is None:
            continue
        note = ax.annotate(
            texts[index],
            xy=(points[index, 0], points[index, 1]),
            xytext=(placed.offset[0], placed.offset[1]),
            textcoords="offset points",
            color=GREY if grey is not None and grey[index] else INK,
            multialignment=_ALIGNED[placed.side],
            annotation_clip=False,
            arrowprops=_line(GREY, 0.6, shrinkB=radii[index]) if placed.far else None,
            zorder=2.9,  # below the marks, above everything else
            **_TEXT,
        )
        # The label is inside the axes, so the layout does not depend on it.
        note.set_in_layout(False)


_ALIGNED: dict[int, Literal["left", "center", "right"]] = {-1: "right", 0: "center", 1: "left"}
_TEXT: dict[str, Any] = {
    "ha": "center",
    "va": "center",
    "fontsize": LABEL_SIZE,
    "linespacing": 1.0,
    "parse_math": False,
}


def _sizes(ax: Axes, dots: float, texts: Sequence[str]) -> list[NDArray[np.float64] | None]:
    """Return the width and height of each text in points, or None if it is empty."""
    probe = ax.text(0, 0, "", **_TEXT)
    found: list[NDArray[np.float64] | None] = []
    for text in texts:
        probe.set_text(text)
        found.append(np.array(probe.get_window_extent().size) / dots if text else None)
    probe.remove()
    return found


def _line(colour: str | tuple[float, ...], width: float, **more: Any) -> dict[str, Any]:  # noqa: ANN401 (matplotlib's)
    """Return the properties of the line that connects a label to its target."""
    return {"arrowstyle": "-", "color": colour, "linewidth": width, "shrinkA": 0, "shrinkB": 0} | more


def label_ends(
    ax: Axes, ends: Sequence[tuple[float, float]], texts: Sequence[str], colours: Sequence[tuple[float, ...] | str]
) -> None:
    """Label the end of each line in a column to the right of the axes, and shift labels that would overlap.

    If too many ends are close together to keep labels near them, only the highest ends are labelled.
    """
    ax.margins(x=0.02)
    behind = _FAR_BEHIND if len(ends) > _MANY_ENDS else _BEHIND
    notes = [
        ax.annotate(
            text,
            xy=end,
            xytext=(behind, 0),
            textcoords=("axes fraction", "offset points"),
            annotation_clip=False,
            arrowprops=_line(colour, 1.2, relpos=(0, 0.5)),
            **_TEXT | {"ha": "left", "color": INK},
        )
        for end, text, colour in zip(ends, texts, colours, strict=True)
    ]
    # The layout needs only the text widths, which no longer change.
    dots = settle(ax)
    heights = ax.transData.transform(np.array(ends, dtype=float))[:, 1] / dots
    area = ax.get_window_extent()
    order = np.argsort(heights, kind="stable")
    wanted = _spread(heights[order], _LINE, area.y0 / dots, area.y1 / dots)
    if len(ends) > _MANY_ENDS and np.abs(wanted - heights[order]).max() > _FAR:
        for index in order[:-_MANY_ENDS]:
            notes[index].remove()
        order = order[-_MANY_ENDS:]
        wanted = _spread(heights[order], _LINE, area.y0 / dots, area.y1 / dots)
    for index, height in zip(order, wanted, strict=True):
        notes[index].set_position((behind, height - heights[index]))


def _spread(heights: NDArray[np.float64], gap: float, bottom: float, top: float) -> NDArray[np.float64]:
    """Shift ascending heights as little as possible to put them `gap` apart, within the limits if there is room."""
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
