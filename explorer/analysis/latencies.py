"""Select the latencies of a study that were measured under the same conditions."""

from __future__ import annotations

import math
from dataclasses import dataclass

import pandas as pd
from scipy import stats

from explorer.analysis.accuracies import Interval

ROUNDS = 20
"""Most rounds of a measurement. Stored rows with more repeats were measured without rounds; claims do not use them."""


@dataclass(frozen=True)
class StudyLatencies:
    """Median seconds per batch by network digest, with the batch size and a description of the conditions.

    `halves` are half the widths of the medians' 95 % intervals, as fractions. The standard error is 0.926 times the
    distance of the quartiles over the root of the number of rounds (McGill, Tukey and Larsen 1978, The American
    Statistician 32, p. 16), and the quantile is Student's. They are NaN for latencies measured without rounds.
    """

    seconds: pd.Series[float]
    halves: pd.Series[float]
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
        rounds = rows["repeats"].astype(float)
        halves = 0.926 * spread / rounds**0.5 * pd.Series(stats.t.ppf(0.975, rounds - 1), rounds.index)
        halves = halves.where(rounds <= ROUNDS)
        return cls(rows["median_seconds"], halves, int(first["batch"]), conditions)

    def ratio(self, network: str, other: str) -> Interval:
        """Return how many times as long a network takes as another one, by their digests.

        The interval, computed for the logarithm, allows for the spread between the rounds of a measurement.
        """
        ratio = self.seconds[network] / self.seconds[other]
        half = math.hypot(self.halves[network], self.halves[other])
        return Interval(ratio, ratio * math.exp(-half), ratio * math.exp(half))


def in_rounds(latencies: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of `ledger.latencies.of` that were measured in rounds, whose spread can be compared."""
    return latencies[latencies["repeats"] <= ROUNDS]
