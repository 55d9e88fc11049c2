"""Commands about studies: train them, report them, show them, list them."""

from __future__ import annotations

import math
import shlex
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from explorer.commands.console import console, cost_cells, cost_headings, print_table

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console

    from explorer.storage.ledger import Ledger
    from explorer.storage.record import StudyRecord
    from explorer.study.model import Study
    from explorer.study.plan import Point

Storage = Annotated[str, typer.Option(help="SQLite file, or database URL, that holds studies and runs.")]
MOST_ROWS = 50  # points that are all printed; of more, the most accurate ones
DataDir = Annotated[Path | None, typer.Option(help="Folder that holds the files of CIFAR-10.")]
Reports = Annotated[Path, typer.Option(help="Folder that the report's folder is made in.")]
Figures = Annotated[str, typer.Option(metavar="FORMATS", help="Save figures as PDF or PNG too: pdf, png or pdf,png.")]


def sweep(
    context: typer.Context,
    study: Annotated[str, typer.Argument(help="Name of a built-in study (see `explorer studies`), or a file.")],
    data: Annotated[
        str | None, typer.Option(help="cifar10, proxy, or a folder of images in class sub-folders.")
    ] = None,
    data_dir: DataDir = None,
    seeds: Annotated[int | None, typer.Option(help="Trainings of every point.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Passes over the training images.")] = None,
    images: Annotated[int | None, typer.Option(help="Training images.")] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes that train; one a core by default.")] = None,
    storage: Storage = "explorer.db",
    reports: Reports = Path("reports"),
    figures: Figures = "svg",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be trained and how long it takes.")
    ] = False,
    quick: Annotated[bool, typer.Option("--quick", help="Try the whole chain in under a minute.")] = False,
) -> int:
    """Train what a study asks for, and write its report.

    Running the same command again trains only what is missing. What changes results makes another study with its own name.
    """
    from explorer.commands.progress import watched
    from explorer.data import find_source
    from explorer.drawing.formats import check_formats
    from explorer.files import check_folder
    from explorer.storage.ledger import Ledger
    from explorer.study.files import load_study
    from explorer.study.plan import plan
    from explorer.study.plan import quick as quickened
    from explorer.sweeping.sweeping import default_workers, run_study

    formats = check_formats(figures.split(","))
    chosen = load_study(study).override(data=data)
    source = find_source(chosen.data, data_dir)
    if quick:
        chosen = quickened(chosen, source.class_count, len(source.prepare().split().train))
    chosen = chosen.override(seeds=seeds, epochs=epochs, images=images)
    screen = console()
    if dry_run:
        _dry_run(screen, chosen, plan(chosen, source.class_count), workers or default_workers())
        return 0
    check_folder(reports)
    command = f"python -m explorer {shlex.join(context.obj)}"
    train = partial(run_study, chosen, storage=storage, data_dir=data_dir, workers=workers, command=command)
    record = watched(screen, lambda display: train(watcher=display))
    if record is None:
        return 130
    _write_report(screen, record, Ledger(storage), reports, formats)
    return int((record.runs["state"] != "done").any())


def report(
    name: Annotated[str, typer.Argument(help="Name of a stored study, such as squeeze_ratio@cifar10.")],
    storage: Storage = "explorer.db",
    reports: Reports = Path("reports"),
    figures: Figures = "svg",
) -> int:
    """Make a study's report again from its stored rows."""
    from explorer.drawing.formats import check_formats
    from explorer.storage.ledger import Ledger

    formats = check_formats(figures.split(","))
    ledger = Ledger(storage)
    _write_report(console(), ledger.studies.load(name), ledger, reports, formats)
    return 0


def dashboard(
    storage: Storage = "explorer.db",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port on 127.0.0.1; 0 takes a free one.")] = 8080,
) -> int:
    """Show the stored studies in the Optuna dashboard, on this machine only."""
    from explorer.storage.dashboard import HOST, dashboard_server
    from explorer.storage.ledger import Ledger

    with dashboard_server(Ledger(storage).url, port) as server:
        console().print(f"dashboard on http://{HOST}:{server.server_port} (Ctrl-C ends it)", highlight=False)
        server.serve_forever()
    return 0


