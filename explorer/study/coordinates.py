"""Metaparameters as coordinates of points, scaled to make distances meaningful.

- **Numbers** go from 0 at the study's smallest value to 1 at its largest. Positive numbers are scaled by their
  logarithm if the largest is at least 8 times the smallest. In CIFAR-10 studies of squeeze ratios (0.125 to 1) and of
  shares of 3x3 filters (0.01 to 0.99), the logarithm had a higher likelihood and half the leave-one-out error.
- **Choices** (text, booleans, lists) have one coordinate of 0 or 1 for each value, or a single one for two values.
- **Factors** of a simplex are replaced by their shares of its product.

Metaparameters with the same value at all points are not coordinates.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from explorer.pricing.enumeration import Block, Coded, Column
from explorer.spaces.simplex import SHARE, Simplex
from explorer.spaces.space import label

LOGARITHMIC = 8


def is_logarithmic(low: float, high: float) -> bool:
    """Whether a range uses a log scale for coordinates and axes: if it is positive and spans three doublings or more.

    On a linear axis, the last doubling alone would take up more than half.
    """
    return low > 0 and high / low >= LOGARITHMIC


@dataclass(frozen=True)
class Coordinate:
    """A metaparameter or the share of a factor."""

    name: str

    @property
    def title(self) -> str:
        """The name in tables and figures: `depth share` for `share_depth`."""
        return f"{self.name.removeprefix(SHARE)} share" if self.name.startswith(SHARE) else self.name


@dataclass(frozen=True)
class Number(Coordinate):
    """A metaparameter with numbers from `low` to `high`. It is `whole` if all numbers are integers."""

    low: float
    high: float
    whole: bool = False

    @property
    def varies(self) -> bool:
        """Whether its value differs between points."""
        return self.high > self.low

    @property
    def logarithmic(self) -> bool:
        """Whether it uses a log scale."""
        return is_logarithmic(self.low, self.high)

    def encode(self, values: Any) -> NDArray[np.float64]:  # noqa: ANN401 (what NumPy makes an array of)
        """Return coordinates, (points, 1): 0 at `low`, 1 at `high`, and beyond [0, 1] for values outside the range."""
        numbers: NDArray[np.float64] = np.asarray(values, dtype=float)[:, None]
        low, high = self.low, self.high
        if self.logarithmic:
            numbers, low, high = np.log(numbers), math.log(low), math.log(high)
        return (numbers - low) / (high - low)

    def spread(self, places: NDArray[np.float64]) -> NDArray[Any]:
        """Map numbers in [0, 1), (points,), to values spread evenly over the range."""
        if self.whole:
            return np.floor(self.low + places * (self.high - self.low + 1)).astype(np.int64)
        return self.low + places * (self.high - self.low)

    def outside(self, value: Any) -> str:  # noqa: ANN401 (of any metaparameter)
        """Return why the study does not cover a value, or an empty string if it does."""
        if value is None:
            return f"{self.name}: not given"
        covered = self.low <= value <= self.high
        ends = f"the study covers {label(self.low)} to {label(self.high)}"
        return "" if covered else f"{self.name} = {label(value)}: {ends}"


@dataclass(frozen=True)
class Choice(Coordinate):
    """A metaparameter with values that have no order."""

    values: tuple[Any, ...]

    @property
    def varies(self) -> bool:
        """Whether its value differs between points."""
        return len(self.values) > 1

    def encode(self, values: Any) -> NDArray[np.float64]:  # noqa: ANN401 (values, in any sequence)
        """Return coordinates, (points, values), or (points, 1) for two; raise `ValueError` for an unknown value."""
        hot = np.eye(len(self.values))[values.codes if isinstance(values, Coded) else self._codes(values)]
        return hot[:, 1:] if len(self.values) == 2 else hot  # noqa: PLR2004 (two values are one coordinate)

    def spread(self, places: NDArray[np.float64]) -> Coded:
        """Map numbers in [0, 1), (points,), to the values, with equal shares."""
        return Coded(np.floor(places * len(self.values)).astype(np.int64), self.values)

    def outside(self, value: Any) -> str:  # noqa: ANN401 (of any metaparameter)
        """Return why the study does not cover a value, or an empty string if it does."""
        known = list(map(label, self.values))
        return "" if label(value) in known else f"{self.name} = {label(value)}: the study has {', '.join(known)}"

    def _codes(self, values: Iterable[Any]) -> list[int]:
        # Compare by label, because lists from a file may have become tuples.
        known = {label(value): place for place, value in enumerate(self.values)}
        found = [label(value) for value in (values.tolist() if isinstance(values, np.ndarray) else values)]
        if unknown := set(found) - known.keys():
            raise ValueError(f"{self.name} = {min(unknown)}: not one of {', '.join(known)}")
        return [known[text] for text in found]


def coordinate(name: str, values: Iterable[Any]) -> Number | Choice:
    """Return the coordinate of a metaparameter with these values. None, which leaves it to the preset, is ignored."""
    distinct = tuple({label(value): value for value in values if value is not None}.values())
    if is_ordered(distinct):
        return Number(name, min(distinct), max(distinct), all(isinstance(value, int) for value in distinct))
    return Choice(name, distinct)


def is_ordered(values: Sequence[Any] | pd.Series[Any]) -> bool:
    """Whether the values of a metaparameter are numbers (not booleans), which a line can join."""
    return all(
        isinstance(value, int | float | np.number) and not isinstance(value, bool | np.bool_) for value in values
    )


@dataclass(frozen=True)
class Coordinates:
    """The coordinates of a study's points and, for shares, the simplex and its ratio."""

    axes: tuple[Number | Choice, ...]
    simplex: Simplex | None = None
    ratio: float = 1.0

    @classmethod
    def of(
        cls, axes: Iterable[Number | Choice], simplex: Simplex | None = None, ratio: float = 1.0
    ) -> Coordinates | None:
        """Keep the axes that vary. Returns None if none of them is a number."""
        kept = tuple(axis for axis in axes if axis.varies)
        return cls(kept, simplex, ratio) if any(isinstance(axis, Number) for axis in kept) else None

    @property
    def names(self) -> list[str]:
        """The columns for `encode`: metaparameters, with `share_...` in place of factors."""
        return [axis.name for axis in self.axes]

    @property
    def numbers(self) -> int:
        """Number of axes that are numbers."""
        return sum(isinstance(axis, Number) for axis in self.axes)

    def encode(self, columns: Mapping[str, Any]) -> NDArray[np.float64]:
        """Return coordinates, (points, coordinates), from columns by `names` or with factors in place of shares."""
        found = dict(columns)
        if self.simplex and not set(self.names) <= found.keys():
            found |= self.simplex.share_columns(found)
        return np.hstack([axis.encode(found[axis.name]) for axis in self.axes])

    def draw(self, count: int, random: np.random.Generator) -> Block:
        """Draw points uniformly from the ranges and the simplex, as columns of metaparameters."""
        drawn: dict[str, Column] = {}
        shares: list[str] = []
        if self.simplex:
            drawn |= self.simplex.factors(self.simplex.draw(count, random), self.ratio)
            shares = self.simplex.share_names
        return drawn | {axis.name: axis.spread(random.random(count)) for axis in self.axes if axis.name not in shares}
