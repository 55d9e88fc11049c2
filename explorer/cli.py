"""The command line. Commands import what they need when they run, so that `--help` is quick."""

from __future__ import annotations

import math
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.exceptions import TyperException

from explorer.errors import ExplorerError

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console

    from explorer.plan import Point
    from explorer.record import StudyRecord
    from explorer.study import Study

app = typer.Typer(
    name="explorer",
    help="Explore the design spaces of small convolutional networks: exact cost, measured accuracy, honest uncertainty.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

Storage = Annotated[str, typer.Option(help="SQLite file, or database URL, that holds studies and runs.")]
Reports = Annotated[Path, typer.Option(help="Folder that the report's folder is made in.")]


@app.callback()
def common(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """Holds the option that every command takes; `run` reads it wherever it stands."""


@app.command()
def sweep(
    context: typer.Context,
    study: Annotated[str, typer.Argument(help="Name of a built-in study (see `explorer studies`), or a file.")],
    data: Annotated[
        str | None, typer.Option(help="cifar10, proxy, or a folder of images in class sub-folders.")
    ] = None,
    data_dir: Annotated[Path | None, typer.Option(help="Folder that holds the files of CIFAR-10.")] = None,
    seeds: Annotated[int | None, typer.Option(help="Trainings of every point.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Passes over the training images.")] = None,
    images: Annotated[int | None, typer.Option(help="Training images.")] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes that train; one a core by default.")] = None,
    storage: Storage = "explorer.db",
    reports: Reports = Path("reports"),
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be trained and how long it takes.")
    ] = False,
    quick: Annotated[bool, typer.Option("--quick", help="Try the whole chain in under a minute.")] = False,
) -> int:
    """Train what a study asks for, and write its report.

    Running the same command again trains only what is missing. What changes results makes another study with its own name.
    """
    from explorer.data import find_source
    from explorer.plan import plan
    from explorer.plan import quick as quickened
    from explorer.progress import Display
    from explorer.report import check_folder
    from explorer.study import load_study
    from explorer.sweeping import default_workers, run_study

    chosen = load_study(study).override(data=data)
    source = find_source(chosen.data, data_dir)
    if quick:
        chosen = quickened(chosen, source.class_count, len(source.prepare().split().train))
    chosen = chosen.override(seeds=seeds, epochs=epochs, images=images)
    count = workers or default_workers()
    console = _console()
    if dry_run:
        _dry_run(console, chosen, plan(chosen, source.class_count), count)
        return 0
    check_folder(reports)
    command = f"python -m explorer {shlex.join(context.obj)}"
    try:
        with Display(console, count) as display:
            record = run_study(
                chosen, storage=storage, data_dir=data_dir, workers=count, command=command, watcher=display
            )
    except KeyboardInterrupt:
        console.print("stopped; every finished run is stored, and the same command goes on from there", highlight=False)
        return 130
    _write_report(console, record, reports)
    return int((record.runs["state"] != "done").any())


@app.command()
def report(
    name: Annotated[str, typer.Argument(help="Name of a stored study, such as squeeze_ratio@cifar10.")],
    storage: Storage = "explorer.db",
    reports: Reports = Path("reports"),
) -> int:
    """Make a study's report again from its stored rows."""
    from explorer.ledger import Ledger

    _write_report(_console(), Ledger(storage).load(name), reports)
    return 0


@app.command()
def dashboard(
    storage: Storage = "explorer.db",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port on 127.0.0.1; 0 takes a free one.")] = 8080,
) -> int:
    """Show the stored studies in the Optuna dashboard, on this machine only."""
    from explorer.dashboard import HOST, dashboard_server
    from explorer.ledger import Ledger

    with dashboard_server(Ledger(storage).url, port) as server:
        _console().print(f"dashboard on http://{HOST}:{server.server_port} (Ctrl-C ends it)", highlight=False)
        server.serve_forever()
    return 0


@app.command()
def studies(storage: Storage = "explorer.db") -> int:
    """List the built-in studies, and those that the storage holds."""
    from explorer.ledger import Ledger
    from explorer.study import builtin_studies, load_study

    rows = [
        (study.name, study.title, study.space, str(study.grid_size), str(study.grid_size * study.seeds))
        for study in map(load_study, builtin_studies())
    ]
    console = _console()
    _print_table(console, ("built-in study", "question", "space", "points", "runs"), rows, right=2)
    if Path(storage).is_file() or "://" in storage:
        ledger = Ledger(storage)
        stored = [(name, "{} of {}".format(*ledger.progress(name))) for name in ledger.study_names()]
        _print_table(console, (f"stored in {ledger.shown}", "runs done"), stored, right=1)
    return 0


@app.command()
def spaces() -> int:
    """List the design spaces with their presets and metaparameters."""
    from explorer.space import label
    from explorer.spaces import all_spaces

    console = _console()
    for space in all_spaces().values():
        console.print(space.name, style="bold", end="")
        console.print(f": {space.source}; presets: {', '.join(space.presets)}", highlight=False)
        rows = [
            (name, label(field.get("default")), _rule(field), str(field.get("description", "")))
            for name, field in space.model_json_schema()["properties"].items()
        ]
        _print_table(console, ("metaparameter", next(iter(space.presets)), "values", "meaning"), rows)
    return 0


@app.command()
def describe(
    space: Annotated[str, typer.Argument(help="A design space (see `explorer spaces`).")],
    settings: Annotated[list[str] | None, typer.Argument(help="preset=NAME, and metaparameters as key=value.")] = None,
    depth: Annotated[int, typer.Option(min=1, help="Levels of the network that are shown.")] = 1,
) -> int:
    """Show the layers of a design point with their output shapes and exact costs."""
    from explorer.pricing import layer_table
    from explorer.spaces import find_space

    family = find_space(space)
    values = dict(_setting(text) for text in settings or [])
    preset = str(values.pop("preset")) if "preset" in values else None
    network = family.point(preset, **values).expand()
    table = layer_table(network, depth)
    console = _console()
    rows = [
        (str(row.layer), str(row.makes), str(row.output), *map(_count, (row.params, row.macs, row.activations)))
        for row in table.itertuples()
    ]
    header = ("layer", "filters", "output", "params", "FLOPs (multiply-adds)", "activations")
    _print_table(console, header, rows, right=4, total=True)
    size = f"{network.cost.model_bytes / 2**20:.2f} MiB ({network.cost.model_bytes:,} bytes as float32)"
    console.print(f"model size {size}; network {network.digest[:12]}", highlight=False)
    return 0


def run(arguments: list[str]) -> int:
    """Runs the command line; returns the exit code."""
    debug = "--debug" in arguments
    rest = [argument for argument in arguments if argument != "--debug"]
    try:
        return app(rest, prog_name="explorer", standalone_mode=False, obj=rest) or 0
    except (ExplorerError, TyperException) as error:
        if debug:
            raise
        message = error.format_message() if isinstance(error, TyperException) else str(error)
        if message:  # there is none where no command was given, which shows the help
            print(f"explorer: {' '.join(message.split())}", file=sys.stderr)  # noqa: T201 (the one line that is owed)
        return 2
    except KeyboardInterrupt:
        return 130


def _console() -> Console:
    from rich.console import Console

    # Where there is no terminal, rich would fold tables to 80 columns.
    # Nor are names and messages markup, whatever brackets they hold.
    return Console(markup=False, width=None if sys.stdout.isatty() else 200)


def _print_table(
    console: Console,
    header: tuple[str, ...],
    rows: Sequence[tuple[str, ...]],
    right: int = 0,
    *,
    total: bool = False,
) -> None:
    """Prints rows under a header, the last `right` columns aligned to the right, the last row set off as a total."""
    from rich.box import SIMPLE
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE, show_footer=total)
    for place, name in enumerate(header):
        footer = rows[-1][place] if total else ""
        table.add_column(name, justify="right" if place >= len(header) - right else "left", footer=Text(footer))
    for row in rows[:-1] if total else rows:
        table.add_row(*map(Text, row))
    console.print(table)