def studies(storage: Storage = "explorer.db") -> int:
    """List the built-in studies, and those that the storage holds."""
    from explorer.storage.ledger import Ledger
    from explorer.study.files import builtin_studies, load_study

    rows = [
        (study.name, study.title, study.space, str(study.size), str(study.size * study.seeds))
        for study in map(load_study, builtin_studies())
    ]
    screen = console()
    print_table(screen, ("built-in study", "question", "space", "points", "runs"), rows, right=2)
    if Path(storage).is_file() or "://" in storage:
        ledger = Ledger(storage)
        stored = [(name, "{} of {}".format(*ledger.studies.progress(name))) for name in ledger.studies.names()]
        print_table(screen, (f"stored in {ledger.shown}", "runs done"), stored, right=1)
    return 0


def _dry_run(screen: Console, study: Study, points: list[Point], workers: int) -> None:
    from collections import Counter

    from explorer.commands.progress import duration
    from explorer.study.plan import points_frame
    from explorer.sweeping.sweeping import runs_of
    from explorer.training.estimate import estimate_seconds

    rows = [
        (row["label"], row["state"], *cost_cells(row), row["reason"])
        for row in points_frame(study, points).to_dict(orient="records")
    ]
    print_table(screen, (", ".join(study.varied), "state", *cost_headings(), "reason"), rows)
    runs = list(runs_of(study, points, data_fingerprint="").values())
    states = ", ".join(f"{number} {state}" for state, number in Counter(point.state for point in points).items())
    distinct = len({point.network.digest for point in points if point.network})
    images = study.budget.images * study.budget.epochs
    macs = 3 * images * sum(run.network.cost.macs for run in runs)
    screen.print(
        f"{study.name}: {len(points)} points ({states}), {distinct} distinct networks, {len(runs)} runs of "
        f"{study.budget.epochs} x {study.budget.images:,} images on {study.data}",
        highlight=False,
    )
    screen.print(f"training takes {macs:.2e} multiply-adds in all (forward and backward)", highlight=False)
    seconds = estimate_seconds(runs, workers)
    if math.isnan(seconds):
        screen.print("time unknown: one of the networks could not be trained to be timed")
    else:
        screen.print(f"about {duration(seconds)} on {workers} workers, if none of it is stored yet", highlight=False)


def _write_report(
    screen: Console, record: StudyRecord, ledger: Ledger, reports: Path, formats: tuple[str, ...]
) -> None:
    from explorer.analysis import Findings
    from explorer.certification.model import Certificate, find_certificate
    from explorer.reporting.index import write_index
    from explorer.reporting.study import write_report

    name = record.study.name
    findings = Findings(record, ledger.latencies.of(name))
    _print_summary(screen, findings.points)
    certificate = find_certificate(record, map(Certificate.model_validate_json, ledger.certificates.all()))
    page = write_report(findings, reports / name, certificate, ledger.tests.of(name), formats)
    write_index(reports)
    screen.print(f"report: {page}", highlight=False, soft_wrap=True)


def _print_summary(screen: Console, summary: pd.DataFrame) -> None:
    shown = summary
    if len(summary) > MOST_ROWS:
        shown = summary.sort_values("accuracy", ascending=False, kind="stable").head(MOST_ROWS)
    rows = []
    for row in shown.to_dict(orient="records"):
        accuracy = f"{row['accuracy']:.1%}" if row["runs"] else "-"
        interval = f"{row['low']:.1%} to {row['high']:.1%}" if row["runs"] else "-"
        rows.append((row["label"], *cost_cells(row), accuracy, interval, row["state"], row["reason"]))
    header = ("point", *cost_headings(), "accuracy", "95 % interval", "state", "reason")
    print_table(screen, header, rows)
    if len(shown) < len(summary):
        screen.print(f"the {len(shown)} most accurate of {len(summary):,} points; the report has all", highlight=False)
