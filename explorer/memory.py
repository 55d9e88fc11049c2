"""Peak memory of a stretch of work."""

from __future__ import annotations

import resource
import sys
from pathlib import Path
from types import TracebackType
from typing import Self

import torch


class PeakMemory:
    """Context that measures the peak memory of what runs inside it; read `bytes` after it.

    On CUDA, the peak of what torch allocated. Elsewhere, the peak resident memory of the process: on Linux of the time
    inside the context, on other systems since the process started, which they do not let a program reset.
    """

    def __init__(self, device: str) -> None:
        self.device = device
        self.bytes = 0

    def __enter__(self) -> Self:
        if self.device == "cuda":
            torch.cuda.reset_peak_memory_stats()
        elif sys.platform == "linux":
            Path("/proc/self/clear_refs").write_text("5")  # proc(5): resets the peak resident set size
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self.device == "cuda":
            self.bytes = torch.cuda.max_memory_allocated()
        elif sys.platform == "linux":
            status = Path("/proc/self/status").read_text()
            self.bytes = next(1024 * int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))
        else:
            self.bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
