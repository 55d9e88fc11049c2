"""Which points have learnt anything: those that are shown to be better than guessing, by more than a little.

Guessing is always naming the largest class. Networks that have only begun to learn are a little better than that, so
an accuracy near it says nothing yet about the network.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from explorer.analysis.accuracies import Accuracies
from explorer.storage.record import StudyRecord

_OF_THE_REST, _OF_GUESSING = 0.05, 0.5


def near_guessing(guess: float) -> float:
    """Return the accuracy up to which networks are near guessing: 14.5 % for ten equal classes, 52.5 % for two.

    It is 5 % of the way from guessing to 1, or half as much again as guessing, whichever is lower.
    """
    return guess + min(_OF_THE_REST * (1 - guess), _OF_GUESSING * guess)


def learnt(accuracies: Accuracies, guess: float) -> NDArray[np.bool_]:
    """Return which points are shown to be above `near_guessing`, (points,): their intervals are, or if these are
    unknown, their means.
    """
    low = np.where(accuracies.known, accuracies.intervals().low, accuracies.means)
    return np.asarray(low > near_guessing(guess))


def tells_nothing(record: StudyRecord, accuracies: Accuracies) -> bool:
    """Return whether accuracies cannot be compared: it is a trial run, or no point has learnt anything."""
    return record.study.is_trial or not learnt(accuracies, record.guess).any()