def _dry_run(console: Console, study: Study, points: list[Point], workers: int) -> None:
    from collections import Counter

    from explorer.estimate import estimate_seconds
    from explorer.plan import points_frame
    from explorer.progress import duration
    from explorer.sweeping import runs_of

    rows = [
        (row["label"], row["state"], _count(row["params"]), _count(row["macs"]), row["reason"])
        for row in points_frame(study, points).to_dict(orient="records")
    ]
    _print_table(console, (", ".join(study.vary), "state", "params", "FLOPs (multiply-adds)", "reason"), rows)
    runs = list(runs_of(study, points, data_fingerprint="").values())
    states = ", ".join(f"{count} {state}" for state, count in Counter(point.state for point in points).items())
    distinct = len({point.network.digest for point in points if point.network})
    images = study.budget.images * study.budget.epochs
    macs = 3 * images * sum(run.network.cost.macs for run in runs)
    console.print(
        f"{study.name}: {len(points)} points ({states}), {distinct} distinct networks, {len(runs)} runs of "
        f"{study.budget.epochs} x {study.budget.images:,} images on {study.data}",
        highlight=False,
    )
    console.print(f"training takes {macs:.2e} multiply-adds in all (forward and backward)", highlight=False)
    seconds = estimate_seconds(runs, workers)
    if math.isnan(seconds):
        console.print("time unknown: one of the networks could not be trained to be timed")
    else:
        console.print(f"about {duration(seconds)} on {workers} workers, if none of it is stored yet", highlight=False)


