"""The command that measures the latency of a study's networks."""

from __future__ import annotations

from typing import Annotated

import typer

from explorer.commands.console import console, cost_cells, cost_headings, print_table
from explorer.commands.studies import Storage, StudyName


def latency(
    name: StudyName,
    storage: Storage = "explorer.db",
    threads: Annotated[int, typer.Option(min=1, help="Threads that a network runs on.")] = 1,
    again: Annotated[bool, typer.Option("--again", help="Measure again what is stored.")] = False,
) -> int:
    """Measure and store the latency of each network of a study on this machine, for 1 image and for 64.

    This takes about five seconds per network. Networks already measured on this machine are skipped. No sweep can use
    the storage meanwhile.
    """
    from explorer import latency
    from explorer.commands.progress import counting, duration
    from explorer.networks.quantities import LATENCY

    screen = console()

    def announce(networks: int, seconds: float, warning: str) -> None:
        screen.print(f"{name}: {networks} networks to measure, about {duration(seconds)}", highlight=False)
        if warning:
            screen.print(warning, style="yellow", highlight=False)

    try:
        with counting(name) as progress:
            measured = latency(name, threads=threads, again=again, storage=storage, begin=announce, progress=progress)
    except KeyboardInterrupt:
        screen.print("stopped; every measured network is stored, and the same command continues from there")
        return 130
    batches = [str(column) for column in measured.networks if str(column).startswith("batch_")]
    rows = [
        (row["label"], *cost_cells(row), *(LATENCY.text(row[batch]) for batch in batches))
        for row in measured.networks.to_dict(orient="records")
    ]
    times = [f"batch {batch.split('_')[1]}, {LATENCY.unit.name}" for batch in batches]
    header = (", ".join(measured.metaparameters), *cost_headings(), *times)
    print_table(screen, header, rows, right=len(header) - 1)
    plural = "s" if threads > 1 else ""
    screen.print(
        f"median over repeats; {measured.machine}, channels last, eager, {threads} thread{plural}", highlight=False
    )
    return 0
