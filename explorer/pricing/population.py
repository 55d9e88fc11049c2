"""Design points that stand for a whole space: drawn at random, evenly over cost, before anything is trained."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from explorer.errors import ExplorerError
from explorer.pricing.enumeration import enumeration
from explorer.pricing.prices import join, price_chunks
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
    edges = find_space(space).point(preset).expand().cost.macs * np.geomspace(CHEAPEST, DEAREST, STRATA + 1)
    bands = list(itertools.pairwise(edges.tolist()))
    return [values for band in draw(space, preset, bands, count // STRATA, DRAWN) for values in band]


def draw(
    space: str, preset: str | None, bands: Sequence[tuple[float, float]], each: int, drawn: int
) -> list[list[dict[str, Any]]]:
    """For each band of multiply-adds, low and high: the metaparameters of the first `each` points with networks of their own among
    `drawn` from the ranges of the space around a preset. Raises `ExplorerError` where a band has fewer.
    """
    family = find_space(space)
    ranges = {key: f"{low}..{high}" for key, (low, high) in family.point(preset).ranges().items()}
    points = enumeration(family, preset, ranges, sample=drawn)
    priced = join(list(price_chunks(family, preset, points.blocks(), ["macs"])))
    macs = priced.amounts["macs"]
    found = []
    for low, high in bands:
        networks: dict[str, dict[str, Any]] = {}
        for row in np.flatnonzero(priced.feasible & (macs >= low) & (macs < high)):
            values = {key: np.asarray(priced.columns[key])[row].item() for key in ranges}
            networks.setdefault(family.point(preset, **values).expand().digest, values)
            if len(networks) == each:
                break
        else:
            raise ExplorerError(
                f"{space}: {len(networks)} of {each} points: among {drawn:,} drawn there are too few networks of {low:,.0f} to "
                f"{high:,.0f} multiply-adds; take fewer points or another preset"
            )
        found.append(list(networks.values()))
    return found
