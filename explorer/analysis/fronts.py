"""Pareto fronts of accuracy and costs, how sure it is who is on them, and how much they enclose.

**Probability.** A point is on the front of a cost if no other is as accurate for as little, one of both better. How sure that is, is
the share of joint draws of all accuracies (`Accuracies.draws`) in which it holds; costs are exact. With two points of unlike cost
it is one for the cheaper, and for the dearer the probability that its accuracy is the higher one.

**Hypervolume.** The area between the front and a reference point that all points are better than: the accuracy of guessing, and the
largest cost that is compared. Costs count by their logarithm, base 2, so the area is in accuracy times doublings of the cost; divided
by the doublings between the smallest and the largest cost it is the mean accuracy above guessing that the best affordable point has,
over all budgets between these. Its interval comes from the same draws. As the best of noisy values is above the best of true ones, and a draw adds noise once
more, the interval is reflected at the estimate (the basic bootstrap: Davison and Hinkley, Bootstrap Methods and their Application,
1997, section 5.2). Zitzler and Thiele, PPSN V, 1998, p. 292 (the measure).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import moocore
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from explorer.analysis.accuracies import CONFIDENCE, Interval
from explorer.networks.quantities import QUANTITIES

_NEAR = 1.15  # costs up to so many times the least of a group are near to it


def front_column(cost: str) -> str:
    """The column that says whether a point is on the front of accuracy and a cost."""
    return f"on_{cost}_front"


def probability_column(cost: str) -> str:
    """The column that says with which probability it is."""
    return f"{cost}_front_probability"


def more_is_better(cost: str) -> bool:
    """Which way a cost is better."""
    return cost in QUANTITIES and QUANTITIES[cost].more_is_better


def pareto_front(frame: pd.DataFrame, costs: str | Sequence[str], value: str = "accuracy") -> pd.Series[bool]:
    """Whether each row is on the Pareto front of some costs and much `value`: none is as good in all and better in one.

    A cost is better the less it is, unless the table of quantities says otherwise.

    Rows where one of them is not known are not on the front. Of rows that are equal in all, all are.
    """
    columns = [costs] if isinstance(costs, str) else list(costs)
    numbers = frame[[*columns, value]].to_numpy(dtype=float, na_value=math.nan)
    known = np.isfinite(numbers).all(axis=1)
    front = np.zeros(len(frame), dtype=bool)
    # moocore takes NaN for non-dominated, and by itself keeps only the first of equal rows.
    if known.any():
        maximise = [*map(more_is_better, columns), True]
        front[known] = moocore.is_nondominated(numbers[known], maximise=maximise, keep_weakly=True)
    return pd.Series(front, index=frame.index, dtype=bool)


def front_probability(costs: NDArray[np.float64], draws: NDArray[np.float32]) -> NDArray[np.float64]:
    """The share of the draws, (points, draws), in which each point is on the front of its cost and accuracy, (points,)."""
    order = np.argsort(costs, kind="stable")
    drawn = draws[order]
    _, starts, groups = np.unique(costs[order], return_index=True, return_inverse=True)
    best = np.maximum.reduceat(drawn, starts, axis=0)
    cheaper = np.full_like(best, -np.inf)
    np.maximum.accumulate(best[:-1], axis=0, out=cheaper[1:])
    # Of points of equal cost the most accurate, if it beats all that cost less.
    on_front = (drawn >= best[groups]) & (drawn > cheaper[groups])
    shares = np.empty(len(costs))
    shares[order] = on_front.mean(axis=1)
    return shares


@dataclass(frozen=True)
class Reference:
    """What a hypervolume is measured from: the accuracy of guessing, and the smallest and the largest cost that are compared."""

    accuracy: float
    smallest: float
    largest: float

    @property
    def doublings(self) -> float:
        """How often the smallest cost doubles up to the largest."""
        return math.log2(self.largest / self.smallest)


@dataclass(frozen=True)
class Hypervolume:
    """What a front encloses, in accuracy times doublings of the cost, with its interval; NaN where that is not known."""

    cost: str
    reference: Reference
    area: Interval

    @property
    def mean_accuracy(self) -> Interval:
        """The mean accuracy that the best affordable point has, over all budgets from the smallest to the largest cost."""
        return Interval(
            *(
                end / self.reference.doublings + self.reference.accuracy
                for end in (self.area.estimate, self.area.low, self.area.high)
            )
        )


def reference(costs: NDArray[np.float64], classes: int) -> Reference | None:
    """The reference point of some costs; None where all are equal, as nothing can be enclosed then."""
    known = costs[np.isfinite(costs)]
    if len(np.unique(known)) < 2:  # noqa: PLR2004
        return None
    return Reference(1 / classes, float(known.min()), float(known.max()))


def hypervolume(
    cost: str,
    costs: NDArray[np.float64],
    accuracies: NDArray[np.float64],
    draws: NDArray[np.float32] | None,
    reference: Reference,
) -> Hypervolume:
    """What the front of points encloses, (points,) and draws of the accuracies, (points, draws)."""
    area = areas(costs, accuracies[:, None], reference)[0]
    drawn = None if draws is None else areas(costs, draws, reference)
    return Hypervolume(cost, reference, reflected(float(area), drawn))


def areas(costs: NDArray[np.float64], accuracies: NDArray[np.floating], reference: Reference) -> NDArray[np.float64]:
    """The area under the staircase of each column of accuracies, (points, columns), above the reference and within its costs, (columns,)."""
    order = np.argsort(costs, kind="stable")
    ends = np.log2(np.append(np.clip(costs[order], reference.smallest, reference.largest), reference.largest))
    heights = np.clip(np.maximum.accumulate(accuracies[order], axis=0) - reference.accuracy, 0, None)
    found: NDArray[np.float64] = np.diff(ends) @ heights.astype(np.float64)
    return found


def reflected(estimate: float, draws: NDArray[np.float64] | None) -> Interval:
    """The basic bootstrap interval: the quantiles of the draws, reflected at the estimate."""
    if draws is None:
        return Interval(estimate, math.nan, math.nan)
    low, high = np.quantile(draws, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    # Where draws lie all above the estimate, as with thousands of points, their reflection would leave it out.
    return Interval(estimate, min(estimate, 2 * estimate - float(high)), max(estimate, 2 * estimate - float(low)))


def near_in_cost(frame: pd.DataFrame, cost: str) -> list[pd.DataFrame]:
    """The rows in groups of near-equal cost, from the least: none costs over 15 % more than the first of its group."""
    groups: list[list[int]] = []
    start = math.nan
    ordered = frame.sort_values(cost, kind="stable")
    for place, amount in enumerate(ordered[cost].astype(float)):
        if amount <= _NEAR * start:
            groups[-1].append(place)
        else:
            groups.append([place])
            start = amount
    return [ordered.iloc[places] for places in groups]
