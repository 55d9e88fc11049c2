"""Select the latencies of a study that were measured under the same conditions."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd


@dataclass(frozen=True)
class StudyLatencies:
    """Median seconds per batch by network digest, with the batch size and a description of the conditions."""

    seconds: pd.Series[float]
    batch: int
    conditions: str

    @classmethod
    def of(cls, latencies: pd.DataFrame | None) -> StudyLatencies | None:
        """From `ledger.latencies.of`, select the conditions shared by most networks, preferring small batches."""
        if latencies is None or latencies.empty:
            return None
        groups = [rows for _, rows in latencies.groupby(["processor", "torch", "dtype", "batch", "threads"])]
        rows = min(groups, key=lambda group: (-len(group), *group[["batch", "threads"]].iloc[0]))
        first = rows.iloc[0]
        threads = f"{first['threads']} thread{'s' if first['threads'] > 1 else ''}"
        machine = f"{first['dtype']}, {first['processor']}, torch {first['torch']}"
        conditions = f"batches of {first['batch']} on {threads}, {machine}"
        return cls(rows.set_index("network")["median_seconds"], int(first["batch"]), conditions)
