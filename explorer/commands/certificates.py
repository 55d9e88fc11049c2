"""The command that measures how far short runs can be trusted."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from explorer.commands.console import command_line, console
from explorer.commands.studies import DataDir, Figures, Reports, Storage, Workers


def certify(
    context: typer.Context,
    space: Annotated[str, typer.Argument(help="A design space (see `explorer spaces`).")],
    preset: Annotated[str, typer.Option(help="The preset that points are drawn around.")] = "cifar",
    data: Annotated[str, typer.Option(help="cifar10, proxy, or a folder of images in class sub-folders.")] = "proxy",
    data_dir: DataDir = None,
    budget: Annotated[
        str | None,
        typer.Option(
            metavar="IMAGESxEPOCHS", help="The budget to certify, such as 10000x2; the default budget if not given."
        ),
    ] = None,
    points: Annotated[int, typer.Option(help="Design points; studies use certificates of 32 or more.")] = 32,
    seeds: Annotated[int, typer.Option(help="Runs of each point at each budget.")] = 2,
    workers: Workers = None,
    storage: Storage = "explorer.db",
    reports: Reports = Path("reports"),
    figures: Figures = "svg",
    quick: Annotated[
        bool, typer.Option("--quick", help="Try everything in a minute or two; certifies nothing.")
    ] = False,
) -> int:
    """Measure how far short runs of a space can be trusted: does their ranking hold at 2, 4 and 8 times the budget?

    Points are drawn before any training. Running the same command again trains only what is missing. Reports of
    studies with this space, data, recipe and budget show the result.
    """
    from explorer import certify
    from explorer.commands.progress import watched

    run = partial(
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
    screen = console()
    made = watched(screen, lambda display: run(watcher=display))
    if made is None:
        return 130
    for sentence in made.statements:
        screen.print(sentence, highlight=False)
    screen.print(f"report: {made.page}", highlight=False, soft_wrap=True)
    return int(made.certificate.unfinished > 0)
