"""The command that measures how far short runs can be trusted."""

from __future__ import annotations

import shlex
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from explorer.commands.console import console
from explorer.commands.studies import DataDir, Figures, Reports, Storage
from explorer.errors import ExplorerError


def certify(
    context: typer.Context,
    space: Annotated[str, typer.Argument(help="A design space (see `explorer spaces`).")],
    preset: Annotated[str, typer.Option(help="The preset that points are drawn around.")] = "cifar",
    data: Annotated[str, typer.Option(help="cifar10, proxy, or a folder of images in class sub-folders.")] = "proxy",
    data_dir: DataDir = None,
    budget: Annotated[
        str | None,
        typer.Option(
            metavar="IMAGESxEPOCHS", help="The budget that is certified, such as 10000x2; the default one if not given."
        ),
    ] = None,
    points: Annotated[int, typer.Option(help="Design points; studies go by certificates of 32 or more.")] = 32,
    seeds: Annotated[int, typer.Option(help="Trainings of every point at every budget.")] = 2,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes that train; one a core by default.")] = None,
    storage: Storage = "explorer.db",
    reports: Reports = Path("reports"),
    figures: Figures = "svg",
    quick: Annotated[
        bool, typer.Option("--quick", help="Try the whole chain in a minute or two; certifies nothing.")
    ] = False,
) -> int:
    """Measure how far short runs of a space can be trusted: does their ranking hold at 2, 4 and 8 times the budget?

    Points are drawn before any training. Running the same command again trains only what is missing. Reports of studies with this
    space, data, recipe and budget show the result.
    """
    from explorer.certification.making import QUICK_BUDGET, QUICK_POINTS, certificate_study, make_certificate
    from explorer.commands.progress import watched
    from explorer.drawing.formats import check_formats
    from explorer.files import check_folder
    from explorer.reporting.certificate import write_certificate
    from explorer.reporting.index import write_index
    from explorer.reporting.trust import missing_points, trust
    from explorer.training.recipe import Budget

    formats = check_formats(figures.split(","))
    if quick and budget is not None:
        raise ExplorerError(f"--budget {budget}: --quick has a budget of its own; drop one of them")
    chosen = QUICK_BUDGET if quick else Budget.read(budget) if budget else Budget()
    study = certificate_study(space, preset, data, chosen, QUICK_POINTS if quick else points, seeds)
    screen = console()
    check_folder(reports)
    command = f"python -m explorer {shlex.join(context.obj)}"
    train = partial(make_certificate, study, storage=storage, data_dir=data_dir, workers=workers, command=command)
    certificate = watched(screen, lambda display: train(watcher=display))
    if certificate is None:
        return 130
    page = write_certificate(certificate, reports / certificate.name, formats)
    write_index(reports)
    for sentence in (*trust(certificate), *missing_points(certificate)):
        screen.print(sentence, highlight=False)
    screen.print(f"report: {page}", highlight=False, soft_wrap=True)
    return int(certificate.unfinished > 0)
