"""Select the latencies of a study that were measured under the same conditions."""

from __future__ import annotations

import math
from dataclasses import dataclass

import pandas as pd

from explorer.analysis.accuracies import Interval

NORMAL = 1.96  # standard errors on either side of an estimate in a 95 % interval


@dataclass(frozen=True)
class StudyLatencies:
    """Median seconds per batch by network digest, with the batch size and a description of the conditions.

    `errors` are the medians' standard errors as fractions: 0.926 times the distance of the quartiles over the root of
    the number of rounds (McGill, Tukey and Larsen 1978, The American Statistician 32, p. 16).
    """

    seconds: pd.Series[float]
    errors: pd.Series[float]
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
        rows = rows.set_index("network")
        spread = (rows["upper_seconds"] - rows["lower_seconds"]) / rows["median_seconds"]
        errors = 0.926 * spread / rows["repeats"].astype(float) ** 0.5
        return cls(rows["median_seconds"], errors, int(first["batch"]), conditions)

    def ratio(self, network: str, other: str) -> Interval:
        """Return how many times as long a network takes as another one, by their digests.

        The interval is that of the logarithm of the ratio. It covers how much the rounds of one measurement differ.
        """
        ratio = self.seconds[network] / self.seconds[other]
        half = NORMAL * math.hypot(self.errors[network], self.errors[other])
        return Interval(ratio, ratio * math.exp(-half), ratio * math.exp(half))
