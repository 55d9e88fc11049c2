"""Maps of accuracy over two dimensions of a design space: a triangle of shares, and a plane.

Both maps colour points by accuracy in percent. They highlight the best point and the points not separated from it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import compress
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.colors import Normalize, to_rgba
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from explorer.analysis import share_columns
from explorer.drawing.colours import CELLS, GREY, GROUND, INK, LINE, on
from explorer.drawing.labels import ACCURACY, place_labels, say_no_runs
from explorer.drawing.marks import CROWD, MOST_MARKS, diamond
from explorer.drawing.style import LABEL_SIZE
from explorer.networks.quantities import prefixed
from explorer.spaces.simplex import SHARE
from explorer.spaces.space import label

TRIANGLE = np.array([[0.5, np.sqrt(0.75)], [0.0, 0.0], [1.0, 0.0]])
"""Corners of the triangle (top, left, right), weighted by the shares to place a point."""
MOST_CELLS = 400
"""With more cells than this, only the best is marked, and not the ones that are not separated from it."""

_EDGES = {"best": 3.0, "not separated": 1.1}  # line width around a mark or cell, in points
_EDGE = 0.4  # line width around all other marks, in points, to make light ones visible
_RADIUS, _SMALLEST = 6.5, 1.6  # largest and smallest radius of marks in a triangle, in points
_FEW = 40  # number of marks up to which they are drawn at full size
_ROOM = 0.4  # distance between a label and the centre of a cell, in cells
_MOST_TEXTS = (8, 18)  # maximum columns and rows for which cells have room for an accuracy
_MOST_TICKS, _MOST_LETTERS = 16, 36  # values next to a plane, and total letters of the values below it
_CENTRED: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": LABEL_SIZE}
_BOX = {"boxstyle": "round,pad=0.15", "fc": GROUND, "ec": "none"}
_MOST_TRIED = 60  # number of points in a triangle up to which every accuracy is tried as a label
_FINEST = 150  # maximum grid steps along each side for lines of equal params
_ABSENT = {"infeasible": "not\nfeasible", "over budget": "over\nbudget", "failed": "failed", "planned": "no run"}


def ternary(frame: pd.DataFrame, ax: Axes, *, chosen: Mapping[str, Sequence[float]] | None = None) -> None:
    """Draw accuracy over the shares of three factors, from `analysis.triangle`. The first factor's corner is on top.

    If there is room, marks are labelled with their accuracy and half the width of its interval. A thick ring marks the
    best point, and thin rings mark points not separated from it. Crosses are points without an accuracy. Diamonds show
    the shares of published choices (`chosen`, by name).
    """
    shares = share_columns(frame)
    known = frame["accuracy"].notna()
    if not known.any():
        return say_no_runs(ax)
    _triangle(ax, [share.removeprefix(SHARE) for share in shares])
    places = frame[shares].to_numpy(dtype=float) @ TRIANGLE
    if not known.all():
        ax.plot(*places[~known].T, "x", color=GREY, label="no accuracy", rasterized=len(places) > MOST_MARKS)
    # Label the best points first, while there is most room, and draw them last, on top of the others.
    order = frame[known].sort_values("accuracy", ascending=False, kind="stable").index
    points, at = frame.loc[order], places[frame.index.get_indexer(order)]
    radius = max(_SMALLEST, _RADIUS * min(1.0, math.sqrt(_FEW / len(points))))
    colours = _norm(points)
    edges = np.array([_EDGES.get(standing, _EDGE) for standing in points["standing"]])
    if len(points) > CROWD:
        # Draw a ring around only one of several points with the same network, and omit the edges of touching marks.
        edges *= points["same_as"].isna().to_numpy() & (edges > _EDGE)
    edges *= max(0.3, radius / _RADIUS)
    ax.scatter(
        at[::-1, 0],
        at[::-1, 1],
        s=(2 * radius) ** 2,
        facecolors=CELLS(colours(100 * points["accuracy"].to_numpy(dtype=float)[::-1])),
        edgecolors=[INK if standing in _EDGES else GREY for standing in points["standing"].iloc[::-1]],
        linewidths=edges[::-1].tolist(),
        zorder=3,
        rasterized=len(points) > MOST_MARKS,
        label="point",
    )
    _legend(ax, points, list(chosen or {}))
    _colour_bar(ax, colours)
    others = np.array(list((chosen or {}).values()), dtype=float).reshape(-1, 3) @ TRIANGLE
    if len(others):
        diamond(ax, others)
    # In a crowd, label only the best point.
    tried = len(points) if len(points) <= _MOST_TRIED else 1
    texts = [_figures(row) for _, row in points[:tried].iterrows()] + [""] * (len(points) - tried + len(others))
    place_labels(
        ax,
        np.vstack([at, others]),
        texts,
        list(places[~known][:, None]),
        radius=radius + 1,
        optional=np.arange(len(texts)) > 0,
    )
    return None


def plane(frame: pd.DataFrame, prices: pd.DataFrame, ax: Axes, *, chosen: Mapping[int, str] | None = None) -> None:
    """Draw accuracy over a grid of two metaparameters, from `analysis.ranked`, and lines of equal params.

    All cells have the same size, even if the steps between values differ. Lines are exact at the centres of cells and
    interpolated between them. A thick frame marks the best cell, and thin frames mark cells not separated from it. With
    more than `MOST_CELLS` cells, a ring marks the best one. Hatched cells have no accuracy and state the reason.

    Args:
        frame: The points.
        prices: Params over the two metaparameters, from `analysis.plane_params`. If empty, no lines are drawn.
        ax: Axes to draw into.
        chosen: Names of published networks, keyed by the number of the point with the same values.
    """
    if not frame["accuracy"].notna().any():
        return say_no_runs(ax)
    across, up = prices.columns[:2]
    columns, rows = (sorted(set(frame[key])) for key in (across, up))
    at = np.column_stack([np.searchsorted(columns, frame[across]), np.searchsorted(rows, frame[up])])
    colours = _norm(frame)
    faces = CELLS(colours(100 * frame["accuracy"].fillna(0).to_numpy(dtype=float)))
    faces[frame["accuracy"].isna()] = to_rgba(GROUND)
    inks = [INK if empty else on(face) for face, empty in zip(faces, frame["accuracy"].isna(), strict=True)]
    ax.set(xlim=(-0.5, len(columns) - 0.5), ylim=(-0.5, len(rows) - 0.5), xlabel=across, ylabel=up)
    widest = max(len(label(value)) for value in columns)
    steps = [-(-len(columns) * max(widest, 5) // _MOST_LETTERS), -(-len(rows) // _MOST_TICKS)]
    ax.set_xticks(range(0, len(columns), steps[0]), list(map(label, columns[:: steps[0]])))
    ax.set_yticks(range(0, len(rows), steps[1]), list(map(label, rows[:: steps[1]])))
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    _cells(ax, frame, at, (len(columns), len(rows)), colours)
    written = len(columns) <= _MOST_TEXTS[0] and len(rows) <= _MOST_TEXTS[1]
    for place, (_, row), face, ink in zip(at, frame.iterrows(), faces, inks, strict=True) if written else ():
        text = _ABSENT[row["state"]] if np.isnan(row["accuracy"]) else _percent(row)
        # The background in the cell's colour keeps lines from crossing the text.
        box = _BOX | {"boxstyle": "square,pad=0.2", "fc": face}
        ax.text(place[0], place[1], text, color=ink, zorder=4, bbox=box, **_CENTRED)
    _frame(ax, frame, at, inks)
    if not prices.empty:
        _lines(ax, prices, columns, rows, beside_texts=written)
    if chosen:
        own = frame["point"].isin(list(chosen)).to_numpy()
        # Draw it in the corner of its cell, next to the accuracy.
        diamond(ax, at[own] + np.array([0.36, 0.3]), size=32, colour=list(compress(inks, own)))
    _colour_bar(ax, colours)
    return None


def _norm(frame: pd.DataFrame) -> Normalize:
    return Normalize(100 * frame["accuracy"].min(), 100 * frame["accuracy"].max())


def _figures(row: pd.Series[Any]) -> str:
    """Format accuracy in percent, with half the width of its interval below."""
    half = 50 * (row["high"] - row["low"])
    return _percent(row) if np.isnan(half) else f"{_percent(row)}\n\N{PLUS-MINUS SIGN}{half:.1f}"


def _percent(row: pd.Series[Any]) -> str:
    """Format accuracy in percent. A star means that some seeds are missing."""
    return f"{100 * row['accuracy']:.1f}{'*' if row['state'] == 'partly done' else ''}"


def _triangle(ax: Axes, names: Sequence[str]) -> None:
    """Draw a triangle with a line at every fifth and labelled corners."""
    ax.set_axis_off()
    ax.set_aspect("equal")
    ax.set(xlim=(-0.08, 1.08), ylim=(-0.1, 1.03))
    fifths = np.linspace(0, 0.8, 5)
    ends = [
        np.roll([[fifth, 1 - fifth, 0], [fifth, 0, 1 - fifth]], corner, axis=1) @ TRIANGLE
        for fifth in fifths
        for corner in range(3)
    ]
    edges = [LINE if fifth else GREY for fifth in fifths for _ in range(3)]
    ax.add_collection(LineCollection(ends, colors=edges, linewidths=0.8, zorder=1, label="grid"), autolim=False)
    # Next to the top corner and below the other two, away from accuracies.
    away = (
        (_RADIUS + 5, 0, "left", "center"),
        *[(side * _RADIUS, -_RADIUS - 4, align, "top") for side, align in ((-1, "left"), (1, "right"))],
    )
    for name, corner, (right, above, align, level) in zip(names, TRIANGLE, away, strict=True):
        ax.annotate(
            f"all to {name}",
            xy=tuple(corner),
            xytext=(right, above),
            textcoords="offset points",
            ha=align,
            va=level,
            weight="bold",
            parse_math=False,
        )


def _cells(ax: Axes, frame: pd.DataFrame, at: NDArray[np.int64], size: tuple[int, int], colours: Normalize) -> None:
    """Draw the cells, coloured by accuracy, or hatched if they have none."""
    table = np.full(size[::-1], np.nan)
    table[at[:, 1], at[:, 0]] = 100 * frame["accuracy"].to_numpy(dtype=float)
    few = table.size <= MOST_CELLS
    ax.pcolormesh(
        *(np.arange(count + 1) - 0.5 for count in size),
        np.ma.masked_invalid(table),
        cmap=CELLS,
        norm=colours,
        edgecolors=GROUND if few else "none",
        linewidth=0.5 if few else 0,
        rasterized=table.size > MOST_MARKS,
        label="cells",
    )
    empty = at[frame["accuracy"].isna().to_numpy()]
    _squares(ax, empty, 0.5, "no accuracy", facecolors=GROUND, edgecolors=LINE, hatch="////", linewidths=0)


def _squares(ax: Axes, at: NDArray[np.int64], half: float, name: str, **look: Any) -> None:  # noqa: ANN401
    """Draw squares around the centres of cells."""
    if len(at):
        corners = half * np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]])
        squares = PolyCollection(list(at[:, None] + corners), rasterized=len(at) > MOST_MARKS, label=name, **look)
        ax.add_collection(squares, autolim=False)


def _frame(ax: Axes, frame: pd.DataFrame, at: NDArray[np.int64], inks: Sequence[str]) -> None:
    """Frame the best cell and those not separated from it. In a large plane, draw a ring around the best only."""
    for standing, width in _EDGES.items():
        rows = (frame["standing"] == standing).to_numpy()
        if len(frame) <= MOST_CELLS:
            # Draw frames inside the cells to keep neighbouring frames from overlapping.
            look = {"facecolors": "none", "edgecolors": list(compress(inks, rows)), "linewidths": width, "zorder": 4}
            _squares(ax, at[rows], 0.45, standing, **look)
        elif standing == "best":
            x, y = at[rows].T
            ring = ax.scatter(x, y, s=90, facecolors="none", edgecolors=INK, linewidths=1.8, zorder=5, label=standing)
            ring.set_path_effects([withStroke(linewidth=3.4, foreground=GROUND)])


def _lines(
    ax: Axes,
    prices: pd.DataFrame,
    columns: Sequence[float],
    rows: Sequence[float],
    *,
    beside_texts: bool,
) -> None:
    """Draw labelled lines of equal params."""
    across, up, _ = prices.columns
    for key in (across, up):
        # Thin out grids that are finer than the drawing.
        values = np.unique(prices[key])
        prices = prices[prices[key].isin(values[:: -(-len(values) // _FINEST)])]
    table = prices.pivot(index=up, columns=across, values="params")  # noqa: PD010 (the rows are a grid)
    params = table.to_numpy(dtype=float, na_value=np.nan)
    least, most = np.nanmin(params), np.nanmax(params)
    steps = MaxNLocator(7, steps=[1, 2, 2.5, 5, 10]).tick_values(least, most)
    levels = [level for level in steps if least < level < most]
    if not levels:
        return
    x = np.interp(table.columns.to_numpy(dtype=float), columns, range(len(columns)))
    y = np.interp(table.index.to_numpy(dtype=float), rows, range(len(rows)))
    scale, prefix = prefixed(most)
    lines = ax.contour(x, y, params, levels, colors=INK, linewidths=1.0, zorder=2)
    # An outline in the background colour makes lines visible on any colour.
    lines.set_path_effects([withStroke(linewidth=2.4, foreground=GROUND)])
    places = [_between(np.asarray(line.vertices)) for line in lines.get_paths()] if beside_texts else None
    # By default, matplotlib puts labels where the lines are straight.
    manual = False if places is None else [place for place in places if place is not None]
    texts = {level: f"{level / scale:,g} {prefix}".strip() for level in levels}
    for written in ax.clabel(lines, fmt=texts, inline=False, fontsize=LABEL_SIZE, zorder=5, manual=manual):
        written.set(rotation=0, label="level", bbox=_BOX | {"alpha": 0.85})


def _between(line: NDArray[Any]) -> NDArray[Any] | None:
    """Return the point of a line that is farthest from the texts in the cells, or None if all points are too close."""
    # Texts are wider than they are tall, so vertical distance counts more.
    apart = np.hypot(*((line - line.round()) * (1, 2)).T)
    return np.asarray(line[apart.argmax()]) if apart.max() > _ROOM else None


def _legend(ax: Axes, points: pd.DataFrame, chosen: Sequence[str]) -> None:
    """Draw a legend for the rings and diamonds that are in use."""
    texts = {"best": "best", "not separated": "not separated\nfrom the best"}
    marks = [
        Line2D([], [], marker="o", ls="", ms=2 * _RADIUS - 2, mfc="none", mec=INK, mew=_EDGES[key], label=text)
        for key, text in texts.items()
        if key in set(points["standing"])
    ]
    if chosen:
        names = ",\n".join(chosen)
        marks.append(Line2D([], [], marker="D", ls="", ms=9, mfc="none", mec=INK, mew=0.9, label=names))
    # Names are plain text and not math.
    legend = ax.legend(handles=marks, loc="upper left", frameon=False, handletextpad=0.3, borderpad=0, borderaxespad=0)
    for text in legend.get_texts():
        text.set_parse_math(False)


def _colour_bar(ax: Axes, colours: Normalize) -> None:
    """Draw the colour bar below the axes."""
    figure = ax.get_figure()
    assert figure is not None
    scale = ScalarMappable(colours, CELLS)
    bar = figure.colorbar(scale, ax=ax, orientation="horizontal", shrink=0.8, aspect=30, pad=0.03, label=ACCURACY)
    bar.outline.set_visible(False)
    assert bar.solids is not None
    bar.solids.set(edgecolor="face")
    bar.locator = MaxNLocator(6)
