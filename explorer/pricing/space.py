"""Prices of a whole design space: points enumerated or drawn, filtered, sorted and written to a file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any

import pandas as pd

from explorer.errors import ExplorerError, unknown
from explorer.networks.quantities import computed
from explorer.pricing.enumeration import Enumeration, SimplexAxis, enumeration
from explorer.pricing.files import PriceFile
from explorer.pricing.prices import COUNTS, Priced, join, price_chunks
from explorer.pricing.selection import Where, front, ordered
from explorer.spaces import find_space
from explorer.spaces.space import Space, label


@dataclass(frozen=True)
class SpacePrices:
    """Prices of a design space.

    Attributes:
        points: One row for each kept point: the metaparameters that vary (if none does, those given), the costs and, if
            infeasible points were asked for, `infeasible`, the reason. None if they were written to a file.
        size: Number of points priced.
        kept: Number of points kept, of which `points` has at most `limit`.
        infeasible: Number of infeasible points by reason.
        seconds: Time that pricing took.
        path: The file that all kept points were written to.
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
    """Price the points of a design space, millions a second, as the command `price` does.

    Args:
        space: Name of the space.
        preset: Name of the preset; the first one if not given.
        settings: Metaparameters: values, lists of values, or ranges such as `"0.1..1.0..0.05"`; see `enumeration`.
        where: Condition that kept points meet, such as `"params < 5e5 and macs <= 2e7"`.
        sample: Number of points to draw, instead of taking all combinations.
        seed: Which points are drawn.
        simplex: Whether to vary the scaling factors of the space, whose product is fixed.
        steps: Steps of the simplex; 20 if not given.
        ratio: The fixed product; 2 if not given.
        pareto: For each value of this name, keep only the Pareto front of params and MACs.
        sort: Name to sort by, smallest first; largest first with a `-` before it.
        limit: Most rows of the frame; all kept points if not given.
        quantities: Costs to give, `COUNTS` if not given. Costs named in `where`, `pareto` or `sort` are added.
        out: A `.parquet` or `.csv` file for all kept points, which then need no memory.
        infeasible: Whether to keep infeasible points, with the reason.
        progress: Called after each block with how many points are priced and how many there are.

    Raises:
        ExplorerError: A name is unknown, a value breaks a rule, the file cannot be written, or no point is kept.
    """
    if infeasible and (pareto or sort):
        raise ExplorerError("--infeasible: infeasible points have no costs; leave out --pareto and --sort")
    family = find_space(space)
    held = _held(family, simplex=simplex, steps=steps, ratio=ratio)
    search = enumeration(family, preset, settings or {}, sample=sample, seed=seed, simplex=held)
    stream = _Stream(search, *_checked(family, where, quantities or COUNTS, pareto, sort), infeasible, progress)
    path = Path(out) if out is not None else None
    started = perf_counter()
    parts: Iterable[Priced] = stream.chosen()
    if pareto:
        parts = front(parts, pareto)
    parts = stream.counted(parts)
    if sort:
        parts = ordered(parts, sort, None if path else limit)
    head: list[Priced] = []
    rows = 0
    with nullcontext() if path is None else _file(path, stream) as file:
        for part in parts:
            if file is not None:
                file.write(part)
            elif limit is None or rows < limit:
                head.append(part[: None if limit is None else limit - rows])
                rows += len(head[-1])
        if not stream.kept:
            raise ExplorerError(stream.nothing())
    points = None if path else stream.frame(head)
    return SpacePrices(points, search.size, stream.kept, stream.reasons, perf_counter() - started, path)


@dataclass
class _Stream:
    """The priced points, block by block, and counts of them."""

    search: Enumeration
    where: Where | None
    shown: list[str]
    infeasible: bool
    progress: Callable[[int, int], None] | None
    kept: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    nearest: float | None = None

    def chosen(self) -> Iterator[Priced]:
        """Yield the points that meet the condition."""
        search, where = self.search, self.where
        point = search.space.point(search.preset, **search.fixed)
        alike = {name: getattr(point, name) for name in search.space.model_fields}
        priced_quantities = list(dict.fromkeys([*self.shown, "params", "macs"]))
        done = 0
        for priced in price_chunks(search.space, search.preset, search.blocks(), priced_quantities, search.fixed):
            feasible = priced.feasible
            self.reasons += priced.infeasible()
            rows = feasible
            if where:
                values = {**alike, **priced.columns, **priced.amounts}
                rows = feasible & where.mask(values, len(priced))
                if not self.kept and not rows.any():
                    found = priced[feasible]
                    self.nearest = where.nearest({**alike, **found.columns, **found.amounts}, len(found), self.nearest)
            if self.infeasible:
                rows = rows | ~feasible
            if rows.any():
                yield priced if rows.all() else priced[rows]
            done += len(priced)
            if self.progress is not None:
                self.progress(done, search.size)

    def counted(self, parts: Iterable[Priced]) -> Iterator[Priced]:
        """Yield the parts unchanged, counting their points."""
        for part in parts:
            self.kept += len(part)
            yield part

    def frame(self, head: Sequence[Priced]) -> pd.DataFrame:
        """Return the frame of `SpacePrices.points`."""
        keys = self.search.keys or list(self.search.fixed)
        if not head:
            return pd.DataFrame(columns=[*keys, *self.shown])
        rows = join(head)
        frame = rows.frame({key: rows.columns[key] for key in keys if key in rows.columns}, self.shown)
        for key in reversed([key for key in keys if key not in rows.columns]):
            value = self.search.fixed[key]
            frame.insert(0, key, [label(value) if isinstance(value, list | tuple) else value] * len(rows))
        return frame if self.infeasible else frame.drop(columns="infeasible")

    def nothing(self) -> str:
        """Say why no point is kept."""
        name = self.search.space.name
        if self.reasons.total() == self.search.size:
            return f"{name}: none of {self.search.size:,} points is feasible: {self.reasons.most_common(1)[0][0]}"
        assert self.where is not None
        return f"{name}: {self.where.unmet(self.nearest)}"


def _file(path: Path, stream: _Stream) -> PriceFile:
    search = stream.search
    about = {"space": search.space.name, "preset": search.preset or next(iter(search.space.presets))}
    return PriceFile(path, stream.shown, search.fixed, reasons=stream.infeasible, about=about)


def _held(family: type[Space], *, simplex: bool, steps: int | None, ratio: float | None) -> SimplexAxis | None:
    if not simplex:
        for name, value in (("--steps", steps), ("--ratio", ratio)):
            if value is not None:
                raise ExplorerError(f"{name} {value}: needs --simplex")
        return None
    if family.simplex is None:
        raise ExplorerError(f"--simplex: {family.name} has no metaparameters with a fixed product")
    return SimplexAxis(family.simplex, 2.0 if ratio is None else ratio, steps or 20)


def _checked(
    family: type[Space], where: str | None, quantities: Sequence[str], pareto: str | None, sort: str | None
) -> tuple[Where | None, list[str]]:
    """Return the condition and the quantities to give: those asked for and those named anywhere else."""
    costs = [*computed(), *family.derived]
    known = [*family.model_fields, *costs]
    for name in quantities:
        if name not in costs:
            raise unknown("quantity in --columns", name, costs)
    order = sort.removeprefix("-") if sort else None
    for option, key in (("--pareto", pareto), ("--sort", order)):
        if key is not None and key not in known:
            raise unknown(f"name in {option}", key, known)
    condition = Where(where, known) if where is not None else None
    named = [*(condition.names if condition else []), pareto, order]
    return condition, list(
        dict.fromkeys([*quantities, *(name for name in named if name in costs and name is not None)])
    )
