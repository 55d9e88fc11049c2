"""Filter priced points by a condition or a front, and sort them.

A condition may contain only comparisons and arithmetic on known names. Pandas evaluates it.
"""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from explorer.errors import ExplorerError, unknown
from explorer.networks.quantities import hyphenated, quantity_key, read_size
from explorer.pricing.enumeration import Coded, Column
from explorer.pricing.prices import Priced, join
from explorer.spaces.space import label

MOST_SORTED = 5_000_000

# No calls, attributes or subscripts, so a condition cannot execute arbitrary Python.
_ALLOWED = (
    *(ast.Name, ast.Load, ast.Constant, ast.Compare, ast.Lt, ast.LtE, ast.Gt, ast.GtE, ast.Eq, ast.NotEq),
    *(ast.BoolOp, ast.And, ast.Or, ast.UnaryOp, ast.Not, ast.USub, ast.UAdd),
    *(ast.BinOp, ast.Add, ast.Sub, ast.Mult, ast.Div, ast.FloorDiv, ast.Mod, ast.Pow),
)


class Where:
    """A condition on named columns, such as `params < 5e5 and macs / params <= 40`.

    It may contain names, numbers, sizes such as 500k, quoted text, comparisons, arithmetic, `and`, `or` and `not`.
    Raises `ExplorerError` for anything else and for names that are not in `known`.
    """

    def __init__(self, text: str, known: Iterable[str]) -> None:
        self.text = text
        choices = list(known)
        try:
            root = ast.parse(_spelt_out(text.strip()), mode="eval").body
            nodes = list(ast.walk(root))
            for node in nodes:
                if type(node) is ast.Constant and type(node.value) is int:
                    node.value = float(node.value)  # because powers of integers grow without limit
                if isinstance(node, ast.Name) and node.id not in choices:
                    node.id = quantity_key(node.id)
            self._expression = ast.unparse(root)
        except (SyntaxError, ValueError, OverflowError, RecursionError, MemoryError) as error:
            hint = "; write == for equal" if re.search(r"[^<>=!]=[^=]", text) else ""
            if turned := re.search(r"=([<>])", text):
                hint = f"; write {turned[1]}= for {turned[0]}"
            raise self._wrong(f"cannot be read: {getattr(error, 'msg', error)}{hint}") from None
        for node in nodes:
            if not isinstance(node, _ALLOWED):
                allowed = "names, numbers, comparisons, arithmetic, and, or, not"
                raise self._wrong(f"{ast.unparse(node)!r} is not allowed; use {allowed}")
        self._ranges: dict[str, tuple[float, float]] = {}
        self.names = list(dict.fromkeys(node.id for node in nodes if isinstance(node, ast.Name)))
        for name in self.names:
            if name not in choices:
                raise unknown("name in --where", name, choices)

    def mask(self, values: Mapping[str, Any], count: int) -> NDArray[np.bool_]:
        """Return a mask of the points that meet the condition, (count,), given columns or shared values."""
        for name in self.names:
            if values[name] is None:
                raise self._wrong(f"{name} has no value here")
        columns = {name: _read(values[name]) for name in self.names}
        try:
            # Use Python's engine, because numexpr, if installed, uses other types.
            found = pd.DataFrame(columns, index=range(count)).eval(self._expression, engine="python")
        except (TypeError, ValueError, AttributeError, OverflowError, NotImplementedError) as error:
            raise self._wrong(f"cannot be computed: {error}") from None
        found = np.asarray(found)
        if found.dtype != bool:
            raise self._wrong("is not a condition; add a comparison")
        return np.broadcast_to(found, (count,))

    def limits(self) -> dict[str, tuple[float | None, float | None]]:
        """Return the smallest and largest amount that each name may have.

        Raises `ExplorerError` unless the condition compares names with numbers, joined by `and`.
        """
        found: dict[str, tuple[float | None, float | None]] = {}
        root = ast.parse(self._expression, mode="eval").body
        joined = isinstance(root, ast.BoolOp) and isinstance(root.op, ast.And)
        for part in ast.iter_child_nodes(root) if joined else [root]:
            if isinstance(part, ast.And):
                continue
            for name, is_most, limit in self._bounds(part):
                low, high = found.get(name, (None, None))
                if is_most:
                    high = limit if high is None else min(high, limit)
                else:
                    low = limit if low is None else max(low, limit)
                found[name] = (low, high)
        for name, (low, high) in found.items():
            if low is not None and high is not None and low > high:
                raise self._wrong(f"no {name} is at least {low:,.0f} and at most {high:,.0f}")
        return found

    def _bounds(self, part: ast.AST) -> Iterator[tuple[str, bool, float]]:
        """Yield the limits in a comparison: a name, whether it is the most, and the number."""
        if not isinstance(part, ast.Compare):
            raise self._wrong("limits compare a quantity with a number, such as params < 200k and FLOPs <= 5M")
        sides = [part.left, *part.comparators]
        for left, operator, right in zip(sides, part.ops, sides[1:], strict=False):
            less = isinstance(operator, ast.Lt | ast.LtE)
            if not less and not isinstance(operator, ast.Gt | ast.GtE):
                raise self._wrong("limits use <, <=, > or >=")
            if isinstance(left, ast.Constant) and isinstance(right, ast.Name):
                name, number, is_most = right.id, left.value, not less
            elif isinstance(left, ast.Name) and isinstance(right, ast.Constant):
                name, number, is_most = left.id, right.value, less
            else:
                raise self._wrong("limits compare a quantity with a number, such as params < 200k and FLOPs <= 5M")
            limit = float(str(number))
            if isinstance(operator, ast.Lt | ast.Gt):
                limit = math.nextafter(limit, -math.inf if is_most else math.inf)
            yield name, is_most, limit

    def widen(self, values: Mapping[str, Any]) -> None:
        """Track the range of each number in the condition, for `unmet`."""
        for name in self.names:
            column = values[name]
            if isinstance(column, np.ndarray) and column.dtype.kind in "iuf" and len(column):
                low, high = self._ranges.get(name, (math.inf, -math.inf))
                self._ranges[name] = min(low, column.min().item()), max(high, column.max().item())

    def unmet(self) -> str:
        """Return a message that no point meets the condition, with the ranges of its numbers."""
        found = [f"{name} is {_span(low, high)}" for name, (low, high) in self._ranges.items()]
        return "; ".join([f"no point meets --where {self.text!r}", *found])

    def _wrong(self, what: str) -> ExplorerError:
        return ExplorerError(f"--where {self.text!r}: {what}")


