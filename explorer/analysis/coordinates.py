"""Metaparameters as coordinates of points, between which a distance means something.

- **Numbers** run from 0 at the study's smallest value to 1 at its largest. Where the largest is at least 8 times the smallest, and all
  are positive, they do so by their logarithm: a metaparameter that spans three doublings acts by its ratio. On the CIFAR-10 studies
  of squeeze ratios from 0.125 to 1.0 and of 0.01 to 0.99 3x3 filters, the logarithm had the higher likelihood and half the error
  of points left out.
- **Choices** (texts, truth values, lists) have a coordinate of 0 or 1 for each value; two values share one.
- **Factors** of a simplex are replaced by their shares in its product, as in `explorer.analysis.triangle`.

Metaparameters that are the same at all points are no coordinates.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from explorer.analysis.points import is_ordered
from explorer.analysis.shapes import SHARE
from explorer.pricing.enumeration import Block, Coded, Column
from explorer.spaces.simplex import Simplex
from explorer.spaces.space import label
from explorer.study.model import Study

LOGARITHMIC = 8
"""Positive numbers count by their logarithm where the largest is so many times the smallest."""


@dataclass(frozen=True)
class Number:
    """A metaparameter whose values are numbers, from the study's smallest to its largest; `whole` where all are integers."""

    name: str
    low: float
    high: float
    whole: bool = False

    @property
    def logarithmic(self) -> bool:
        """Whether its logarithm is what counts."""
        return self.low > 0 and self.high / self.low >= LOGARITHMIC

    def encode(self, values: Any) -> NDArray[np.float64]:  # noqa: ANN401 (what NumPy makes an array of)
        """Its coordinate, (points, 1): 0 at `low`, 1 at `high`, and beyond outside."""
        numbers: NDArray[np.float64] = np.asarray(values, dtype=float)[:, None]
        low, high = self.low, self.high
        if self.logarithmic:
            numbers, low, high = np.log(numbers), math.log(low), math.log(high)
        return (numbers - low) / (high - low)

    def spread(self, places: NDArray[np.float64]) -> NDArray[Any]:
        """Values, (points,), that are uniform over the range where places are uniform in [0, 1); integers are equally frequent."""
        if self.whole:
            return np.floor(self.low + places * (self.high - self.low + 1)).astype(np.int64)
        return self.low + places * (self.high - self.low)


@dataclass(frozen=True)
class Choice:
    """A metaparameter whose values have no order."""

    name: str
    values: tuple[Any, ...]

    def encode(self, values: Any) -> NDArray[np.float64]:  # noqa: ANN401 (values, in any sequence)
        """Its coordinates, (points, values), or (points, 1) for two; `ValueError` for a value that the study does not have."""
        hot = np.eye(len(self.values))[values.codes if isinstance(values, Coded) else self._codes(values)]
        return hot[:, 1:] if len(self.values) == 2 else hot  # noqa: PLR2004 (yes or no is one coordinate)

    def spread(self, places: NDArray[np.float64]) -> Coded:
        """Values, all equally frequent where places are uniform in [0, 1)."""
        return Coded(np.floor(places * len(self.values)).astype(np.int64), self.values)

    def _codes(self, values: Iterable[Any]) -> list[int]:
        # By their labels, as lists of a file may have become tuples.
        known = {label(value): place for place, value in enumerate(self.values)}
        found = [label(value) for value in (values.tolist() if isinstance(values, np.ndarray) else values)]
        for text in found:
            if text not in known:
                raise ValueError(f"{self.name} = {text}: none of {', '.join(known)}")
        return [known[text] for text in found]


@dataclass(frozen=True)
class Coordinates:
    """The coordinates of a study's points: its numbers and choices, and its simplex with the ratio that it holds, if it has one."""

    axes: tuple[Number | Choice, ...]
    simplex: Simplex | None = None
    ratio: float = 1.0

    @classmethod
    def of(cls, study: Study) -> Coordinates | None:
        """Those of a study; None where no number varies, or a point leaves a metaparameter to the preset."""
        varied: dict[str, Any] = dict(study.varied)
        simplex = study.product_held if study.simplex else None
        ratio = study.simplex.ratio if study.simplex else 1.0
        if any(value is None for values in varied.values() for value in values) or (simplex and ratio == 1):
            return None
        axes: list[Number | Choice] = []
        if simplex:
            axes += [Number(SHARE + simplex.meanings[key], 0.0, 1.0) for key in simplex.exponents]
            varied = {key: values for key, values in varied.items() if key not in simplex.exponents}
        for key, values in varied.items():
            distinct = tuple({label(value): value for value in values}.values())
            if len(distinct) > 1 and is_ordered(distinct):
                whole = all(isinstance(value, int) for value in distinct)
                axes.append(Number(key, min(distinct), max(distinct), whole))
            elif len(distinct) > 1:
                axes.append(Choice(key, distinct))
        return cls(tuple(axes), simplex, ratio) if any(isinstance(axis, Number) for axis in axes) else None

    @property
    def names(self) -> list[str]:
        """The columns that `encode` takes: metaparameters, and `share_...` in the place of the factors of a simplex."""
        return [axis.name for axis in self.axes]

    @property
    def numbers(self) -> int:
        """How many of the axes are numbers."""
        return sum(isinstance(axis, Number) for axis in self.axes)

    def encode(self, columns: Mapping[str, Any]) -> NDArray[np.float64]:
        """The coordinates of points, (points, coordinates), from a column for each of `names`, or for the factors of the shares."""
        found = dict(columns)
        if self.simplex and not set(self.names) <= found.keys():
            factors: dict[str, Any] = {key: np.asarray(found[key], dtype=float) for key in self.simplex.exponents}
            shares = self.simplex.shares(factors)
            found |= {SHARE + self.simplex.meanings[key]: row for key, row in zip(factors, shares, strict=True)}
        return np.hstack([axis.encode(found[axis.name]) for axis in self.axes])

    def draw(self, count: int, random: np.random.Generator) -> Block:
        """So many points drawn from the product of uniform distributions over the ranges, and evenly from the simplex; columns to price.

        A simplex gives its factors.
        """
        drawn: dict[str, Column] = {}
        shares: set[str] = set()
        if self.simplex:
            drawn |= self.simplex.factors(self.simplex.draw(count, random), self.ratio)
            shares = {SHARE + meaning for meaning in self.simplex.meanings.values()}
        return drawn | {axis.name: axis.spread(random.random(count)) for axis in self.axes if axis.name not in shares}
