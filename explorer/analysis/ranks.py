"""Rank correlations with their intervals: how well one number orders what another does.

Agreement is Kendall's tau-b and Spearman's rank correlation r. Their 95 % intervals rest on the number of points n: Fisher's
transform has the variance 0.437 / (n - 4) for tau (Fieller, Hartley and Pearson, Biometrika 44, 1957, p. 470) and
(1 + r^2 / 2) / (n - 3) for Spearman (Bonett and Wright, Psychometrika 65, 2000, p. 23). tests/test_certification.py holds their
simulated coverage. They take points for a random sample; of a grid, they say how much such a number of points can tell.

Where every order is the same, the transform has no end. `rank_correlation` then gives the interval from the lower end that the correlation
would have with two neighbours exchanged, up to 1.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from explorer.analysis.accuracies import CONFIDENCE, UNKNOWN, Interval
from explorer.networks.quantities import QUANTITIES

FEWEST = 5
"""Points below which ranks say nothing."""

_ROUNDING = 1e-12  # what computing a correlation of 1 may fall short by

Pairing = list[tuple[NDArray[np.float64], NDArray[np.float64]]]
"""Scores, each with the truth that it is held against."""

_COLUMNS = ("kendall", "kendall_low", "kendall_high", "spearman", "spearman_low", "spearman_high")


def agreement(pairs: Pairing) -> dict[str, float]:
    """Means over pairs of scores, (points,) each, with intervals for so many points.

    Gives `kendall`, `kendall_low`, `kendall_high`, `spearman`, `spearman_low` and `spearman_high`. Needs five points, and scores that differ.
    """
    count = len(pairs[0][1])
    kendall = float(np.mean([stats.kendalltau(one, other).statistic for one, other in pairs]))
    spearman = float(np.mean([stats.spearmanr(one, other).statistic for one, other in pairs]))
    ends = (
        *(kendall, *fisher_interval(kendall, 0.437, count - 4)),
        *(spearman, *fisher_interval(spearman, 1 + spearman**2 / 2, count - 3)),
    )
    return dict(zip(_COLUMNS, ends, strict=True))


def fisher_interval(correlation: float, variance: float, freedom: int) -> tuple[float, float]:
    """The 95 % interval of a rank correlation by Fisher's transform; NaN where every order is the same."""
    if not abs(correlation) < 1 - _ROUNDING:
        return math.nan, math.nan
    half = float(stats.norm.ppf((1 + CONFIDENCE) / 2)) * math.sqrt(variance / freedom)
    middle = math.atanh(correlation)
    return math.tanh(middle - half), math.tanh(middle + half)


@dataclass(frozen=True)
class RankCorrelation:
    """How well one number orders what another does: correlations with 95 % intervals, NaN where they are not known, and the points `n`."""

    n: int
    kendall: Interval
    spearman: Interval


def rank_correlation(one: ArrayLike, other: ArrayLike) -> RankCorrelation:
    """That of two numbers of the same points, (points,) each, as far as both are known.

    Not known for fewer than five points, and where all points have the same number.
    """
    columns = [pd.Series(values).to_numpy(dtype=float, na_value=math.nan) for values in (one, other)]
    known = np.column_stack(columns)[np.isfinite(columns).all(axis=0)]
    count = len(known)
    if count < FEWEST or not np.ptp(known, axis=0).all():
        return RankCorrelation(count, UNKNOWN, UNKNOWN)
    found = list(agreement([(known[:, 0], known[:, 1])]).values())
    # Two neighbours exchanged are one of n (n - 1) / 2 pairs, and two ranks that are off by 1.
    kendall, spearman = 1 - 4 / (count * (count - 1)), 1 - 12 / (count * (count**2 - 1))
    return RankCorrelation(
        count,
        _ended(Interval(*found[:3]), fisher_interval(kendall, 0.437, count - 4)[0]),
        _ended(Interval(*found[3:]), fisher_interval(spearman, 1 + spearman**2 / 2, count - 3)[0]),
    )


def _ended(found: Interval, low: float) -> Interval:
    """The interval; where every order is the same, or turned around, that from 1 to `low`, or from -1 to its negative."""
    if abs(found.estimate) < 1 - 1e-12:
        return found
    return Interval(1.0, low, 1.0) if found.estimate > 0 else Interval(-1.0, -1.0, -low)


def cost_ranks(frame: pd.DataFrame, costs: Sequence[str] | None = None) -> pd.DataFrame:
    """How well each cost alone orders the accuracies of points (`explorer.analysis.measured`), one row each.

    The costs are those that are ranked unless others are given.

    Columns: `cost`, `n` (points where both are known), `kendall`, `kendall_low`, `kendall_high`, `spearman`, `spearman_low` and
    `spearman_high`; NaN where `rank_correlation` knows none.
    """
    rows = []
    ranked = [cost for cost, quantity in QUANTITIES.items() if quantity.ranked and cost in frame]
    for cost in ranked if costs is None else costs:
        found = rank_correlation(frame[cost], frame["accuracy"])
        ends = [end for each in (found.kendall, found.spearman) for end in (each.estimate, each.low, each.high)]
        rows.append({"cost": cost, "n": found.n, **dict(zip(_COLUMNS, ends, strict=True))})
    return pd.DataFrame(rows, columns=["cost", "n", *_COLUMNS])
