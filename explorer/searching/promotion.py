"""The rule of the search: which point goes on to the next rung.

A rung is a budget, and each rung has twice the epochs of the one below. A point is promoted when, with its optimistic
accuracy and exact cost, it would add to the Pareto front of the points that have been promoted before it, all taken
at the same rung. Of these, the one that adds most hypervolume goes first, so ties go where the front is widest.

- All costs are known before training, so a point needs to compete only with points that cost no more. A cheap network
  is promoted with a low accuracy; a ranking by accuracy would stop it.
- Accuracies of different rungs are never compared. A larger budget raises all of them, though not equally, which is
  why a point's accuracy is taken as optimistic: its mean plus `DOUBT`, the spread of what rungs get wrong.
- Promotions are asynchronous: nothing waits for a rung to be complete. As long as points are still proposed, at most
  one in `SHARE` of a rung's points goes on, so all rungs together cost a small multiple of the first one. A point that
  is passed over may still be promoted later, when more points have reached its rung.

Successive halving without waiting is ASHA (Li et al., arXiv:1810.05934). For several objectives, Schmucker et al.
(arXiv:2106.12639) promote by non-dominated sorting. Hypervolume takes its place here, because only the accuracy has to
be measured: the costs are exact and known in advance.
"""

from __future__ import annotations

import moocore
import numpy as np
from numpy.typing import NDArray

SHARE = 3
DOUBT = 0.01
"""Accuracy by which a rung's ranking is off, one standard deviation (measured: benchmarks/search.py)."""


def next_promoted(
    accuracies: NDArray[np.float64],
    costs: NDArray[np.float64],
    promoted: NDArray[np.bool_],
    reference: NDArray[np.float64],
    *,
    limited: bool = True,
) -> int | None:
    """Return the point of one rung to promote next, or None.

    Args:
        accuracies: Accuracies at this rung, (points,).
        costs: Costs on the scale of the front, less being better, (points, costs).
        promoted: Which points have been promoted before, (points,).
        reference: The reference point of hypervolumes: the accuracy of guessing, then the largest costs, (1 + costs,).
        limited: Whether only a share of the points goes on, which leaves budget for proposals.
    """
    if limited and (promoted.sum() + 1) * SHARE > len(accuracies):
        return None
    waiting = np.flatnonzero(~promoted)
    gains = gained(accuracies[waiting] + DOUBT, costs[waiting], accuracies[promoted], costs[promoted], reference)
    if not len(gains) or gains.max() <= 0:
        return None
    return int(waiting[gains.argmax()])


def gained(
    accuracies: NDArray[np.float64],
    costs: NDArray[np.float64],
    front_accuracies: NDArray[np.float64],
    front_costs: NDArray[np.float64],
    reference: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Return the hypervolume that each point alone would add to a front, (points,); 0 if it is dominated."""
    front = np.column_stack([-front_accuracies, front_costs])
    points = np.column_stack([-accuracies, costs])
    corner = np.concatenate([[-reference[0]], reference[1:]])
    if len(front):
        front = front[moocore.is_nondominated(front)]
    gains = np.zeros(len(points))
    for place in np.flatnonzero((points < corner).all(axis=1)):
        if len(front) and (front <= points[place]).all(axis=1).any():
            continue
        # What a point adds is its own box without what the front covers of it.
        box = float(np.prod(corner - points[place]))
        gains[place] = box - (moocore.hypervolume(np.maximum(front, points[place]), ref=corner) if len(front) else 0.0)
    return gains
