"""Draw the measured points of a study against a cost, with intervals and labels, for any number of points."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import compress
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba_array
from numpy.typing import NDArray

from explorer.analysis import front_column, pareto_front
from explorer.drawing.colours import GROUND, INK
from explorer.drawing.labels import cost_axis, place_labels

CROWD = 300  # with more marks, they are small and only some have intervals
MOST_MARKS = 1000  # with more marks, vector files rasterise them
MOST_LABELS = 14
"""With more marks, only a few on the front (or the best) always get a label. Others get one if there is room."""

_FEW = 40  # up to this number of marks, they are large and their intervals bold
_SMALL = 5.0  # area of a mark in a crowd, in square points
_DODGE, _WIDEST = 0.03, 0.18  # share of the axis between neighbouring marks of equal cost, and in total
_RADIUS, _DIAMOND = 4.0, 9.0  # radius kept free around a mark and around a diamond, in points
_REACH = 9.0  # maximum distance from a mark to an optional label, in points
_MOST_TRIED = 60  # maximum number of labels tried
_LONGEST_LABEL = 30  # characters
_WIDEST_NAMES = 44  # characters that fit below a report panel


class Marks:
    """Measured points plotted against a cost in axis units.

    If all points have the same cost, they are drawn side by side above their names. Otherwise, marks with equal costs
    are moved slightly apart.
    """

    def __init__(self, points: pd.DataFrame, ax: Axes, cost: str, chosen: Mapping[int, str] | None = None) -> None:
        """Set up the axes. `chosen` holds names of published networks, keyed by the point with the same values."""
        self.ax = ax
        self.x, logarithmic = cost_axis(ax, cost, points[cost].to_numpy(dtype=float))
        self.y, self.low, self.high = (100 * points[key].to_numpy(dtype=float) for key in ("accuracy", "low", "high"))
        on_front = points[front_column(cost)] if front_column(cost) in points else pareto_front(points, cost)
        self.on_front = on_front.to_numpy(dtype=bool)
        self.crowded = len(points) > CROWD
        self.categories = not self.crowded and len(points) > 1 and len(set(self.x)) == 1
        self.labels = [short(text) for text in points["label"]]
        if self.categories:
            varied = ", ".join(points.attrs.get("metaparameters", []))
            ax.set_xlabel(f"{varied}; {ax.get_xlabel()}: {self.x[0]:,.3g} at every point", parse_math=False)
            self.x = np.arange(len(points), dtype=float)
            self._name_categories()
        self.places = np.column_stack([self.x if self.crowded else _dodged(self.x, logarithmic=logarithmic), self.y])
        names = [(chosen or {}).get(point, "") for point in points["point"]]
        self.chosen = np.array([bool(name) for name in names])
        self.texts = [
            f"{'' if self.categories else label}\n{f'as in {name}' if name else ''}".strip()
            for label, name in zip(self.labels, names, strict=True)
        ]
        self.barred = np.zeros(len(points), dtype=bool)
        ax.margins(0.1, 0.14)

    def bars(self, colours: Sequence[str]) -> None:
        """Draw the intervals as bars. In a crowd, draw them only for some points on the front."""
        self.barred = np.isfinite(self.low) & np.isfinite(self.high)
        if self.crowded:
            self.barred &= self._spaced()
        self.ax.vlines(
            self.places[self.barred, 0],
            self.low[self.barred],
            self.high[self.barred],
            colors=list(compress(colours, self.barred)),
            linewidths=1.3 if len(self.x) <= _FEW else 0.8,
            alpha=0.7 if len(self.x) <= _FEW else 0.45,
            zorder=1,
            label="interval",
        )

    def draw(self, edges: Sequence[str], filled: NDArray[Any]) -> None:
        """Draw the marks, `filled` from 0 (hollow) to 1. In a crowd, marks off the front are small."""
        faces = np.column_stack([to_rgba_array(list(edges))[:, :3], filled])
        size = 36 if len(self.x) <= _FEW else 16
        whole = self.on_front if self.crowded else np.ones(len(self.x), dtype=bool)
        self._scatter("crowd", ~whole, faces * [1, 1, 1, 0] + [0, 0, 0, 0.3], "none", _SMALL)
        # Keep lines below from showing through the marks.
        self._scatter("ground", whole & (filled < 1), GROUND, "none", size)
        self._scatter("point", whole, faces, edges, size)
        if self.chosen.any():
            diamond(self.ax, self.places[self.chosen])

    def _scatter(
        self, name: str, rows: NDArray[np.bool_], faces: NDArray[Any] | str, edges: Sequence[str] | str, size: float
    ) -> None:
        if rows.any():
            self.ax.scatter(
                self.places[rows, 0],
                self.places[rows, 1],
                s=size,
                facecolors=faces if isinstance(faces, str) else faces[rows],
                edgecolors=edges if isinstance(edges, str) else list(compress(edges, rows)),
                linewidths=1 if len(self.x) <= _FEW else 0.7,
                zorder=2.5 if name == "crowd" else 3,
                rasterized=int(rows.sum()) > MOST_MARKS,
                label=name,
            )

    def label(
        self,
        lines: Sequence[NDArray[np.float64]],
        *,
        only_front: bool = False,
        grey: NDArray[np.bool_] | None = None,
    ) -> None:
        """Label the marks, avoiding lines given in data coordinates."""
        wanted, optional = np.ones(len(self.x), dtype=bool), np.zeros(len(self.x), dtype=bool)
        if len(self.x) > MOST_LABELS:
            wanted[np.lexsort((-self.y, ~self.on_front))[_MOST_TRIED:]] = False
            wanted &= self._spaced() if only_front else True
            few = self.on_front.sum() <= MOST_LABELS / 2
            optional = ~(self.on_front if few else self.y == self.y.max()) & ~self.chosen
        bars = np.stack([np.column_stack([self.places[:, 0], end]) for end in (self.low, self.high)], axis=1)
        place_labels(
            self.ax,
            self.places,
            [text if want else "" for text, want in zip(self.texts, wanted, strict=True)],
            [*lines, *bars[self.barred]],
            reach=_REACH,
            radius=np.where(self.chosen, _DIAMOND, _RADIUS),
            grey=grey,
            optional=optional,
        )

    def _spaced(self) -> NDArray[np.bool_]:
        """Return a mask of the points on the front. If there are many, select some, from cheapest to most expensive."""
        order = np.flatnonzero(self.on_front)[np.argsort(self.x[self.on_front], kind="stable")]
        kept = np.zeros(len(self.x), dtype=bool)
        kept[order[np.unique(np.linspace(0, len(order) - 1, MOST_LABELS).round().astype(int))]] = True
        return kept

    def _name_categories(self) -> None:
        """Write as many names below the marks as will be readable, and slant long ones."""
        step = -(-len(self.x) // MOST_LABELS)
        self.ax.set_xticks(self.x[::step], self.labels[::step], parse_math=False)
        if sum(map(len, self.labels[::step])) > _WIDEST_NAMES:
            self.ax.tick_params(axis="x", rotation=30)
            for text in self.ax.get_xticklabels():
                text.set(ha="right", rotation_mode="anchor")


def diamond(ax: Axes, places: NDArray[np.float64], *, size: float = 130, colour: str | Sequence[str] = INK) -> None:
    """Draw an open diamond around each place to mark published networks with these values."""
    x, y = places.T
    ax.scatter(
        x, y, s=size, marker="D", facecolors="none", edgecolors=colour, linewidths=0.9, zorder=4, label="published"
    )


def short(text: str) -> str:
    """Shorten a label. Tables show it in full."""
    return text if len(text) <= _LONGEST_LABEL else f"{text[: _LONGEST_LABEL - 1]}\N{HORIZONTAL ELLIPSIS}"


def _dodged(x: NDArray[np.float64], *, logarithmic: bool) -> NDArray[np.float64]:
    """Move equal amounts apart by a share of the axis."""
    moved = x.copy()
    for value in set(x):
        (same,) = np.nonzero(x == value)
        apart = np.linspace(-0.5, 0.5, len(same)) * min(_DODGE * (len(same) - 1), _WIDEST) if len(same) > 1 else 0.0
        moved[same] = value * (x.max() / x.min()) ** apart if logarithmic else value + np.ptp(x) * apart
    return moved
