"""Many design points at once: ranges, lists and simplexes of metaparameters, enumerated or drawn, block by block.

A column holds the values of one metaparameter, one for each point: numbers as a 64-bit NumPy array, everything else as
`Coded`. A block is a dictionary of columns of equal length; where nothing varies, one column without a name says how many
points. Nothing here holds more than a block, so that an enumeration may have more points than memory.
"""

from __future__ import annotations

import math
import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from explorer.errors import ExplorerError, unknown
from explorer.spaces.simplex import Simplex
from explorer.spaces.space import Space, label

BLOCK = 1 << 19  # points that stand in memory together: some 50 MB
MOST_POINTS = 10**9
EXACT = 2**53  # whole numbers up to here are exact as floats

Part: TypeAlias = slice | NDArray[np.int64]
"""Places of points in a block: contiguous, or one by one."""


@dataclass(frozen=True)
class Coded:
    """A column of what is no number: `choices`, and for each point the place of its value among them, (points,)."""

    codes: NDArray[np.int64]
    choices: tuple[Any, ...]

    def __len__(self) -> int:
        return len(self.codes)

    def __getitem__(self, part: Part | NDArray[np.bool_]) -> Coded:
        return Coded(self.codes[part], self.choices)


Column: TypeAlias = NDArray[Any] | Coded
Block: TypeAlias = Mapping[str, Column]


class Axis(ABC):
    """What varies independently: one metaparameter, or several that are bound to each other."""

    keys: tuple[str, ...]

    @property
    @abstractmethod
    def size(self) -> int:
        """Number of values."""

    @abstractmethod
    def at(self, places: NDArray[np.int64]) -> dict[str, Column]:
        """The values at those places, counted from 0, by metaparameter."""

    @property
    @abstractmethod
    def extremes(self) -> dict[str, Column]:
        """Values that keep the rules of the metaparameters only if all do: the ends of numbers, each of other values."""

    def draw(self, count: int, rng: np.random.Generator) -> dict[str, Column]:
        """So many values, each drawn evenly from all."""
        return self.at(rng.integers(self.size, size=count))


@dataclass(frozen=True)
class Values(Axis):
    """Listed values of one metaparameter."""

    key: str
    column: Column

    @property
    def keys(self) -> tuple[str, ...]:  # type: ignore[override]  # read only here
        """The one metaparameter."""
        return (self.key,)

    @property
    def size(self) -> int:
        """Number of values, repeated ones counted again."""
        return len(self.column)

    @property
    def extremes(self) -> dict[str, Column]:
        """The ends of numbers, each of other values."""
        if isinstance(self.column, Coded):
            return {self.key: self.column}
        return {self.key: np.array([self.column.min(), self.column.max()])}

    def at(self, places: NDArray[np.int64]) -> dict[str, Column]:
        """The values at those places of the list."""
        return {self.key: self.column[places]}


@dataclass(frozen=True)
class Steps(Axis):
    """Equal steps of one metaparameter: `(low + place * step) / scale`, divided only where the numbers are real.

    Numerators are whole, so no error adds up: the third step from 0.1 by 0.05 is the float 0.2.
    """

    key: str
    low: int
    step: int
    count: int
    scale: int = 1
    real: bool = False

    @property
    def keys(self) -> tuple[str, ...]:  # type: ignore[override]  # read only here
        """The one metaparameter."""
        return (self.key,)

    @property
    def size(self) -> int:
        """Number of steps, both ends included."""
        return self.count

    @property
    def extremes(self) -> dict[str, Column]:
        """The lowest and the highest."""
        return self.at(np.array([0, self.count - 1]))

    def at(self, places: NDArray[np.int64]) -> dict[str, Column]:
        """Whole numbers, or real ones."""
        numbers = self.low + places * self.step
        return {self.key: numbers / self.scale if self.real else numbers}


@dataclass(frozen=True)
class Continuum(Axis):
    """All real numbers from `low` to `high`; they can be drawn, not enumerated."""

    key: str
    low: float
    high: float

    @property
    def keys(self) -> tuple[str, ...]:  # type: ignore[override]  # read only here
        """The one metaparameter."""
        return (self.key,)

    @property
    def size(self) -> int:
        """There is no number."""
        raise ValueError(f"{self.key}: real numbers cannot be counted")

    @property
    def extremes(self) -> dict[str, Column]:
        """The ends."""
        return {self.key: np.array([self.low, self.high])}

    def at(self, places: NDArray[np.int64]) -> dict[str, Column]:
        """There are no places."""
        raise ValueError(f"{self.key}: real numbers cannot be enumerated; {places.size} asked for")

    def draw(self, count: int, rng: np.random.Generator) -> dict[str, Column]:
        """Uniform from low to high."""
        return {self.key: rng.uniform(self.low, self.high, count)}


