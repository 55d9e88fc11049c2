"""Latency: how long a network takes for a batch of images. It is a measurement of a machine, taken while nothing trains."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd

from explorer import analysis
from explorer.errors import ExplorerError
from explorer.machine import cores, processor, torch_threads
from explorer.networks.network import Network
from explorer.storage.ledger import Ledger
from explorer.storage.record import StudyRecord
from explorer.study.plan import plan

BATCHES = (1, 64)
SECONDS = 2.0  # for the repeats of a batch
WARM_UP_SECONDS = 0.3
FEWEST = 5  # repeats, however long they take
BUSY = 0.3  # load average for each core from which on others' work shows in what is measured


@dataclass(frozen=True)
class Machine:
    """What computes: processor, version of torch, arithmetic. Latencies of one machine can be compared."""

    processor: str
    torch: str
    dtype: str = "float32"

    def __str__(self) -> str:
        return f"{self.processor}, torch {self.torch}, {self.dtype}"


@dataclass(frozen=True)
class Latency:
    """Seconds that a batch takes on so many threads: median and quartiles over the repeats."""

    batch: int
    threads: int
    median_seconds: float
    lower_seconds: float
    upper_seconds: float
    repeats: int

    @property
    def images_per_second(self) -> float:
        """Images a second at the median."""
        return self.batch / self.median_seconds


def this_machine() -> Machine:
    """The processor that this process runs on, and its torch."""
    import torch

    return Machine(processor(), torch.__version__.partition("+")[0])


def busy(load: float | None) -> str:
    """A warning where a load average is so high that latencies come out too long; else nothing."""
    if load is None or load <= BUSY:
        return ""
    return f"warning: this machine is busy (load average {load:.2f} a core): latencies come out longer than they are"


def check_threads(threads: int) -> None:
    """Raises `ExplorerError` where there are fewer cores than threads."""
    if threads > cores():
        raise ExplorerError(f"threads = {threads}: at most {cores()}, the cores that this process may use")


def measure(
    network: Network, threads: int = 1, batches: tuple[int, ...] = BATCHES, seconds: float = SECONDS
) -> list[Latency]:
    """Times the network, freshly initialised, on this machine's processor: eager, float32, channels last, inference mode.

    After a warm-up, batches of random images are repeated for about `seconds` each, at least five times.
    """
    import torch

    from explorer.training.trainer import untrained

    model: Any = untrained(network)
    model = model.to(memory_format=torch.channels_last)
    shape = network.input
    found = []
    with torch_threads(threads), torch.inference_mode():
        for batch in batches:
            images = torch.rand(batch, shape.channels, shape.size, shape.size)
            images = images.to(memory_format=torch.channels_last)

            def step(images: torch.Tensor = images) -> None:
                model(images)

            _times(step, min(seconds, WARM_UP_SECONDS))
            times = _times(step, seconds)
            lower, median, upper = np.quantile(times, [0.25, 0.5, 0.75]).tolist()
            found.append(Latency(batch, threads, median, lower, upper, len(times)))
    return found


def study_networks(record: StudyRecord) -> dict[str, Network]:
    """The distinct networks that a stored study trains, by digest, made again from its space and points.

    Raises `ExplorerError` where the space makes other networks of the points than those that are stored.
    """
    points = plan(record.study, analysis.classes(record))
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
    """The stored latencies of a study's networks on the machine with this number of threads, as `ledger.latencies.of`."""
    return ledger.latencies.of(record.study.name, **asdict(machine), threads=threads)


def stored_rows(
    network: Network, latencies: list[Latency], machine: Machine, load: float | None
) -> list[dict[str, Any]]:
    """Latencies as the ledger stores them; `load` is the load average before the measuring began."""
    finished = datetime.now(UTC).isoformat(timespec="seconds")
    beside = {"network": network.digest, **asdict(machine), "load": load, "finished": finished}
    return [beside | asdict(latency) for latency in latencies]


def _times(step: Callable[[], None], seconds: float) -> list[float]:
    """Seconds that each call took, of as many as fit the time, but at least `FEWEST`."""
    times: list[float] = []
    end = time.perf_counter() + seconds
    while len(times) < FEWEST or time.perf_counter() < end:
        begun = time.perf_counter()
        step()
        times.append(time.perf_counter() - begun)
    return times
