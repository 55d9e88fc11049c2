"""Price design points: compute the cost of a space's networks, for one point or for arrays of metaparameters."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from operator import attrgetter
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from explorer.errors import ExplorerError, Infeasible, unknown
from explorer.networks.layers import Cost
from explorer.networks.network import Network
from explorer.networks.quantities import computed, quantity_key, units
from explorer.pricing.enumeration import Block, Coded, Column, Part, column, enumeration, listed
from explorer.pricing.splitting import CHUNK, grouped_by_choice, priced_in_parts, slices
from explorer.spaces import find_space
from explorer.spaces.space import Space, cell

COUNTS = tuple(field.name for field in fields(Cost))
LAYER_COLUMNS = ("layer", "makes", "output", *COUNTS)
PRICED = (*COUNTS, "model_bytes")
TASK = 4 * CHUNK  # number of points that are split in the same way
_counts = attrgetter(*COUNTS)
Points: TypeAlias = pd.DataFrame | Mapping[str, Any] | Sequence[Mapping[str, Any]]
"""Listed design points: a frame, a mapping of columns by name, or one mapping per point."""


def describe(
    space: str,
    preset: str | None = None,
    /,
    *,
    levels: int = 1,
    **metaparameters: Any,  # noqa: ANN401
) -> pd.DataFrame:
    """Return the layer table of a design point: one row per layer, `levels` levels down, and a last row with totals.

    Columns: `layer`, `makes` (filters, such as `3x3/2 64`), `output` (height x width x channels), `params`, `macs`,
    `activations`. `attrs["units"]` has their units. Raises `Infeasible` if there is no network for the point.
    """
    return layer_table(find_space(space).point(preset, **metaparameters).expand(), levels)


def layer_table(network: Network, levels: int = 1) -> pd.DataFrame:
    """Return the layer table of a network; see `describe`."""
    frame = pd.DataFrame(layer_rows(network, levels), columns=LAYER_COLUMNS)
    frame.attrs["units"] = units(COUNTS)
    return frame


def layer_rows(network: Network, levels: int = 1) -> list[tuple[Any, ...]]:
    """Return the rows of a network's layer table, with `LAYER_COLUMNS`."""
    rows: list[tuple[Any, ...]] = [("input", "", str(network.input), *_counts(Cost()))]
    rows += [(name, node.layer.notation, str(node.output), *_counts(node.cost)) for name, node in network.rows(levels)]
    return [*rows, ("total", "", str(network.trace.output), *_counts(network.cost))]


OF_SPACES = ("where", "sample", "seed", "simplex", "steps", "ratio", "pareto", "sort", "limit", "out")
"""Arguments of `price_space` that might be given to `price`."""


def price(
    space: str,
    preset: str | None = None,
    points: Points | None = None,
    /,
    *,
    quantities: Sequence[str] = PRICED,
    **metaparameters: Any,  # noqa: ANN401
) -> pd.DataFrame:
    """Return the exact costs of design points: all combinations of the metaparameters, or a list of points.

        price(space, width=range(8, 20), drop=[0.1, 0.2])  # a grid: 24 points
        price(space, preset, [{"width": 8, "drop": 0.2}, {"width": 16, "drop": 0.1}])  # 2 points

    Args:
        space: Name of the space.
        preset: Name of the preset; the first one if not given.
        points: The points as a frame, a list with one mapping per point, or a mapping of equally long columns.
        quantities: Costs to compute, which may include quantities derived by the space.
        metaparameters: Each has one value, several (a list, `range`, array or series), or a range as text such as
            `"0.1..1.0..0.05"`. With `points`, each has one value that all points share.

    Returns:
        One row per point, with the last metaparameter varying fastest. The columns are the metaparameters that vary,
        the `quantities` (missing if the point is infeasible) and `infeasible` (the reason, or an empty string).
        `attrs["units"]` has the units.

    Raises:
        ExplorerError: A name is unknown, a value breaks a rule, or columns have unequal lengths.
    """
    family = find_space(space)
    if others := [key for key in metaparameters if key in OF_SPACES and key not in family.model_fields]:
        raise ExplorerError(f"{space}: price has no argument {others[0]!r}; use explorer.price_space, which has it")
    asked = [name if name in family.derived else quantity_key(name) for name in quantities]
    blocks: Iterable[Block]
    if points is None:
        search = enumeration(family, preset, {key: listed(value) for key, value in metaparameters.items()})
        blocks, alike = search.blocks(), search.fixed
    else:
        blocks, alike = [_columns(family, points)], metaparameters
        if twice := alike.keys() & blocks[0].keys():
            raise ExplorerError(f"{space}: {min(twice)}: is set twice, once in the points; remove one of them")
    frame = join(list(price_chunks(family, preset, blocks, asked, alike))).frame(asked)
    frame.attrs["units"] = units(asked)
    return frame


