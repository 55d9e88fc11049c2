"""Rank correlations with intervals: how well two numbers agree on the order of points.

These are Kendall's tau-b and Spearman's r. Their 95 % intervals come from Fisher's transform and treat the points as a
random sample. For identical orders the transform is infinite, so `rank_correlation` swaps two neighbours and returns an
interval from the lower end of the result up to 1. Sources are in docs/methodology.md.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from explorer.analysis.accuracies import UNKNOWN, Interval
from explorer.analysis.looks import CONFIDENCE
from explorer.networks.quantities import QUANTITIES

FEWEST = 5
"""Minimum number of points for rank correlations."""

_ROUNDING = 1e-12  # rounding error of a computed correlation of 1

Pairing = list[tuple[NDArray[np.float64], NDArray[np.float64]]]
"""Pairs of scores and the true values that they are compared with."""

_COLUMNS = ("kendall", "kendall_low", "kendall_high", "spearman", "spearman_low", "spearman_high")


def agreement(pairs: Pairing, confidence: float = CONFIDENCE) -> dict[str, float]:
    """Return mean Kendall and Spearman correlations over at least five points with intervals, keyed by column."""
    count = len(pairs[0][1])
    kendall = float(np.mean([stats.kendalltau(one, other).statistic for one, other in pairs]))
    spearman = float(np.mean([stats.spearmanr(one, other).statistic for one, other in pairs]))
    ends = (
        *(kendall, *fisher_interval(kendall, 0.437, count - 4, confidence)),
        *(spearman, *fisher_interval(spearman, 1 + spearman**2 / 2, count - 3, confidence)),
    )
    return dict(zip(_COLUMNS, ends, strict=True))


def fisher_interval(
    correlation: float, variance: float, freedom: int, confidence: float = CONFIDENCE
) -> tuple[float, float]:
    """Return the interval of a rank correlation from Fisher's transform; NaN for identical orders."""
    if not abs(correlation) < 1 - _ROUNDING:
        return math.nan, math.nan
    half = float(stats.norm.ppf((1 + confidence) / 2)) * math.sqrt(variance / freedom)
    middle = math.atanh(correlation)
    return math.tanh(middle - half), math.tanh(middle + half)


@dataclass(frozen=True)
class RankCorrelation:
    """Rank correlations of `n` points with 95 % intervals; NaN if unknown."""

    n: int
    kendall: Interval
    spearman: Interval


def rank_correlation(one: ArrayLike, other: ArrayLike, confidence: float = CONFIDENCE) -> RankCorrelation:
    """Correlate two arrays of values for the same points, (points,) each, at the points where both are known.

    The result is unknown for fewer than five points, or if all values in an array are equal.
    """
    columns = [pd.Series(values).to_numpy(dtype=float, na_value=math.nan) for values in (one, other)]
    known = np.column_stack(columns)[np.isfinite(columns).all(axis=0)]
    count = len(known)
    if count < FEWEST or not np.ptp(known, axis=0).all():
        return RankCorrelation(count, UNKNOWN, UNKNOWN)
    found = list(agreement([(known[:, 0], known[:, 1])], confidence).values())
    # Swapping two neighbours changes one of n (n - 1) / 2 pairs, and moves two ranks by 1.
    kendall, spearman = 1 - 4 / (count * (count - 1)), 1 - 12 / (count * (count**2 - 1))
    return RankCorrelation(
        count,
        _ended(Interval(*found[:3]), fisher_interval(kendall, 0.437, count - 4, confidence)[0]),
        _ended(Interval(*found[3:]), fisher_interval(spearman, 1 + spearman**2 / 2, count - 3, confidence)[0]),
    )


def _ended(found: Interval, low: float) -> Interval:
    """Return the interval; for identical orders, from `low` to 1, and for reversed orders, from -1 to -`low`."""
    if abs(found.estimate) < 1 - _ROUNDING:
        return found
    return Interval(1.0, low, 1.0) if found.estimate > 0 else Interval(-1.0, -1.0, -low)


def cost_ranks(frame: pd.DataFrame) -> pd.DataFrame:
    """Return how well costs alone rank the accuracies of `explorer.analysis.measured`, one row per cost.

    Columns: `cost` (each ranked cost in the frame), `n` (number of points where both are known), and the two
    correlations with their intervals, NaN if unknown.
    """
    rows = []
    for cost in (cost for cost, quantity in QUANTITIES.items() if quantity.ranked and cost in frame):
        found = rank_correlation(frame[cost], frame["accuracy"])
        ends = [end for each in (found.kendall, found.spearman) for end in (each.estimate, each.low, each.high)]
        rows.append({"cost": cost, "n": found.n, **dict(zip(_COLUMNS, ends, strict=True))})
    return pd.DataFrame(rows, columns=["cost", "n", *_COLUMNS])
