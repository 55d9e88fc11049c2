"""The command that measures how long the networks of a study take on this machine."""

from __future__ import annotations

from typing import Annotated

import typer

from explorer.commands.console import console, cost_cells, cost_headings, print_table
from explorer.commands.studies import Storage


def latency(
    name: Annotated[str, typer.Argument(help="Name of a stored study, such as squeeze_ratio@cifar10.")],
    storage: Storage = "explorer.db",
    threads: Annotated[int, typer.Option(min=1, help="Threads that a network runs on.")] = 1,
    again: Annotated[bool, typer.Option("--again", help="Measure those that are measured already, too.")] = False,
) -> int:
    """Measure and store how long each network of a study takes on this machine, for one image and for 64.

    Takes about five seconds a network. Those measured before on this machine are skipped; no sweep runs on the storage meanwhile.
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
        screen.print("stopped; every network that was measured is stored, and the same command goes on from there")
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