def _columns(family: type[Space], points: Points) -> Block:
    if isinstance(points, pd.DataFrame):
        given: Mapping[str, Any] = {
            str(key): column if column.notna().all() else [None if pd.isna(value) else value for value in column]
            for key, column in points.items()
        }
    elif isinstance(points, Mapping):
        given = points
    else:
        keys = dict.fromkeys(key for point in points for key in point)
        for key in keys:
            if any(key not in point for point in points):
                raise ExplorerError(f"{family.name}: {key}: is missing from some points; add it to them")
        given = {key: [point[key] for point in points] for key in keys}
    lengths = {key: len(value) for key, value in given.items()}
    if len(set(lengths.values())) > 1:
        raise ExplorerError(f"{family.name}: columns must have the same length, but the lengths are {lengths}")
    if not lengths or 0 in lengths.values():
        raise ExplorerError(f"{family.name}: at least one point is required, but none was given")
    return {key: _column(value) for key, value in given.items()}


@dataclass(frozen=True)
class Priced:
    """Priced design points.

    Attributes:
        columns: Their metaparameters.
        amounts: An array for each quantity, (points,), with 0 for infeasible points.
        codes: Index into `reasons` for each point, (points,).
        reasons: "" for feasible points, then the reasons for infeasible points. All blocks of a stream share it.
    """

    columns: Block
    amounts: Mapping[str, NDArray[Any]]
    codes: NDArray[np.int32]
    reasons: Collection[str]

    def __len__(self) -> int:
        return len(self.codes)

    def __getitem__(self, rows: Part | NDArray[np.bool_]) -> Priced:
        if isinstance(rows, np.ndarray) and rows.dtype == bool:
            rows = np.flatnonzero(rows)  # once for all columns
        return Priced(
            {key: column[rows] for key, column in self.columns.items()},
            {name: amounts[rows] for name, amounts in self.amounts.items()},
            self.codes[rows],
            self.reasons,
        )

    @property
    def feasible(self) -> NDArray[np.bool_]:
        """Whether each point is feasible, (points,)."""
        mask: NDArray[np.bool_] = self.codes == 0
        return mask

    def infeasible(self) -> Counter[str]:
        """Count the infeasible points by reason."""
        counts = np.bincount(self.codes, minlength=len(self.reasons)).tolist()
        return Counter({reason: count for reason, count in zip(self.reasons, counts, strict=True) if reason and count})

    def frame(self, quantities: Iterable[str]) -> pd.DataFrame:
        """Return one row per point: the metaparameters, the quantities and `infeasible`, the reason."""
        found: dict[str, Any] = {key: _shown(column) for key, column in self.columns.items()}
        missing = ~self.feasible
        for quantity in quantities:
            amounts = self.amounts[quantity]
            kind = pd.arrays.FloatingArray if amounts.dtype.kind == "f" else pd.arrays.IntegerArray
            found[quantity] = kind(amounts, missing.copy())
        found["infeasible"] = pd.Series(list(self.reasons), dtype="str").array.take(self.codes)
        return pd.DataFrame(found)


def join(parts: Sequence[Priced]) -> Priced:
    """Concatenate blocks of one stream."""
    first = parts[0]
    if len(parts) == 1:
        return first
    columns = {key: _joined([part.columns[key] for part in parts]) for key in first.columns}
    amounts = {name: np.concatenate([part.amounts[name] for part in parts]) for name in first.amounts}
    return Priced(columns, amounts, np.concatenate([part.codes for part in parts]), first.reasons)


