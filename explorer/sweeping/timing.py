"""Time one network: measure the latency of a batch of images on this machine while no training is running."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from explorer.errors import ExplorerError
from explorer.machine import cores, processor, torch_threads
from explorer.networks.network import Network

BATCHES = (1, 64)
SECONDS = 2.0  # time for the repeats of a batch
WARM_UP_SECONDS = 0.3
FEWEST = 5  # minimum number of repeats
BUSY = 0.3  # above this load average per core, other work distorts latencies


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
    """The latency of a batch with a given number of threads: median and quartiles over the repeats, in seconds."""

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


def busy(load: float | None) -> str:
    """Return a warning if a load average is high enough to distort latencies, or ""."""
    if load is None or load <= BUSY:
        return ""
    return f"warning: this machine is busy (load average {load:.2f} per core), so latencies will be too long"


def check_threads(threads: int) -> None:
    """Raise `ExplorerError` if there are fewer cores than threads."""
    if threads > cores():
        raise ExplorerError(f"threads = {threads}: at most {cores()}, the number of available cores")


def measure(
    network: Network, threads: int = 1, batches: tuple[int, ...] = BATCHES, seconds: float = SECONDS
) -> list[BatchTime]:
    """Time an untrained network on this machine's processor: eager, float32, channels last, inference mode.

    After a warm-up, a batch of random images is repeated for about `seconds`, but at least five times.
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
            found.append(BatchTime(batch, threads, median, lower, upper, len(times)))
    return found


def _times(step: Callable[[], None], seconds: float) -> list[float]:
    times: list[float] = []
    end = time.perf_counter() + seconds
    while len(times) < FEWEST or time.perf_counter() < end:
        begun = time.perf_counter()
        step()
        times.append(time.perf_counter() - begun)
    return times
