"""Design points that stand for a whole space: drawn at random, evenly over cost, before anything is trained."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from explorer.enumeration import enumeration
from explorer.errors import ExplorerError
from explorer.pricing import COUNTS, Priced, join, price_chunks
from explorer.spaces import find_space

CHEAPEST, DEAREST = 0.25, 2.0
"""The multiply-adds of a population's points, in multiples of the preset's."""
STRATA = 8
DRAWN = 20_000


def population(space: str, preset: str | None, count: int) -> list[dict[str, Any]]:
    """Metaparameters of `count` points with networks of their own, drawn from the ranges of the space around a preset.

    As many are in each of eight strata, which are equally wide in the logarithm of multiply-adds; the same on every call. Raises
    `ExplorerError` where the count cannot be divided so, and where the ranges do not hold enough points.
    """
    if count % STRATA or count < STRATA:
        nearest = max(STRATA, STRATA * round(count / STRATA))
        raise ExplorerError(f"points = {count}: {STRATA} strata of cost have equally many; give {nearest}")
    family = find_space(space)
    base = family.point(preset)
    ranges = {key: f"{low}..{high}" for key, (low, high) in base.ranges().items()}
    drawn = enumeration(family, preset, ranges, sample=DRAWN)
    priced = join(list(price_chunks(family, preset, drawn.blocks(), COUNTS)))
    macs = priced.amounts["macs"]
    edges = base.expand().cost.macs * np.geomspace(CHEAPEST, DEAREST, STRATA + 1)
    found: dict[str, dict[str, Any]] = {}
    for number, (low, high) in enumerate(itertools.pairwise(edges), start=1):
        for row in np.flatnonzero(priced.feasible & (macs >= low) & (macs < high)):
            values = _values(priced, int(row))
            found.setdefault(family.point(preset, **values).expand().digest, values)
            if len(found) == number * count // STRATA:
                break
        else:
            raise ExplorerError(
                f"{space}: {len(found)} points: among {DRAWN:,} drawn there are too few networks of {low:,.0f} to {high:,.0f} "
                "multiply-adds; take fewer points or another preset"
            )
    return list(found.values())


def _values(priced: Priced, row: int) -> dict[str, Any]:
    return {
        key: column[np.array([row])].item() for key, column in priced.columns.items() if isinstance(column, np.ndarray)
    }
