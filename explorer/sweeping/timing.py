"""Time networks: measure the latency of a batch of images on this machine while no training is running."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from explorer.analysis.latencies import ROUNDS
from explorer.errors import ExplorerError
from explorer.machine import cores, processor, torch_threads
from explorer.networks.network import Network

BATCHES = (1, 64)
SECONDS = 2.0  # time for the repeats of a batch
WARM_UP_SECONDS = 0.3
FEWEST = 5  # minimum number of rounds
BUSY = 0.3  # above this share of cores in use, other work distorts latencies


@dataclass(frozen=True)
class Machine:
    """Processor, torch version and dtype. Latencies can only be compared between equal machines."""

    processor: str
    torch: str
    dtype: str = "float32"

    def __str__(self) -> str:
        return f"{self.processor}, torch {self.torch}, {self.dtype}"


@dataclass(frozen=True)
class BatchTime:
    """The latency of a batch with a given number of threads: median and quartiles over `repeats` rounds, in seconds."""

    batch: int
    threads: int
    median_seconds: float
    lower_seconds: float
    upper_seconds: float
    repeats: int

    @property
    def images_per_second(self) -> float:
        """The number of images per second at the median latency."""
        return self.batch / self.median_seconds


def this_machine() -> Machine:
    """Return the name of this machine's processor and the torch version."""
    import torch

    return Machine(processor(), torch.__version__.partition("+")[0])


def busy(load: float) -> str:
    """Return a warning if the share of cores in use is high enough to distort latencies, or ""."""
    if load <= BUSY:
        return ""
    return f"warning: this machine is busy ({load:.0%} of its cores are in use), so latencies will be too long"


def check_threads(threads: int) -> None:
    """Raise `ExplorerError` if there are fewer cores than threads."""
    if threads > cores():
        raise ExplorerError(f"threads = {threads}: at most {cores()}, the number of available cores")


def measure(
    networks: Sequence[Network], threads: int = 1, batches: tuple[int, ...] = BATCHES, seconds: float = SECONDS
) -> list[list[BatchTime]]:
    """Time untrained networks on this machine's processor: eager, float32, channels last, inference mode.

    After a warm-up, batches of random images are repeated for about `seconds` in each network, in up to `ROUNDS` rounds
    that take turns with the other networks. If the machine becomes faster or slower meanwhile, as shared machines do,
    all networks are affected, and the spread between rounds shows it.
    """
    import torch

    steps = [step for network in networks for step in _steps(network, batches)]
    rounds: list[list[float]] = [[] for _ in steps]
    with torch_threads(threads), torch.inference_mode():
        once = [min(_times(step, min(seconds, WARM_UP_SECONDS))) for step in steps]
        wanted = [min(ROUNDS, max(FEWEST, math.ceil(seconds / max(time_, 1e-9)))) for time_ in once]
        for number in range(ROUNDS):
            for step, times, most in zip(steps, rounds, wanted, strict=True):
                if number < most:
                    times.append(float(np.median(_times(step, seconds / ROUNDS))))
    found = []
    for place, times in enumerate(rounds):
        lower, median, upper = np.quantile(times, [0.25, 0.5, 0.75]).tolist()
        found.append(BatchTime(batches[place % len(batches)], threads, median, lower, upper, len(times)))
    return [found[start : start + len(batches)] for start in range(0, len(found), len(batches))]


def _steps(network: Network, batches: Sequence[int]) -> list[Callable[[], Any]]:
    import torch

    from explorer.training.trainer import untrained

    model: Any = untrained(network)
    model = model.to(memory_format=torch.channels_last)
    shape = network.input
    images = [torch.rand(batch, shape.channels, shape.size, shape.size) for batch in batches]
    return [partial(model, one.to(memory_format=torch.channels_last)) for one in images]


def _times(step: Callable[[], Any], seconds: float) -> list[float]:
    """Repeat a step for about `seconds`, at least once."""
    times: list[float] = []
    end = time.perf_counter() + seconds
    while not times or time.perf_counter() < end:
        begun = time.perf_counter()
        step()
        times.append(time.perf_counter() - begun)
    return times
