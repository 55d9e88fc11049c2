"""The interactive figure of a report as data: positions on every axis, ticks, fronts and labels.

A template draws it as SVG. The figure works without the script, which only moves points between axes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from explorer.analysis import Findings, front_column, probability_column
from explorer.drawing.labels import ACCURACY, ticks
from explorer.drawing.placing import place, sampled
from explorer.drawing.plots import UNLIKELY
from explorer.networks.quantities import QUANTITIES
from explorer.reporting.choices import chosen_points
from explorer.study.coordinates import is_logarithmic

WIDTH, HEIGHT = 420.0, 320.0  # in units of the figure; small enough for text to be readable on a phone
LEFT, RIGHT, TOP, BOTTOM = 48.0, 12.0, 14.0, 42.0  # margins
_ROOM = 0.06  # padding beyond the first and last point, as a share of the axis
_LETTER, _LINE = 5.4, 11.0  # approximate width of a letter and height of a line
_BASE = 3.5  # distance from the middle of a label down to its baseline
_RADIUS = 4.5  # radius of a mark
_ANCHORS = {-1: "end", 0: "middle", 1: "start"}
_MOST_LABELS = 40  # per front
_BARS = 500  # with more points, only those on a front have interval bars


@dataclass(frozen=True)
class PlotAxis:
    """A quantity as an axis: its title with the unit, its ends, its ticks as (share, text), and each point's share.

    The ends are in the unit of the title. Shares go from 0 to 1 along the axis, and are NaN if a point's amount is
    unknown.
    """

    title: str
    first: float
    last: float
    logarithmic: bool
    ticks: list[tuple[float, str]]
    shares: NDArray[np.float64]

    @classmethod
    def of(cls, key: str, title: str, values: NDArray[np.float64], shown: NDArray[np.float64]) -> PlotAxis:
        """Fit an axis to `shown` and place `values` on it. Both are in the unit of the title."""
        low, high = float(np.nanmin(shown)), float(np.nanmax(shown))
        logarithmic = key != "accuracy" and is_logarithmic(low, high)
        room = _ROOM * (math.log(high / low) if logarithmic else (high - low) or 1.0)
        ends = (low / math.exp(room), high * math.exp(room)) if logarithmic else (low - room, high + room)
        places = ticks(low, high, logarithmic=logarithmic).tick_values(low, high)
        amounts = [float(tick) for tick in places if ends[0] <= tick <= ends[1]]
        axis = cls(title, *ends, logarithmic, [], np.array([]))
        texts = [(float(axis.place(np.array(tick))), f"{tick:,.6g}") for tick in amounts]
        return replace(axis, ticks=texts, shares=axis.place(values))

    def place(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Convert amounts to shares of the axis."""
        if self.logarithmic:
            return np.asarray(np.log(values / self.first) / math.log(self.last / self.first))
        return np.asarray((values - self.first) / (self.last - self.first))


