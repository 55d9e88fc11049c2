"""The result of a search: the points on the front of all its objectives, and the best one within the limits."""

from __future__ import annotations

from collections.abc import Sequence

import moocore
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from explorer.analysis.fronts import front_probability, more_is_better

ON_FRONT, PROBABILITY = "on_front", "front_probability"
"""Columns that mark the points on the front of all objectives of a search, with the front probability."""


def with_joint_front(
    points: pd.DataFrame, costs: Sequence[str], own: pd.Series[bool], draws: NDArray[np.float32] | None
) -> pd.DataFrame:
    """Return points with the columns `ON_FRONT` and `PROBABILITY` (NaN if unknown).

    Args:
        points: The points of a search, of which those of `own` have an accuracy.
        costs: The costs to trade accuracy against.
        own: Which points have an accuracy.
        draws: Joint draws of these accuracies, (points, draws).
    """
    front = joint_front(points[own], costs)["point"]
    found = pd.Series(np.nan, index=points.index)
    if draws is not None and own.any() and costs:
        amounts = points.loc[own, list(costs)].to_numpy(dtype=float)
        found[own] = front_probability(amounts, draws, maximise=list(map(more_is_better, costs)))
    marked = points.copy()
    marked[ON_FRONT], marked[PROBABILITY] = points["point"].isin(front), found
    return marked


def joint_front(points: pd.DataFrame, costs: Sequence[str]) -> pd.DataFrame:
    """Return the rows on the front of accuracy and all costs, cheapest first; equal rows are all on it.

    Args:
        points: The measured points with `accuracy` and the costs, all of one budget.
        costs: The costs to trade accuracy against; with none, the most accurate rows are the front.
    """
    known = points[points["accuracy"].notna()]
    if known.empty:
        return known
    numbers = known[["accuracy", *costs]].to_numpy(dtype=float)
    maximise = [True, *map(more_is_better, costs)]
    on_front = np.asarray(moocore.is_nondominated(numbers, maximise=maximise, keep_weakly=True))
    return known[on_front].sort_values([*costs, "accuracy"], kind="stable")


def most_accurate(points: pd.DataFrame) -> int | None:
    """Return the number of the point with the highest accuracy, or None if none is known."""
    known = points[points["accuracy"].notna()]
    return None if known.empty else int(known["point"].iloc[int(known["accuracy"].to_numpy().argmax())])
