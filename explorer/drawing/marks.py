"""The measured points of a study as marks against a cost, with their intervals and labels, however many they are."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import to_rgba, to_rgba_array
from matplotlib.transforms import ScaledTranslation, Transform
from numpy.typing import NDArray

from explorer.drawing.colours import GROUND, INK
from explorer.drawing.labels import ACCURACY, pixels, place_labels, scale_axis, settle
from explorer.networks.quantities import QUANTITIES

CROWD = 300  # marks beyond which they are small, and intervals are drawn of some only
MOST_MARKS = 1000  # marks and lines beyond which a vector file holds them as an image

_FEW = 40  # marks up to which they are large and their intervals bold
_SMALL = 5.0  # area of a mark in a crowd, in points of type squared
_DODGE = 7.0  # points of type between marks of equal cost
_WIDEST = 42.0  # points of type that such marks take together
_RADIUS, _DIAMOND = 4.0, 9.0  # points of type from the middle of a mark, and of a diamond, to where a text may stand
_REACH = (
    9.0,
    21.0,
)  # points of type that a label which is not sure of its place may stand from its mark: of many, of few
_MOST_NAMES = 14  # of points below an axis
_LONGEST_LABEL = 30  # characters


class Marks:
    """The measured points as they are drawn against a cost: coordinates in drawn units, one entry a point.

    Where all points cost the same, the axis would show one column of overlapping marks: they are then set side by side under
    their names. Points that share a cost with some others only are moved apart by a few points of type.
    """

    def __init__(self, points: pd.DataFrame, ax: Axes, cost: str, chosen: Mapping[int, str] | None = None) -> None:
        """`chosen` has the points that stand where a published network does, by number, with its name."""
        costs = points[cost].to_numpy(dtype=float)
        scale, name = QUANTITIES[cost].axis(costs.max())
        names = chosen or {}
        self.ax = ax
        self.chosen = [str(names.get(point, "")) for point in points["point"]]
        self.labels = [short(text) for text in points["label"]]
        self.x = costs / scale
        self.y, self.low, self.high = (100 * points[key].to_numpy(dtype=float) for key in ("accuracy", "low", "high"))
        self.crowded = len(costs) > CROWD
        self.categories = 1 < len(costs) <= CROWD and len(set(costs)) == 1
        ax.set_ylabel(ACCURACY)
        ax.margins(0.1, 0.14)
        if self.categories:
            amount = f"{self.x[0]:,.3g}"
            self.x = np.arange(len(costs), dtype=float)
            self._name_categories()
            varied = ", ".join(points.attrs.get("metaparameters", []))
            name = f"{varied}; {name}: {amount} at every point"
        ax.set_xlabel(name, parse_math=False)
        scale_axis(ax, self.x)
        self.aside = self._aside()
        self.barred = np.zeros(len(costs), dtype=bool)

    def __len__(self) -> int:
        return len(self.x)

    @property
    def places(self) -> NDArray[np.float64]:
        """Where the marks stand, in drawn units, (points, 2)."""
        return np.column_stack([self.x, self.y])

    def bars(self, colours: Sequence[str], shown: NDArray[Any] | None = None) -> None:
        """The intervals, as bars, of those that are shown."""
        self.barred = np.isfinite(self.low) & np.isfinite(self.high)
        if shown is not None:
            self.barred &= shown
        segments = np.stack([np.column_stack([self.x, end]) for end in (self.low, self.high)], axis=1)
        for transform, same in self._by_aside():
            if (rows := same & self.barred).any():
                self.ax.add_collection(
                    LineCollection(
                        list(segments[rows]),
                        colors=list(itertools.compress(colours, rows)),
                        linewidths=1.3 if len(self) <= _FEW else 0.8,
                        alpha=0.7 if len(self) <= _FEW else 0.45,
                        transform=transform,
                        zorder=1,
                        rasterized=int(rows.sum()) > MOST_MARKS,
                        label="interval",
                    ),
                    autolim=False,
                )

    def draw(self, edges: Sequence[str], filled: NDArray[Any], best: NDArray[np.bool_]) -> None:
        """The marks, by the colours of their edges, which fill them as far as `filled` says, from 0 (hollow) to 1.

        Of a crowd all but the best ones are small and see-through.
        """
        ground = np.tile(to_rgba(GROUND), (len(self), 1))
        faces = np.column_stack([to_rgba_array(list(edges))[:, :3], filled])
        whole = best if self.crowded else np.ones(len(self), dtype=bool)
        if not whole.all():
            self._scatter("crowd", ~whole, faces * [1, 1, 1, 0] + [0, 0, 0, 0.3], "none", _SMALL)
        # What is seen through a mark is the ground, not a line below it.
        if (filled[whole] < 1).any():
            self._scatter("ground", whole, ground, "none", self.size)
        self._scatter("point", whole, faces, edges, self.size)
        # Marks that are moved aside do not move the limits of the axis; the points themselves do.
        ends = [np.column_stack([self.x, end]) for end in (self.y, self.low, self.high)]
        ends[1:] = [end[self.barred] for end in ends[1:]] if self.crowded else ends[1:]
        limits = np.concatenate(ends)
        self.ax.update_datalim(limits[np.isfinite(limits).all(axis=1)])
        self.ax.autoscale_view()
        self._draw_chosen()

    @property
    def size(self) -> float:
        """The area of a mark, in points of type squared."""
        return 36 if len(self) <= _FEW else 16

    def _scatter(
        self, name: str, rows: NDArray[np.bool_], faces: NDArray[Any], edges: Sequence[str] | str, size: float
    ) -> None:
        for transform, same in self._by_aside():
            chosen = rows & same
            if chosen.any():
                self.ax.scatter(
                    self.x[chosen],
                    self.y[chosen],
                    s=size,
                    facecolors=faces[chosen],
                    edgecolors=edges if isinstance(edges, str) else list(itertools.compress(edges, chosen)),
                    linewidths=1 if len(self) <= _FEW else 0.7,
                    transform=transform,
                    zorder=2.5 if name == "crowd" else 3,
                    rasterized=int(rows.sum()) > MOST_MARKS,
                    label=name,
                )

    def label(
        self,
        wanted: NDArray[np.bool_],
        obstacles: Sequence[NDArray[np.float64]],
        *,
        grey: NDArray[np.bool_] | None = None,
        optional: NDArray[np.bool_] | None = None,
    ) -> None:
        """Labels those that are wanted, around obstacles in drawn units; the optional ones where there is room."""
        dots = settle(self.ax)
        texts = [text if want and not self.categories else "" for text, want in zip(self.labels, wanted, strict=True)]
        texts = [
            f"{text}\nas in {name}".strip() if name else text for text, name in zip(texts, self.chosen, strict=True)
        ]
        if not any(texts):
            return
        taken = [pixels(line, self.ax.transData) for line in obstacles]
        bars = zip(self.x, self.low, self.high, self.aside, self.barred, strict=True)
        taken += [
            pixels(np.array([[x, low], [x, high]]), self.ax.transData) + np.array([aside * dots, 0])
            for x, low, high, aside, barred in bars
            if barred
        ]
        place_labels(
            self.ax,
            dots,
            self.places,
            texts,
            taken,
            aside=self.aside,
            reach=_REACH[int(wanted.sum() <= _MOST_NAMES / 2)],
            radius=[_DIAMOND if name else _RADIUS for name in self.chosen],
            grey=None if grey is None else grey.tolist(),
            optional=None
            if optional is None
            else [may and not name for may, name in zip(optional, self.chosen, strict=True)],
        )

    def _draw_chosen(self) -> None:
        for transform, same in self._by_aside():
            rows = same & np.array([bool(name) for name in self.chosen])
            if rows.any():
                diamond(self.ax, self.places[rows], transform)

    def _name_categories(self) -> None:
        """The names below the marks: slanted where they are long, and only as many as are read."""
        step = -(-len(self) // _MOST_NAMES)
        self.ax.set_xticks(self.x[::step], self.labels[::step], parse_math=False)
        if sum(map(len, self.labels[::step])) > 44:  # noqa: PLR2004 (characters that fit under a panel of a report)
            self.ax.tick_params(axis="x", rotation=35)
            for text in self.ax.get_xticklabels():
                text.set(ha="right", rotation_mode="anchor")

    def _aside(self) -> NDArray[np.float64]:
        """By how many points of type each mark stands to the right of its point."""
        aside = np.zeros(len(self))
        if self.crowded:
            return aside
        for value in set(self.x):
            (same,) = np.nonzero(self.x == value)
            if len(same) > 1:
                step = min(_DODGE, _WIDEST / (len(same) - 1))
                aside[same] = step * (np.arange(len(same)) - (len(same) - 1) / 2)
        return aside

    def _by_aside(self) -> Iterator[tuple[Transform, NDArray[np.bool_]]]:
        """The marks that stand equally far aside, with the transform that moves them there."""
        figure = self.ax.get_figure()
        assert figure is not None
        for shift in dict.fromkeys(self.aside.tolist()):
            moved = self.ax.transData
            if shift:
                moved = moved + ScaledTranslation(shift / 72, 0, figure.dpi_scale_trans)
            yield moved, self.aside == shift


def diamond(
    ax: Axes,
    places: NDArray[np.float64],
    transform: Transform | None = None,
    *,
    size: float = 130,
    colour: str | Sequence[str] = INK,
) -> None:
    """An open diamond around each place, which says that a published network has these values."""
    ax.scatter(
        places[:, 0],
        places[:, 1],
        s=size,
        marker="D",
        facecolors="none",
        edgecolors=colour,
        linewidths=0.9,
        transform=ax.transData if transform is None else transform,
        zorder=4,
        label="published",
    )


def short(text: str) -> str:
    """A label that leaves room for the picture; tables have the whole of it."""
    return text if len(text) <= _LONGEST_LABEL else f"{text[: _LONGEST_LABEL - 1]}\N{HORIZONTAL ELLIPSIS}"
