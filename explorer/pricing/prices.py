"""Prices of design points: what a space's networks cost, for one point or for arrays of metaparameters.

Arrays are priced a chunk at a time, and where the points of a chunk need different structures, the chunk is split. What is split
off waits until as much of its kind has come together, so that many small structures do not make many small chunks.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass, fields, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from explorer.errors import ExplorerError, Infeasible, unknown
from explorer.networks.arrays import Disagreement
from explorer.networks.layers import Cost
from explorer.networks.network import Network
from explorer.networks.quantities import computed
from explorer.pricing.enumeration import Block, Coded, Column, Part, column
from explorer.spaces import find_space
from explorer.spaces.space import Space, label

CHUNK = 16_384  # points whose arrays fit the processor's caches together; half and twice as many are slower
COUNTS = tuple(field.name for field in fields(Cost))  # what is counted layer by layer
PRICED = (*COUNTS, "model_bytes")  # unless other quantities are asked for
DEEP = 40  # splits of splits, after which nothing waits any more

Places = NDArray[np.int64]


def describe(space: str, preset: str | None = None, /, *, depth: int = 1, **metaparameters: Any) -> pd.DataFrame:  # noqa: ANN401
    """The layer table of a design point, one row a layer, `depth` levels down, with a row of totals at the end.

    Columns: `layer`, `makes` (filters, as `3x3/2 64`), `output` (height x width x channels), `params`, `macs`,
    `activations`. Raises `Infeasible` where no network realises the point.
    """
    return layer_table(find_space(space).point(preset, **metaparameters).expand(), depth)


def layer_table(network: Network, depth: int = 1) -> pd.DataFrame:
    """The layer table of a network, as `describe` gives it."""
    rows: list[tuple[Any, ...]] = [("input", "", str(network.input), *astuple(Cost()))]
    rows += [(name, node.layer.notation, str(node.output), *astuple(node.cost)) for name, node in network.rows(depth)]
    rows.append(("total", "", str(network.trace.output), *astuple(network.cost)))
    return pd.DataFrame(rows, columns=["layer", "makes", "output", *COUNTS])


def price(
    space: str,
    preset: str | None = None,
    /,
    *,
    quantities: Sequence[str] = PRICED,
    **metaparameters: Any,  # noqa: ANN401
) -> pd.DataFrame:
    """The exact cost of design points: a value, or a sequence with one value for each point, for any metaparameter.

    Returns one row a point: the given metaparameters, the `quantities` (Int64, missing where the point is infeasible; also those
    that the space derives, of which the real ones are Float64) and `infeasible` (the reason, else empty). Sequences must
    be of equal length.
    """
    family = find_space(space)
    given = {key: value for key, value in metaparameters.items() if isinstance(value, list | np.ndarray | pd.Series)}
    lengths = {key: len(value) for key, value in given.items()}
    if len(set(lengths.values())) > 1:
        raise ExplorerError(f"{space}: sequences of unequal length: {lengths}")
    count = next(iter(lengths.values()), 1)
    if not count:
        raise ExplorerError(f"{space}: {min(given)} = []: at least one value is needed")
    columns = {key: _column(value) for key, value in given.items()}
    alike = {key: value for key, value in metaparameters.items() if key not in given}
    blocks = [columns] if columns else [{"": np.zeros(1)}]
    (priced,) = price_chunks(family, preset, blocks, quantities, alike)
    return priced.frame(given, quantities)


@dataclass(frozen=True)
class Priced:
    """Priced design points: their metaparameters, what each costs, and why some are infeasible.

    `amounts` holds arrays by quantity, (points,), with 0 for the infeasible. `codes`, (points,), says for each the place of its
    reason in `reasons`, which opens with "" for the feasible and is shared by all blocks of a stream.
    """

    columns: Block
    amounts: Mapping[str, NDArray[Any]]
    codes: NDArray[np.int32]
    reasons: Sequence[str]

    def __len__(self) -> int:
        return len(self.codes)

    def __getitem__(self, rows: Part | NDArray[np.bool_]) -> Priced:
        return Priced(
            {key: column[rows] for key, column in self.columns.items()},
            {name: amounts[rows] for name, amounts in self.amounts.items()},
            self.codes[rows],
            self.reasons,
        )

    @property
    def feasible(self) -> NDArray[np.bool_]:
        """Which points a network realises, (points,)."""
        mask: NDArray[np.bool_] = self.codes == 0
        return mask

    def infeasible(self) -> Counter[str]:
        """How many points are infeasible, by reason."""
        counts = np.bincount(self.codes, minlength=len(self.reasons)).tolist()
        return Counter({reason: count for reason, count in zip(self.reasons, counts, strict=True) if reason and count})

    def frame(self, columns: Mapping[str, Any], quantities: Sequence[str]) -> pd.DataFrame:
        """One row a point: `columns`, as given or coded here, the quantities, and `infeasible`, the reason."""
        found: dict[str, Any] = {key: _shown(self.columns[key], value) for key, value in columns.items()}
        missing = ~self.feasible
        for quantity in quantities:
            amounts = self.amounts[quantity]
            kind = pd.arrays.FloatingArray if amounts.dtype.kind == "f" else pd.arrays.IntegerArray
            found[quantity] = kind(amounts, missing.copy())
        found["infeasible"] = pd.Series(list(self.reasons), dtype="str").array.take(self.codes)
        return pd.DataFrame(found)


def join(parts: Sequence[Priced]) -> Priced:
    """The points of several blocks of one stream, one after another."""
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
    """Prices blocks of points as they come, so that only one stands in memory; `alike` is the same at all points.

    `quantities` are those that a network gives (`explorer.networks.quantities`) and those of `Space.derived`; what is not asked for is not computed.
    """
    kinds = _kinds(family, preset, quantities)
    reasons: dict[str, int] = {"": 0}
    names: list[str] = [""]
    for block in blocks:
        count = len(next(iter(block.values())))
        columns = {key: values for key, values in block.items() if key}
        amounts: dict[str, NDArray[Any]] = {quantity: np.zeros(count, dtype=kind) for quantity, kind in kinds.items()}
        codes = np.zeros(count, dtype=np.int32)
        for part, found in _block(family, preset, dict(alike or {}), columns, count, quantities):
            if isinstance(found, Infeasible):
                code = reasons.setdefault(str(found), len(reasons))
                names += [str(found)] if code == len(names) else []
                codes[part] = code
            else:
                for quantity, amount in found.items():
                    amounts[quantity][part] = amount
        yield Priced(columns, amounts, codes, names)


def _kinds(family: type[Space], preset: str | None, quantities: Sequence[str]) -> dict[str, type]:
    """The type of number of each quantity. That of a derived one is seen at the preset, whatever it is elsewhere."""
    names = [*computed(), *family.derived]
    for quantity in quantities:
        if quantity not in names:
            raise unknown(f"quantity of {family.name}", quantity, names)
    derived: dict[str, Any] = {}
    if set(quantities) & family.derived.keys():
        point = family.point(preset)
        derived = dict(point.derive(point.expand().cost))
    return {name: np.float64 if isinstance(derived.get(name), float) else np.int64 for name in quantities}


def _block(
    family: type[Space],
    preset: str | None,
    alike: dict[str, Any],
    columns: Block,
    count: int,
    quantities: Sequence[str],
) -> Iterator[tuple[Part, dict[str, Any] | Infeasible]]:
    """The amounts of the points of a block, in parts."""
    numbers = {key: column for key, column in columns.items() if not isinstance(column, Coded)}
    coded = {key: column for key, column in columns.items() if isinstance(column, Coded)}
    derived = not family.derived.keys().isdisjoint(quantities)
    functions = {name: compute for name, compute in computed().items() if name in quantities}
    for places in _groups(coded, count):
        first = places.start if isinstance(places, slice) else places[0]
        chosen = alike | {key: column.choices[column.codes[first]] for key, column in coded.items()}
        pricing = Splitting(places)
        for part in pricing:
            point = family.points(preset, **chosen, **{key: column[part] for key, column in numbers.items()})
            try:
                network = point.expand()
                cost = network.cost  # whatever is asked for, as it says what is infeasible
                amounts: dict[str, Any] = {name: compute(network) for name, compute in functions.items()}
                amounts |= point.derive(cost) if derived else {}
            except Infeasible as error:
                yield part, error
            except Disagreement as disagreement:
                pricing.split(part, disagreement.groups)
            else:
                yield part, {name: amounts[name] for name in quantities}


class Splitting:
    """The parts in which places are priced: slices of `CHUNK`, and what is split off them.

    Iterating gives parts until all places have been given once and not split again. What is split off waits, by the way that led
    to it, until half a chunk has come together.
    """

    def __init__(self, places: Part) -> None:
        self._ready = [((), part) for part in reversed(_slices(places))]
        self._waiting: dict[tuple[Any, ...], list[Places]] = {}
        self._way: tuple[Any, ...] = ()

    def __iter__(self) -> Iterator[Part]:
        while self._ready or self._waiting:
            if not self._ready:
                # The oldest come from the fewest splits, and what is split off them may join what waits.
                self._release(next(iter(self._waiting)))
            self._way, part = self._ready.pop()
            yield part

    def split(self, part: Part, groups: NDArray[Any]) -> None:
        """Takes the last part back: the places of one group, of which there is an entry for each, belong together."""
        for group, places in _grouped(groups):
            way = (*self._way, group)
            members = places + part.start if isinstance(part, slice) else part[places]
            self._waiting.setdefault(way, []).append(members)
            # Ways may meet that were split for different reasons; beyond some depth parts only get smaller, so this ends.
            if len(way) > DEEP or sum(map(len, self._waiting[way])) >= CHUNK // 2:
                self._release(way)

    def _release(self, way: tuple[Any, ...]) -> None:
        self._ready.append((way, np.concatenate(self._waiting.pop(way))))


def _groups(coded: Mapping[str, Coded], count: int) -> list[Part]:
    """Places of points that share every value that is not a number."""
    combined = np.zeros(count, dtype=np.int64)
    most = 1
    for each in coded.values():
        if most * len(each.choices) > np.iinfo(np.int64).max:
            combined = np.unique(combined, return_inverse=True)[1]
            most = count
        combined = combined * len(each.choices) + each.codes
        most *= len(each.choices)
    if not coded:
        return [slice(0, count)]
    return [
        slice(places[0], places[-1] + 1) if places[-1] - places[0] + 1 == len(places) else places
        for _, places in _grouped(combined)
    ]


def _grouped(groups: NDArray[Any]) -> list[tuple[Any, Places]]:
    """Each group with the places of its members, in order."""
    if groups.dtype == bool:
        return [(True, np.flatnonzero(groups)), (False, np.flatnonzero(~groups))]
    order = np.argsort(groups, kind="stable")
    ends = np.flatnonzero(np.diff(groups[order])) + 1
    return [(groups[places[0]].item(), places) for places in np.split(order, ends)]


def _slices(places: Part) -> list[Part]:
    if isinstance(places, slice):
        return [slice(start, min(start + CHUNK, places.stop)) for start in range(places.start, places.stop, CHUNK)]
    return [places[start : start + CHUNK] for start in range(0, len(places), CHUNK)]


def _column(values: list[Any] | NDArray[Any] | pd.Series[Any]) -> Column:
    """The column of what a caller gave: numbers as 64 bits, which no count overflows, the rest coded."""
    if isinstance(values, list) and any(value is None for value in values):
        return column(values)  # pandas would take None for a number that is missing
    array = np.asarray(values if isinstance(values, np.ndarray) else pd.Series(values))
    if array.dtype.kind in "iu":
        return array.astype(np.int64, copy=False)
    if array.dtype.kind == "f":
        return array.astype(np.float64, copy=False)
    if array.dtype.kind == "b":
        return Coded(array.astype(np.int64), (False, True))
    if pd.api.types.infer_dtype(array) == "string":
        codes, texts = pd.factorize(array)
        return Coded(codes.astype(np.int64), tuple(texts))
    return column(list(values))


def _shown(column: Column, given: Any) -> Any:  # noqa: ANN401 (what a frame takes)
    """A column as a frame shows it: numbers as they were given, lists by their label."""
    if isinstance(column, Coded):
        values = pd.Series([label(value) if isinstance(value, list | tuple) else value for value in column.choices])
        return values.array.take(column.codes)
    return given.to_numpy() if isinstance(given, pd.Series) else given


def _joined(columns: Sequence[Column]) -> Column:
    """Columns of one metaparameter, one after another; its coded values are the same in all."""
    coded = [column for column in columns if isinstance(column, Coded)]
    if coded:
        return replace(coded[0], codes=np.concatenate([column.codes for column in coded]))
    return np.concatenate([column for column in columns if not isinstance(column, Coded)])
