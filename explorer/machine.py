"""The machine that this runs on: processor, cores, load, instruction set, and the threads that torch uses of it."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def processor() -> str:
    """The name of the processor, as the system gives it."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor()


def cores() -> int:
    """The number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def load_average() -> float | None:
    """The mean number of processes that wanted to run in the last minute, per core; None where unknown."""
    try:
        return os.getloadavg()[0] / (os.cpu_count() or 1)
    except OSError:
        return None


def isa_switches() -> dict[str, str]:
    """The environment variables that limit the instruction set of torch, where they are set."""
    return {name: os.environ[name] for name in ("ONEDNN_MAX_CPU_ISA", "ATEN_CPU_CAPABILITY") if name in os.environ}


def isa() -> dict[str, str]:
    """What can change the last bits of a result on this processor: `isa_switches`, and the instruction set in use."""
    import torch

    return isa_switches() | {"isa": torch.backends.cpu.get_cpu_capability()}


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """Temporarily set torch's thread count."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
