"""Which priced points are wanted: a condition on their amounts, the cheapest for each value of something, their order.

A condition is parsed into a tree of a few kinds of node and evaluated here, on arrays; nothing of it reaches Python.
"""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import reduce
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from explorer.enumeration import Coded, Column
from explorer.errors import ExplorerError, unknown
from explorer.pricing import Priced, join
from explorer.space import label

MOST_SORTED = 5_000_000

Values: TypeAlias = Mapping[str, Any]
"""What a condition may name: a column, or a value that is the same at all points."""

_COMPARED: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}
_SIGNS = {ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=", ast.Eq: "==", ast.NotEq: "!="}
_TURNED: dict[type[ast.cmpop], type[ast.cmpop]] = {ast.Lt: ast.Gt, ast.LtE: ast.GtE, ast.Gt: ast.Lt, ast.GtE: ast.LtE}
_COMPUTED: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
}


class Where:
    """A condition such as `params < 5e5 and macs / params <= 40`, on columns by name.

    It may hold names, numbers, text in quotes, comparisons, arithmetic, `and`, `or` and `not`; raises `ExplorerError` for
    anything else, and for names that are none of `known`.
    """

    def __init__(self, text: str, known: Iterable[str]) -> None:
        self.text = text
        try:
            self._root = ast.parse(text.strip(), mode="eval").body
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            hint = "; write == for equal" if re.search(r"[^<>=!]=[^=]", text) else ""
            raise self._wrong(f"cannot be read: {getattr(error, 'msg', error)}{hint}") from None
        self.names = list(dict.fromkeys(self._check(self._root)))
        choices = list(known)
        for name in self.names:
            if name not in choices:
                raise unknown("name in --where", name, choices)

    def mask(self, values: Values, count: int) -> NDArray[np.bool_]:
        """Which of `count` points meet the condition, (count,)."""
        with np.errstate(all="ignore"):  # a quotient of nothing is no number, and meets nothing
            found = np.asarray(self._value(self._root, values))
        if found.dtype != bool:
            raise self._wrong("is no condition; compare it with something")
        return np.broadcast_to(found, (count,))

    def nearest(self, values: Values, best: float | None) -> float | None:
        """For a single comparison with a number: the value, of these and `best`, that comes nearest to meeting it."""
        side, sign, limit = self._limit()
        if side is None:
            return None
        with np.errstate(all="ignore"):
            found = self._value(side, values)
        if isinstance(found, Coded):
            return None
        amounts = np.append(np.ravel(found).astype(float), [] if best is None else best)
        amounts = amounts[np.isfinite(amounts)]
        if not amounts.size:
            return None
        if sign in (ast.Lt, ast.LtE):
            return float(amounts.min())
        if sign in (ast.Gt, ast.GtE):
            return float(amounts.max())
        return float(amounts[np.abs(amounts - limit).argmin()])

    def unmet(self, nearest: float | None) -> str:
        """Says that no point meets the condition, with the value that comes nearest where that is known."""
        side, sign, limit = self._limit()
        if side is None or nearest is None:
            return f"no point meets --where {self.text!r}"
        which = {ast.Lt: "the smallest", ast.LtE: "the smallest", ast.Gt: "the largest", ast.GtE: "the largest"}
        amount = f"{nearest:,.0f}" if nearest.is_integer() else label(nearest)
        bound = f"{limit:,.0f}" if float(limit).is_integer() and abs(limit) >= 1000 else label(limit)  # noqa: PLR2004
        return f"no point has {ast.unparse(side)} {_SIGNS[sign]} {bound}; {which.get(sign, 'the nearest')} is {amount}"

    def _limit(self) -> tuple[ast.expr | None, type[ast.cmpop], float]:
        """Side, sign and number of a single comparison with a number; None where the condition is another."""
        node = self._root
        if isinstance(node, ast.Compare) and len(node.ops) == 1:
            left, sign, right = node.left, type(node.ops[0]), node.comparators[0]
            if _constant(left) is not None:
                left, sign, right = right, _TURNED.get(sign, sign), left
            limit = _constant(right)
            if limit is not None:
                return left, sign, limit
        return None, ast.Eq, 0.0

    def _check(self, node: ast.expr) -> Iterator[str]:
        """The names below a node, all of whose kinds are allowed."""
        match node:
            case ast.Name():
                yield node.id
            case ast.Constant(value=str() | int() | float()):
                pass
            case ast.BoolOp(values=inner):
                yield from self._all(inner)
            case ast.UnaryOp(op=ast.Not() | ast.USub() | ast.UAdd(), operand=operand):
                yield from self._check(operand)
            case ast.BinOp(left=left, op=sign, right=right) if type(sign) in _COMPUTED:
                yield from self._all([left, right])
            case ast.Compare(left=left, ops=signs, comparators=others) if all(type(s) in _COMPARED for s in signs):
                yield from self._all([left, *others])
            case _:
                raise self._wrong(
                    "takes names, numbers, comparisons, arithmetic, and, or, not; "
                    f"not {ast.unparse(node)!r} (write and for &, or for |)"
                )

    def _all(self, nodes: list[ast.expr]) -> Iterator[str]:
        for node in nodes:
            yield from self._check(node)

    def _value(self, node: ast.expr, values: Values) -> Any:  # noqa: ANN401 (numbers, text or a column)
        match node:
            case ast.Name():
                return _read(values[node.id])
            case ast.Constant():
                return node.value
            case ast.BoolOp():
                combine = np.logical_and if isinstance(node.op, ast.And) else np.logical_or
                return reduce(combine, [self._condition(part, values) for part in node.values])
            case ast.UnaryOp():
                return self._signed(node, values)
            case ast.BinOp():
                left, right = self._number(node.left, values), self._number(node.right, values)
                return _COMPUTED[type(node.op)](left, right)
            case ast.Compare():
                sides = [self._value(side, values) for side in [node.left, *node.comparators]]
                met = [self._compared(a, type(s), b) for a, s, b in zip(sides, node.ops, sides[1:], strict=False)]
                return reduce(np.logical_and, met)
        raise AssertionError(node)

    def _signed(self, node: ast.UnaryOp, values: Values) -> Any:  # noqa: ANN401 (as above)
        if isinstance(node.op, ast.Not):
            return np.logical_not(self._condition(node.operand, values))
        number = self._number(node.operand, values)
        return -number if isinstance(node.op, ast.USub) else number

    def _condition(self, node: ast.expr, values: Values) -> NDArray[np.bool_]:
        found = np.asarray(self._value(node, values))
        if found.dtype != bool:
            raise self._wrong(f"{ast.unparse(node)} is no condition; compare it with something")
        return found

    def _number(self, node: ast.expr, values: Values) -> NDArray[np.float64]:
        """A side of arithmetic, as floats: whole numbers of 64 bits would overflow in a product of costs."""
        found = self._value(node, values)
        if isinstance(found, Coded | str):
            raise self._wrong(f"{ast.unparse(node)} is no number")
        try:
            return np.asarray(found, dtype=np.float64)
        except OverflowError:
            raise self._wrong(f"{ast.unparse(node)} is too large a number") from None

    def _compared(self, left: Any, sign: type[ast.cmpop], right: Any) -> Any:  # noqa: ANN401 (as above)
        if isinstance(right, Coded) and not isinstance(left, Coded):
            left, sign, right = right, _TURNED.get(sign, sign), left
        texts = [isinstance(side, Coded | str) for side in (left, right)]
        if not any(texts):
            return _COMPARED[sign](left, right)
        if not all(texts) or isinstance(right, Coded) or sign not in (ast.Eq, ast.NotEq):
            raise self._wrong('text is compared by == or != with text in quotes, such as bypass == "simple"')
        if isinstance(left, str):
            return np.bool_(_COMPARED[sign](left, right))
        met = np.array([label(choice) == right for choice in left.choices])[left.codes]
        return met if sign is ast.Eq else ~met

    def _wrong(self, what: str) -> ExplorerError:
        return ExplorerError(f"--where {self.text!r}: {what}")


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


def _constant(node: ast.expr) -> float | None:
    """The number that a node is, where it is one."""
    match node:
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as number)):
            return -number
        case ast.Constant(value=int() | float() as number):
            return number
    return None


def _read(value: Any) -> Any:  # noqa: ANN401 (as in a condition)
    """A column or a fixed value as a condition takes it: numbers and truth as arrays, all else coded or text."""
    if isinstance(value, Coded) and all(isinstance(choice, bool) for choice in value.choices):
        return np.array(value.choices)[value.codes]
    if isinstance(value, np.ndarray | Coded | bool | int | float):
        return value
    return np.nan if value is None else label(value)
