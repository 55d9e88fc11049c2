"""Commands about studies: train, report, compare, certify, show and list them."""

from __future__ import annotations

import math
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Argument, Context, Option

from explorer.commands.console import (
    ACCURACY_HEADINGS,
    accuracy_cells,
    command_line,
    cost_cells,
    cost_headings,
    print_table,
    say,
)
from explorer.commands.settings import DATA, DataDir, Figures, Reports, SpaceName, Storage, StudyName, Workers

if TYPE_CHECKING:
    from explorer.reporting.stored import StudyReport
    from explorer.sweeping.dry_run import DryRun

MOST_ROWS = 50  # points in a table; of more points, the most accurate ones are shown


def sweep(
    context: Context,
    study: Annotated[str, Argument(help="Name of a built-in study (see `explorer studies`), or a file.")],
    data: Annotated[str | None, Option(help=DATA)] = None,
    data_dir: DataDir = None,
    seeds: Annotated[int | None, Option(help="Runs of each point.")] = None,
    epochs: Annotated[int | None, Option(help="Epochs of each run.")] = None,
    images: Annotated[int | None, Option(help="Training images of each run.")] = None,
    workers: Workers = None,
    storage: Storage = "explorer.db",
    reports: Reports = Path("reports"),
    figures: Figures = "svg",
    dry_run: Annotated[bool, Option("--dry-run", help="Show what would be trained, and for how long.")] = False,
    quick: Annotated[bool, Option("--quick", help="Try everything in under a minute.")] = False,
) -> int:
    """Train the runs of a study and write its report.

    Only missing runs are trained. Options that change results make another study with its own name.
    """
    from explorer import dry_run as plan
    from explorer import load_study, sweep_and_report
    from explorer.commands.progress import watched

    chosen = load_study(study, data=data, seeds=seeds, epochs=epochs, images=images, quick=quick, data_dir=data_dir)
    if dry_run:
        _print_plan(plan(chosen, data_dir=data_dir, workers=workers))
        return 0
    made = watched(
        partial(
            sweep_and_report,
            chosen,
            storage=storage,
            data_dir=data_dir,
            workers=workers,
            reports=reports,
            figures=figures.split(","),
            command=command_line(context),
        )
    )
    _print_report(made)
    return int(made.unfinished > 0)


def report(
    name: StudyName, storage: Storage = "explorer.db", reports: Reports = Path("reports"), figures: Figures = "svg"
) -> int:
    """Write a study's report again from its stored runs."""
    from explorer import report

    _print_report(report(name, storage=storage, reports=reports, figures=figures.split(",")))
    return 0


def compare(
    context: Context,
    studies: Annotated[list[str], Argument(help="Names of stored studies, two or more.")],
    against: Annotated[str, Option(help="The cost, such as params or latency_seconds.")] = "macs",
    storage: Storage = "explorer.db",
    reports: Reports = Path("reports"),
    figures: Figures = "svg",
) -> int:
    """Compare stored studies in one report: which one is more accurate at the same cost, and how sure is that?"""
    from explorer import compare

    command, formats = command_line(context), figures.split(",")
    made = compare(studies, against=against, storage=storage, reports=reports, figures=formats, command=command)
    for line in (*made.statements, f"report: {made.page}"):
        say(line)
    return 0


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


def dashboard(
    storage: Storage = "explorer.db",
    port: Annotated[int, Option(min=0, max=65535, help="Port on 127.0.0.1; 0 picks a free one.")] = 8080,
) -> int:
    """Show the stored studies in the Optuna dashboard, for this machine only."""
    from explorer import dashboard_server

    with dashboard_server(storage, port) as server:
        say(f"dashboard on http://127.0.0.1:{server.server_port} (Ctrl-C stops it)")
        server.serve_forever()
    return 0


def studies(storage: Storage = "explorer.db") -> int:
    """List the built-in studies and the stored ones."""
    from explorer import list_studies, stored_studies

    header = ("built-in study", "question", "space", "points", "runs")
    print_table(header, list(list_studies().itertuples(index=False)), right=2)
    stored = stored_studies(storage).to_dict(orient="records")
    if stored:
        rows = [(row["name"], f"{row['done']} of {row['runs']}") for row in stored]
        print_table((f"stored in {stored[0]['storage']}", "runs done"), rows, right=1)
    return 0


def _print_plan(found: DryRun) -> None:
    from explorer.commands.progress import duration

    study = found.study
    rows = [
        (row["label"], row["state"], *cost_cells(row), row["reason"]) for row in found.points.to_dict(orient="records")
    ]
    print_table((", ".join(study.varied), "state", *cost_headings(), "reason"), rows)
    states = ", ".join(f"{number} {state}" for state, number in found.states.items())
    budget = f"{study.budget.epochs} x {study.budget.images:,} images on {study.data}"
    networks = f"{found.networks} distinct networks, {found.runs} runs of {budget}"
    say(f"{study.name}: {len(rows)} points ({states}), {networks}")
    say(f"training takes {found.macs:.2e} multiply-adds in all (forward and backward)")
    if math.isnan(found.seconds):
        say("time unknown: a network could not be trained to time it")
    else:
        say(f"about {duration(found.seconds)} on {found.workers} workers, if no run is stored yet")


def _print_report(made: StudyReport) -> None:
    rows = [
        (row["label"], *cost_cells(row), *accuracy_cells(row), row["state"], row["reason"])
        for row in made.most_accurate(MOST_ROWS).to_dict(orient="records")
    ]
    print_table(("point", *cost_headings(), *ACCURACY_HEADINGS, "state", "reason"), rows)
    if len(rows) < len(made.points):
        say(f"the {len(rows)} most accurate of {len(made.points):,} points; the report has all")
    say(f"report: {made.page}")
