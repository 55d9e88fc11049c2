"""Which priced points are wanted: a condition on their amounts, the cheapest for each value of something, their order.

A condition is checked to hold nothing but comparisons and arithmetic of known names, and then left to pandas.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from explorer.errors import ExplorerError, unknown
from explorer.pricing.enumeration import Coded, Column
from explorer.pricing.prices import Priced, join
from explorer.spaces.space import label

MOST_SORTED = 5_000_000

Values: TypeAlias = Mapping[str, Any]
"""What a condition may name: a column, or a value that is the same at all points."""

# What a condition may hold besides names and constants: no calls, attributes or subscripts, so that it cannot reach Python.
_ALLOWED = (
    *(ast.Name, ast.Load, ast.Constant, ast.Compare, ast.Lt, ast.LtE, ast.Gt, ast.GtE, ast.Eq, ast.NotEq),
    *(ast.BoolOp, ast.And, ast.Or, ast.UnaryOp, ast.Not, ast.USub, ast.UAdd),
    *(ast.BinOp, ast.Add, ast.Sub, ast.Mult, ast.Div, ast.FloorDiv, ast.Mod, ast.Pow),
)
_SMALLER, _LARGER = ("<", "<="), (">", ">=")
_TURNED = {"<": ">", "<=": ">=", ">": "<", ">=": "<="}
_SIGNS: dict[type[ast.cmpop], str] = {
    ast.Lt: "<",
    ast.LtE: "<=",
    ast.Gt: ">",
    ast.GtE: ">=",
    ast.Eq: "==",
    ast.NotEq: "!=",
}


class Where:
    """A condition such as `params < 5e5 and macs / params <= 40`, on columns by name; pandas evaluates it.

    It may hold names, numbers, text in quotes, comparisons, arithmetic, `and`, `or` and `not`; raises `ExplorerError` for
    anything else, and for names that are none of `known`.
    """

    def __init__(self, text: str, known: Iterable[str]) -> None:
        self.text = text
        try:
            self._root = ast.parse(text.strip(), mode="eval").body
            nodes = list(ast.walk(self._root))
            for node in nodes:
                if type(node) is ast.Constant and type(node.value) is int:
                    node.value = float(node.value)  # powers of whole numbers grow without end
        except (SyntaxError, ValueError, OverflowError, RecursionError, MemoryError) as error:
            hint = "; write == for equal" if re.search(r"[^<>=!]=[^=]", text) else ""
            raise self._wrong(f"cannot be read: {getattr(error, 'msg', error)}{hint}") from None
        for node in nodes:
            if not isinstance(node, _ALLOWED):
                raise self._wrong(
                    f"takes names, numbers, comparisons, arithmetic, and, or, not; not {ast.unparse(node)!r}"
                )
        choices = list(known)
        self.names = list(dict.fromkeys(node.id for node in nodes if isinstance(node, ast.Name)))
        for name in self.names:
            if name not in choices:
                raise unknown("name in --where", name, choices)

    def mask(self, values: Values, count: int) -> NDArray[np.bool_]:
        """Which of `count` points meet the condition, (count,)."""
        found = np.asarray(self._evaluated(self._root, values, count))
        if found.dtype != bool:
            raise self._wrong("is no condition; compare it with something")
        return np.broadcast_to(found, (count,))

    def nearest(self, values: Values, count: int, best: float | None) -> float | None:
        """For a single comparison with a number: the value, of these points' and `best`, that comes nearest to meeting it."""
        side, sign, limit = self._limit()
        if side is None:
            return None
        found = np.asarray(self._evaluated(side, values, count))
        if found.dtype.kind not in "iuf":
            return None
        amounts = np.append(np.ravel(found).astype(float), [] if best is None else best)
        amounts = amounts[np.isfinite(amounts)]
        if not amounts.size:
            return None
        if sign in _SMALLER:
            return float(amounts.min())
        return float(amounts.max() if sign in _LARGER else amounts[np.abs(amounts - limit).argmin()])

    def unmet(self, nearest: float | None) -> str:
        """Says that no point meets the condition, with the value that comes nearest where that is known."""
        side, sign, limit = self._limit()
        if side is None or nearest is None:
            return f"no point meets --where {self.text!r}"
        which = "the smallest" if sign in _SMALLER else "the largest" if sign in _LARGER else "the nearest"
        return f"no point has {ast.unparse(side)} {sign} {_amount(limit)}; {which} is {_amount(nearest)}"

    def _limit(self) -> tuple[ast.expr | None, str, float]:
        """Side, sign and number of a single comparison with a number; None where the condition is another."""
        node = self._root
        if isinstance(node, ast.Compare) and len(node.ops) == 1 and type(node.ops[0]) in _SIGNS:
            left, sign, right = node.left, _SIGNS[type(node.ops[0])], node.comparators[0]
            for side, turned, other in ((left, sign, right), (right, _TURNED.get(sign, sign), left)):
                try:
                    return side, turned, float(ast.literal_eval(other))
                except (ValueError, TypeError):
                    continue
        return None, "==", 0.0

    def _evaluated(self, node: ast.expr, values: Values, count: int) -> Any:  # noqa: ANN401 (a column or one value)
        for name in self.names:
            if values[name] is None:
                raise self._wrong(f"{name} is not set here, so there is nothing to compare")
        columns = {name: _read(values[name]) for name in self.names}
        try:
            # All that pandas raises where kinds do not go together, such as a text below a number. Python's engine, as numexpr may be installed and computes in other types.
            return pd.DataFrame(columns, index=range(count)).eval(ast.unparse(node), engine="python")
        except (TypeError, ValueError, AttributeError, OverflowError, NotImplementedError) as error:
            raise self._wrong(f"cannot be computed: {error}") from None

    def _wrong(self, what: str) -> ExplorerError:
        return ExplorerError(f"--where {self.text!r}: {what}")


