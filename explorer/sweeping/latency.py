"""Measure the latencies of a study's networks on this machine and store them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd

from explorer.analysis.latencies import in_rounds
from explorer.analysis.verified import verified_networks
from explorer.errors import ExplorerError
from explorer.machine import load as cores_in_use
from explorer.networks.network import Network
from explorer.networks.quantities import counted, main_costs
from explorer.storage.ledger import DEFAULT_STORAGE, Ledger
from explorer.storage.record import StudyRecord
from explorer.study.model import Study
from explorer.sweeping import timing
from explorer.sweeping.sweeping import Watcher
from explorer.sweeping.timing import BATCHES, BatchTime, Machine
from explorer.training.limits import duration

TOGETHER, TOGETHER_BYTES = 32, 2**30
"""Most networks, and bytes of their weights, that are measured in turn. They are stored when all are measured."""


@dataclass(frozen=True)
class MeasuredStudy:
    """The latencies of a study's networks on one machine.

    Attributes:
        networks: One row per network, cheapest first: `label`, the main costs, `network` (digest) and the median
            seconds for each batch size, such as `batch_64_seconds`.
        metaparameters: The metaparameters in `label`.
        machine: The machine on which they were measured.
        threads: Number of threads.
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
    """Measure and store the latency of every network in a stored study on this machine, in batches of 1 and 64.

    Networks that were already measured on this machine are skipped, unless another one is missing for a claim about
    latency. Up to 32 networks are measured in turn, so that all see the same changes of the machine's speed, and then
    stored.

    Args:
        study: Name of a stored study.
        threads: Number of threads to run a network on.
        again: Whether to measure networks again if their latencies are stored.
        storage: SQLite file or database URL.
        begin: Called first with the number of networks to measure, the estimated seconds, and a warning if the machine
            is busy, or "".
        progress: Called after each group of networks with the number measured so far and the total.

    Raises:
        ExplorerError: The study is unknown, the current code no longer builds any of its networks, there are fewer
            cores than threads, or another process is writing to the storage.
    """
    timing.check_threads(threads)
    ledger = Ledger(storage)
    record = ledger.studies.load(study)
    machine = timing.this_machine()
    planned = record.points[record.points["state"] == "planned"]
    verified = verified_networks(record, planned["point"])
    if not verified.networks:
        raise ExplorerError(f"{study}: {verified.note('sweep the study again')}")
    with ledger.writing(study):
        stored = here(ledger, record, machine, threads)
        missing = unmeasured(stored[:0] if again else stored, verified.networks.values())
        if missing and record.study.latency_claims:
            # Claims compare networks, so these must have seen the same changes of the machine's speed.
            missing = unmeasured(stored[:0], verified.networks.values())
        load = cores_in_use()
        if begin is not None:
            seconds = len(missing) * len(BATCHES) * (timing.SECONDS + timing.WARM_UP_SECONDS)
            warnings = [verified.note("they are not measured"), timing.busy(load) if missing else ""]
            begin(len(missing), seconds, "\n".join(filter(None, warnings)))
        done = 0
        for group in _groups(missing):
            load = cores_in_use()
            for network, found in zip(group, timing.measure(group, threads), strict=True):
                ledger.latencies.record(stored_rows(network, found, machine, load))
            done += len(group)
            if progress is not None:
                progress(done, len(missing))
    median = here(ledger, record, machine, threads).pivot_table(
        index="network", columns="batch", values="median_seconds"
    )
    known = planned[planned["network"].isin(median.index)].sort_values(["macs", "params"], ignore_index=True)
    table = known[["label", *(cost.key for cost in main_costs()), "network"]].copy()
    for batch in BATCHES:
        table[f"batch_{batch}_seconds"] = table["network"].map(median[batch])
    return MeasuredStudy(table, record.metaparameters, machine, threads)


def _groups(networks: Sequence[Network]) -> Iterator[list[Network]]:
    """Yield groups of networks to measure in turn, which fit in memory together."""
    group: list[Network] = []
    for network in networks:
        full = sum(one.cost.model_bytes for one in (*group, network)) > TOGETHER_BYTES
        if group and (full or len(group) == TOGETHER):
            yield group
            group = []
        group.append(network)
    if group:
        yield group


def latency_for_claims(study: Study, storage: str | Path, watcher: Watcher | None) -> None:
    """Measure a swept study's missing latencies if it makes claims about them and is not a trial run."""
    if study.is_trial or not study.latency_claims:
        return

    def begin(networks: int, seconds: float, warning: str) -> None:
        if networks and watcher is not None:
            watcher.note(f"measuring the latency of {counted(networks, 'network')}, about {duration(seconds)}")
            if warning:
                watcher.note(warning)

    latency(study.name, storage=storage, begin=begin)


def unmeasured(stored: pd.DataFrame, networks: Iterable[Network]) -> list[Network]:
    """Return the distinct networks without complete latencies in `stored`."""
    complete = {network for network, rows in in_rounds(stored).groupby("network") if set(BATCHES) <= set(rows["batch"])}
    return list({network.digest: network for network in networks if network.digest not in complete}.values())


def here(ledger: Ledger, record: StudyRecord, machine: Machine, threads: int) -> pd.DataFrame:
    """Return the stored latencies of a study for a machine and number of threads, like `ledger.latencies.of`."""
    return ledger.latencies.of(record.study.name, **asdict(machine), threads=threads)


def stored_rows(network: Network, latencies: list[BatchTime], machine: Machine, load: float) -> list[dict[str, Any]]:
    """Return rows for `ledger.latencies.record`. `load` is the share of cores in use before the measurement."""
    finished = datetime.now(UTC).isoformat(timespec="seconds")
    common = {"network": network.digest, **asdict(machine), "load": load, "finished": finished}
    return [common | asdict(latency) for latency in latencies]