def _write_report(console: Console, record: StudyRecord, reports: Path) -> None:
    from explorer.analysis import summarise
    from explorer.report import write_report

    summary = summarise(record)
    _print_summary(console, summary)
    console.print(f"report: {write_report(record, reports / record.study.name)}", highlight=False, soft_wrap=True)


def _print_summary(console: Console, summary: pd.DataFrame) -> None:
    rows = []
    for row in summary.to_dict(orient="records"):
        accuracy = f"{row['accuracy']:.1%}" if row["runs"] else "-"
        interval = f"{row['low']:.1%} to {row['high']:.1%}" if row["runs"] else "-"
        rows.append(
            (row["label"], _count(row["params"]), _count(row["macs"]), accuracy, interval, row["state"], row["reason"])
        )
    header = ("point", "params", "FLOPs", "accuracy", "95 % interval", "state", "reason")
    _print_table(console, header, rows)


def _count(value: Any) -> str:  # noqa: ANN401 (a cell of a frame)
    """A whole number with its thousands set off; a dash where there is none."""
    import pandas as pd

    return "-" if pd.isna(value) else f"{value:,}"


def _setting(text: str) -> tuple[str, Any]:
    """One `key=value`; the value is read as in a study file, and what is no TOML value is text."""
    import tomllib

    key, equals, value = text.partition("=")
    if not equals or not key:
        raise ExplorerError(f"{text!r}: metaparameters are given as key=value, such as squeeze_ratio=0.25")
    try:
        return key, tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return key, value


def _rule(schema: dict[str, Any]) -> str:
    """The values that a metaparameter takes, from its JSON schema."""
    if "enum" in schema:
        return " | ".join(schema["enum"])
    kind = {"integer": "whole number", "number": "number", "boolean": "yes | no", "array": "list"}[schema["type"]]
    signs = {"minimum": ">=", "exclusiveMinimum": ">", "maximum": "<=", "exclusiveMaximum": "<"}
    limits = [f"{sign} {schema[key]:g}" for key, sign in signs.items() if key in schema]
    return " ".join([kind, ", ".join(limits)]).strip()
