"""Design points in bulk: ranges, lists and simplexes of metaparameters, enumerated or drawn block by block.

A column holds one metaparameter with one value per point: a 64-bit NumPy array of numbers, or `Coded` for other values.
A block maps names to columns of equal length. If nothing varies, an unnamed column gives the number of points. Only
one block is in memory at a time.
"""

from __future__ import annotations

import math
import re
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

BLOCK = 1 << 19  # points in memory at a time, about 50 MB
MOST_POINTS = 10**9
EXACT = 2**53  # integers up to here are exact as floats

Part: TypeAlias = slice | NDArray[np.int64]
"""Positions of points in a block: a slice or a list."""


@dataclass(frozen=True)
class Coded:
    """A categorical column: the distinct values and, for each point, the index of its value, (points,)."""

    codes: NDArray[np.int64]
    choices: tuple[Any, ...]

    def __len__(self) -> int:
        return len(self.codes)

    def __getitem__(self, part: Part | NDArray[np.bool_]) -> Coded:
        return Coded(self.codes[part], self.choices)


Column: TypeAlias = NDArray[Any] | Coded
Block: TypeAlias = Mapping[str, Column]


def values_at(columns: Block, place: int) -> dict[str, Any]:
    """Return the metaparameters of the point at a position."""
    return {
        key: column.choices[column.codes[place]] if isinstance(column, Coded) else column[place].item()
        for key, column in columns.items()
    }


class Axis:
    """One metaparameter that varies independently, or several that vary together.

    Attributes:
        keys: The metaparameters.
        size: Number of values.
        extremes: Values that are checked instead of all values: at least both ends of a numeric range, or each choice.
    """

    keys: tuple[str, ...]
    size: int
    extremes: Mapping[str, Column]

    def at(self, places: NDArray[np.int64]) -> dict[str, Column]:
        """Return the values at these positions, counted from 0, by metaparameter."""
        raise NotImplementedError

    def draw(self, count: int, rng: np.random.Generator) -> dict[str, Column]:
        """Draw values uniformly."""
        return self.at(rng.integers(self.size, size=count))


class Values(Axis):
    """Listed values of one metaparameter."""

    def __init__(self, key: str, column: Column) -> None:
        self.keys, self.size, self.extremes = (key,), len(column), {key: column}

    def at(self, places: NDArray[np.int64]) -> dict[str, Column]:
        """Return the values at these positions in the list."""
        return {key: column[places] for key, column in self.extremes.items()}


class Steps(Axis):
    """Equal steps of one metaparameter: `(low + place * step) / scale`, where only real numbers are divided.

    Integer numerators keep rounding errors from adding up: from 0.1 in steps of 0.05, the third value is the float 0.2.
    """

    def __init__(self, key: str, low: int, step: int, size: int, scale: int = 1, *, real: bool = False) -> None:
        self.keys, self.low, self.step, self.size, self.scale, self.real = (key,), low, step, size, scale, real
        self.extremes = self.at(np.array([0, size - 1]))

    def at(self, places: NDArray[np.int64]) -> dict[str, Column]:
        """Return the numbers at these positions."""
        numbers = self.low + places * self.step
        return {self.keys[0]: numbers / self.scale if self.real else numbers}


class Continuum(Axis):
    """All real numbers from `low` to `high`. They can be drawn, but not counted or listed."""

    def __init__(self, key: str, low: float, high: float) -> None:
        self.keys, self.low, self.high, self.extremes = (key,), low, high, {key: np.array([low, high])}

    def draw(self, count: int, rng: np.random.Generator) -> dict[str, Column]:
        """Draw real numbers uniformly."""
        return {self.keys[0]: rng.uniform(self.low, self.high, count)}


class SimplexAxis(Axis):
    """The factors of a simplex. Their product is `ratio` at every point of a lattice or a sample."""

    def __init__(self, simplex: Simplex, ratio: float, steps: int) -> None:
        self.simplex, self.ratio, self.steps = simplex, ratio, steps
        self.keys, self.size = tuple(simplex.exponents), simplex.lattice_size(steps)
        self.extremes = simplex.factors(np.eye(len(self.keys)), ratio)

    @cached_property
    def _lattice(self) -> dict[str, NDArray[np.float64]]:
        return self.simplex.factors(self.simplex.lattice(self.steps), self.ratio)

    def at(self, places: NDArray[np.int64]) -> dict[str, Column]:
        """Return the points of the lattice at these positions."""
        return {key: column[places] for key, column in self._lattice.items()}

    def draw(self, count: int, rng: np.random.Generator) -> dict[str, Column]:
        """Draw points uniformly from the simplex."""
        return dict(self.simplex.factors(self.simplex.draw(count, rng), self.ratio))


