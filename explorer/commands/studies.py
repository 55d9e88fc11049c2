"""Commands about studies: train, report, show and list them."""

from __future__ import annotations

import math
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from explorer.commands.console import command_line, console, cost_cells, cost_headings, print_table

if TYPE_CHECKING:
    from rich.console import Console

    from explorer.reporting.stored import StudyReport
    from explorer.sweeping.dry_run import DryRun

Storage = Annotated[str, typer.Option(help="SQLite file or database URL of studies and runs.")]
MOST_ROWS = 50  # points in a table; of more points, the most accurate ones are shown
DataDir = Annotated[Path | None, typer.Option(help="Folder with the CIFAR-10 files.")]
StudyName = Annotated[str, typer.Argument(help="Name of a stored study, such as squeeze_ratio@cifar10.")]
Workers = Annotated[int | None, typer.Option(min=1, help="Processes that train; one per core by default.")]
Reports = Annotated[Path, typer.Option(help="Folder for reports; each has its own folder there.")]
Figures = Annotated[str, typer.Option(metavar="FORMATS", help="Save figures as PDF or PNG too: pdf, png or pdf,png.")]


def sweep(
    context: typer.Context,
    study: Annotated[str, typer.Argument(help="Name of a built-in study (see `explorer studies`), or a file.")],
    data: Annotated[
        str | None, typer.Option(help="cifar10, proxy, or a folder of images in class sub-folders.")
    ] = None,
    data_dir: DataDir = None,
    seeds: Annotated[int | None, typer.Option(help="Runs of each point.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Epochs of each run.")] = None,
    images: Annotated[int | None, typer.Option(help="Training images of each run.")] = None,
    workers: Workers = None,
    storage: Storage = "explorer.db",
    reports: Reports = Path("reports"),
    figures: Figures = "svg",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be trained and how long it takes.")
    ] = False,
    quick: Annotated[bool, typer.Option("--quick", help="Try everything in under a minute.")] = False,
) -> int:
    """Train the runs of a study and write its report.

    Running the same command again trains only what is missing. Options that change results make another study with its
    own name.
    """
    from explorer import dry_run as plan
    from explorer import load_study, sweep_and_report
    from explorer.commands.progress import watched

    chosen = load_study(study, data=data, seeds=seeds, epochs=epochs, images=images, quick=quick, data_dir=data_dir)
    screen = console()
    if dry_run:
        _print_plan(screen, plan(chosen, data_dir=data_dir, workers=workers))
        return 0
    run = partial(
        sweep_and_report,
        chosen,
        storage=storage,
        data_dir=data_dir,
        workers=workers,
        reports=reports,
        figures=figures.split(","),
        command=command_line(context),
    )
    made = watched(screen, lambda display: run(watcher=display))
    if made is None:
        return 130
    _print_report(screen, made)
    return int(made.unfinished > 0)


def report(
    name: StudyName,
    storage: Storage = "explorer.db",
    reports: Reports = Path("reports"),
    figures: Figures = "svg",
) -> int:
    """Write a study's report again from its stored runs."""
    from explorer import report

    _print_report(console(), report(name, storage=storage, reports=reports, figures=figures.split(",")))
    return 0


def dashboard(
    storage: Storage = "explorer.db",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port on 127.0.0.1; 0 picks a free one.")] = 8080,
) -> int:
    """Show the stored studies in the Optuna dashboard, for this machine only."""
    from explorer import dashboard_server

    with dashboard_server(storage, port) as server:
        console().print(f"dashboard on http://127.0.0.1:{server.server_port} (Ctrl-C stops it)", highlight=False)
        server.serve_forever()
    return 0


def studies(storage: Storage = "explorer.db") -> int:
    """List the built-in studies and the stored ones."""
    from explorer import list_studies, stored_studies

    screen = console()
    rows = [tuple(map(str, row)) for row in list_studies().itertuples(index=False)]
    print_table(screen, ("built-in study", "question", "space", "points", "runs"), rows, right=2)
    stored = stored_studies(storage).to_dict(orient="records")
    if stored:
        rows = [(row["name"], f"{row['done']} of {row['runs']}") for row in stored]
        print_table(screen, (f"stored in {stored[0]['storage']}", "runs done"), rows, right=1)
    return 0


def _print_plan(screen: Console, found: DryRun) -> None:
    from explorer.commands.progress import duration

    study = found.study
    rows = [
        (row["label"], row["state"], *cost_cells(row), row["reason"]) for row in found.points.to_dict(orient="records")
    ]
    print_table(screen, (", ".join(study.varied), "state", *cost_headings(), "reason"), rows)
    states = ", ".join(f"{number} {state}" for state, number in found.states.items())
    screen.print(
        f"{study.name}: {len(rows)} points ({states}), {found.networks} distinct networks, {found.runs} runs of "
        f"{study.budget.epochs} x {study.budget.images:,} images on {study.data}",
        highlight=False,
    )
    screen.print(f"training takes {found.macs:.2e} multiply-adds in all (forward and backward)", highlight=False)
    if math.isnan(found.seconds):
        screen.print("time unknown: a network could not be trained to time it")
    else:
        about = f"about {duration(found.seconds)} on {found.workers} workers"
        screen.print(f"{about}, if no run is stored yet", highlight=False)


def _print_report(screen: Console, made: StudyReport) -> None:
    shown = made.most_accurate(MOST_ROWS)
    rows = []
    for row in shown.to_dict(orient="records"):
        accuracy = f"{row['accuracy']:.1%}" if row["runs"] else "-"
        interval = f"{row['low']:.1%} to {row['high']:.1%}" if row["runs"] else "-"
        rows.append((row["label"], *cost_cells(row), accuracy, interval, row["state"], row["reason"]))
    header = ("point", *cost_headings(), "accuracy", "95 % interval", "state", "reason")
    print_table(screen, header, rows)
    if len(rows) < len(made.points):
        screen.print(
            f"the {len(rows)} most accurate of {len(made.points):,} points; the report has all", highlight=False
        )
    screen.print(f"report: {made.page}", highlight=False, soft_wrap=True)
