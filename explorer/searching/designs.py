"""The designs that a search may train: those within its limits, drawn and priced in advance."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from explorer.analysis.fronts import scaled
from explorer.errors import ExplorerError
from explorer.networks.quantities import computed
from explorer.pricing.enumeration import BLOCK, Axis, Coded, Enumeration, Values, values_at
from explorer.pricing.prices import Priced, join, price_chunks
from explorer.spaces.space import amount
from explorer.study.model import Study
from explorer.study.plan import Point, planned_point
from explorer.study.search import Search

POOL = 4_096
"""Number of designs to draw within the limits, for the first proposals and as random candidates."""
EDGE = 2.0
"""Doublings between the largest designs and the reference point of hypervolumes.

With fewer, gains at large costs would hardly count, although most users want the most accurate network within their
limits.
"""
MOST_DRAWN = 4_000_000
SPREAD = 12
"""First proposals, besides published networks: designs spread evenly over the costs."""


class Designs(Protocol):
    """Source of a search's points."""

    def first(self) -> Iterator[dict[str, Any]]:
        """Yield the first proposals: published networks, then designs spread over the costs."""

    def point(self, number: int, values: Mapping[str, Any]) -> Point:
        """Expand and price a proposal. Its state says whether it may be trained."""

    def excess(self, point: Point) -> float:
        """Return how many doublings a design is outside the limits."""

    def others(self, count: int) -> list[dict[str, Any]]:
        """Return random designs within the limits. The first `size` of them are all there are."""

    @property
    def size(self) -> int:
        """Number of designs that `others` goes through."""

    def place(self, values: Mapping[str, Any]) -> NDArray[np.float64]:
        """Return the coordinates of a design, (coordinates,)."""

    def largest(self, costs: Sequence[str]) -> NDArray[np.float64]:
        """Return the largest of each cost, as `scaled_costs` has them, (costs,)."""


