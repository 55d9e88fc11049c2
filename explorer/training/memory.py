"""Peak memory of a stretch of work."""

from __future__ import annotations

import resource
import sys
from contextlib import suppress
from pathlib import Path

import torch

CLEAR_REFS, STATUS = Path("/proc/self/clear_refs"), Path("/proc/self/status")
RESET_PEAK = "5"  # proc(5): resets the peak resident set size


class PeakMemory:
    """The peak memory of what runs from when this is made.

    On CUDA, the peak of what torch allocated. Elsewhere, the peak resident memory of the process: on Linux from then on,
    on other systems since the process started, which they do not let a program reset.
    """

    def __init__(self, device: str) -> None:
        self.device = device
        if device == "cuda":
            torch.cuda.reset_peak_memory_stats()
        else:
            with suppress(OSError):  # other systems, and kernels that do not let a process do this
                CLEAR_REFS.write_text(RESET_PEAK)

    @property
    def bytes(self) -> int:
        """The peak so far."""
        if self.device == "cuda":
            return torch.cuda.max_memory_allocated()
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return _linux_peak() or (peak if sys.platform == "darwin" else 1024 * peak)


def _linux_peak() -> int | None:
    """The peak since it was reset, or None where the system does not tell."""
    with suppress(OSError):
        for line in STATUS.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return 1024 * int(line.split()[1])
    return None
