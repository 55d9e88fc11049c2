"""Latencies of a study's networks: measured on this machine and stored."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd

from explorer.errors import ExplorerError
from explorer.machine import load_average
from explorer.networks.network import Network
from explorer.networks.quantities import main_costs
from explorer.storage.ledger import DEFAULT_STORAGE, Ledger
from explorer.storage.record import StudyRecord
from explorer.study.plan import plan
from explorer.sweeping import timing
from explorer.sweeping.timing import BATCHES, BatchTime, Machine


@dataclass(frozen=True)
class MeasuredStudy:
    """Latencies of a study's networks on one machine.

    Attributes:
        networks: One row for each network, the cheapest first: `label`, the main costs, `network` (digest) and the
            median seconds of each batch, such as `batch_64_seconds`.
        metaparameters: The metaparameters in `label`.
        machine: What computed.
        threads: Its number of threads.
    """

    networks: pd.DataFrame
    metaparameters: list[str]
    machine: Machine
    threads: int


def latency(
    study: str,
    *,
    threads: int = 1,
    again: bool = False,
    storage: str | Path = DEFAULT_STORAGE,
    begin: Callable[[int, float, str], None] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> MeasuredStudy:
    """Measure and store the latency of each network of a stored study on this machine, for 1 image and for 64.

    Networks already measured on this machine are skipped. Each is stored as soon as it is measured.

    Args:
        study: Name of a stored study.
        threads: Threads that a network runs on.
        again: Whether to measure stored networks again.
        storage: SQLite file or database URL.
        begin: Called first, with the number of networks to measure, about how many seconds that takes, and a warning
            if the machine is busy, else "".
        progress: Called after each network with how many are measured and how many there are.

    Raises:
        ExplorerError: The study is unknown, there are fewer cores than threads, or another process writes to the
            storage.
    """
    timing.check_threads(threads)
    ledger = Ledger(storage)
    record = ledger.studies.load(study)
    machine = timing.this_machine()
    with ledger.writing():
        missing = unmeasured(ledger, record, machine, threads, again=again)
        load = load_average()
        if begin is not None:
            seconds = len(missing) * len(BATCHES) * (timing.SECONDS + timing.WARM_UP_SECONDS)
            begin(len(missing), seconds, timing.busy(load) if missing else "")
        for done, network in enumerate(missing, start=1):
            ledger.latencies.record(stored_rows(network, timing.measure(network, threads), machine, load))
            if progress is not None:
                progress(done, len(missing))
    median = here(ledger, record, machine, threads).pivot_table(
        index="network", columns="batch", values="median_seconds"
    )
    planned = record.points[record.points["state"] == "planned"].sort_values(["macs", "params"], ignore_index=True)
    table = planned[["label", *(cost.key for cost in main_costs()), "network"]].copy()
    for batch in BATCHES:
        table[f"batch_{batch}_seconds"] = table["network"].map(median[batch])
    return MeasuredStudy(table, record.metaparameters, machine, threads)


def study_networks(record: StudyRecord) -> dict[str, Network]:
    """The distinct networks that a stored study trains, by digest, made again from its space and points.

    Raises `ExplorerError` where the space makes other networks of the points than those that are stored.
    """
    points = plan(record.study, record.classes)
    networks = {point.network.digest: point.network for point in points if point.network and point.state == "planned"}
    stored = record.points.loc[record.points["state"] == "planned", "network"]
    if networks.keys() != set(stored):
        raise ExplorerError(
            f"{record.study.name}: {record.study.space} makes other networks than those that are stored, which an earlier "
            "version made; sweep the study again"
        )
    return networks


def unmeasured(
    ledger: Ledger, record: StudyRecord, machine: Machine, threads: int, *, again: bool = False
) -> list[Network]:
    """The networks of a study without a latency on this machine with so many threads; with `again`, all of them."""
    stored = here(ledger, record, machine, threads)
    complete = {
        network for network, rows in stored.groupby("network") if not again and set(BATCHES) <= set(rows["batch"])
    }
    return [network for digest, network in study_networks(record).items() if digest not in complete]


def here(ledger: Ledger, record: StudyRecord, machine: Machine, threads: int) -> pd.DataFrame:
    """The stored latencies of a study's networks on a machine and number of threads, as in `ledger.latencies.of`."""
    return ledger.latencies.of(record.study.name, **asdict(machine), threads=threads)


def stored_rows(
    network: Network, latencies: list[BatchTime], machine: Machine, load: float | None
) -> list[dict[str, Any]]:
    """Latencies as the ledger stores them; `load` is the load average before the measuring began."""
    finished = datetime.now(UTC).isoformat(timespec="seconds")
    beside = {"network": network.digest, **asdict(machine), "load": load, "finished": finished}
    return [beside | asdict(latency) for latency in latencies]