class SpaceDesigns:
    """The designs of a search's space."""

    def __init__(self, study: Study, classes: int) -> None:
        """Draw the pool; raises `ExplorerError` if no design is within the limits."""
        assert isinstance(study.form, Search)
        self.study = study
        self.form = study.form
        self.axes = study.form.axes
        self.classes = classes
        self.random = np.random.default_rng([self.form.search.seed, 1])
        self.pool = self._drawn()
        self.next = 0

    def first(self) -> Iterator[dict[str, Any]]:
        """Yield published networks, moved into the ranges, then designs at even steps of each cost."""
        yield from self._published()
        for cost in self.form.search.costs:
            amounts = np.log2(self.pool.amounts[cost].astype(float).clip(1))
            for wanted in np.linspace(amounts.min(), amounts.max(), SPREAD // len(self.form.search.costs)):
                # Choose at random among the nearest few, which differ in everything else.
                near = np.argsort(np.abs(amounts - wanted), kind="stable")[: max(1, len(amounts) // 50)]
                yield values_at(self.pool.columns, int(self.random.choice(near)))

    def point(self, number: int, values: Mapping[str, Any]) -> Point:
        """Expand and price a proposal."""
        return planned_point(self.study, self.classes, number, self.form.design_point(values))

    def excess(self, point: Point) -> float:
        """Return how many doublings a design is outside the limits, summed over the limits."""
        off = 0.0
        for key, limits in self.study.constraints.items():
            value = max(point.quantity(key), 1e-9)
            off += abs(np.log2(value / max(limits.nearest(value), 1e-9)))
        return float(off)

    def others(self, count: int) -> list[dict[str, Any]]:
        """Return the next designs of the pool, which is shuffled."""
        places = (self.next + np.arange(min(count, self.size))) % self.size
        self.next = int(places[-1]) + 1
        return [values_at(self.pool.columns, int(place)) for place in places]

    @property
    def size(self) -> int:
        """Number of designs in the pool."""
        return len(self.pool)

    def place(self, values: Mapping[str, Any]) -> NDArray[np.float64]:
        """Return the coordinates of a design, (coordinates,)."""
        place: NDArray[np.float64] = self._encoded({key: [value] for key, value in values.items()})[0]
        return place

    def largest(self, costs: Sequence[str]) -> NDArray[np.float64]:
        """Return the largest of each cost in the pool, (costs,)."""
        return np.array([EDGE + float(scaled(self.pool.amounts[cost], cost).max()) for cost in costs])

    def _published(self) -> Iterator[dict[str, Any]]:
        for preset in self.study.design_space.presets:
            point = self.study.design_space.point(preset)
            given = {key: getattr(point, key) for key in type(point).model_fields} | point.effective()
            if all(given[axis.keys[0]] is not None for axis in self.form.search_axes):
                yield {axis.keys[0]: _moved(axis, given[axis.keys[0]]) for axis in self.form.search_axes}

    def _drawn(self) -> Priced:
        study, search = self.study, self.form.search
        fixed = study.fixed | {"classes": self.classes}
        quantities = list(dict.fromkeys([*search.costs, *study.constraints]))
        kept: list[Priced] = []
        nearest = ""
        drawn, size = 0, 1 << 15
        while drawn < MOST_DRAWN and sum(map(len, kept)) < POOL:
            points = Enumeration(study.design_space, study.preset, {}, self.form.search_axes, size, search.seed + drawn)
            for priced in price_chunks(study.design_space, study.preset, points.blocks(), quantities, fixed):
                found = priced[priced.feasible]
                inside, nearest = self._within(found, nearest)
                kept.append(found[inside])
            drawn += size
            size = min(2 * size, BLOCK)
        pool = join(kept)[slice(POOL)]
        if not len(pool):
            raise ExplorerError(f"{study.name}: none of {drawn:,} random designs is within the limits{nearest}")
        _, distinct = np.unique(self._encoded(pool.columns), axis=0, return_index=True)
        return _rounded(pool[np.sort(distinct)])

    def _within(self, priced: Priced, nearest: str) -> tuple[NDArray[np.bool_], str]:
        inside = np.ones(len(priced), dtype=bool)
        for key, limits in self.study.constraints.items():
            amounts = priced.amounts[key]
            low = -np.inf if limits.min is None else limits.min
            high = np.inf if limits.max is None else limits.max
            each = (amounts >= low) & (amounts <= high)
            if len(amounts) and not each.any():
                closest = amounts[np.maximum(low - amounts, amounts - high).argmin()].item()
                nearest = f"; the closest has {key} = {amount(closest)}"
            inside &= each
        return inside, nearest

    def _encoded(self, columns: Mapping[str, Any]) -> NDArray[np.float64]:
        encoded: NDArray[np.float64] = np.hstack([axis.encode(columns[axis.name]) for axis in self.axes])
        return encoded


def _moved(axis: Axis, value: Any) -> Any:  # noqa: ANN401 (of any metaparameter)
    """Return the searched value nearest to a published one, or the first value if values have no order."""
    column = axis.extremes[axis.keys[0]]
    if isinstance(column, Coded):
        return value if value in column.choices else column.choices[0]
    numbers = np.asarray(column)
    if isinstance(axis, Values):
        return numbers[np.abs(numbers - value).argmin()].item()
    return type(numbers[0].item())(np.clip(value, numbers.min(), numbers.max()))


def scaled_costs(point: Point, costs: Sequence[str]) -> NDArray[np.float64]:
    """Return the costs of a point on the scale of the front: doublings, where less is better, (costs,)."""
    network = point.network
    assert network is not None
    return np.array([scaled(np.array(computed()[cost](network)), cost) for cost in costs], dtype=float)


def _rounded(pool: Priced) -> Priced:
    """Round real numbers to four digits, as a sampler's are."""
    columns = {
        key: column
        if isinstance(column, Coded) or column.dtype.kind != "f"
        else np.array([float(f"{value:.4g}") for value in column.tolist()])
        for key, column in pool.columns.items()
    }
    return Priced(columns, pool.amounts, pool.codes, pool.reasons)
