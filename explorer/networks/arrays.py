"""Arithmetic that reads the same for one design point and for an array of them.

A metaparameter is a Python number, or a NumPy array with one value for each design point of a chunk. Whatever is computed
from it elementwise is then an array too. Where the *structure* of a network depends on a value, one description cannot
serve a chunk whose points disagree: `uniform` and `same` raise `Disagreement`, and pricing splits the chunk there.
"""

from __future__ import annotations

import math
from typing import Any, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

# Types name the scalar reading; an array may stand wherever one of these does.
Int: TypeAlias = int
Float: TypeAlias = float
Mask: TypeAlias = bool

T = TypeVar("T")
Number = TypeVar("Number", int, float)


class Disagreement(Exception):  # noqa: N818 (control flow between description and pricing, never an error of a user)
    """The points of a chunk need different structures: points of one group, an entry for each, agree."""

    def __init__(self, groups: NDArray[Any]) -> None:
        super().__init__("the points of a chunk disagree about structure")
        self.groups = groups


def uniform(condition: Mask) -> bool:
    """Whether the condition holds, for every point of a chunk alike; raises `Disagreement` where they differ."""
    if not isinstance(condition, np.ndarray):
        return bool(condition)
    if condition.all():
        return True
    if condition.any():
        raise Disagreement(condition)
    return False


def same(value: T) -> T:
    """The one value that all points of a chunk share; raises `Disagreement` where they differ."""
    if isinstance(value, np.ndarray):
        first: T = value[0].item()
        if (np.asarray(value) != first).any():
            raise Disagreement(value)
        return first
    return value


def plus(value: Int, other: Int) -> Int:
    """The sum; adding the number 0 to a long array does not copy it."""
    if isinstance(other, int) and not other:
        return value
    return other if isinstance(value, int) and not value else value + other


def times(value: Int, other: Int) -> Int:
    """The product; multiplying a long array by the number 1 does not copy it."""
    if isinstance(other, int) and other == 1:
        return value
    return other if isinstance(value, int) and value == 1 else value * other


def equal(value: Int, other: Int) -> bool:
    """Whether two values are equal, for every point of a chunk alike; raises `Disagreement` where they differ."""
    return value is other or uniform(value == other)


def largest(value: Number) -> Number:
    """The largest value among the points of a chunk."""
    return value.max().item() if isinstance(value, np.ndarray) else value


def nearest(value: Float) -> Int:
    """The nearest whole number, halves to the even one: the rounding rule of all design spaces.

    The papers give none; Python's `round` and NumPy's `rint` both follow IEEE 754 here, so scalars and arrays agree.
    """
    return _whole(np.rint(value)) if isinstance(value, np.ndarray) else round(value)


def maximum(value: Int, other: Int) -> Int:
    """The larger of two values."""
    if isinstance(value, np.ndarray) or isinstance(other, np.ndarray):
        return _whole(np.maximum(value, other))
    return max(value, other)


def whole(value: Float) -> Int:
    """The whole part: what is behind the point is dropped, as by `int`."""
    return _whole(value) if isinstance(value, np.ndarray) else int(value)


def round_up(value: Float) -> Int:
    """The smallest whole number that is not below the value."""
    return _whole(np.ceil(value)) if isinstance(value, np.ndarray) else math.ceil(value)


def where(condition: Mask, value: Int, other: Int) -> Int:
    """The value where the condition holds, and the other where it does not."""
    if isinstance(condition, np.ndarray):
        return _whole(np.where(condition, value, other))
    return value if condition else other


def power(base: Float, exponent: Float) -> Float:
    """The base to the exponent, to nine decimals.

    So the fifth power of 2 ** (1/5) is 2 and not the next float above it, which would round up to another layer; and the last bit
    does not depend on whether one number or an array is raised, for which processors have different instructions.
    """
    powers = np.round(np.power(base, exponent, dtype=np.float64), 9)
    return powers if isinstance(powers, np.ndarray) and powers.ndim else float(powers)


def ceil_div(value: Int, divisor: Int) -> Int:
    """The quotient rounded up, in exact whole-number arithmetic."""
    return -(-value // divisor)


def _whole(values: NDArray[Any]) -> Any:  # noqa: ANN401 (an array in the place of an Int)
    return values.astype(np.int64, copy=False)
