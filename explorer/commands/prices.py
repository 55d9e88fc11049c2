"""Commands about the costs of many networks: price a design space, and find the points that use a budget best."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from explorer.commands.console import cell, console, print_table
from explorer.commands.settings import read_settings, read_size

if TYPE_CHECKING:
    from collections import Counter

    import pandas as pd

LONG = 2_000_000  # points from which progress is shown

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
        int | None, typer.Option(min=1, help="Draw this many points instead of taking all combinations.")
    ] = None,
    seed: Seed = 0,
    simplex: Annotated[
        bool,
        typer.Option("--simplex", help="Vary scaling factors with a fixed product (efficientnet: alpha, beta, gamma)."),
    ] = False,
    steps: Annotated[int | None, typer.Option(min=1, max=2000, help="Steps of the simplex; 20 if not given.")] = None,
    ratio: Annotated[float | None, typer.Option(help="The fixed product; 2 if not given.")] = None,
    pareto: Annotated[
        str | None,
        typer.Option(metavar="KEY", help="For each value of KEY, keep only the Pareto front of params and FLOPs."),
    ] = None,
    sort: Annotated[str | None, typer.Option(metavar="KEY", help="Smallest KEY first; largest first for -KEY.")] = None,
    limit: Annotated[int, typer.Option(min=0, help="Rows of the table.")] = 20,
    columns: Annotated[
        str | None, typer.Option(help="Costs to show, such as params,macs,peak_activation_bytes.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Write all points to a .parquet or .csv file instead of showing them.")
    ] = None,
    infeasible: Annotated[
        bool, typer.Option("--infeasible", help="Keep infeasible points too, with the reason.")
    ] = False,
) -> int:
    """Price millions of design points: enumerate or draw them, filter them, write them to a file."""
    from explorer import price_space
    from explorer.commands.progress import counting

    preset, values = read_settings(settings)
    with counting(space, LONG) as progress:
        found = price_space(
            space,
            preset,
            values,
            where=where,
            sample=sample,
            seed=seed,
            simplex=simplex,
            steps=steps,
            ratio=ratio,
            pareto=pareto,
            sort=sort,
            limit=limit,
            quantities=None if columns is None else [name.strip() for name in columns.split(",")],
            out=out,
            infeasible=infeasible,
            progress=progress,
        )
    speed = found.size / max(found.seconds, 1e-9)
    screen = console()
    screen.print(
        f"{found.size:,} point{'s' * (found.size != 1)}: {_infeasible(found.infeasible)}{found.kept:,} kept; "
        f"{found.seconds:.2f} s, {float(f'{speed:.3g}'):,.0f} points a second",
        highlight=False,
    )
    if found.points is None:
        screen.print(f"written to {found.path}", highlight=False)
    elif limit:
        _print(found.points)
        if found.kept > limit:
            screen.print(
                f"... and {found.kept - limit:,} more; show them with --limit or write them with --out", highlight=False
            )
    return 0


def fit(
    space: SpaceName,
    settings: Settings = None,
    count: Annotated[int, typer.Option(min=1, max=10_000, help="Points to show.")] = 10,
    sample: Annotated[
        int, typer.Option(min=1, max=100_000_000, help="Points to try in each of two rounds.")
    ] = 1_000_000,
    seed: Seed = 0,
    **most: str | None,
) -> int:
    """Find the design points that use a budget best: close to all limits, above none."""
    from explorer import fit as find

    preset, values = read_settings(settings)
    limits = {key: read_size(text) for key, text in most.items() if text is not None}
    found = find(space, preset, values, limits=limits, count=count, sample=sample, seed=seed)
    names = [str(name) for name in found.columns]
    shares = {name: name.removesuffix("_share") for name in names if name.endswith("_share")}
    screen = console()
    bounds = ", ".join(f"{_title(key)} <= {limit:,.0f}" for key, limit in limits.items())
    screen.print(f"{space}: {len(found)} point{'s' * (len(found) != 1)} within {bounds}", highlight=False)
    titles = [f"of {_title(shares[name])}" if name in shares else _title(name) for name in names]
    rows = [
        tuple(f"{value:.2%}" if name in shares else cell(value) for name, value in zip(names, row, strict=True))
        for row in found.itertuples(index=False)
    ]
    print_table(screen, tuple(titles), rows, right=len(titles))
    return 0


def fit_command() -> Callable[..., int]:
    """`fit` with an option for each quantity that is a budget."""
    from explorer.networks.quantities import QUANTITIES

    signature = inspect.signature(fit, eval_str=True)
    *others, _ = signature.parameters.values()
    budgets = [
        inspect.Parameter(
            key,
            inspect.Parameter.KEYWORD_ONLY,
            default=None,
            annotation=Annotated[str | None, typer.Option(help=f"Most {quantity.noun}, such as 500k or 20M.")],
        )
        for key, quantity in QUANTITIES.items()
        if quantity.budget
    ]

    @wraps(fit)
    def command(**given: Any) -> int:  # noqa: ANN401 (what the options hold)
        return fit(**given)

    command.__signature__ = signature.replace(parameters=[*others, *budgets])  # type: ignore[attr-defined]
    return command


def _infeasible(reasons: Counter[str]) -> str:
    """Say how many points are infeasible, with the two most frequent reasons."""
    if not reasons:
        return ""
    most = [f"{reason}: {count:,}" for reason, count in reasons.most_common(2)]
    others = len(reasons) - len(most)
    more = [f"and {others} other reason{'s' * (others > 1)}"] if others else []
    return f"{reasons.total():,} infeasible ({'; '.join(most + more)}), "


def _print(frame: pd.DataFrame) -> None:
    header = tuple(_title(str(name)) for name in frame.columns)
    rows = [tuple(map(cell, row)) for row in frame.itertuples(index=False)]
    print_table(console(), header, rows, right=len(header) - ("infeasible" in frame))


def _title(name: str) -> str:
    """Return the heading of a column; what is no count is printed as it is stored, under its key."""
    from explorer.networks.quantities import COUNT, QUANTITIES

    return QUANTITIES[name].heading if name in QUANTITIES and QUANTITIES[name].unit is COUNT else name
