"""The command that searches a space, and its progress."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Argument, Context, Option

from explorer.commands.console import (
    ACCURACY_HEADINGS,
    Screen,
    accuracy_cells,
    command_line,
    cost_cells,
    cost_headings,
)
from explorer.commands.settings import (
    DATA,
    ClusterAddress,
    DataDir,
    Figures,
    Json,
    MemoryLimit,
    Quiet,
    Reports,
    RunTimeout,
    Storage,
    TlsCa,
    TlsCert,
    TlsKey,
    Workers,
    WorkersPerGpu,
    complete_searches,
    read_cluster,
    read_ranges,
    read_seconds,
)
from explorer.errors import ExplorerError

if TYPE_CHECKING:
    import pandas as pd

SEARCHED = "key=low..high and key=a,b are searched, key=value is fixed; by default, the ranges of the space."


def search(
    context: Context,
    space: Annotated[
        str, Argument(help="A design space, or a study with a table [search].", autocompletion=complete_searches)
    ],
    settings: Annotated[list[str] | None, Argument(metavar="[KEY=RANGE]...", help=SEARCHED)] = None,
    preset: Annotated[str | None, Option(help="The preset for everything else; cifar by default.")] = None,
    data: Annotated[str | None, Option(help=DATA)] = None,
    data_dir: DataDir = None,
    objectives: Annotated[
        str | None, Option(metavar="NAMES", help="accuracy and costs, such as accuracy,params,macs (the default).")
    ] = None,
    where: Annotated[
        str | None, Option(metavar="LIMITS", help='Train nothing outside, such as "params < 200k and FLOPs <= 5M".')
    ] = None,
    for_time: Annotated[
        str | None, Option("--time", metavar="TIME", help="How long to search, such as 30min (the default) or 2h.")
    ] = None,
    runs: Annotated[int | None, Option(help="Stop after this many runs, those of earlier calls included.")] = None,
    images: Annotated[
        str | None, Option(metavar="N", help="Stop after this many training images, such as 2M, earlier ones included.")
    ] = None,
    sampler: Annotated[
        str | None, Option(help="Optuna's sampler: tpe (the default), gp, nsga2, nsga3, qmc or random.")
    ] = None,
    budget: Annotated[
        str | None, Option(metavar="IMAGESxEPOCHS", help="Budget of the top rung; 10000x8 by default.")
    ] = None,
    seeds: Annotated[
        int | None,
        Option(help="Most seeds of a point; only undecided ones get more than one; 3 by default."),
    ] = None,
    seed: Annotated[int, Option(help="Seed of the proposals.")] = 0,
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
    quick: Annotated[bool, Option("--quick", help="Do a quick trial run of about a minute.")] = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Search a space for the networks that are worth their cost, and write a report.

    Points are trained at growing budgets, and only those that can be on the front go on. The same command goes on
    where an earlier one stopped.
    """
    screen = Screen(quiet, as_json)
    named, varied = read_ranges(settings)
    if preset and named and preset != named:
        raise ExplorerError(f"--preset {preset}: preset={named} is also given; drop one of them")
    seconds = None if for_time is None else read_seconds(for_time, "--time")
    timeout = read_seconds(run_timeout)
    screen.say(f"searching {space}")  # before imports, which take a while

    from explorer import search as train
    from explorer.commands.watching import watched
    from explorer.commands.watching_searches import SearchDisplay

    find = partial(
        train,
        space,
        preset or named,
        varied,
        data=data,
        objectives=objectives.split(",") if objectives else None,
        where=where,
        sampler=sampler,
        budget=budget,
        seeds=seeds,
        seed=seed,
        time=seconds,
        runs=runs,
        images=images,
        quick=quick,
        storage=storage,
        data_dir=data_dir,
        workers=workers,
        workers_per_gpu=workers_per_gpu,
        memory_limit=memory_limit,
        run_timeout=timeout,
        cluster=read_cluster(cluster, tls_ca, tls_cert, tls_key),
        reports=reports,
        figures=figures.split(","),
        command=command_line(context),
    )
    return print_front(screen, watched(find, SearchDisplay(quiet=not screen.full)), storage)


def print_front(screen: Screen, points: pd.DataFrame, storage: str) -> int:
    """Print the answer of a search, the points on its front, and the command that exports the most accurate one."""
    about = points.attrs
    front = points.set_index("point").loc[about["front"]].reset_index()
    rows = [
        (row["point"], row["label"], *cost_cells(row), *accuracy_cells(row)) for row in front.to_dict(orient="records")
    ]
    screen.answer(about["answer"])
    if rows:
        screen.table(("", "point on the front", *cost_headings(), *ACCURACY_HEADINGS), rows)
    screen.answer(f"report: {about['report']}")
    if about["best"] is not None:
        elsewhere = "" if storage == "explorer.db" else f" --storage {storage}"
        number = about["best"]
        screen.answer(f"next: explorer export {about['study']} --point {number}{elsewhere}")
    shared = {key: about[key] for key in ("study", "answer", "report", "front", "best")}
    screen.document(points, **shared)
    return 0
