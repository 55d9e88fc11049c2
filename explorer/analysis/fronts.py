"""Pareto fronts of accuracy and costs, the probability that a point is on a front, and hypervolumes.

The front probability of a point is the share of joint draws of all accuracies (`Accuracies.draws`) in which it is on
the front. The hypervolume is the area between a front and a reference point (the accuracy of guessing and the largest
cost), in accuracy times doublings of the cost. Divided by the number of doublings between the smallest and the largest
cost, it is the mean accuracy above guessing of the best affordable point over all budgets. Draws add noise to means
that are already noisy, so the interval is reflected at the estimate (basic bootstrap). Sources and coverage are in
docs/methodology.md.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from typing import Any

import moocore
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import norm

from explorer.analysis.accuracies import Interval
from explorer.analysis.looks import CONFIDENCE
from explorer.networks.quantities import QUANTITIES

_NEAR = 1.15  # costs up to this multiple of the smallest cost in a group are near it
_EVEN = 0.5
_BLOCK = 200  # draws compared at a time, which keeps copies of many points small


ON_FRONT, PROBABILITY = "on_front", "front_probability"
"""Columns of a search: whether a point is on the front of all objectives, and the probability that it is."""


def front_column(cost: str) -> str:
    """Return the name of the column that marks points on the front of a cost."""
    return f"on_{cost}_front"


def probability_column(cost: str) -> str:
    """Return the name of the column with the front probabilities of a cost."""
    return f"{cost}_front_probability"


def more_is_better(cost: str) -> bool:
    """Return whether larger amounts of a cost are better."""
    return cost in QUANTITIES and QUANTITIES[cost].more_is_better


def scaled(amounts: NDArray[Any], cost: str) -> NDArray[np.float64]:
    """Return amounts of a cost in doublings, less being better, as hypervolumes of searches count them."""
    doublings: NDArray[np.float64] = np.log2(np.maximum(amounts.astype(float), 1.0))
    return -doublings if more_is_better(cost) else doublings


def pareto_front(frame: pd.DataFrame, *costs: str) -> pd.Series[bool]:
    """Return a mask of the rows on the Pareto front of accuracy and one or several costs.

    No other row is as good in all of them and better in one. Equal rows are either all on the front or all off it. Rows
    with an unknown cost or accuracy are never on it.
    """
    numbers = frame[["accuracy", *costs]].to_numpy(dtype=float, na_value=math.nan)
    known = np.isfinite(numbers).all(axis=1)
    front = np.zeros(len(frame), dtype=bool)
    # By default, moocore treats NaN as non-dominated and keeps only the first of several equal rows.
    if known.any():
        maximise = [True, *map(more_is_better, costs)]
        front[known] = moocore.is_nondominated(numbers[known], maximise=maximise, keep_weakly=True)
    return pd.Series(front, index=frame.index, dtype=bool)


def front_probability(
    costs: NDArray[np.float64], draws: NDArray[np.float32], maximise: bool | Sequence[bool] = False
) -> NDArray[np.float64]:
    """Return the share of draws in which each point is on the front of accuracy and one or several costs, (points,).

    Args:
        costs: Known costs, (points,) or (points, costs).
        draws: Joint draws of the accuracies, (points, draws).
        maximise: Whether more of a cost is better, for all costs or for each one.
    """
    distinct, groups = np.unique(_columns(costs, maximise), axis=0, return_inverse=True)
    order = np.argsort(groups, kind="stable")
    starts, wins = np.searchsorted(groups[order], np.arange(len(distinct))), np.zeros(len(costs), dtype=np.int64)
    for start in range(0, draws.shape[1], _BLOCK):
        some = draws[:, start : start + _BLOCK]
        best = np.maximum.reduceat(some[order], starts, axis=0)
        # The most accurate point of each cost is on the front if it beats all cheaper ones.
        least = np.where(best > _best_of_cheaper(distinct, best), best, np.float32(np.inf))
        wins += (some >= least[groups]).sum(axis=1)
    shares: NDArray[np.float64] = wins / draws.shape[1]
    return shares


def rival_probability(
    costs: NDArray[np.float64], draws: NDArray[np.float32], maximise: bool | Sequence[bool] = False
) -> NDArray[np.float64]:
    """Return how likely each point is to beat its strongest rival, (points,), to decide whether it is on the front.

    The rivals of a point are those that cost no more. A point without rivals is certainly on the front.
    `front_probability` is too low where many points are close, so it would rule out points that belong to the front.
    Here, a point is compared with one rival at a time, like in a claim. It is on the front if it beats every rival,
    which needs no adjustment. It is off the front if a rival beats it. For this, a probability below a half is
    multiplied by the number of rivals, up to a half (Bonferroni). The arguments are the same as for
    `front_probability`. Differences are assumed to be normal, with their mean and variance over the draws.
    """
    amounts = _columns(costs, maximise)
    found = np.ones(len(amounts))
    for place, own in enumerate(amounts):
        rivals = (amounts <= own).all(axis=1)
        rivals[place] = False
        if rivals.any():
            leads = draws[place] - draws[rivals]
            means, deviations = leads.mean(axis=1), leads.std(axis=1)
            with np.errstate(divide="ignore", invalid="ignore"):
                least = float(norm.cdf(np.nan_to_num((means / deviations).astype(float))).min())
            found[place] = least if least > _EVEN else min(_EVEN, least * rivals.sum())
    return found


def undecided(probability: NDArray[np.float64], confidence: float = CONFIDENCE) -> NDArray[np.bool_]:
    """Return a mask of points that may be on the front or off it, from `rival_probability` and two-sided confidence."""
    tail = (1 - confidence) / 2
    open_: NDArray[np.bool_] = (probability > tail) & (probability < 1 - tail)
    return open_


def _columns(costs: NDArray[np.float64], maximise: bool | Sequence[bool]) -> NDArray[np.float64]:
    """Return costs as (points, costs), with signs that make less better."""
    columns = costs.reshape(len(costs), -1).astype(float)
    return np.where(maximise, -columns, columns)


def _best_of_cheaper(costs: NDArray[np.float64], best: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the best accuracy in each draw among all points that cost no more. `costs` are distinct and sorted."""
    cheaper = np.full_like(best, -np.inf)
    if costs.shape[1] == 1:
        np.maximum.accumulate(best[:-1], axis=0, out=cheaper[1:])
        return cheaper
    for place in range(1, len(costs)):
        rivals = (costs[:place] <= costs[place]).all(axis=1)  # a rival comes earlier in lexicographic order
        if rivals.any():
            best[:place][rivals].max(axis=0, out=cheaper[place])
    return cheaper


