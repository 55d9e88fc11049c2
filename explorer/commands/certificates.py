"""The command that measures how far short runs can be trusted."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

from typer import Context, Option

from explorer.commands.console import command_line, say
from explorer.commands.settings import DATA, DataDir, Figures, Reports, SpaceName, Storage, Workers


def certify(
    context: Context,
    space: SpaceName,
    preset: Annotated[str, Option(help="The preset that points are drawn around.")] = "cifar",
    data: Annotated[str, Option(help=DATA)] = "proxy",
    data_dir: DataDir = None,
    budget: Annotated[str | None, Option(metavar="IMAGESxEPOCHS", help="Budget to certify, such as 10000x2.")] = None,
    points: Annotated[int, Option(help="Design points; studies use certificates of 32 or more.")] = 32,
    seeds: Annotated[int, Option(help="Runs of each point at each budget.")] = 2,
    workers: Workers = None,
    storage: Storage = "explorer.db",
    reports: Reports = Path("reports"),
    figures: Figures = "svg",
    quick: Annotated[bool, Option("--quick", help="Only try it out, in a minute or two.")] = False,
) -> int:
    """Measure how far short runs of a space can be trusted: does their ranking hold at 2, 4 and 8 times the budget?

    Only missing runs are trained. Reports of studies with this space, data, recipe and budget show the result.
    """
    from explorer import certify
    from explorer.commands.progress import watched

    made = watched(
        partial(
            certify,
            space,
            preset,
            data=data,
            budget=budget,
            points=points,
            seeds=seeds,
            quick=quick,
            storage=storage,
            data_dir=data_dir,
            workers=workers,
            reports=reports,
            figures=figures.split(","),
            command=command_line(context),
        )
    )
    for line in (*made.statements, f"report: {made.page}"):
        say(line)
    return int(made.certificate.unfinished > 0)
