"""Splitting points into chunks that are priced together.

If the points of a chunk need different structures, the chunk is split. The pieces wait until there are enough of the
same kind, which keeps rare structures from producing many small chunks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from explorer.errors import Infeasible
from explorer.networks.arrays import Disagreement
from explorer.pricing.enumeration import Block, Coded, Part

CHUNK = 32_768
"""Number of points priced together. This is the fastest, because their arrays fit in the processor's caches."""
DEEP = 40  # nested splits, after which pieces no longer wait

Places = NDArray[np.int64]
Found = TypeVar("Found")


class Splitting:
    """Yield positions in batches: slices of `CHUNK` positions, then the pieces of batches that had to be split.

    Pieces wait until those from the same splits make up half a chunk.
    """

    def __init__(self, places: Part) -> None:
        self._ready = [((), part) for part in reversed(slices(places, CHUNK))]
        self._waiting: dict[tuple[Any, ...], list[Places]] = {}
        self._way: tuple[Any, ...] = ()

    def __iter__(self) -> Iterator[Part]:
        while self._ready or self._waiting:
            if not self._ready:
                # Take the oldest first: they come from the fewest splits, so their pieces may still join waiting ones.
                self._release(next(iter(self._waiting)))
            self._way, part = self._ready.pop()
            yield part

    def split(self, part: Part, groups: NDArray[Any]) -> None:
        """Split the last part by `groups`, which has one entry for each of its positions."""
        for group, places in _grouped(groups):
            way = (*self._way, group)
            members = places + part.start if isinstance(part, slice) else part[places]
            self._waiting.setdefault(way, []).append(members)
            # Pieces of different parts may be joined and split again, but not beyond this depth, so this ends.
            if len(way) > DEEP or sum(map(len, self._waiting[way])) >= CHUNK // 2:
                self._release(way)

    def _release(self, way: tuple[Any, ...]) -> None:
        self._ready.append((way, np.concatenate(self._waiting.pop(way))))


def priced_in_parts(places: Part, price: Callable[[Part], Found]) -> Iterator[tuple[Part, Found | Infeasible]]:
    """Yield positions in batches of the same structure, each with its price or with why it is infeasible."""
    parts = Splitting(places)
    for part in parts:
        found: Found | Infeasible
        try:
            found = price(part)
        except Infeasible as error:
            found = error
        except Disagreement as disagreement:
            parts.split(part, disagreement.groups)
            continue
        yield part, found


def grouped_by_choice(columns: Block, count: int) -> list[tuple[Part, dict[str, Any]]]:
    """Group the points by their values that are not numbers."""
    coded = {key: column for key, column in columns.items() if isinstance(column, Coded)}
    if not coded:
        return [(slice(0, count), {})]
    combined = np.zeros(count, dtype=np.int64)
    most = 1
    for each in coded.values():
        if most * len(each.choices) > np.iinfo(np.int64).max:
            combined = np.unique(combined, return_inverse=True)[1]
            most = count
        combined = combined * len(each.choices) + each.codes
        most *= len(each.choices)
    groups = []
    for _, places in _grouped(combined):
        part = slice(places[0], places[-1] + 1) if places[-1] - places[0] + 1 == len(places) else places
        groups.append((part, {key: column.choices[column.codes[places[0]]] for key, column in coded.items()}))
    return groups


def _grouped(groups: NDArray[Any]) -> list[tuple[Any, Places]]:
    if groups.dtype == bool:
        return [(True, np.flatnonzero(groups)), (False, np.flatnonzero(~groups))]
    order = np.argsort(groups, kind="stable")
    ends = np.flatnonzero(np.diff(groups[order])) + 1
    return [(groups[places[0]].item(), places) for places in np.split(order, ends)]


def slices(places: Part, size: int) -> list[Part]:
    """Return the positions in order, at most `size` at a time."""
    if isinstance(places, slice):
        return [slice(start, min(start + size, places.stop)) for start in range(places.start, places.stop, size)]
    return [places[start : start + size] for start in range(0, len(places), size)]
