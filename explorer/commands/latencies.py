"""The command that measures how long the networks of a study take on this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from explorer.commands.console import console, cost_cells, cost_headings, print_table
from explorer.commands.studies import Storage

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console

    from explorer.storage.ledger import Ledger
    from explorer.storage.record import StudyRecord


def latency(
    name: Annotated[str, typer.Argument(help="Name of a stored study, such as squeeze_ratio@cifar10.")],
    storage: Storage = "explorer.db",
    threads: Annotated[int, typer.Option(min=1, help="Threads that a network runs on.")] = 1,
    again: Annotated[bool, typer.Option("--again", help="Measure those that are measured already, too.")] = False,
) -> int:
    """Measure and store how long each network of a study takes on this machine, for one image and for 64.

    Takes about five seconds a network. Those measured before on this machine are skipped; no sweep runs on the storage meanwhile.
    """
    from explorer.storage.ledger import Ledger
    from explorer.sweeping.latency import check_threads, here, this_machine

    check_threads(threads)
    screen = console()
    ledger = Ledger(storage)
    record = ledger.studies.load(name)
    try:
        _measure(screen, ledger, record, threads, again)
    except KeyboardInterrupt:
        screen.print("stopped; every network that was measured is stored, and the same command goes on from there")
        return 130
    machine = this_machine()
    _print_latencies(screen, record, here(ledger, record, machine, threads))
    plural = "s" if threads > 1 else ""
    screen.print(f"median over repeats; {machine}, channels last, eager, {threads} thread{plural}", highlight=False)
    return 0


def _measure(screen: Console, ledger: Ledger, record: StudyRecord, threads: int, again: bool) -> None:
    """Measures what is missing, and stores each network as soon as it is measured."""
    from rich.progress import track

    from explorer.commands.progress import duration
    from explorer.machine import load_average
    from explorer.sweeping.latency import (
        BATCHES,
        SECONDS,
        WARM_UP_SECONDS,
        busy,
        measure,
        stored_rows,
        this_machine,
        unmeasured,
    )

    with ledger.writing():
        machine = this_machine()
        missing = unmeasured(ledger, record, machine, threads, again=again)
        about = duration(len(missing) * len(BATCHES) * (SECONDS + WARM_UP_SECONDS))
        screen.print(f"{record.study.name}: {len(missing)} networks to measure, about {about}", highlight=False)
        load = load_average()
        if missing and busy(load):
            screen.print(busy(load), style="yellow", highlight=False)
        for network in track(missing, console=screen, transient=True, disable=not screen.is_terminal):
            ledger.latencies.record(stored_rows(network, measure(network, threads), machine, load))


def _print_latencies(screen: Console, record: StudyRecord, latencies: pd.DataFrame) -> None:
    """One row for each distinct network, the cheapest first."""
    from explorer.networks.quantities import LATENCY
    from explorer.sweeping.latency import BATCHES

    median = latencies.pivot_table(index="network", columns="batch", values="median_seconds")
    planned = record.points[record.points["state"] == "planned"].sort_values(["macs", "params"])
    rows = [
        (
            row["label"],
            *cost_cells(row),
            *(LATENCY.text(median.loc[row["network"], batch]) for batch in BATCHES),
        )
        for row in planned.to_dict(orient="records")
    ]
    times = [f"batch {batch}, {LATENCY.unit.name}" for batch in BATCHES]
    header = (", ".join(record.metaparameters), *cost_headings(), *times)
    print_table(screen, header, rows, right=len(header) - 1)
