"""Time, computation and memory of a study's runs."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd


@dataclass(frozen=True)
class Effort:
    """Totals over the finished runs of a study that have stored times.

    `core_seconds` is the sum of the times of all runs, each on one thread. `busy_seconds` is the wall-clock time during
    which at least one run was active. `macs` are the multiply-adds of training, three times those of the forward pass.
    `first` and `last` are the start of the first run and the end of the last one (UTC).
    """

    runs: int
    core_seconds: float
    busy_seconds: float
    macs: float
    peak_memory_bytes: int
    first: pd.Timestamp
    last: pd.Timestamp


def effort(runs: pd.DataFrame, points: pd.DataFrame) -> Effort | None:
    """Add up runs, each with the training `images` that it took; return None if no run has finished."""
    ended = runs[runs["seconds"].notna()]
    if ended.empty:
        return None
    ends = pd.to_datetime(ended["finished"], utc=True, format="ISO8601")
    starts = ends - pd.to_timedelta(ended["seconds"], unit="s")
    macs = ended["point"].map(points.set_index("point")["macs"].astype(float))
    return Effort(
        runs=len(ended),
        core_seconds=float(ended["seconds"].sum()),
        busy_seconds=_covered(starts, ends),
        macs=float(3 * (macs * ended["images"]).sum()),
        peak_memory_bytes=int(ended["peak_memory_bytes"].max()),
        first=starts.min(),
        last=ends.max(),
    )


def _covered(starts: pd.Series[pd.Timestamp], ends: pd.Series[pd.Timestamp]) -> float:
    """Return the total seconds covered by the intervals, counting overlaps once."""
    order = starts.argsort()
    begin, end = starts.iloc[order].reset_index(drop=True), ends.iloc[order].reset_index(drop=True)
    reached = end.cummax().shift()
    fresh = begin.where(reached.isna() | (begin > reached), reached)
    return float((end - fresh).dt.total_seconds().clip(lower=0).sum())
