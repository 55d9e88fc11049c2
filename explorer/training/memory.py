"""The peak memory of a piece of work."""

from __future__ import annotations

import resource
import sys
from contextlib import suppress
from pathlib import Path

import torch

CLEAR_REFS, STATUS = Path("/proc/self/clear_refs"), Path("/proc/self/status")
RESET_PEAK = "5"  # proc(5): resets the peak resident set size


class PeakMemory:
    """The peak memory since this object was created.

    On CUDA, this is the peak of torch's allocations. Elsewhere, it is the peak resident memory of the process. Only
    Linux can reset that; other systems report the peak since the process started.
    """

    def __init__(self, device: str) -> None:
        self.device = device
        if device == "cuda":
            torch.cuda.reset_peak_memory_stats()
        else:
            with suppress(OSError):  # for other systems, and kernels that forbid it
                CLEAR_REFS.write_text(RESET_PEAK)

    @property
    def bytes(self) -> int:
        """The peak so far."""
        if self.device == "cuda":
            return torch.cuda.max_memory_allocated()
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return _linux_peak() or (peak if sys.platform == "darwin" else 1024 * peak)


def _linux_peak() -> int | None:
    with suppress(OSError):
        for line in STATUS.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return 1024 * int(line.split()[1])
    return None
