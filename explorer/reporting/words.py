"""Write amounts, intervals and lists for sentences."""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from explorer.analysis import Interval
from explorer.networks.quantities import COUNT, QUANTITIES, main_costs, prefixed

SPACE = "\N{NO-BREAK SPACE}"


def percent(share: float) -> str:
    """Write a fraction as a percentage with one decimal."""
    return f"{100 * share:.1f}{SPACE}%"


def listed(names: Sequence[str], word: str = "and") -> str:
    """Join names with "and" or another word: `a`, `a and b`, `a, b and c`."""
    return f" {word} ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else "".join(names)


def amount(cost: str, low: float, high: float | None = None) -> str:
    """Write an amount of a cost, or a range: `364 k params`, `6.40 to 6.52 M FLOPs`, `1.25 ms of latency`."""
    scaled = [_scaled(cost, end) for end in (low, high) if end is not None]
    if len({unit for _, unit in scaled}) == 1:
        return f"{' to '.join(dict.fromkeys(number for number, _ in scaled))}{SPACE}{scaled[0][1]}"
    return " to ".join(f"{number}{SPACE}{unit}" for number, unit in scaled)


def costs_in_words(row: Mapping[Any, Any] | pd.Series[Any], measured: Sequence[str] = ()) -> str:
    """Write the main costs of a point and what its runs `measured`: `364 k params and 6.40 M FLOPs`."""
    costs = [*(cost.key for cost in main_costs()), *measured]
    return listed([amount(cost, row[cost]) for cost in costs if not missing(row[cost])])


def _scaled(cost: str, value: float) -> tuple[str, str]:
    quantity = QUANTITIES[cost]
    if quantity.unit is not COUNT:
        return _three_digits(value / quantity.unit.scale), f"{quantity.unit.name} of {quantity.noun}"
    scale, prefix = prefixed(float(f"{value:.3g}"))
    return _three_digits(value / scale), f"{prefix} {quantity.noun}".strip()


def _three_digits(value: float) -> str:
    rounded = float(f"{value:.3g}")
    places = max(0, 2 - math.floor(math.log10(rounded))) if rounded else 0
    return f"{rounded if places else value:,.{places}f}"


def signed(value: float, form: str = ".2f") -> str:
    """Write a number with a minus sign instead of a hyphen."""
    return f"{value:{form}}".replace("-", "\N{MINUS SIGN}")


def with_interval(found: Interval, form: str = ".2f", factor: float = 1) -> str:
    """Write an estimate times a factor, with its interval if known: `0.76 (0.63 to 0.85)`."""
    estimate, low, high = (signed(factor * value, form) for value in (found.estimate, found.low, found.high))
    return estimate if math.isnan(found.low) else f"{estimate} ({low} to {high})"


def column_interval(row: Mapping[Any, Any], name: str) -> str:
    """Write the estimate and interval in the columns `name`, `name_low` and `name_high`."""
    return with_interval(Interval(row[name], row[f"{name}_low"], row[f"{name}_high"]))


def command_words(command: str) -> list[str]:
    """Split a command line into words; empty if it is not a command, for example if a study was run from Python."""
    try:
        return shlex.split(command)
    except ValueError:
        return []


def given_options(command: str, *options: str) -> list[str]:
    """Return the given options that occur in a command line, each with its value."""
    parts = (word.split("=", 1) if word.startswith("--") else [word] for word in command_words(command))
    words = [part for pair in parts for part in pair]
    found = [words[place : place + 2] for place, word in enumerate(words[:-1]) if word in options]
    return [part for pair in found for part in pair]


def missing(value: object) -> bool:
    """Whether a cell of a frame is empty."""
    return value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value))
