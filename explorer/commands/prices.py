"""Commands for the costs of many networks: price a design space, and find the points that use a budget best."""

from __future__ import annotations

import inspect
import json
import shlex
from collections.abc import Callable
from contextlib import nullcontext
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typer import Argument, Option

from explorer.commands.console import Screen, cell, heading
from explorer.commands.settings import Json, Quiet, SpaceName, complete_settings, complete_spaces, read_settings

if TYPE_CHECKING:
    from collections import Counter

    import pandas as pd

LONG = 2_000_000  # minimum number of points for showing progress

VALUES = "preset=NAME, and metaparameters: key=0.5, key=[0.25,0.5], key=8..512, key=0.1..1.0..0.05 (step)."
Settings = Annotated[list[str] | None, Argument(help=VALUES, autocompletion=complete_settings)]
Seed = Annotated[int, Option(min=0, help="Seed for random points.")]


def price(
    space: SpaceName,
    settings: Settings = None,
    where: Annotated[str | None, Option(help='Condition on costs and metaparameters, such as "params < 5e5".')] = None,
    sample: Annotated[int | None, Option(min=1, help="Draw this many points instead of enumerating them all.")] = None,
    seed: Seed = 0,
    simplex: Annotated[bool, Option("--simplex", help="Vary the scaling factors with a fixed product.")] = False,
    steps: Annotated[int | None, Option(min=1, max=2000, help="Steps of the simplex; 20 if not given.")] = None,
    ratio: Annotated[float | None, Option(help="The fixed product; 2 if not given.")] = None,
    pareto: Annotated[
        str | None, Option(metavar="KEY", help="Keep the params-FLOPs front for each value of KEY.")
    ] = None,
    sort: Annotated[str | None, Option(metavar="KEY", help="Sort by KEY, smallest first; -KEY: largest first.")] = None,
    limit: Annotated[int, Option(min=0, help="Maximum number of rows in the table.")] = 20,
    columns: Annotated[str | None, Option(help="Costs to show, such as params,peak_activation_bytes.")] = None,
    out: Annotated[Path | None, Option(help="Write all points to a .parquet or .csv file instead.")] = None,
    infeasible: Annotated[bool, Option("--infeasible", help="Keep infeasible points, with the reason.")] = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Price millions of design points: enumerate or sample, filter, and write them to a file."""
    from explorer import price_space
    from explorer.commands.progress import counting
    from explorer.networks.quantities import counted

    screen = Screen(quiet, as_json)
    preset, values = read_settings(settings)
    with counting(space, LONG) if screen.full else nullcontext() as progress:
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
    screen.say(
        f"{counted(found.size, 'point')}: {_infeasible(found.infeasible)}{found.kept:,} kept; "
        f"{found.seconds:.2f} s, {float(f'{speed:.3g}'):,.0f} points a second"
    )
    if found.points is None:
        screen.answer(f"written to {found.path}")
    elif limit:
        header = [_title(str(name)) for name in found.points]
        rows = [tuple(map(cell, row)) for row in found.points.itertuples(index=False)]
        screen.table(header, rows, right=len(header) - ("infeasible" in found.points))
        if found.kept > limit:
            screen.say(f"... and {found.kept - limit:,} more; show them with --limit or write them with --out")
    _say_flops(screen, where, pareto, sort, columns)
    screen.document(
        found.points,
        size=found.size,
        kept=found.kept,
        infeasible=found.infeasible,
        file=found.path,
    )
    return 0


def fit(
    space: Annotated[str, Argument(help="A design space, or `all`.", autocompletion=complete_spaces)],
    settings: Settings = None,
    count: Annotated[int, Option(min=1, max=10_000, help="Number of points to show.")] = 10,
    sample: Annotated[int, Option(min=1, max=100_000_000, help="Points to try in each of two rounds.")] = 1_000_000,
    seed: Seed = 0,
    as_json: Json = False,
    quiet: Quiet = False,
    **most: str | None,
) -> int:
    """Find the design points that use a budget best: close to all limits without exceeding any.

    `fit all` does this for every space. --flash and --ram are the int8 sizes on a microcontroller.
    The search considers only costs. To compare accuracies, train the points.
    """
    from explorer import fit as find
    from explorer.networks.quantities import counted

    screen = Screen(quiet, as_json)
    preset, values = read_settings(settings)
    limits = {key: text for key, text in most.items() if text is not None}
    found = find(space, preset, values, limits=limits, count=count, sample=sample, seed=seed)
    if "space" in found:  # `all`
        return _print_families(screen, found)
    names = [str(name) for name in found.columns]
    shares = {name: name.removesuffix("_share") for name in names if name.endswith("_share")}
    bounds = ", ".join(f"{_title(key)} <= {limit:,.0f}" for key, limit in found.attrs["limits"].items())
    screen.answer(f"{space}: {counted(len(found), 'point')} within {bounds}")
    titles = [f"of {_title(shares[name])}" if name in shares else _title(name) for name in names]
    rows = [
        tuple(f"{value:.2%}" if name in shares else cell(value) for name, value in zip(names, row, strict=True))
        for row in found.itertuples(index=False)
    ]
    screen.table(titles, rows, right=len(titles))
    screen.say("These points fill the budget; their accuracies are unknown until they are trained.")
    best = found.attrs["best"]
    given = [text for text in settings or [] if text.partition("=")[0] not in best]
    again = shlex.join(["explorer", "describe", space, *given, *(f"{key}={_written(best[key])}" for key in best)])
    screen.say(f"layers of the first point: {again}")
    screen.document(found, limits=found.attrs["limits"], next=again)
    return 0


def _print_families(screen: Screen, found: pd.DataFrame) -> int:
    """Print the best point of each space."""
    limits = found.attrs["limits"]
    costs = list(dict.fromkeys(["params", "macs", *limits]))
    fitting = found["params"].notna()
    bounds = ", ".join(f"{_title(key)} <= {limit:,.0f}" for key, limit in limits.items())
    screen.answer(f"{fitting.sum()} of {len(found)} spaces have a point within {bounds}")
    rows = [
        (row["space"], row["point"], *(cell(int(row[key]) if fits else None) for key in costs))
        for fits, row in zip(fitting, found.to_dict(orient="records"), strict=True)
    ]
    screen.table(("space", "point", *map(_title, costs)), rows, right=len(costs))
    screen.say("These points fill the budget; their accuracies are unknown until they are trained.")
    screen.say("layers of a point: explorer describe SPACE preset=cifar POINT")
    screen.document(found, limits=limits)
    return 0


def option_name(typed: str) -> str:
    """Resolve an alias typed as a `fit` option: `macs` for `FLOPs`."""
    from explorer.networks.quantities import QUANTITIES, quantity_key

    key = quantity_key(typed)
    return key.replace("_", "-") if key in QUANTITIES else typed


def fit_command() -> Callable[..., int]:
    """Return `fit` with an option for each quantity that can be a budget."""
    from explorer.networks.quantities import QUANTITIES

    signature = inspect.signature(fit, eval_str=True)
    *others, _ = signature.parameters.values()
    budgets = [
        inspect.Parameter(
            key,
            inspect.Parameter.KEYWORD_ONLY,
            default=None,
            annotation=Annotated[
                str | None, Option(help=f"Maximum {quantity.title or quantity.noun}, such as 500k or 20M.")
            ],
        )
        for key, quantity in QUANTITIES.items()
        if quantity.budget
    ]

    @wraps(fit)
    def command(**given: Any) -> int:  # noqa: ANN401 (the options' values)
        return fit(**given)

    command.__signature__ = signature.replace(parameters=[*others, *budgets])  # type: ignore[attr-defined]
    return command


def _written(value: object) -> str:
    """Write a value in the form that `read_settings` reads."""
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))


def _say_flops(screen: Screen, *options: str | None) -> None:
    if any("flop" in (option or "").lower() for option in options):
        screen.say("FLOPs are multiply-adds here (macs); tools that count both operations report twice as many")


def _infeasible(reasons: Counter[str]) -> str:
    if not reasons:
        return ""
    from explorer.networks.quantities import counted

    most = [f"{reason}: {count:,}" for reason, count in reasons.most_common(2)]
    others = len(reasons) - len(most)
    more = [f"and {counted(others, 'other reason')}"] if others else []
    return f"{reasons.total():,} infeasible ({'; '.join(most + more)}), "


def _title(name: str) -> str:
    """Return the heading of a column. Values that are not counts are printed as stored, under their key."""
    from explorer.networks.quantities import COUNT, QUANTITIES

    return heading(QUANTITIES[name]) if name in QUANTITIES and QUANTITIES[name].unit is COUNT else name
