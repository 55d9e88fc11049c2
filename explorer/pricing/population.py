"""Draw random design points that represent a whole space, evenly over cost, before any training."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from explorer.errors import ExplorerError
from explorer.pricing.enumeration import enumeration, values_at
from explorer.pricing.prices import join, price_chunks
from explorer.spaces import find_space

CHEAPEST, LARGEST = 0.25, 2.0
"""Range of multiply-adds in a population, as multiples of the preset's."""
STRATA = 8
DRAWN = 20_000


def population(
    space: str, preset: str | None, count: int, vary: Mapping[str, Any] | None = None
) -> list[dict[str, Any]]:
    """Draw the metaparameters of `count` points with distinct networks from a space's ranges around a preset.

    `vary` adds or replaces ranges and lists of values, written as for `enumeration`. The points are spread equally over
    eight strata with the same width in log multiply-adds. Every call returns the same points. Raises `ExplorerError` if
    `count` is not a multiple of eight, there are too few distinct networks, or `vary` is invalid.
    """
    if count % STRATA or count < STRATA:
        near = max(STRATA, STRATA * round(count / STRATA))
        raise ExplorerError(f"points = {count}: should be a multiple of {STRATA}, for {STRATA} cost strata; use {near}")
    edges = find_space(space).point(preset).expand().cost.macs * np.geomspace(CHEAPEST, LARGEST, STRATA + 1)
    bands = list(itertools.pairwise(edges.tolist()))
    return [values for band in draw(space, preset, bands, count // STRATA, DRAWN, vary) for values in band]


def draw(
    space: str,
    preset: str | None,
    bands: Sequence[tuple[float, float]],
    each: int,
    drawn: int,
    vary: Mapping[str, Any] | None = None,
) -> list[list[dict[str, Any]]]:
    """Return the metaparameters of `each` points with distinct networks for each band of multiply-adds, (low, high).

    Draws `drawn` points from the space's ranges around a preset, and takes the first ones that fit. Raises
    `ExplorerError` if too few fit.
    """
    family = find_space(space)
    ranges = {key: str(ends) for key, ends in family.point(preset).ranges().items()}
    points = enumeration(family, preset, ranges | dict(vary or {}), sample=drawn)
    priced = join(list(price_chunks(family, preset, points.blocks(), ["macs"])))
    macs = priced.amounts["macs"]
    found = []
    for low, high in bands:
        networks: dict[str, dict[str, Any]] = {}
        for row in np.flatnonzero(priced.feasible & (macs >= low) & (macs < high)):
            values = values_at(priced.columns, int(row)) | dict(points.fixed)
            networks.setdefault(family.point(preset, **values).expand().digest, values)
            if len(networks) == each:
                break
        else:
            raise ExplorerError(
                f"{space}: {len(networks)} of {each} points: too few of {drawn:,} random networks have {low:,.0f} to "
                f"{high:,.0f} multiply-adds; use fewer points or another preset"
            )
        found.append(list(networks.values()))
    return found
