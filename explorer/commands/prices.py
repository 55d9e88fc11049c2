"""Commands about the cost of many networks: price a design space, and find the points that use a budget best."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from explorer.commands.console import console, count, print_table
from explorer.commands.settings import read_settings
from explorer.errors import ExplorerError, unknown

if TYPE_CHECKING:
    import pandas as pd

    from explorer.pricing.enumeration import Column, Enumeration, OnSimplex
    from explorer.pricing.prices import Priced
    from explorer.pricing.selection import Where
    from explorer.spaces.space import Space

SHOWN = ("params", "macs", "activations")
HEADERS = {"macs": "FLOPs (multiply-adds)"}
LONG = 2_000_000  # points from which on progress is shown

SpaceName = Annotated[str, typer.Argument(help="A design space (see `explorer spaces`).")]
Settings = Annotated[
    list[str] | None,
    typer.Argument(
        help="preset=NAME, and metaparameters: key=0.5, key=[0.25,0.5], key=8..512, key=0.1..1.0..0.05 (step)."
    ),
]
Seed = Annotated[int, typer.Option(min=0, help="Which points are drawn.")]


def price(
    space: SpaceName,
    settings: Settings = None,
    where: Annotated[
        str | None, typer.Option(help='Keep points such as "params < 5e5 and macs <= 2e7"; costs and metaparameters.')
    ] = None,
    sample: Annotated[
        int | None, typer.Option(min=1, help="Draw so many points, in place of all combinations.")
    ] = None,
    seed: Seed = 0,
    simplex: Annotated[
        bool,
        typer.Option("--simplex", help="Scaling factors whose product is held (efficientnet: alpha, beta, gamma)."),
    ] = False,
    steps: Annotated[int | None, typer.Option(min=1, max=2000, help="Steps of the simplex; 20 if not given.")] = None,
    ratio: Annotated[float | None, typer.Option(help="Product held on the simplex; 2 if not given.")] = None,
    pareto: Annotated[
        str | None,
        typer.Option(
            metavar="KEY", help="For each value of KEY, keep the points that no other beats in params and FLOPs."
        ),
    ] = None,
    sort: Annotated[str | None, typer.Option(metavar="KEY", help="Smallest KEY first; largest first for -KEY.")] = None,
    limit: Annotated[int, typer.Option(min=0, help="Rows of the table.")] = 20,
    columns: Annotated[
        str | None, typer.Option(help="Quantities to give, such as params,macs,peak_activation_bytes.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Write all kept points to a .parquet or .csv file.")] = None,
    infeasible: Annotated[
        bool, typer.Option("--infeasible", help="Keep infeasible points too, with the reason.")
    ] = False,
) -> int:
    """Price millions of design points: enumerate or draw them, filter them, write them to a file."""
    from explorer.pricing.enumeration import enumeration
    from explorer.spaces import find_space

    if infeasible and (pareto or sort):
        raise ExplorerError("--infeasible: infeasible points have no cost to go by; leave out --pareto and --sort")
    family = find_space(space)
    preset, values = read_settings(settings)
    held = _simplex(family, simplex=simplex, steps=steps, ratio=ratio)
    search = enumeration(family, preset, values, sample=sample, seed=seed, simplex=held)
    job = Job(search, _wish(search, where, columns, pareto, sort), infeasible, limit, out)
    job.run()
    job.tell()
    return 0


def fit(
    space: SpaceName,
    settings: Settings = None,
    params: Annotated[str | None, typer.Option(help="Most params, such as 500k.")] = None,
    macs: Annotated[str | None, typer.Option(help="Most FLOPs (multiply-adds), such as 20M.")] = None,
    activations: Annotated[str | None, typer.Option(help="Most activations, such as 1.5M.")] = None,
    count: Annotated[int, typer.Option(min=1, max=10_000, help="Points to show.")] = 10,
    sample: Annotated[
        int, typer.Option(min=1, max=100_000_000, help="Points to try in each of two rounds.")
    ] = 1_000_000,
    seed: Seed = 0,
) -> int:
    """Find the design points that use a budget best: none above a limit, as near to all of them as can be."""
    from explorer.pricing.fitting import fit as find
    from explorer.pricing.fitting import read_size

    preset, values = read_settings(settings)
    given = {"params": params, "macs": macs, "activations": activations}
    limits = {key: read_size(text) for key, text in given.items() if text is not None}
    found = find(space, preset, limits=limits, count=count, sample=sample, seed=seed, **values)
    names = [str(name) for name in found.columns]
    shares = {name: name.removesuffix("_share") for name in names if name.endswith("_share")}
    screen = console()
    bounds = ", ".join(f"{_title(key)} <= {limit:,.0f}" for key, limit in limits.items())
    screen.print(f"{space}: {len(found)} point{'s' * (len(found) != 1)} within {bounds}", highlight=False)
    titles = [f"of {_title(shares[name])}" if name in shares else _title(name) for name in names]
    rows = [
        tuple(f"{value:.2%}" if name in shares else _cell(value) for name, value in zip(names, row, strict=True))
        for row in found.itertuples(index=False)
    ]
    print_table(screen, tuple(titles), rows, right=len(titles))
    return 0


@dataclass(frozen=True)
class Wish:
    """What of the priced points is wanted: a condition, a Pareto key, an order, and the quantities to give."""

    where: Where | None
    pareto: str | None
    sort: str | None
    shown: list[str]
    priced: list[str]


@dataclass
class Job:
    """One pricing: the points go through in blocks, and the kept ones to the file or into the head of the table."""

    search: Enumeration
    wish: Wish
    infeasible: bool
    limit: int
    out: Path | None
    kept: int = 0
    seconds: float = 0.0
    reasons: Counter[str] = field(default_factory=Counter)
    head: list[Priced] = field(default_factory=list)
    nearest: float | None = None

    def run(self) -> None:
        """Prices all points; raises `ExplorerError` where none is kept."""
        from time import perf_counter

        from explorer.pricing.selection import front, ordered

        started = perf_counter()
        parts: Iterable[Priced] = self._chosen()
        if self.wish.pareto:
            parts = front(parts, self.wish.pareto)
        parts = self._counted(parts)
        if self.wish.sort:
            parts = ordered(parts, self.wish.sort, None if self.out else self.limit)
        with self._file() as file:
            for part in parts:
                if file is not None:
                    file.write(part)
                elif self._rows() < self.limit:
                    self.head.append(part[: self.limit - self._rows()])
            if not self.kept:
                raise ExplorerError(self._none())
        self.seconds = perf_counter() - started

    def tell(self) -> None:
        """Prints the summary, and the head of the table where there is no file."""
        from explorer.pricing.prices import join

        screen = console()
        speed = self.search.size / max(self.seconds, 1e-9)
        screen.print(
            f"{self.search.size:,} point{'s' * (self.search.size != 1)}: {self._infeasible()}{self.kept:,} kept; "
            f"{self.seconds:.2f} s, {float(f'{speed:.3g}'):,.0f} points a second",
            highlight=False,
        )
        if self.out:
            screen.print(f"written to {self.out}", highlight=False)
        elif self.limit:
            rows = join(self.head)
            keys = self.search.keys or list(self.search.fixed)
            _print(self._frame(rows, keys))
            if self.kept > len(rows):
                screen.print(f"... and {self.kept - len(rows):,} more; --limit or --out gives them", highlight=False)

    def _chosen(self) -> Iterator[Priced]:
        """The points that meet the condition, block by block."""
        from explorer.pricing.prices import price_chunks

        search, where = self.search, self.wish.where
        alike = _values_of(search)
        for priced in price_chunks(search.space, search.preset, self._blocks(), self.wish.priced, search.fixed):
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

    def _counted(self, parts: Iterable[Priced]) -> Iterator[Priced]:
        for part in parts:
            self.kept += len(part)
            yield part

    def _blocks(self) -> Iterator[Mapping[str, Column]]:
        """The blocks of points, with progress on a terminal where there are many."""
        screen = console()
        blocks: Iterator[Mapping[str, Column]] = self.search.blocks()
        if not screen.is_terminal or self.search.size < LONG:
            yield from blocks
            return
        from rich.progress import Progress

        with Progress(console=screen, transient=True) as progress:
            task = progress.add_task(f"{self.search.space.name}", total=self.search.size)
            for block in blocks:
                yield block
                progress.advance(task, len(next(iter(block.values()))))

    def _file(self) -> Any:  # noqa: ANN401 (a file, or nothing, as a context)
        if self.out is None:
            return nullcontext()
        from explorer.pricing.files import PriceFile

        about = {"space": self.search.space.name, "preset": self.search.preset or next(iter(self.search.space.presets))}
        return PriceFile(self.out, self.wish.shown, self.search.fixed, reasons=self.infeasible, about=about)

    def _rows(self) -> int:
        return sum(map(len, self.head))

    def _frame(self, rows: Priced, keys: Sequence[str]) -> pd.DataFrame:
        frame = rows.frame({key: rows.columns[key] for key in keys if key in rows.columns}, self.wish.shown)
        for key in reversed([key for key in keys if key not in rows.columns]):
            frame.insert(0, key, [self.search.fixed[key]] * len(rows))
        return frame if self.infeasible else frame.drop(columns="infeasible")

    def _infeasible(self) -> str:
        """How many are infeasible, with the two most frequent reasons."""
        if not self.reasons:
            return ""
        most = [f"{reason}: {count:,}" for reason, count in self.reasons.most_common(2)]
        others = len(self.reasons) - len(most)
        more = [f"and {others} other reason{'s' * (others > 1)}"] if others else []
        return f"{self.reasons.total():,} infeasible ({'; '.join(most + more)}), "

    def _none(self) -> str:
        name = self.search.space.name
        if self.reasons.total() == self.search.size:
            return f"{name}: none of {self.search.size:,} points is feasible: {self.reasons.most_common(1)[0][0]}"
        assert self.wish.where is not None
        return f"{name}: {self.wish.where.unmet(self.nearest)}"


def _simplex(family: type[Space], *, simplex: bool, steps: int | None, ratio: float | None) -> OnSimplex | None:
    from explorer.pricing.enumeration import OnSimplex

    if not simplex:
        for name, value in (("--steps", steps), ("--ratio", ratio)):
            if value is not None:
                raise ExplorerError(f"{name} {value}: goes with --simplex")
        return None
    if family.simplex is None:
        raise ExplorerError(f"--simplex: {family.name} has no metaparameters whose product is held")
    return OnSimplex(family.simplex, 2.0 if ratio is None else ratio, steps or 20)


def _wish(search: Enumeration, where: str | None, columns: str | None, pareto: str | None, sort: str | None) -> Wish:
    """Checks the names that the options hold; quantities that are named anywhere are given too."""
    from explorer.networks.layers import QUANTITIES
    from explorer.pricing.selection import Where

    family = search.space
    quantities = [*QUANTITIES, *family.derived]
    known = [*family.model_fields, *quantities]
    shown = [name.strip() for name in columns.split(",")] if columns is not None else list(SHOWN)
    for name in shown:
        if name not in quantities:
            raise unknown("quantity in --columns", name, quantities)
    order = sort.removeprefix("-") if sort else None
    for option, key in (("--pareto", pareto), ("--sort", order)):
        if key is not None and key not in known:
            raise unknown(f"name in {option}", key, known)
    condition = Where(where, known) if where is not None else None
    named = [*(condition.names if condition else []), pareto, order]
    shown = list(dict.fromkeys([*shown, *(name for name in named if name in quantities and name is not None)]))
    return Wish(condition, pareto, sort, shown, list(dict.fromkeys([*shown, "params", "macs"])))


def _values_of(search: Enumeration) -> dict[str, Any]:
    """The metaparameters that are the same at all points, those of the preset included."""
    point = search.space.point(search.preset, **search.fixed)
    return {name: getattr(point, name) for name in search.space.model_fields}


def _print(frame: pd.DataFrame) -> None:
    header = tuple(_title(str(name)) for name in frame.columns)
    rows = [tuple(map(_cell, row)) for row in frame.itertuples(index=False)]
    print_table(console(), header, rows, right=len(header) - ("infeasible" in frame))


def _title(name: str) -> str:
    return HEADERS.get(name, name)


def _cell(value: Any) -> str:  # noqa: ANN401 (a cell of a frame)
    """Whole numbers with their thousands set off, a dash for what is missing, all else as everywhere."""
    import numbers

    import numpy as np
    import pandas as pd

    from explorer.spaces.space import label

    if isinstance(value, np.bool_ | bool | str | list | tuple):
        return label(bool(value)) if isinstance(value, np.bool_) else label(value)
    if value is None or pd.isna(value) or isinstance(value, numbers.Integral):
        return count(value)
    return label(float(value))
