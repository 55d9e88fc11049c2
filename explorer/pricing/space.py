"""Price a whole design space: enumerate or draw points, filter and sort them, and write them to a file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any

import pandas as pd

from explorer.errors import ExplorerError, unknown
from explorer.files import user_path
from explorer.networks.quantities import computed, quantity_key, units
from explorer.pricing.enumeration import Enumeration, SimplexAxis, enumeration, listed
from explorer.pricing.files import write_prices
from explorer.pricing.prices import COUNTS, Priced, join, price_chunks
from explorer.pricing.selection import Where, front, ordered
from explorer.spaces import find_space
from explorer.spaces.space import Space, cell


@dataclass(frozen=True)
class SpacePrices:
    """Prices of a design space.

    Attributes:
        points: The points kept, one per row: the metaparameters that vary (all given ones if none varies), the
            quantities, and `infeasible`, the reason, if such points are kept. None if they were written to a file.
        size: Number of points priced.
        kept: Number of points kept. `points` holds at most `limit` of them.
        infeasible: Number of infeasible points by reason.
        seconds: Time spent on pricing.
        path: The file with the points.
    """

    points: pd.DataFrame | None
    size: int
    kept: int
    infeasible: Counter[str]
    seconds: float
    path: Path | None = None


def price_space(
    space: str,
    preset: str | None = None,
    settings: Mapping[str, Any] | None = None,
    *,
    where: str | None = None,
    sample: int | None = None,
    seed: int = 0,
    simplex: bool = False,
    steps: int | None = None,
    ratio: float | None = None,
    pareto: str | None = None,
    sort: str | None = None,
    limit: int | None = None,
    quantities: Sequence[str] | None = None,
    out: str | Path | None = None,
    infeasible: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> SpacePrices:
    """Price the points of a design space, at millions of points per second.

    Args:
        space: Name of the space.
        preset: Name of the preset; the first one if not given.
        settings: Metaparameters; each has a value, a list of values, or a range as text such as `"0.1..1.0..0.05"`.
        where: Condition for keeping points, such as `"params < 5e5 and macs <= 2e7"`.
        sample: Number of random points to price instead of all combinations.
        seed: Seed of the sample.
        simplex: Whether to vary the space's scaling factors with a fixed product.
        steps: Steps of the simplex; 20 if not given.
        ratio: The product of the factors; 2 if not given.
        pareto: Name of a column. For each of its values, keep only the points on the front of params and MACs.
        sort: Name to sort by, in ascending order, or descending with a `-` prefix.
        limit: Maximum number of rows in the frame; no limit if not given.
        quantities: Costs to compute; `COUNTS` if not given. Those named in `where`, `pareto` or `sort` are added.
        out: A `.parquet` or `.csv` file to write the points to instead of holding them in memory.
        infeasible: Whether to keep infeasible points, with the reason.
        progress: Called after each block with the number of points priced and the total.

    Raises:
        ExplorerError: A name is unknown, a value is invalid, a file cannot be written, or no point is kept.
    """
    if infeasible and (pareto or sort):
        raise ExplorerError("--infeasible: infeasible points have no cost; leave out --pareto and --sort")
    family = find_space(space)
    known = {*family.model_fields, *family.derived}
    quantities = [_key(name, known) for name in quantities or COUNTS]
    pareto, sort = pareto and _key(pareto, known), sort and _key(sort, known)
    settings = {key: listed(value) for key, value in (settings or {}).items()}
    axis = _simplex_axis(family, simplex=simplex, steps=steps, ratio=ratio)
    search = enumeration(family, preset, settings, sample=sample, seed=seed, simplex=axis)
    stream = _Stream(search, *_checked(family, where, quantities, pareto, sort), infeasible, progress)
    path = user_path(out) if out is not None else None
    started = perf_counter()
    parts: Iterable[Priced] = stream.chosen()
    if pareto:
        parts = front(parts, pareto)
    parts = stream.counted(parts)
    if sort:
        parts = ordered(parts, sort, None if path else limit)
    head: list[Priced] = []
    if path:
        about = {"space": family.name, "preset": preset or next(iter(family.presets))}
        write_prices(path, parts, stream.shown, search.fixed, reasons=infeasible, about=about)
    else:
        rows = 0
        for part in parts:
            if limit is None or rows < limit:
                head.append(part[: None if limit is None else limit - rows])
                rows += len(head[-1])
    if not stream.kept:
        raise ExplorerError(stream.nothing())
    points = None if path else stream.frame(head)
    if points is not None:
        points.attrs["units"] = units(map(str, points.columns))
    return SpacePrices(points, search.size, stream.kept, stream.reasons, perf_counter() - started, path)


@dataclass
class _Stream:
    """The priced points, block by block, with their counts."""

    search: Enumeration
    where: Where | None
    shown: list[str]
    infeasible: bool
    progress: Callable[[int, int], None] | None
    kept: int = 0
    reasons: Counter[str] = field(default_factory=Counter)

    def chosen(self) -> Iterator[Priced]:
        search, where = self.search, self.where
        point = search.space.point(search.preset, **search.fixed)
        alike = {name: getattr(point, name) for name in search.space.model_fields}
        quantities = list(dict.fromkeys([*self.shown, "params", "macs"]))
        done = 0
        for priced in price_chunks(search.space, search.preset, search.blocks(), quantities, search.fixed):
            rows = feasible = priced.feasible
            self.reasons += priced.infeasible()
            if where:
                rows = feasible & where.mask({**alike, **priced.columns, **priced.amounts}, len(priced))
                if not self.kept and not rows.any():
                    found = priced[feasible]
                    where.widen({**alike, **found.columns, **found.amounts})
            if self.infeasible:
                rows = rows | ~feasible
            if rows.any():
                yield priced if rows.all() else priced[rows]
            done += len(priced)
            if self.progress is not None:
                self.progress(done, search.size)

    def counted(self, parts: Iterable[Priced]) -> Iterator[Priced]:
        for part in parts:
            self.kept += len(part)
            yield part

    def frame(self, head: Sequence[Priced]) -> pd.DataFrame:
        search = self.search
        if not head:
            return pd.DataFrame(columns=[*(search.keys or search.fixed), *self.shown])
        rows = join(head)
        frame = rows.frame(self.shown)
        if not search.axes:
            for place, (key, value) in enumerate(search.fixed.items()):
                frame.insert(place, key, [cell(value)])
        return frame if self.infeasible else frame.drop(columns="infeasible")

    def nothing(self) -> str:
        """Return the reason why no point is kept."""
        name = self.search.space.name
        if self.reasons.total() == self.search.size:
            return f"{name}: none of the {self.search.size:,} points is feasible: {self.reasons.most_common(1)[0][0]}"
        assert self.where is not None
        return f"{name}: {self.where.unmet()}"


def _simplex_axis(family: type[Space], *, simplex: bool, steps: int | None, ratio: float | None) -> SimplexAxis | None:
    if simplex:
        if family.simplex is None:
            raise ExplorerError(f"--simplex: {family.name} has no scaling factors with a fixed product")
        return SimplexAxis(family.simplex, 2.0 if ratio is None else ratio, steps or 20)
    for name, value in (("--steps", steps), ("--ratio", ratio)):
        if value is not None:
            raise ExplorerError(f"{name} {value}: needs --simplex")
    return None


def _key(name: str, known: Collection[str]) -> str:
    """Return the key for any spelling of a quantity, with any leading minus sign. Other names are unchanged."""
    sign, plain = ("-", name[1:]) if name.startswith("-") else ("", name)
    return sign + (plain if plain in known else quantity_key(plain))


def _checked(
    family: type[Space], where: str | None, quantities: Sequence[str], pareto: str | None, sort: str | None
) -> tuple[Where | None, list[str]]:
    """Return the condition and all quantities that are requested or named in it."""
    costs = [*computed(), *family.derived]
    known = [*family.model_fields, *costs]
    for name in quantities:
        if name not in costs:
            raise unknown("quantity in --columns", name, costs)
    keys = {"--pareto": pareto or "", "--sort": (sort or "").removeprefix("-")}
    for option, key in keys.items():
        if key and key not in known:
            raise unknown(f"name in {option}", key, known)
    condition = None if where is None else Where(where, known)
    named = [*quantities, *(condition.names if condition else []), *keys.values()]
    return condition, [name for name in dict.fromkeys(named) if name in costs]
