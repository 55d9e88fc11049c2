"""Amounts, shares and lists in sentences."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from explorer.networks.quantities import COUNT, QUANTITIES, main_costs, prefixed

SPACE = "\N{NO-BREAK SPACE}"


def percent(share: float) -> str:
    """A fraction as percent with one decimal."""
    return f"{100 * share:.1f}{SPACE}%"


def listed(names: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else "".join(names)


def amount(cost: str, low: float, high: float | None = None) -> str:
    """An amount of a cost in a sentence, or a range: `364 k params`, `6.40 to 6.52 M FLOPs`, `1.25 ms of latency`."""
    ends = [low] if high is None else [low, high]
    scaled = [_scaled(cost, end) for end in ends]
    if len({unit for _, unit in scaled}) == 1:
        numbers = dict.fromkeys(number for number, _ in scaled)
        return f"{' to '.join(numbers)}{SPACE}{scaled[0][1]}"
    return " to ".join(f"{number}{SPACE}{unit}" for number, unit in scaled)


def costs_in_words(row: Mapping[Any, Any] | pd.Series[Any]) -> str:
    """What a point costs, in a sentence: `364 k params and 6.40 M FLOPs`."""
    known = [quantity.key for quantity in main_costs() if not missing(row[quantity.key])]
    return listed([amount(cost, row[cost]) for cost in known])


def _scaled(cost: str, value: float) -> tuple[str, str]:
    """An amount with three digits, and its unit."""
    quantity = QUANTITIES[cost]
    if quantity.unit is not COUNT:
        return _digits(value / quantity.unit.scale), f"{quantity.unit.name} of {quantity.noun}"
    scale, prefix = prefixed(float(f"{value:.3g}"))
    return _digits(value / scale), f"{prefix} {quantity.noun}".strip()


def _digits(value: float) -> str:
    """Three digits, and more before the point where there are more."""
    rounded = float(f"{value:.3g}")
    places = max(0, 2 - math.floor(math.log10(rounded))) if rounded else 0
    return f"{rounded if places else value:,.{places}f}"


def with_interval(row: Mapping[Any, Any], name: str) -> str:
    """A number of a row with its interval, of the columns `name`, `name_low` and `name_high`: `0.76 (0.63 to 0.85)`."""
    low, high = row[f"{name}_low"], row[f"{name}_high"]
    return f"{row[name]:.2f}" if math.isnan(low) else f"{row[name]:.2f} ({low:.2f} to {high:.2f})"


def missing(value: object) -> bool:
    """Whether a cell of a frame holds nothing."""
    return value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value))
