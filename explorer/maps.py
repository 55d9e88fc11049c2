"""Accuracy over two dimensions of a design space, drawn into an axis that is given: a triangle of shares, and a plane.

Both take frames of `explorer.analysis`, colour points by accuracy in percent, and mark the best point and those that are not
separated from it. `explorer.plots.style` holds the look.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from explorer.analysis import SHARE, metaparameters, share_columns
from explorer.labels import ACCURACY, GREY, INK, LABEL_SIZE, pixels, place_labels, say_nothing_is_done, settle, unit
from explorer.space import label

# Sequential, and read by those who see fewer colours; few steps keep the files small.
_COLOURS = mpl.colormaps["viridis"].resampled(64)
_EDGES = {"best": 3.0, "not separated": 1.1}  # points of type: the line around a mark or cell
_RADIUS = 6.5  # points of type: of the marks in a triangle
_TRIANGLE = np.array([[0.5, np.sqrt(0.75)], [0.0, 0.0], [1.0, 0.0]])  # top, left, right
_DARK = 0.5  # luminance, in [0, 1]: texts on darker cells are white
_ROOM = 0.4  # cells between a label and the middle of a cell
_ABSENT = {"infeasible": "not\nfeasible", "over budget": "over\nbudget", "failed": "failed", "planned": "no run"}


def ternary(frame: pd.DataFrame, ax: Axes) -> None:
    """Accuracy over the shares of three factors, of `analysis.triangle`: a corner gives all to one, the first on top.

    Beside each mark stand its accuracy and half its interval, where there is room. A thick ring marks the best point, thin rings
    those that are not separated from it, crosses points without an accuracy.
    """
    shares = share_columns(frame)
    known = frame["accuracy"].notna()
    if not known.any():
        return say_nothing_is_done(ax)
    ax.set_axis_off()
    ax.set_aspect("equal")
    ax.set(xlim=(-0.08, 1.08), ylim=(-0.1, 1.03))
    _grid(ax, [share.removeprefix(SHARE) for share in shares])
    places = frame[shares].to_numpy(dtype=float) @ _TRIANGLE
    ax.plot(*places[~known].T, "x", color=GREY, label="no accuracy")
    # The first labels find the most room.
    order = frame[known].sort_values("accuracy", ascending=False).index
    points, at = frame.loc[order], places[frame.index.get_indexer(order)]
    colours = _norm(points)
    for place, (_, row) in zip(at, points.iterrows(), strict=True):
        edge = _EDGES.get(row["standing"], 0.0)
        face = _COLOURS(colours(100 * row["accuracy"]))
        ax.plot(*place[:, None], "o", ms=2 * _RADIUS, mfc=face, mec=INK, mew=edge, label="point", zorder=3)
    _legend(ax, points)
    _colour_bar(ax, colours)
    dots = settle(ax)
    crosses = [pixels(place[None], ax.transData) for place in places[~known]]
    texts = [_figures(row) for _, row in points.iterrows()]
    place_labels(ax, dots, at, texts, crosses, [ax.transData] * len(at), radius=_RADIUS + 1, optional=[True] * len(at))
    return None


def plane(frame: pd.DataFrame, prices: pd.DataFrame, ax: Axes) -> None:
    """Accuracy over a grid of two metaparameters, of `analysis.ranked`, with lines of equal params from `analysis.plane_params`.

    Cells are of one size, whatever the steps between their values; the lines stand right at the middles of the cells and in
    proportion between them. A thick frame marks the best cell, thin frames those that are not separated from it. Hatched cells have no
    accuracy and say why.
    """
    if not frame["accuracy"].notna().any():
        return say_nothing_is_done(ax)
    across, up = metaparameters(frame)
    columns, rows = (sorted(set(frame[key])) for key in (across, up))
    colours = _norm(frame)
    ax.set(xlim=(-0.5, len(columns) - 0.5), ylim=(-0.5, len(rows) - 0.5), xlabel=across, ylabel=up)
    ax.set_xticks(range(len(columns)), map(label, columns))
    ax.set_yticks(range(len(rows)), map(label, rows))
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    for _, row in frame.iterrows():
        _cell(ax, row, columns.index(row[across]), rows.index(row[up]), colours)
    _lines(ax, prices, columns, rows)
    _colour_bar(ax, colours)
    return None


def _norm(frame: pd.DataFrame) -> Normalize:
    return Normalize(100 * frame["accuracy"].min(), 100 * frame["accuracy"].max())


def _figures(row: pd.Series[Any]) -> str:
    """Accuracy in percent, and under it half its interval in points."""
    half = 50 * (row["high"] - row["low"])
    return _percent(row) if np.isnan(half) else f"{_percent(row)}\n\N{PLUS-MINUS SIGN}{half:.1f}"


def _percent(row: pd.Series[Any]) -> str:
    """Accuracy in percent; a star says that some seeds are missing."""
    return f"{100 * row['accuracy']:.1f}{'*' if row['state'] == 'partly done' else ''}"


def _grid(ax: Axes, names: Sequence[str]) -> None:
    """The triangle with lines at each fifth, and the names of its corners."""
    for fifth in np.linspace(0, 0.8, 5):
        for corner in range(3):
            ends = np.roll([[fifth, 1 - fifth, 0], [fifth, 0, 1 - fifth]], corner, axis=1) @ _TRIANGLE
            ax.plot(*ends.T, color="#d0d0d0" if fifth else "#9a9a9a", lw=0.8, zorder=1, label="grid")
    # Beside the top, and below the other two, where no accuracy stands.
    away = (
        (_RADIUS + 5, 0, "left", "center"),
        *[(side * _RADIUS, -_RADIUS - 4, align, "top") for side, align in ((-1, "left"), (1, "right"))],
    )
    for name, corner, (right, above, align, level) in zip(names, _TRIANGLE, away, strict=True):
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


def _cell(ax: Axes, row: pd.Series[Any], column: int, line: int, colours: Normalize) -> None:
    """A cell with its accuracy in percent, or hatched with the reason why there is none."""
    corner = (column - 0.5, line - 0.5)
    if np.isnan(row["accuracy"]):
        ax.add_patch(Rectangle(corner, 1, 1, fc="white", ec="#c4c4c4", hatch="////", lw=0, label="no accuracy"))
        face, text, ink = "white", _ABSENT[row["state"]], INK
    else:
        face = _COLOURS(colours(100 * row["accuracy"]))
        ax.add_patch(Rectangle(corner, 1, 1, fc=face, ec="white", lw=0.5, label="cell"))
        text, ink = _percent(row), "white" if np.dot(face[:3], (0.299, 0.587, 0.114)) < _DARK else INK
    # On a ground of its own colour, so that no line runs through it.
    ground = {"boxstyle": "square,pad=0.1", "fc": face, "ec": "none"}
    ax.text(column, line, text, color=ink, ha="center", va="center", fontsize=LABEL_SIZE, zorder=4, bbox=ground)
    if row["standing"] in _EDGES:
        # Inside the cell, so that neighbours keep their own frames.
        ax.add_patch(
            Rectangle(
                (column - 0.45, line - 0.45),
                0.9,
                0.9,
                fill=False,
                ec=ink,
                lw=_EDGES[row["standing"]],
                zorder=4,
                label=row["standing"],
            )
        )


def _lines(ax: Axes, prices: pd.DataFrame, columns: Sequence[float], rows: Sequence[float]) -> None:
    """Lines of equal params with their amounts, each written where it is furthest from the middles of the cells."""
    across, up, _ = prices.columns
    table = prices.pivot(index=up, columns=across, values="params")  # noqa: PD010 (the rows are a grid)
    params = table.to_numpy(dtype=float, na_value=np.nan)
    least, most = np.nanmin(params), np.nanmax(params)
    steps = MaxNLocator(7, steps=[1, 2, 2.5, 5, 10]).tick_values(least, most)
    levels = [level for level in steps if least < level < most]
    if not levels:
        return
    x = np.interp(table.columns.to_numpy(dtype=float), columns, range(len(columns)))
    y = np.interp(table.index.to_numpy(dtype=float), rows, range(len(rows)))
    # White below, so that the lines are seen on dark cells too.
    ax.contour(x, y, params, levels, colors="white", linewidths=2.6, zorder=2)
    lines = ax.contour(x, y, params, levels, colors=INK, linewidths=1.1, zorder=3)
    scale, name = unit("params", most)
    taken = np.array([[column, row] for column in range(len(columns)) for row in range(len(rows))], dtype=float)
    for level, line in zip(levels, lines.get_paths(), strict=True):
        place = _roomiest(np.asarray(line.vertices), taken)
        if place is None:
            continue
        taken = np.vstack([taken, place])
        amount = f"{level / scale:,g} {name.removeprefix('Params').strip(' ()')}".strip()
        ax.text(
            place[0],
            place[1],
            amount,
            color=INK,
            ha="center",
            va="center",
            fontsize=LABEL_SIZE,
            zorder=5,
            label="params",
            bbox={"boxstyle": "round,pad=0.15", "fc": "white", "ec": "none", "alpha": 0.85},
        )


def _roomiest(line: NDArray[np.float64], taken: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """The point of a line that is furthest from all places that are taken, or None without room, as in a corner."""
    # Texts are wider than high, so that a row apart counts for more than a column.
    apart = np.hypot(*((line[:, None] - taken) * (1, 2)).T).min(axis=0)
    return line[apart.argmax()] if len(line) and apart.max() > _ROOM else None


def _legend(ax: Axes, points: pd.DataFrame) -> None:
    """What the rings say, of those that there are."""
    texts = {"best": "best", "not separated": "not separated\nfrom the best"}
    rings = [
        Line2D([], [], marker="o", ls="", ms=2 * _RADIUS - 2, mfc="none", mec=INK, mew=_EDGES[key], label=text)
        for key, text in texts.items()
        if key in set(points["standing"])
    ]
    ax.legend(handles=rings, loc="upper left", frameon=False, handletextpad=0.3, borderpad=0, borderaxespad=0)


def _colour_bar(ax: Axes, colours: Normalize) -> None:
    figure = ax.get_figure()
    assert figure is not None
    scale = ScalarMappable(colours, _COLOURS)
    bar = figure.colorbar(scale, ax=ax, orientation="horizontal", shrink=0.8, aspect=30, pad=0.03, label=ACCURACY)
    bar.outline.set_visible(False)
    assert bar.solids is not None
    bar.solids.set(edgecolor="face")
    bar.locator = MaxNLocator(6)
