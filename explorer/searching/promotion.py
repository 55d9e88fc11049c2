"""The rule of the search: which point to train next, either a new one or one that is promoted to its next rung.

A rung is a budget with four times the epochs of the rung below. Every point, whether proposed or partly trained, has an
exact cost and a forecast of its accuracy at the top rung. The next point is the one that would add the most hypervolume
to the front per training image that it still needs to reach the top rung, if its accuracy there were optimistic.

- Costs are known before training, so a point only has to beat points that cost no more. A cheap network can be promoted
  with a low accuracy, whereas a ranking by accuracy would stop it.
- Points that would add nothing even with an optimistic accuracy are not trained further, unless later results change
  their forecast.
- Points in wide gaps of the front go first, because they add more hypervolume, and so do points that need few images.
- Only accuracies at the top rung make up the front. Lower rungs only change forecasts.
- No run waits for a rung to be complete. Points in training count as if they had reached their forecast, so that
  workers do not all train similar points.

Promotions without waiting are ASHA's (Li et al., arXiv:1810.05934). With several objectives, Schmucker et al. promote
by non-dominated sorting (arXiv:2106.12639), with no model of accuracy. Optimistic hypervolume per unit of cost is a
usual choice in multi-fidelity Bayesian optimisation (Irshad et al., arXiv:2112.13901). Here all objectives except
accuracy are exact, so a simple forecast is enough. docs/measurements.md shows how much it saves.
"""

from __future__ import annotations

from collections.abc import Sequence

import moocore
import numpy as np
from numpy.typing import NDArray

OPTIMISM = (1, 2, 4, 8, 16)
"""Standard deviations above the forecast; the next one is tried if no point adds to the front with the previous one."""


def next_point(
    forecasts: NDArray[np.float64],
    deviations: NDArray[np.float64],
    costs: NDArray[np.float64],
    images: NDArray[np.float64],
    front: NDArray[np.float64],
    reference: NDArray[np.float64],
    optimism: Sequence[float] = OPTIMISM,
) -> int | None:
    """Return which point to train next, or None if none adds to the front.

    Args:
        forecasts: Expected accuracies at the top rung, (points,).
        deviations: Their standard deviations, (points,).
        costs: Costs on the scale of the front, where less is better, (points, costs).
        images: Training images that each point still needs to reach the top rung, (points,).
        front: The points that have reached it or are on their way: accuracy, then costs, (others, 1 + costs).
        reference: The reference point of hypervolumes: the accuracy of guessing, then the largest costs, (1 + costs,).
        optimism: Standard deviations above the forecast, tried until a point adds to the front.
    """
    for much in optimism:
        gains = gained(np.column_stack([forecasts + much * deviations, costs]), front, reference)
        if gains.any():
            return int((gains / images).argmax())
    return None


def gained(
    points: NDArray[np.float64], front: NDArray[np.float64], reference: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the hypervolume that each point alone would add to a front, (points,); 0 if it is dominated.

    Points and front have the accuracy in the first column and the costs in the others.
    """
    signs = np.ones(len(reference))
    signs[0] = -1
    points, front, corner = points * signs, front * signs, reference * signs
    front = front[(front < corner).all(axis=1)]
    front = front[moocore.is_nondominated(front)] if len(front) else front
    gains = np.zeros(len(points))
    for place in np.flatnonzero((points < corner).all(axis=1)):
        if (front <= points[place]).all(axis=1).any():
            continue
        # A point adds its own box minus the part that the front already covers.
        covered = moocore.hypervolume(np.maximum(front, points[place]), ref=corner) if len(front) else 0.0
        gains[place] = float(np.prod(corner - points[place])) - covered
    return gains