def price_chunks(
    family: type[Space],
    preset: str | None,
    blocks: Iterable[Block],
    quantities: Sequence[str] = PRICED,
    alike: Mapping[str, Any] | None = None,
) -> Iterator[Priced]:
    """Price blocks of points one at a time. `alike` holds the metaparameters that all points share."""
    names = [*computed(), *family.derived]
    for quantity in quantities:
        if quantity not in names:
            raise unknown(f"quantity of {family.name}", quantity, names)
    derived = [name for name in quantities if name in family.derived]
    example = _amounts(family.point(preset), derived) if derived else {}  # shows which are floats
    dtypes = {name: type(example.get(name, 0)) for name in quantities}
    # Once glibc has freed a block of 16 MiB, it keeps that much freed memory, instead of returning it to the kernel and
    # faulting it in again for the next arrays. This halves the time to price deep networks.
    np.empty(2**21)
    reasons = {"": 0}
    for block in blocks:
        yield _Pricing(family, preset, alike or {}, block, dtypes).result(reasons)


class _Pricing:
    """The pricing of one block."""

    def __init__(
        self,
        family: type[Space],
        preset: str | None,
        alike: Mapping[str, Any],
        block: Block,
        dtypes: Mapping[str, type],
    ) -> None:
        count = len(next(iter(block.values())))
        self.family, self.preset, self.alike = family, preset, alike
        self.columns = {key: values for key, values in block.items() if key}
        self.numbers = {key: column for key, column in self.columns.items() if not isinstance(column, Coded)}
        self.amounts: dict[str, NDArray[Any]] = {name: np.zeros(count, dtype=dtype) for name, dtype in dtypes.items()}
        self.codes = np.zeros(count, dtype=np.int32)

    def result(self, reasons: dict[str, int]) -> Priced:
        """Return the priced block. New reasons are added in the order of the points."""
        for places, choices in grouped_by_choice(self.columns, len(self.codes)):
            for task in slices(places, TASK):
                for part, found in priced_in_parts(task, partial(self._price, choices)):
                    if isinstance(found, Infeasible):
                        self.codes[part] = reasons.setdefault(str(found), len(reasons))
                        continue
                    for name, amount in found.items():
                        self.amounts[name][part] = amount
        return Priced(self.columns, self.amounts, self.codes, reasons)

    def _price(self, choices: Mapping[str, Any], part: Part) -> dict[str, Any]:
        values = {**self.alike, **choices, **{key: column[part] for key, column in self.numbers.items()}}
        return _amounts(self.family.points(self.preset, **values), list(self.amounts))


def _amounts(point: Space, quantities: Sequence[str]) -> dict[str, Any]:
    network = point.expand()
    cost = network.cost  # may raise Infeasible, so it is needed for any quantity
    found: dict[str, Any] = {name: compute(network) for name, compute in computed().items() if name in quantities}
    if not point.derived.keys().isdisjoint(quantities):
        found |= point.derive(cost)
    return {name: found[name] for name in quantities}


def _column(values: Sequence[Any] | NDArray[Any] | pd.Series[Any]) -> Column:
    if isinstance(values, list) and any(value is None for value in values):
        return column(values)  # pandas would read None as a missing number
    array = np.asarray(values if isinstance(values, np.ndarray) else pd.Series(values))
    if array.dtype.kind in "iuf":
        return array.astype(np.float64 if array.dtype.kind == "f" else np.int64, copy=False)
    if array.dtype.kind == "b":
        return Coded(array.astype(np.int64), (False, True))
    if pd.api.types.infer_dtype(array) == "string":
        codes, texts = pd.factorize(array)
        return Coded(codes.astype(np.int64), tuple(texts))
    return column(list(values))


def _shown(column: Column) -> Any:  # noqa: ANN401 (what a frame takes)
    if not isinstance(column, Coded):
        return column
    values = pd.Series([cell(value) for value in column.choices])
    return values.array.take(column.codes)


def _joined(columns: Sequence[Column]) -> Column:
    coded = [column for column in columns if isinstance(column, Coded)]
    if coded:  # with the same choices in all blocks
        return replace(coded[0], codes=np.concatenate([column.codes for column in coded]))
    return np.concatenate([column for column in columns if not isinstance(column, Coded)])