@dataclass(frozen=True)
class Enumeration:
    """Design points of a space: `sample` random ones, or all combinations of the axes, with the last varying fastest.

    `fixed` holds the metaparameters that all points share.
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
        """Number of points; 1 if nothing varies."""
        if self.sample is None or not self.axes:
            return math.prod(axis.size for axis in self.axes)
        return self.sample

    def blocks(self, most: int = BLOCK) -> Iterator[dict[str, Column]]:
        """Yield the points in order, at most `most` at a time. A sample does not depend on `most`."""
        if not self.axes:
            yield {"": np.zeros(1)}
            return
        rngs = [np.random.default_rng([self.seed, number]) for number in range(len(self.axes))]
        for start in range(0, self.size, most):
            stop = min(start + most, self.size)
            if self.sample is None:
                places = np.unravel_index(np.arange(start, stop), [axis.size for axis in self.axes])
                columns = [axis.at(each) for axis, each in zip(self.axes, places, strict=True)]
            else:
                columns = [axis.draw(stop - start, rng) for axis, rng in zip(self.axes, rngs, strict=True)]
            yield {key: column for found in columns for key, column in found.items()}

    def check(self) -> None:
        """Raise `ExplorerError` if a value breaks a rule of the space or there are too many points."""
        if self.size > MOST_POINTS:
            raise ExplorerError(
                f"{self.space.name}: {self.size:,} points are too many (at most {MOST_POINTS:,}); "
                "use larger steps, or draw a sample with --sample 1000000"
            )
        columns = {key: column for axis in self.axes for key, column in axis.extremes.items()}
        coded = {key: column.choices for key, column in columns.items() if isinstance(column, Coded)}
        numbers = {key: column for key, column in columns.items() if key not in coded}
        first = {**self.fixed, **{key: choices[0] for key, choices in coded.items()}, **numbers}
        others = [{key: choice} for key, choices in coded.items() for choice in choices[1:]]
        for change in [{}, *others]:
            self.space.points(self.preset, **{**first, **change})


def enumeration(
    family: type[Space],
    preset: str | None,
    settings: Mapping[str, Any],
    *,
    sample: int | None = None,
    seed: int = 0,
    simplex: SimplexAxis | None = None,
) -> Enumeration:
    """Return the design points that `settings` describe: all combinations or `sample` random ones.

    Each metaparameter is set to a value, a list of values, or a range as text: `low..high` or `low..high..step`, which
    includes both ends. Without a sample, real numbers need a step. Raises `ExplorerError` for invalid settings.
    """
    family.preset(preset)
    for key in settings:
        if key not in family.model_fields:
            raise unknown(f"metaparameter of {family.name}", key, family.model_fields)
        if simplex and key in simplex.keys:
            raise ExplorerError(f"{family.name}: {key} = {label(settings[key])}: already set by --simplex")
    read = {key: _read(family, preset, key, value, drawn=sample is not None) for key, value in settings.items()}
    axes = [simplex, *read.values()]
    fixed = {key: value for key, value in read.items() if not isinstance(value, Axis)}
    found = Enumeration(family, preset, fixed, tuple(axis for axis in axes if isinstance(axis, Axis)), sample, seed)
    found.check()
    if simplex and found.axes == (simplex,):
        family.check_simplex(preset, fixed, simplex.ratio)
    return found


def listed(value: Any) -> Any:  # noqa: ANN401 (of any metaparameter)
    """Convert arrays, series, ranges and tuples to lists; return other values unchanged."""
    return value.tolist() if hasattr(value, "tolist") else list(value) if isinstance(value, range | tuple) else value


def _read(family: type[Space], preset: str | None, key: str, value: Any, *, drawn: bool) -> Any:  # noqa: ANN401
    if isinstance(value, str) and ".." in value:
        return _range(family, key, value, drawn=drawn)
    if isinstance(value, str) and (found := _OTHER_RANGE.fullmatch(value.strip())) and _kind(family, key) != "string":
        raise _misspelt(family, preset, key, value, found, drawn=drawn)
    if isinstance(value, str) and "," in value.strip(","):
        if _kind(family, key) == "string":
            for part in value.split(","):
                family.point(preset, **{key: part.strip()})  # a misspelt value gets its own hint
        written = value.strip().replace(" ", "")
        raise ExplorerError(f"{family.name}: {key} = {value}: lists are written [a,b,c]; write {key}=[{written}]")
    if not isinstance(value, list):
        return value
    if _kind(family, key) == "array" and _nesting(value) <= _nesting(getattr(family.point(preset), key)):
        return value  # a single value that is a list
    if not value:
        raise ExplorerError(f"{family.name}: {key} = []: at least one value is needed")
    return Values(key, column(value))


def _kind(family: type[Space], key: str) -> str:
    field = family.model_json_schema()["properties"][key]
    found: str = field["type"] if "type" in field else field["anyOf"][0]["type"]
    return found


def _nesting(value: object) -> int:
    return 1 + max(map(_nesting, value), default=0) if isinstance(value, list | tuple) else 0


def column(values: Sequence[Any]) -> Column:
    """Return a column of values, one per point. Numbers have 64 bits to keep counts from overflowing."""
    if set(map(type, values)) <= {int, float}:
        array = np.array(values)
        if array.dtype.kind in "if":
            return array
    # Keyed by text, because lists cannot be hashed and True equals 1.
    index: dict[str, int] = {}
    codes = np.fromiter((index.setdefault(repr(value), len(index)) for value in values), np.int64, len(values))
    _, places = np.unique(codes, return_index=True)
    return Coded(codes, tuple(values[place] for place in places))


_NUMBER = r"([+-]?\d[\d_]*(?:\.\d[\d_]*)?(?:[eE][+-]?\d+)?)"
_RANGE = re.compile(rf"{_NUMBER}\.\.{_NUMBER}(?:\.\.{_NUMBER})?")


def _range(family: type[Space], key: str, text: str, *, drawn: bool) -> Axis:
    wrong = f"{family.name}: {key} = {text}: "
    found = _RANGE.fullmatch(text.strip())
    if not found:
        dots = re.fullmatch(rf"\s*{_NUMBER}\s*\.+\s*{_NUMBER}\s*(?:\.+\s*{_NUMBER})?\s*", text)
        example = f"{key}={_written(*dots.groups())}" if dots else "8..512..8 or 0.1..1.0..0.05"
        raise ExplorerError(f"{wrong}a range is low..high or low..high..step, such as {example}")
    low, high, step = (Decimal(number or 1) for number in found.groups())
    if low > high:
        turned = _written(found[2], found[1], found[3])
        raise ExplorerError(f"{wrong}the low end {low} is above the high end {high}; write {key}={turned}")
    if step <= 0:
        stepped = _written(found[1], found[2], _step(low, high))
        raise ExplorerError(f"{wrong}the step should be greater than 0; write {key}={stepped}")
    written_real = any(mark in text.replace("..", " ") for mark in ".eE")
    real = written_real or _kind(family, key) == "number"
    if real and drawn and not found[3]:
        return Continuum(key, float(low), float(high))
    if written_real and not found[3]:
        raise ExplorerError(f"{wrong}real numbers need a step, such as {key}={text}..{_step(low, high)}, or --sample")
    digits = max(0, *(-int(number.as_tuple().exponent) for number in (low, step)))
    first, last, by = (int(number.scaleb(digits)) for number in (low, high, step))
    if max(abs(first), abs(last), by, 10**digits) > EXACT:
        raise ExplorerError(f"{wrong}too many digits for 64-bit numbers")
    return Steps(key, first, by, (last - first) // by + 1, 10**digits, real=real)


_MARK = "(?P<mark>[-:,;~\N{EN DASH}\N{HORIZONTAL ELLIPSIS}]|to)"
_OTHER_RANGE = re.compile(rf"{_NUMBER}\s*{_MARK}\s*{_NUMBER}(?:\s*(?P=mark)\s*{_NUMBER})?")


def _misspelt(
    family: type[Space], preset: str | None, key: str, text: str, found: re.Match[str], *, drawn: bool
) -> ExplorerError:
    """Return an error that corrects a range or list in the wrong notation, such as 8-64."""
    first, second, third = found[1], found[3], found[4]
    if found["mark"] in ",;" and third:
        how, hints = "lists are written [a,b,c]", [f"[{first},{second},{third}]"]
    else:
        low, high = sorted((Decimal(first), Decimal(second)))
        real = not drawn and any(mark in first + second for mark in ".eE")
        step = third if third and Decimal(third) > 0 else _step(low, high) if real else None
        how, hints = "ranges are written low..high or low..high..step", [_written(str(low), str(high), step)]
        if found["mark"] in ",;":
            hints.append(f"[{first},{second}]")
    wrong = [_wrong_with(family, preset, key, hint, drawn=drawn) for hint in hints]
    usable = [f"{key}={hint}" for hint, reason in zip(hints, wrong, strict=True) if not reason]
    advice = f"write {' or '.join(usable)}" if usable else wrong[0].removeprefix(f"{family.name}: ")
    return ExplorerError(f"{family.name}: {key} = {text}: {how}; {advice}")


def _wrong_with(family: type[Space], preset: str | None, key: str, text: str, *, drawn: bool) -> str:
    """Return the reason why a range or list cannot be used, or an empty string if it can."""
    value: Any = text
    if text.startswith("["):
        value = [float(one) if any(mark in one for mark in ".eE") else int(one) for one in text.strip("[]").split(",")]
    try:
        axis = _read(family, preset, key, value, drawn=drawn)
        for place in (0, -1):
            end = np.asarray(axis.extremes[key])[place].item() if isinstance(axis, Axis) else axis
            family.point(preset, **{key: end})
    except ExplorerError as error:
        return str(error)
    return ""


def _written(low: str, high: str, step: object = None) -> str:
    return "..".join(str(part) for part in (low, high, step) if part is not None)


def _step(low: Decimal, high: Decimal) -> str:
    """Return a round number as a step that divides a range into about eight to twenty parts."""
    span = float(high - low) / 8 or 1.0
    power = 10.0 ** math.floor(math.log10(span))
    return f"{max(factor * power for factor in (1, 2, 5) if factor * power <= span):g}"
