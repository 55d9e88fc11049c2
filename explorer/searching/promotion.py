"""The rule of the search: which point to train next, a new one or one that goes on to its next rung.

A rung is a budget, and each rung has twice the epochs of the one below. Every point, proposed or trained up to some
rung, has an exact cost and a forecast of its accuracy at the top rung. The next point is the one that would add most
hypervolume to the front of the top rung, with an optimistic accuracy, for each image that it still needs to get there.

- Costs are known before training, so a point only has to beat points that cost no more. A cheap network is promoted
  with a low accuracy; a ranking by accuracy would stop it.
- Whatever adds nothing to the front even with an optimistic accuracy is not trained any further. It may be later, when
  others have changed the forecast.
- Of points that can be on the front, those go first where it is widest, because they add most hypervolume, and those
  that have little left to train.
- Only accuracies at the top rung make up the front. Lower rungs only change forecasts.
- Nothing waits for a rung to be complete. Points in training count as if they had reached their forecast, so workers
  do not all train the same kind of point.

Promotions without waiting are ASHA's (Li et al., arXiv:1810.05934). With several objectives, Schmucker et al. promote
by non-dominated sorting (arXiv:2106.12639), with no model of accuracy. Optimistic hypervolume per cost is the usual
choice of multi-fidelity Bayesian optimisation (Irshad et al., arXiv:2112.13901). Here all objectives but one are exact,
which is why a simple forecast is enough. How much it saves: docs/measurements.md.
"""

from __future__ import annotations

from collections.abc import Sequence

import moocore
import numpy as np
from numpy.typing import NDArray

OPTIMISM = (1, 2, 4, 8, 16)
"""Standard deviations above the forecast; the next one counts where the ones before add nothing to the front."""


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
        forecasts: Accuracies to expect at the top rung, (points,).
        deviations: Their standard deviations, (points,).
        costs: Costs on the scale of the front, less being better, (points, costs).
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
        # What a point adds is its own box without what the front covers of it.
        covered = moocore.hypervolume(np.maximum(front, points[place]), ref=corner) if len(front) else 0.0
        gains[place] = float(np.prod(corner - points[place])) - covered
    return gains
