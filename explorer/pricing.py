"""Prices of design points: what a space's networks cost, for one point or for arrays of metaparameters."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from explorer.arrays import Disagreement
from explorer.errors import ExplorerError, Infeasible
from explorer.layers import QUANTITIES, Cost
from explorer.network import Network
from explorer.space import Space, label
from explorer.spaces import find_space

CHUNK = 16_384  # points whose arrays fit the processor's caches together

Places = NDArray[np.int64]


def describe(space: str, preset: str | None = None, /, *, depth: int = 1, **metaparameters: Any) -> pd.DataFrame:  # noqa: ANN401
    """The layer table of a design point, one row a layer, `depth` levels down, with a row of totals at the end.

    Columns: `layer`, `makes` (filters, as `3x3/2 64`), `output` (height x width x channels), `params`, `macs`,
    `activations`. Raises `Infeasible` where no network realises the point.
    """
    return layer_table(find_space(space).point(preset, **metaparameters).expand(), depth)


def layer_table(network: Network, depth: int = 1) -> pd.DataFrame:
    """The layer table of a network, as `describe` gives it."""
    rows = [("input", "", str(network.input), *_counts(Cost()))]
    rows += [(name, node.layer.notation, str(node.output), *_counts(node.cost)) for name, node in network.rows(depth)]
    rows.append(("total", "", str(network.trace.output), *_counts(network.cost)))
    return pd.DataFrame(rows, columns=["layer", "makes", "output", "params", "macs", "activations"])


def price(space: str, preset: str | None = None, /, **metaparameters: Any) -> pd.DataFrame:  # noqa: ANN401
    """The exact cost of design points: a value, or a sequence with one value for each point, for any metaparameter.

    Returns one row a point: the given metaparameters, `params`, `macs`, `activations`, `model_bytes` (Int64, missing where
    the point is infeasible) and `infeasible` (the reason, else empty). Sequences must be of equal length.
    """
    family = find_space(space)
    columns = {key: value for key, value in metaparameters.items() if isinstance(value, list | np.ndarray | pd.Series)}
    lengths = {key: len(value) for key, value in columns.items()}
    if len(set(lengths.values())) > 1:
        raise ExplorerError(f"{space}: sequences of unequal length: {lengths}")
    count = next(iter(lengths.values()), 1)
    if not count:
        raise ExplorerError(f"{space}: {min(columns)} = []: at least one value is needed")
    numbers = {key: array for key, value in columns.items() if (array := _numeric(value)) is not None}
    others = {key: list(value) for key, value in columns.items() if key not in numbers}
    alike = {key: value for key, value in metaparameters.items() if key not in columns}

    costs = {quantity: np.zeros(count, dtype=np.int64) for quantity in QUANTITIES}
    reasons = np.full(count, "", dtype=object)
    for chosen, places in _chunks(others, count):
        for part, found in _prices(family, preset, alike | chosen, numbers, places):
            if isinstance(found, Infeasible):
                reasons[part] = str(found)
            else:
                for quantity in QUANTITIES:
                    costs[quantity][part] = getattr(found, quantity)

    frame = pd.DataFrame(
        {key: [label(v) if isinstance(v, tuple) else v for v in column] for key, column in columns.items()}
    )
    frame = frame if columns else pd.DataFrame(index=range(count))
    for quantity in QUANTITIES:
        frame[quantity] = pd.array(costs[quantity], dtype="Int64")
        frame.loc[reasons != "", quantity] = pd.NA
    frame["infeasible"] = reasons
    return frame


def _numeric(column: list[Any] | NDArray[Any] | pd.Series[Any]) -> NDArray[Any] | None:
    """The column as 64-bit numbers, which no count overflows, or None where it holds something else."""
    array = np.asarray(column if isinstance(column, np.ndarray) else pd.Series(column))
    if array.dtype.kind in "iu":
        return array.astype(np.int64)
    return array.astype(np.float64) if array.dtype.kind == "f" else None


def _chunks(others: dict[str, list[Any]], count: int) -> Iterator[tuple[dict[str, Any], Places]]:
    """Places of points that share every value that is not a number, at most `CHUNK` at a time."""
    keys = [tuple(label(column[place]) for column in others.values()) for place in range(count)] if others else None
    order = sorted(range(count), key=keys.__getitem__) if keys else list(range(count))
    for _, group in groupby(order, key=keys.__getitem__ if keys else lambda _: ()):
        places = np.fromiter(group, dtype=np.int64)
        chosen = {key: column[places[0]] for key, column in others.items()}
        for start in range(0, len(places), CHUNK):
            yield chosen, places[start : start + CHUNK]


def _prices(
    family: type[Space], preset: str | None, alike: dict[str, Any], numbers: dict[str, NDArray[Any]], places: Places
) -> Iterator[tuple[Places, Cost | Infeasible]]:
    """The cost of a chunk's points, split wherever their structures differ."""
    pending = [places]
    while pending:
        part = pending.pop()
        point = family.points(preset, **alike, **{key: column[part] for key, column in numbers.items()})
        try:
            yield part, point.expand().cost
        except Infeasible as error:
            yield part, error
        except Disagreement as disagreement:
            pending += [part[disagreement.groups == group] for group in np.unique(disagreement.groups)]


def _counts(cost: Cost) -> tuple[int, int, int]:
    return cost.params, cost.macs, cost.activations
