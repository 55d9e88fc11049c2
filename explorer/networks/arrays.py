"""Arithmetic that works on one design point or an array of them.

A metaparameter is a Python number or a NumPy array with one value for each design point in a chunk. Anything computed
from an array elementwise is also an array. If the *structure* of a network depends on a value, all points in the chunk
must agree on it. If they don't, `uniform` and `same` raise `Disagreement`, and pricing splits the chunk.
"""

from __future__ import annotations

import math
from typing import Any, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

# These may also be arrays.
Int: TypeAlias = int
Float: TypeAlias = float
Mask: TypeAlias = bool

T = TypeVar("T")
Number = TypeVar("Number", int, float)


class Disagreement(Exception):  # noqa: N818 (control flow, not an error)
    """The points of a chunk need different structures. `groups` gives each point's group; points in a group agree."""

    def __init__(self, groups: NDArray[Any]) -> None:
        super().__init__("the points of a chunk disagree about structure")
        self.groups = groups


def uniform(condition: Mask) -> bool:
    """Return whether the condition holds for all points; raise `Disagreement` if they differ."""
    if not isinstance(condition, np.ndarray):
        return bool(condition)
    if condition.all():
        return True
    if condition.any():
        raise Disagreement(condition)
    return False


def same(value: T) -> T:
    """Return the value that all points share; raise `Disagreement` if they differ."""
    if isinstance(value, np.ndarray):
        first: T = value[0].item()
        if (np.asarray(value) != first).any():
            raise Disagreement(value)
        return first
    return value


def plus(value: Int, other: Int) -> Int:
    """Return the sum, without copying an array to add 0."""
    if isinstance(other, int) and not other:
        return value
    return other if isinstance(value, int) and not value else value + other


def times(value: Int, other: Int) -> Int:
    """Return the product, without copying an array to multiply it by 1."""
    if isinstance(other, int) and other == 1:
        return value
    return other if isinstance(value, int) and value == 1 else value * other


def equal(value: Int, other: Int) -> bool:
    """Return whether two values are equal for all points; raise `Disagreement` if the points differ."""
    return value is other or uniform(value == other)


def largest(value: Number) -> Number:
    """Return the largest value among the points."""
    return value.max().item() if isinstance(value, np.ndarray) else value


def nearest(value: Float) -> Int:
    """Round to the nearest integer, with halves going to even. The papers give no rule.

    Python's `round` and NumPy's `rint` both follow IEEE 754, so scalars and arrays agree.
    """
    return _whole(np.rint(value)) if isinstance(value, np.ndarray) else round(value)


def maximum(value: Int, other: Int) -> Int:
    """Return the larger value."""
    if isinstance(value, np.ndarray) or isinstance(other, np.ndarray):
        return _whole(np.maximum(value, other))
    return max(value, other)


def whole(value: Float) -> Int:
    """Round towards zero, as `int` does."""
    return _whole(value) if isinstance(value, np.ndarray) else int(value)


def round_up(value: Float) -> Int:
    """Round up."""
    return _whole(np.ceil(value)) if isinstance(value, np.ndarray) else math.ceil(value)


def where(condition: Mask, value: Int, other: Int) -> Int:
    """Return the value where the condition holds, and the other elsewhere."""
    if isinstance(condition, np.ndarray):
        return _whole(np.where(condition, value, other))
    return value if condition else other


def power(base: Float, exponent: Float) -> Float:
    """Return base ** exponent to nine decimals.

    Without rounding, the fifth power of 2 ** (1/5) would be slightly above 2 and would round up to an extra layer.
    Rounding also makes numbers and arrays agree to the last bit.
    """
    powers = np.round(np.power(base, exponent, dtype=np.float64), 9)
    return powers if isinstance(powers, np.ndarray) and powers.ndim else float(powers)


def ceil_div(value: Int, divisor: Int) -> Int:
    """Return the quotient rounded up, in exact integer arithmetic."""
    return -(-value // divisor)


def _whole(values: NDArray[Any]) -> Any:  # noqa: ANN401 (an array as an Int)
    return values.astype(np.int64, copy=False)