@dataclass(frozen=True)
class SimplexAxis(Axis):
    """The factors of a simplex, whose product to their exponents is `ratio` at every point: a lattice, or drawn."""

    simplex: Simplex
    ratio: float
    steps: int

    @property
    def keys(self) -> tuple[str, ...]:  # type: ignore[override]  # read only here
        """The factors."""
        return tuple(self.simplex.exponents)

    @property
    def size(self) -> int:
        """Points of the lattice, known without making it."""
        return self.simplex.lattice_size(self.steps)

    @property
    def extremes(self) -> dict[str, Column]:
        """The corners, where one factor makes the whole ratio."""
        return dict(self.simplex.factors(np.eye(len(self.simplex.exponents)), self.ratio))

    @cached_property
    def _lattice(self) -> dict[str, NDArray[np.float64]]:
        return self.simplex.factors(self.simplex.lattice(self.steps), self.ratio)

    def at(self, places: NDArray[np.int64]) -> dict[str, Column]:
        """Points of the lattice."""
        return {key: column[places] for key, column in self._lattice.items()}

    def draw(self, count: int, rng: np.random.Generator) -> dict[str, Column]:
        """Drawn evenly from the whole simplex."""
        return dict(self.simplex.factors(self.simplex.draw(count, rng), self.ratio))


@dataclass(frozen=True)
class Enumeration:
    """Design points of a space: all combinations of the axes, the last one fastest, or `sample` points drawn from them.

    `fixed` holds the metaparameters that are the same at all points.
    """

    space: type[Space]
    preset: str | None
    fixed: Mapping[str, Any]
    axes: tuple[Axis, ...]
    sample: int | None = None
    seed: int = 0

    @property
    def keys(self) -> list[str]:
        """The metaparameters that vary."""
        return [key for axis in self.axes for key in axis.keys]

    @property
    def size(self) -> int:
        """Number of points; where nothing varies there is one."""
        if self.sample is None or not self.axes:
            return math.prod(axis.size for axis in self.axes)
        return self.sample

    def blocks(self, most: int = BLOCK) -> Iterator[dict[str, Column]]:
        """The points in order, at most so many at a time; which are drawn does not depend on that."""
        if not self.axes:
            yield {"": np.zeros(1)}
            return
        rngs = [np.random.default_rng([self.seed, number]) for number, _ in enumerate(self.axes)]
        for start in range(0, self.size, most):
            stop = min(start + most, self.size)
            yield self._combined(start, stop) if self.sample is None else self._drawn(stop - start, rngs)

    def check(self) -> None:
        """Raises `ExplorerError` where a value breaks a rule of the space, or there are too many points."""
        if self.size > MOST_POINTS:
            raise ExplorerError(
                f"{self.space.name}: {self.size:,} points are too many (at most {MOST_POINTS:,}); "
                "take larger steps, or draw some of them with --sample 1000000"
            )
        columns = {key: column for axis in self.axes for key, column in axis.extremes.items()}
        numbers = {key: column for key, column in columns.items() if not isinstance(column, Coded)}
        coded = {key: column.choices for key, column in columns.items() if isinstance(column, Coded)}
        first = {key: values[0] for key, values in coded.items()}
        self.space.points(self.preset, **{**self.fixed, **first, **numbers})
        for key, values in coded.items():
            for value in values[1:]:
                self.space.points(self.preset, **{**self.fixed, **first, key: value, **numbers})

    def _combined(self, start: int, stop: int) -> dict[str, Column]:
        left = np.arange(start, stop)
        columns: list[dict[str, Column]] = []
        for axis in reversed(self.axes):
            whole = left // axis.size
            columns.append(axis.at(left - whole * axis.size))
            left = whole
        return {key: column for found in reversed(columns) for key, column in found.items()}

    def _drawn(self, count: int, rngs: Sequence[np.random.Generator]) -> dict[str, Column]:
        drawn = [axis.draw(count, rng) for axis, rng in zip(self.axes, rngs, strict=True)]
        return {key: column for found in drawn for key, column in found.items()}


