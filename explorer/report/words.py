"""Amounts, shares and lists in sentences."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pandas as pd

from explorer.drawing.labels import prefixed

SPACE = "\N{NO-BREAK SPACE}"
COSTS = {
    "params": "params",
    "macs": "FLOPs",
    "activations": "activations",
    "model_bytes": "model size",
    "memory_access_bytes": "memory access",
    "peak_activation_bytes": "peak activations",
    "latency_seconds": "latency",
}


def percent(share: float) -> str:
    """A fraction as percent with one decimal."""
    return f"{100 * share:.1f}{SPACE}%"


def listed(names: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else "".join(names)


def _scaled(cost: str, value: float) -> tuple[float, str]:
    """What to divide an amount of a cost by in a sentence, and the words behind it."""
    if cost.endswith("bytes"):
        return 2.0**20, f"MiB of {COSTS[cost]}"
    scale, prefix = prefixed(value)
    return scale, f"{prefix} {COSTS[cost]}".strip()


def amount(cost: str, low: float, high: float | None = None) -> str:
    """An amount of a cost in a sentence, or a range: `364 k params`, `6.40 to 6.52 M FLOPs`."""
    scale, words = _scaled(cost, low if high is None else high)
    numbers = dict.fromkeys(f"{value / scale:#.3g}".rstrip(".") for value in (low, high) if value is not None)
    return f"{' to '.join(numbers)}{SPACE}{words}"


def missing(value: object) -> bool:
    """Whether a cell of a frame holds nothing."""
    return value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value))
