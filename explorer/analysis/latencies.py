"""The latencies of a study's networks that can be compared: those of one machine, batch and number of threads."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

_CONDITIONS = ["processor", "torch", "dtype", "batch", "threads"]


@dataclass(frozen=True)
class StudyLatencies:
    """Median seconds of a batch by network digest, and under which conditions they were taken."""

    seconds: pd.Series[float]
    processor: str
    torch: str
    dtype: str
    batch: int
    threads: int

    @property
    def conditions(self) -> str:
        """What must be the same for latencies to be compared, in words."""
        threads = f"{self.threads} thread{'s' if self.threads > 1 else ''}"
        return f"batches of {self.batch} on {threads}, {self.dtype}, {self.processor}, torch {self.torch}"

    @classmethod
    def of(cls, latencies: pd.DataFrame | None) -> StudyLatencies | None:
        """The conditions that most networks were measured under, the smallest batch first; None where nothing was measured.

        `latencies` are those of `ledger.latencies.of`.
        """
        if latencies is None or latencies.empty:
            return None
        groups = sorted(
            ((conditions, rows) for conditions, rows in latencies.groupby(_CONDITIONS)),
            key=lambda group: (-len(group[1]), group[1]["batch"].iloc[0], group[1]["threads"].iloc[0]),
        )
        rows = groups[0][1]
        first = rows.iloc[0]
        return cls(
            seconds=rows.set_index("network")["median_seconds"],
            processor=str(first["processor"]),
            torch=str(first["torch"]),
            dtype=str(first["dtype"]),
            batch=int(first["batch"]),
            threads=int(first["threads"]),
        )