def enumeration(
    family: type[Space],
    preset: str | None,
    settings: Mapping[str, Any],
    *,
    sample: int | None = None,
    seed: int = 0,
    simplex: SimplexAxis | None = None,
) -> Enumeration:
    """The design points that `settings` describe: a value, a list of values, or a range as text, for each metaparameter.

    A range is `low..high` or `low..high..step`, ends included; real numbers need the step, unless points are drawn: `sample`
    says how many. Raises `ExplorerError` for what cannot be read and for values that break a rule of the space.
    """
    family.preset(preset)
    for key in settings:
        if key not in family.model_fields:
            raise unknown(f"metaparameter of {family.name}", key, family.model_fields)
        if simplex and key in simplex.keys:
            raise ExplorerError(f"{family.name}: {key} = {label(settings[key])}: --simplex gives {key} its values")
    read = {key: read_values(family, preset, key, value, drawn=sample is not None) for key, value in settings.items()}
    axes: list[Axis] = [simplex] if simplex else []
    axes += [value for value in read.values() if isinstance(value, Axis)]
    fixed = {key: value for key, value in read.items() if not isinstance(value, Axis)}
    found = Enumeration(family, preset, fixed, tuple(axes), sample, seed)
    found.check()
    if simplex and found.axes == (simplex,):
        family.check_simplex(preset, fixed, simplex.ratio)
    return found


def read_values(family: type[Space], preset: str | None, key: str, value: Any, *, drawn: bool) -> Any:  # noqa: ANN401
    """An axis for a list or a range of values; a single value as it is. Arguments as for `enumeration`."""
    if isinstance(value, str) and ".." in value:
        return _range(family, key, value, drawn=drawn)
    if not isinstance(value, list) or (kind(family, key) == "array" and _is_one(family, preset, key, value)):
        return value
    if not value:
        raise ExplorerError(f"{family.name}: {key} = []: at least one value is needed")
    return Values(key, column(value))


def kind(family: type[Space], key: str) -> str:
    """What the values of a metaparameter are: `integer`, `number`, `boolean`, `string` or `array`."""
    field = family.model_json_schema()["properties"][key]
    found: str = field["type"] if "type" in field else field["anyOf"][0]["type"]
    return found


def column(values: Sequence[Any]) -> Column:
    """Values in the order of points: numbers alone as an array of 64 bits, which no count overflows; others coded."""
    kinds = set(map(type, values))
    if kinds <= {int, float}:
        array = np.array(values)
        if array.dtype.kind in "if":
            return array
    # By their text, as lists cannot be looked up, and True would be found where 1 is.
    index: dict[str, int] = {}
    codes = np.fromiter((index.setdefault(repr(value), len(index)) for value in values), np.int64, len(values))
    _, places = np.unique(codes, return_index=True)
    return Coded(codes, tuple(values[place] for place in places))


def _is_one(family: type[Space], preset: str | None, key: str, value: list[Any]) -> bool:
    """Whether a list is one value of a metaparameter whose values are lists, and not a list of them."""
    return _nesting(value) <= _nesting(getattr(family.point(preset), key))


def _nesting(value: object) -> int:
    return 1 + max(map(_nesting, value), default=0) if isinstance(value, list | tuple) else 0


_NUMBER = r"([+-]?\d[\d_]*(?:\.\d[\d_]*)?(?:[eE][+-]?\d+)?)"
_RANGE = re.compile(rf"{_NUMBER}\.\.{_NUMBER}(?:\.\.{_NUMBER})?")


def _range(family: type[Space], key: str, text: str, *, drawn: bool) -> Axis:
    """The axis of a range; whole numbers are spelt without a point."""
    wrong = f"{family.name}: {key} = {text}: "
    found = _RANGE.fullmatch(text.strip())
    if not found:
        raise ExplorerError(f"{wrong}a range is low..high or low..high..step, such as 8..512..8 or 0.1..1.0..0.05")
    low, high, step = (Decimal(part.replace("_", "")) if part else None for part in found.groups())
    assert low is not None
    assert high is not None
    if low > high:
        raise ExplorerError(f"{wrong}the low end {low} is above the high end {high}; write {key}={high}..{low}")
    if step is not None and step <= 0:
        raise ExplorerError(f"{wrong}the step should be greater than 0")
    real = any(mark in text.replace("..", " ") for mark in ".eE") or kind(family, key) == "number"
    if step is None and real:
        if drawn:
            return Continuum(key, float(low), float(high))
        if any(mark in text.replace("..", " ") for mark in ".eE"):
            raise ExplorerError(f"{wrong}real numbers need a step, such as {key}={text}..0.05, or --sample")
    return _steps(key, low, high, step or Decimal(1), real=real, wrong=wrong)


def _steps(key: str, low: Decimal, high: Decimal, step: Decimal, *, real: bool, wrong: str) -> Steps:
    digits = max(0, *(-int(number.as_tuple().exponent) for number in (low, step)))
    first, last, by = (int(number.scaleb(digits)) for number in (low, high, step))
    if max(abs(first), abs(last), by, 10**digits) > EXACT:
        raise ExplorerError(f"{wrong}more digits than numbers of 64 bits hold")
    return Steps(key, first, by, (last - first) // by + 1, 10**digits, real)