class FrontView:
    """The measured points of a study, by accuracy and known costs."""

    width, height = WIDTH, HEIGHT
    left, right, top, bottom = LEFT, WIDTH - RIGHT, TOP, HEIGHT - BOTTOM

    def __init__(self, findings: Findings) -> None:
        self.findings = findings
        self.points = findings.measured

    @cached_property
    def chosen(self) -> dict[int, str]:
        """The names of the published networks among the points, by point number."""
        return chosen_points(self.findings)

    @cached_property
    def names(self) -> list[str]:
        """The names of the points."""
        return [
            f"{label} (as in {self.chosen[point]})" if point in self.chosen else str(label)
            for point, label in zip(self.points["point"].astype(int), self.points["label"], strict=True)
        ]

    @cached_property
    def axes(self) -> dict[str, PlotAxis]:
        """The axes for accuracy and the costs by key, without costs that are equal for all points."""
        ends = self.points[["accuracy", "low", "high"]].to_numpy(dtype=float)
        axes = {"accuracy": PlotAxis.of("accuracy", ACCURACY, 100 * ends[:, 0], 100 * ends)}
        for cost in self.findings.costs:
            amounts = self.points[cost].to_numpy(dtype=float, na_value=math.nan)
            known = amounts[np.isfinite(amounts)]
            if len(set(known)) > 1:
                scale, title = QUANTITIES[cost].axis(float(known.max()))
                axes[cost] = PlotAxis.of(cost, title, amounts / scale, amounts[:, None] / scale)
        return axes

    @property
    def first(self) -> str | None:
        """The cost to show first; None if all points have the same costs.

        If possible, it differs from the cost in the main figure of the study.
        """
        costs = [key for key in self.axes if key != "accuracy"]
        against = self.findings.record.study.plot.against
        others = [key for key in costs if key != against and QUANTITIES[key].main]
        return next(iter([*reversed(others), *costs]), None)

    @cached_property
    def marks(self) -> list[dict[str, Any]]:
        """The points in the order of the shares. `x` and `y` are 0 if unknown. `bar` is the interval as a path."""
        first, accuracy = self.first or "params", self.axes["accuracy"]
        shares = self.axes[first].shares if first in self.axes else np.full(len(self.points), math.nan)
        placed = np.isfinite(shares)
        x, y = np.round(np.where(placed, (self.x(shares), self.y(accuracy.shares)), 0), 1).tolist()
        low, high = (
            self.y(accuracy.place(100 * self.points[end].to_numpy(dtype=float))) - self.y(accuracy.shares)
            for end in ("low", "high")
        )
        barred = np.isfinite(low) & (self.points[front_column(first)].to_numpy(dtype=bool) | (not self.many))
        sure, on = np.round(self._sure(first), 2).tolist(), self._on(first)
        numbers, means = self.points["point"].astype(int).tolist(), self.points["accuracy"].tolist()
        return [
            {
                "point": number,
                "title": f"{name}: {100 * mean:.1f} %",
                "placed": placed[row],
                "x": x[row],
                "y": y[row],
                "sure": sure[row],
                "bar": f"M0 {low[row]:.1f}V{high[row]:.1f}" if barred[row] else "",
                "chosen": number in self.chosen,
                "on": on[row],
            }
            for row, (number, name, mean) in enumerate(zip(numbers, self.names, means, strict=True))
        ]

    @property
    def many(self) -> bool:
        """Whether there are so many points that marks are small and only those on a front have interval bars."""
        return len(self.points) > _BARS

    @property
    def probable(self) -> bool:
        """Whether the probabilities of being on a front are known."""
        return self.findings.draws is not None

    def _sure(self, cost: str) -> NDArray[np.float64]:
        """Return each point's probability of being on a front or, if unknown, 1 or 0 as measured."""
        found = self.points[probability_column(cost)].to_numpy(dtype=float)
        return np.where(np.isfinite(found), found, self.points[front_column(cost)].to_numpy(dtype=float))

    def _on(self, cost: str) -> NDArray[np.bool_]:
        return self.points[front_column(cost)].to_numpy(dtype=bool) | (self._sure(cost) > UNLIKELY)

    def stairs(self, cost: str) -> str:
        """Return the front of a cost as an SVG path."""
        places = self._front(cost)
        if not len(places):
            return ""
        x, y = self.x(self.axes[cost].shares[places]), self.y(self.axes["accuracy"].shares[places])
        steps = [f"M{x[0]:.1f} {y[0]:.1f}", *(f"H{right:.1f}V{up:.1f}" for right, up in zip(x[1:], y[1:], strict=True))]
        end = LEFT if QUANTITIES[cost].more_is_better else WIDTH - RIGHT
        return "".join([*steps, f"H{end:.1f}"])

    def labels(self, cost: str) -> list[dict[str, Any]]:
        """Return the names of the points on a front for which there is room, starting with the most accurate."""
        front = self._front(cost)[::-1]
        places = np.column_stack([self.x(self.axes[cost].shares), -self.y(self.axes["accuracy"].shares)])
        named = front[:_MOST_LABELS]
        others = np.setdiff1d(np.flatnonzero(np.isfinite(places).all(axis=1)), named)
        marks = places[[*named, *others]]
        # The labels of a search are its points' metaparameters, which are too long.
        column = "point" if self.findings.record.study.form.grows else "label"
        texts = [str(text) for text in self.points[column].iloc[named]]
        found = place(
            marks,
            np.full(len(marks), _RADIUS),
            [np.array([_LETTER * len(text), _LINE]) for text in texts] + [None] * len(others),
            frame=np.array([LEFT, BOTTOM - HEIGHT, WIDTH, 0]),
            obstacles=[
                sampled(np.column_stack([np.repeat(places[front, 0], 2)[:-1], np.repeat(places[front, 1], 2)[1:]]))
            ],
            optional=[True] * len(marks),
            corners=True,
        )
        return [
            {
                "x": round(float(mark[0] + placed.offset[0] - placed.side * _LETTER * len(text) / 2), 1),
                "y": round(float(_BASE - mark[1] - placed.offset[1]), 1),
                "anchor": _ANCHORS[placed.side],
                "text": text,
            }
            for mark, text, placed in zip(marks, texts, found, strict=False)
            if placed
        ]

    def x(self, shares: NDArray[np.float64]) -> NDArray[np.float64]:
        """Convert shares to horizontal positions."""
        return self.left + shares * (self.right - self.left)

    def y(self, shares: NDArray[np.float64]) -> NDArray[np.float64]:
        """Convert shares to vertical positions."""
        return self.bottom - shares * (self.bottom - self.top)

    def _front(self, cost: str) -> NDArray[np.int64]:
        """Return the row numbers of the points on a front, starting with the best cost."""
        places = np.flatnonzero(self.points[front_column(cost)].to_numpy(dtype=bool))
        shares = self.axes[cost].shares[places] * (-1 if QUANTITIES[cost].more_is_better else 1)
        return places[np.lexsort((self.axes["accuracy"].shares[places], shares))]

    def data(self) -> dict[str, Any]:
        """Return the data for the script: the frame of the figure and the shares of the points."""
        return {
            "frame": [self.left, self.right, self.bottom, self.top],
            "points": [int(point) for point in self.points["point"]],
            "names": self.names,
            "shares": {key: _numbers(axis.shares) for key, axis in self.axes.items()},
            "sure": {cost: _numbers(self._sure(cost), 3) for cost in self.axes if cost != "accuracy"},
            "on": {cost: self._on(cost).astype(int).tolist() for cost in self.axes if cost != "accuracy"},
            "probable": self.probable,
        }


def _numbers(values: Sequence[float] | NDArray[np.float64], digits: int = 4) -> list[float | None]:
    """Return numbers for JSON, with None for NaN."""
    return [round(float(value), digits) if math.isfinite(value) else None for value in values]