@dataclass(frozen=True)
class Reference:
    """The reference of a hypervolume: the accuracy of guessing, and the smallest and largest cost compared."""

    accuracy: float
    smallest: float
    largest: float

    @property
    def doublings(self) -> float:
        """The number of doublings from the smallest to the largest cost."""
        return math.log2(self.largest / self.smallest)


@dataclass(frozen=True)
class Hypervolume:
    """The hypervolume of a front, in accuracy times doublings of the cost."""

    reference: Reference
    area: Interval

    @property
    def mean_accuracy(self) -> Interval:
        """The best affordable point's mean accuracy over all budgets from the smallest to the largest cost."""
        return Interval(*(end / self.reference.doublings + self.reference.accuracy for end in astuple(self.area)))


def reference(costs: NDArray[np.float64], guess: float) -> Reference | None:
    """Return the reference at the accuracy of guessing, or None if there are fewer than two distinct costs."""
    known = costs[np.isfinite(costs)]
    if len(np.unique(known)) < 2:  # noqa: PLR2004
        return None
    return Reference(guess, float(known.min()), float(known.max()))


def hypervolume(
    costs: NDArray[np.float64],
    accuracies: NDArray[np.float64],
    draws: NDArray[np.float32] | None,
    reference: Reference,
    confidence: float = CONFIDENCE,
) -> Hypervolume:
    """Return the hypervolume of points (points,), with an interval from draws of accuracies (points, draws)."""
    area = areas(costs, accuracies[:, None], reference)[0]
    drawn = None if draws is None else areas(costs, draws, reference)
    largest = (1 - reference.accuracy) * reference.doublings
    return Hypervolume(reference, reflected(float(area), drawn, confidence).within(0, largest))


def areas(costs: NDArray[np.float64], accuracies: NDArray[np.floating], reference: Reference) -> NDArray[np.float64]:
    """Return the hypervolume for each column of accuracies (points, columns), clipped to the reference: (columns,)."""
    order = np.argsort(costs, kind="stable")
    ends = np.log2(np.append(np.clip(costs[order], reference.smallest, reference.largest), reference.largest))
    widths, found = np.diff(ends), np.empty(accuracies.shape[1])
    for start in range(0, len(found), _BLOCK):
        columns = slice(start, start + _BLOCK)
        best = np.maximum.accumulate(accuracies[:, columns][order], axis=0)
        found[columns] = widths @ np.clip(best - reference.accuracy, 0, None).astype(np.float64)
    return found


def reflected(estimate: float, draws: NDArray[np.float64] | None, confidence: float = CONFIDENCE) -> Interval:
    """Return the basic bootstrap interval: quantiles of the draws reflected at the estimate."""
    if draws is None:
        return Interval(estimate, math.nan, math.nan)
    low, high = np.quantile(draws, [(1 - confidence) / 2, (1 + confidence) / 2])
    # With thousands of points, all draws may be above the estimate, so their reflection would exclude it.
    return Interval(estimate, min(estimate, 2 * estimate - float(high)), max(estimate, 2 * estimate - float(low)))


def near_in_cost(frame: pd.DataFrame, cost: str) -> list[pd.DataFrame]:
    """Group rows by cost, cheapest first. Within a group, no row costs over 15 % more than the cheapest."""
    groups: list[list[int]] = []
    start = math.nan
    ordered = frame.sort_values(cost, kind="stable")
    for place, amount in enumerate(ordered[cost].astype(float)):
        if not amount <= _NEAR * start:
            groups.append([])
            start = amount
        groups[-1].append(place)
    return [ordered.iloc[places] for places in groups]