def _amount(number: float) -> str:
    return f"{number:,.0f}" if float(number).is_integer() else label(float(number))


def pareto(groups: NDArray[Any], params: NDArray[np.int64], macs: NDArray[np.int64]) -> NDArray[np.int64]:
    """Places of the points that are on the front of params and MACs of their group, by group and then by params.

    A point is beaten where another of its group has no more of either and less of one. Of points with the same of both, all stay.
    """
    _, ranks = np.unique(macs, return_inverse=True)  # small numbers: groups are told apart by multiples below
    _, members = np.unique(groups, return_inverse=True)
    order = np.lexsort((ranks, params, members))
    # Within a group, sorted by params, a point stays where its MACs are below all before it. A later group's numbers are all smaller
    # than an earlier one's, so that one running minimum serves them all.
    heights = ranks[order] - members[order] * (len(ranks) + 1)
    lowest = np.minimum.accumulate(heights)
    first = np.ones(len(order), dtype=bool)
    first[1:] = heights[1:] < lowest[:-1]
    sorted_params = params[order]
    # A point like the one before it, which stayed, stays.
    same = np.zeros(len(order), dtype=bool)
    same[1:] = (heights[1:] == heights[:-1]) & (sorted_params[1:] == sorted_params[:-1])
    leader = np.maximum.accumulate(np.where(same, 0, np.arange(len(order))))
    return order[first[leader]]


def front(parts: Iterable[Priced], key: str) -> Iterator[Priced]:
    """The points of a stream that `pareto` keeps for each value of `key`, all at the end; only they are held meanwhile."""
    best: Priced | None = None
    for part in parts:
        best = part if best is None else join([best, part])
        best = best[pareto(_codes(best, key), best.amounts["params"], best.amounts["macs"])]
    if best is not None:
        yield best


def ordered(parts: Iterable[Priced], key: str, most: int | None = None) -> Iterator[Priced]:
    """The points of a stream from the smallest `key` up, or, for `-key`, from the largest down; at most so many.

    Points that are alike in it stay in the order of the stream. All that is given back is held in memory: raises
    `ExplorerError` beyond `MOST_SORTED` points.
    """
    held: list[Priced] = []
    for part in parts:
        held.append(part)
        if most is not None:
            together = join(held)
            held = [together[_order(together, key)[:most]]]
        elif sum(map(len, held)) > MOST_SORTED:
            raise ExplorerError(
                f"--sort {key}: more than {MOST_SORTED:,} points are kept; narrow them with --where, or leave out --sort"
            )
    if held:
        together = join(held)
        yield together[_order(together, key)]


def _order(priced: Priced, key: str) -> NDArray[np.int64]:
    codes = _codes(priced, key.removeprefix("-"))
    return np.argsort(-codes if key.startswith("-") else codes, kind="stable")


def _codes(priced: Priced, key: str) -> NDArray[Any]:
    """What tells the values of a metaparameter or a quantity apart, (points,); all alike for what does not vary."""
    if key in priced.amounts:
        return priced.amounts[key]
    column: Column = priced.columns.get(key, np.zeros(len(priced)))
    return column.codes if isinstance(column, Coded) else column


def _read(value: Any) -> Any:  # noqa: ANN401 (as a condition takes it)
    """A column or a fixed value for pandas: numbers as floats, as products of costs overflow 64 bits; lists by their label."""
    if isinstance(value, Coded):
        choices = [choice if isinstance(choice, bool) else label(choice) for choice in value.choices]
        return pd.Series(choices).array.take(value.codes)
    if isinstance(value, np.ndarray) and value.dtype != bool:
        return value.astype(np.float64)
    if isinstance(value, np.ndarray | bool | int | float):
        return value
    return label(value)
