"""Facts about the machine (processor, cores, load, instruction set), and settings of this process for a while."""

from __future__ import annotations

import gc
import math
import os
import platform
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from explorer.cgroups import cpu_limit, memory_limit


def processor() -> str:
    """The name of the processor."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor()


def cores() -> int:
    """The number of cores available to this process, given its affinity and container quota."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = cpu_limit()
    return allowed if quota is None else max(1, min(allowed, math.ceil(quota)))


def memory() -> int | None:
    """The memory available to this process, in bytes: the machine's memory, or the container's limit if lower."""
    try:
        installed = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (OSError, ValueError):
        installed = None
    return min((limit for limit in (installed, memory_limit()) if limit), default=None)


def load() -> float:
    """Share of the machine's cores in use, over half a second. Unlike a load average, it forgets earlier work."""
    import psutil

    return float(psutil.cpu_percent(interval=0.5)) / 100


def isa_switches() -> dict[str, str]:
    """The environment variables that limit torch's instruction set, if they are set."""
    return {name: os.environ[name] for name in ("ONEDNN_MAX_CPU_ISA", "ATEN_CPU_CAPABILITY") if name in os.environ}


def isa() -> dict[str, str]:
    """The instruction set that torch uses and `isa_switches`. Both can change the last bits of a result."""
    import torch

    return isa_switches() | {"isa": torch.backends.cpu.get_cpu_capability()}


@contextmanager
def environment(variables: Mapping[str, str | None]) -> Iterator[None]:
    """Temporarily set environment variables. None unsets a variable."""
    before = {name: os.environ.get(name) for name in variables}
    _set_environment(variables)
    try:
        yield
    finally:
        _set_environment(before)


def _set_environment(variables: Mapping[str, str | None]) -> None:
    for name, value in variables.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


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


@contextmanager
def collection_paused() -> Iterator[None]:
    """Pause Python's cyclic garbage collector while many objects are created that stay.

    Otherwise, it keeps rescanning them, along with all objects of the imported packages.
    """
    running = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if running:
            gc.enable()