_QUOTED = re.compile(r"""("[^"]*"|'[^']*')""")
_SIZED = re.compile(
    r"(?<![\w.])(?:\d[\d_]*\.?\d*|\.\d+)(?:[eE][+-]?\d+)?\s?[kKmMgGtT]i?(?i:b|\s?(?:macs?|flops?))?(?!\w)"
)
_GROUPED = re.compile(r"(?<![\w.,])\d{1,3}(?:,\d{3})+(?![\d,])")


def _spelt_out(text: str) -> str:
    """Replace sizes with plain numbers and hyphenated names with keys, except in quoted text."""
    parts = _QUOTED.split(text)
    for place in range(0, len(parts), 2):
        for alias in hyphenated():
            parts[place] = re.sub(
                rf"(?<![\w-]){alias}(?![\w-])", quantity_key(alias), parts[place], flags=re.IGNORECASE
            )
        parts[place] = _GROUPED.sub(lambda found: found[0].replace(",", ""), parts[place]).replace("\u2264", "<=")
        parts[place] = _SIZED.sub(lambda found: repr(read_size(found[0])), parts[place])
    return "".join(parts)


def _span(low: float, high: float) -> str:
    ends = [f"{end:,.0f}" if float(end).is_integer() else label(end) for end in (low, high)]
    return " to ".join(dict.fromkeys(ends))


def pareto(groups: NDArray[Any], params: NDArray[np.int64], macs: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the indices of points on their group's front of params and MACs, sorted by group and then by params.

    A point is dominated if another one in its group is no more expensive in either cost and cheaper in one. Points with
    equal costs all stay.
    """
    _, ranks = np.unique(macs, return_inverse=True)
    _, members = np.unique(groups, return_inverse=True)
    order = np.lexsort((ranks, params, members))
    # With points sorted by params, one is on its group's front if it has fewer MACs than all before it. Each group's
    # numbers are below those of the previous group, so one running minimum works for all groups.
    heights = ranks[order] - members[order] * (len(ranks) + 1)
    lowest = np.minimum.accumulate(heights)
    leads = heights < np.append(len(ranks) + 1, lowest[:-1])
    leader = np.maximum.accumulate(np.where(leads, np.arange(len(order)), 0))
    sorted_params = params[order]
    kept: NDArray[np.int64] = order[(heights == heights[leader]) & (sorted_params == sorted_params[leader])]
    return kept


def front(parts: Iterable[Priced], key: str) -> Iterator[Priced]:
    """Yield the points of a stream on the front for each value of `key`. Only candidates are held in memory."""
    best: Priced | None = None
    for part in parts:
        best = part if best is None else join([best, part])
        best = best[pareto(_codes(best, key), best.amounts["params"], best.amounts["macs"])]
    if best is not None:
        yield best


def ordered(parts: Iterable[Priced], key: str, most: int | None = None) -> Iterator[Priced]:
    """Sort the points of a stream by `key`, or descending by `-key`, and yield at most `most`. Ties keep their order.

    The points are held in memory. Raises `ExplorerError` for more than `MOST_SORTED` points.
    """
    held: list[Priced] = []
    for part in parts:
        held.append(part)
        if most is not None:
            together = join(held)
            held = [together[_order(together, key)[:most]]]
        elif sum(map(len, held)) > MOST_SORTED:
            raise ExplorerError(
                f"--sort {key}: cannot sort more than {MOST_SORTED:,} points; use --where, or leave out --sort"
            )
    if held:
        together = join(held)
        yield together[_order(together, key)]


def _order(priced: Priced, key: str) -> NDArray[np.int64]:
    codes = _codes(priced, key.removeprefix("-"))
    return np.argsort(-codes if key.startswith("-") else codes, kind="stable")


def _codes(priced: Priced, key: str) -> NDArray[Any]:
    if key in priced.amounts:
        return priced.amounts[key]
    column: Column = priced.columns.get(key, np.zeros(len(priced)))
    return column.codes if isinstance(column, Coded) else column


def _read(value: Any) -> Any:  # noqa: ANN401 (as a condition takes it)
    """Convert values for pandas: lists to text, and numbers to floats, because products of costs overflow 64 bits."""
    if isinstance(value, Coded):
        choices = [choice if isinstance(choice, bool) else label(choice) for choice in value.choices]
        return pd.Series(choices).array.take(value.codes)
    if isinstance(value, np.ndarray) and value.dtype != bool:
        return value.astype(np.float64)
    if isinstance(value, np.ndarray | bool | int | float):
        return value
    return label(value)
