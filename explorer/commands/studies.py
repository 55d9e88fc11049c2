"""Commands for studies: train, report on, compare, certify, show and list them."""

from __future__ import annotations

import math
from dataclasses import asdict
from functools import partial
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Annotated, Any

from typer import Argument, Context, Option

from explorer.commands.console import (
    ACCURACY_HEADINGS,
    Screen,
    accuracy_cells,
    cell,
    command_line,
    cost_cells,
    cost_headings,
    heading,
    say,
)
from explorer.commands.searches import print_front
from explorer.commands.settings import (
    DATA,
    VARY,
    ClusterAddress,
    DataDir,
    Figures,
    Json,
    MemoryLimit,
    Quiet,
    Reports,
    RunTimeout,
    SpaceName,
    Storage,
    StudyName,
    TlsCa,
    TlsCert,
    TlsKey,
    Workers,
    WorkersPerGpu,
    complete_studies,
    read_cluster,
    read_seconds,
    read_varied,
)
from explorer.errors import ExplorerError

if TYPE_CHECKING:
    import pandas as pd

    from explorer.sweeping.dry_run import DryRun

TIMING = "timing a few networks to estimate the time"
MOST_ROWS = 50  # rows in a table of points; if there are more, only the most accurate are shown


def sweep(
    context: Context,
    study: Annotated[
        str,
        Argument(help="Name of a built-in study (see `explorer studies`), or a file.", autocompletion=complete_studies),
    ],
    data: Annotated[str | None, Option(help=DATA)] = None,
    data_dir: DataDir = None,
    seeds: Annotated[int | None, Option(help="Number of runs per point.")] = None,
    epochs: Annotated[int | None, Option(help="Number of epochs per run.")] = None,
    images: Annotated[str | None, Option(metavar="N", help="Training images per run, such as 10k.")] = None,
    until_decided: Annotated[
        bool,
        Option("--until-decided", help="Train two seeds, and more, up to --seeds, only where claims are undecided."),
    ] = False,
    workers: Workers = None,
    workers_per_gpu: WorkersPerGpu = None,
    memory_limit: MemoryLimit = None,
    run_timeout: RunTimeout = None,
    cluster: ClusterAddress = None,
    tls_ca: TlsCa = None,
    tls_cert: TlsCert = None,
    tls_key: TlsKey = None,
    storage: Storage = "explorer.db",
    reports: Reports = Path("reports"),
    figures: Figures = "svg",
    dry_run: Annotated[bool, Option("--dry-run", help="Show what would be trained, and for how long.")] = False,
    quick: Annotated[bool, Option("--quick", help="Do a quick trial run of less than a minute.")] = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Train the runs of a study and write its report.

    Only missing runs are trained. Options that change results create a new study with its own name.
    """
    from explorer import load_study
    from explorer.reporting.mistakes import reject_mistakes

    screen = Screen(quiet, as_json)
    written: dict[str, Any] = {"storage": storage, "reports": reports, "figures": figures.split(",")}
    seconds = read_seconds(run_timeout)
    where: dict[str, Any] = {"workers": workers, "workers_per_gpu": workers_per_gpu}
    where["cluster"] = read_cluster(cluster, tls_ca, tls_cert, tls_key)
    settings: dict[str, Any] = {"seeds": seeds, "epochs": epochs, "images": images, "until_decided": until_decided}
    load = partial(load_study, study, data=data, **settings, data_dir=data_dir)
    chosen = load()
    if quick and until_decided:
        raise ExplorerError(f"{chosen.name}: trial runs decide no claims; drop --quick or --until-decided")
    reject_mistakes(chosen, data_dir, **written)
    preparing = f"preparing {chosen.data} data"
    screen.say(preparing)  # before imports, which take a while

    from explorer import dry_run as plan
    from explorer import sweep as train
    from explorer.commands.watching import Display, watched

    if quick:
        chosen = load(quick=True)
    if dry_run:
        screen.say(TIMING)
        _print_plan(screen, plan(chosen, data_dir=data_dir, **where, **written))
        return 0
    sweep = partial(
        train,
        chosen,
        **written,
        **where,
        data_dir=data_dir,
        memory_limit=memory_limit,
        run_timeout=seconds,
        command=command_line(context),
    )
    return _print_report(screen, watched(sweep, Display(quiet=not screen.full, said=preparing)))


def retry(
    context: Context,
    name: StudyName,
    data_dir: DataDir = None,
    workers: Workers = None,
    workers_per_gpu: WorkersPerGpu = None,
    memory_limit: MemoryLimit = None,
    run_timeout: RunTimeout = None,
    cluster: ClusterAddress = None,
    tls_ca: TlsCa = None,
    tls_cert: TlsCert = None,
    tls_key: TlsKey = None,
    storage: Storage = "explorer.db",
    reports: Reports = Path("reports"),
    figures: Figures = "svg",
    as_json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Train the failed and crashed runs of a stored study again, as well as missing ones.

    A sweep retries crashed runs, but not those that failed because their loss was not finite.
    """
    from explorer import retry as train
    from explorer.commands.watching import Display, watched

    screen = Screen(quiet, as_json)
    again = partial(
        train,
        name,
        storage=storage,
        data_dir=data_dir,
        workers=workers,
        workers_per_gpu=workers_per_gpu,
        memory_limit=memory_limit,
        run_timeout=read_seconds(run_timeout),
        cluster=read_cluster(cluster, tls_ca, tls_cert, tls_key),
        reports=reports,
        figures=figures.split(","),
        command=command_line(context),
    )
    return _print_report(screen, watched(again, Display(quiet=not screen.full)))


def report(
    name: StudyName,
    storage: Storage = "explorer.db",
    reports: Reports = Path("reports"),
    figures: Figures = "svg",
    as_json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Rewrite the report of a study from its stored runs."""
    from explorer import report

    made = report(name, storage=storage, reports=reports, figures=figures.split(","))
    screen = Screen(quiet, as_json)
    if "front" in made.points.attrs:
        return print_front(screen, made.points, storage)
    _print_report(screen, made.points)
    return 0


def compare(
    context: Context,
    studies: Annotated[list[str], Argument(help="Names of two or more stored studies.")],
    against: Annotated[
        str | None,
        Option(help="The cost, such as params or latency_seconds; by default, FLOPs or what the first study measures."),
    ] = None,
    storage: Storage = "explorer.db",
    reports: Reports = Path("reports"),
    figures: Figures = "svg",
    as_json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Compare stored studies in a report: which one is more accurate at equal cost, and how certain is that?"""
    from explorer import compare
    from explorer.networks.quantities import QUANTITIES

    command, formats = command_line(context), figures.split(",")
    made = compare(studies, against=against, storage=storage, reports=reports, figures=formats, command=command)
    screen = Screen(quiet, as_json)
    for line in made.statements:
        screen.answer(line)
    cost = QUANTITIES[made.cost]
    rows = [
        (cost.text(row["budget"]), row["study"], row["label"], *accuracy_cells(row), row["standing"])
        for row in made.budgets.to_dict(orient="records")
    ]
    if made.comparable:
        screen.table((f"budget, {heading(cost)}", "study", "best point", *ACCURACY_HEADINGS, "standing"), rows)
    screen.answer(f"report: {made.page}")
    screen.document(made.budgets, answer=made.statements, report=made.page)
    return 0


def certify(
    context: Context,
    space: SpaceName,
    preset: Annotated[str, Option(help="The preset to draw points around.")] = "cifar",
    data: Annotated[str, Option(help=DATA)] = "proxy",
    data_dir: DataDir = None,
    budget: Annotated[str | None, Option(metavar="IMAGESxEPOCHS", help="Budget to certify, such as 10000x2.")] = None,
    points: Annotated[int, Option(help="Number of design points; studies only use certificates with 24 or more.")] = 32,
    seeds: Annotated[int, Option(help="Number of runs per point and budget.")] = 2,
    vary: Annotated[list[str] | None, Option(metavar="KEY=VALUES", help=VARY)] = None,
    workers: Workers = None,
    workers_per_gpu: WorkersPerGpu = None,
    memory_limit: MemoryLimit = None,
    run_timeout: RunTimeout = None,
    cluster: ClusterAddress = None,
    tls_ca: TlsCa = None,
    tls_cert: TlsCert = None,
    tls_key: TlsKey = None,
    storage: Storage = "explorer.db",
    reports: Reports = Path("reports"),
    figures: Figures = "svg",
    quick: Annotated[bool, Option("--quick", help="Do a quick trial run of a minute or two.")] = False,
    dry_run: Annotated[bool, Option("--dry-run", help="Show what would be trained, and for how long.")] = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Measure how far short runs of a space can be trusted: does their ranking hold at 2, 4 and 8 times the budget?

    Only missing runs are trained. Reports on studies with the same space, data, recipe and budget show the result.
    """
    from explorer import certify, plan_certificate
    from explorer.commands.watching import Display, watched

    screen = Screen(quiet, as_json)
    written: dict[str, Any] = {"storage": storage, "reports": reports, "figures": figures.split(",")}
    seconds = read_seconds(run_timeout)
    where: dict[str, Any] = {"workers": workers, "workers_per_gpu": workers_per_gpu}
    where["cluster"] = read_cluster(cluster, tls_ca, tls_cert, tls_key)
    asked: dict[str, Any] = {"data": data, "budget": budget, "points": points, "seeds": seeds, "quick": quick}
    asked["vary"] = read_varied(vary)
    if dry_run:
        screen.say(f"preparing {data} data and {TIMING}")
        _print_plan(screen, plan_certificate(space, preset, **asked, data_dir=data_dir, **where, **written))
        return 0
    train = partial(
        certify,
        space,
        preset,
        **asked,
        **written,
        **where,
        data_dir=data_dir,
        memory_limit=memory_limit,
        run_timeout=seconds,
        command=command_line(context),
    )
    made = watched(train, Display(quiet=not screen.full))
    for line in made.statements:
        screen.answer(line)
    rows = [
        (
            row["ranker"],
            cell(row["factor"]),
            cell(row["images"]),
            *(f"{row[name]:.2f}" for name in ("kendall", "kendall_low", "kendall_high")),
            f"{row['kept']:.1f}",
        )
        for row in made.rankers.to_dict(orient="records")
    ]
    screen.table(("ranked by", "times the budget", "images seen", "Kendall's tau", "from", "to", "best 5 kept"), rows)
    screen.answer(f"report: {made.page}")
    screen.document(made.rankers, answer=made.statements, report=made.page)
    return int(made.certificate.unfinished > 0)


def dashboard(
    storage: Storage = "explorer.db",
    port: Annotated[int, Option(min=0, max=65535, help="Port on 127.0.0.1; 0 picks a free one.")] = 8080,
) -> int:
    """Show stored studies in the Optuna dashboard, on this machine only."""
    from explorer import dashboard_server

    with dashboard_server(storage, port) as server:
        # Run the server in its own thread, because wsgiref swallows a Ctrl-C during a request.
        serving = Thread(target=server.serve_forever, daemon=True)
        serving.start()
        say(f"dashboard on http://127.0.0.1:{server.server_port} (Ctrl-C stops it)")
        try:
            serving.join()
        finally:
            server.shutdown()
    return 0


def studies(storage: Storage = "explorer.db", as_json: Json = False, quiet: Quiet = False) -> int:
    """List built-in and stored studies."""
    from explorer import list_studies, stored_studies

    screen, builtin, stored = Screen(quiet, as_json), list_studies(), stored_studies(storage)
    header = ("built-in study", "question", "space", "points", "runs")
    numbers = {"points": builtin["points"].astype(object).fillna("search"), "runs": builtin["runs"].astype(object)}
    shown = builtin.assign(**numbers).fillna({"runs": ""})
    screen.table(header, list(shown.itertuples(index=False)), right=2)
    if len(stored):
        rows = [(row["name"], f"{row['done']} of {row['runs']}") for row in stored.to_dict(orient="records")]
        screen.table((f"stored in {stored['storage'].iloc[0]}", "runs done"), rows, right=1)
    for name in (*builtin["name"], *stored["name"]) if quiet else ():
        screen.answer(name)
    screen.document(builtin, stored=stored)
    return 0


def _print_plan(screen: Screen, found: DryRun) -> None:
    from explorer.networks.quantities import counted
    from explorer.training.limits import duration

    study = found.study
    rows = [
        (row["label"], row["state"], *cost_cells(row), row["reason"]) for row in found.points.to_dict(orient="records")
    ]
    screen.table((", ".join(study.varied), "state", *cost_headings(), "reason"), rows)
    states = ", ".join(f"{number} {state}" for state, number in found.states.items())
    epochs = ", ".join(str(factor * study.budget.epochs) for factor in found.factors)
    budget = f"{epochs} x {study.budget.images:,} images on {study.data}"
    most = "at most " if study.until_decided else ""
    networks = f"{found.networks} distinct networks, {most}{found.runs} runs of {budget}"
    if found.sources:
        networks += f", and {counted(found.sources, 'run')} that train the weights to start from"
    screen.answer(f"{study.name}: {len(rows)} points ({states}), {networks}")
    training, validation = found.images
    split = f"{training + validation:,} images: {training:,} for training, {validation:,} for validation"
    screen.answer(f"{split}; budget {study.budget.images:,} x {study.budget.epochs:,}")
    screen.say(f"classes: {found.counts.text}")
    for note in found.notes:
        screen.answer(note)
    screen.say(f"training takes {found.macs:.2e} multiply-adds in total (forward and backward)")
    if math.isnan(found.seconds):
        screen.answer("time unknown: a network failed to train while being timed")
    else:
        screen.answer(f"about {duration(found.seconds)} on {found.workers} workers, if no run is stored yet")
    screen.document(
        found.points,
        study=study.name,
        states=found.states,
        networks=found.networks,
        runs=found.runs,
        sources=found.sources,
        macs=found.macs,
        workers=found.workers,
        seconds=found.seconds,
        images={"training": training, "validation": validation},
        classes=asdict(found.counts),
        notes=found.notes,
    )


def _print_report(screen: Screen, points: pd.DataFrame) -> int:
    """Print the answer, the table and the path of the report. Return the exit code, 1 if runs are unfinished."""
    about = points.attrs
    shown = points
    if len(points) > MOST_ROWS:
        shown = points.sort_values("accuracy", ascending=False, kind="stable").head(MOST_ROWS)
    # If all runs are done, these columns are redundant, and the table fits a narrow terminal without them.
    exceptions = [] if (shown["state"] == "done").all() else ["state", "reason"]
    headings = ACCURACY_HEADINGS[:1] if about["trial"] else ACCURACY_HEADINGS  # its intervals mean nothing
    rows = [
        (row["label"], *cost_cells(row), *accuracy_cells(row)[: len(headings)], *(row[column] for column in exceptions))
        for row in shown.to_dict(orient="records")
    ]
    screen.answer(about["answer"])
    if about["seeds_added"]:
        screen.answer(about["seeds_added"])
    screen.table(("point", *cost_headings(shown.columns), *headings, *exceptions), rows)
    if len(shown) < len(points):
        screen.say(f"the {len(shown)} most accurate of {len(points):,} points; the report has them all")
    screen.answer(f"report: {about['report']}")
    screen.document(points, **{key: about[key] for key in ("study", "answer", "report", "unfinished")})
    return int(about["unfinished"] > 0)
