"""Find the points that have learnt anything, which means that they are clearly better than guessing.

Guessing means always predicting the largest class. Networks that have just begun to learn are slightly better than
that, so an accuracy close to guessing does not say anything about the network yet.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from explorer.analysis.accuracies import Accuracies
from explorer.storage.record import StudyRecord

_OF_THE_REST, _OF_GUESSING = 0.05, 0.5


def near_guessing(guess: float) -> float:
    """Return the accuracy up to which networks count as near guessing, such as 14.5 % for ten equal classes.

    It is 5 % of the way from guessing to 1, or 1.5 times guessing, whichever is lower.
    """
    return guess + min(_OF_THE_REST * (1 - guess), _OF_GUESSING * guess)


def learnt(accuracies: Accuracies, guess: float) -> NDArray[np.bool_]:
    """Return whether each point's interval (or its mean, if that is unknown) is above `near_guessing`, (points,)."""
    low = np.where(accuracies.known, accuracies.intervals().low, accuracies.means)
    return np.asarray(low > near_guessing(guess))


def tells_nothing(record: StudyRecord, accuracies: Accuracies) -> bool:
    """Return whether accuracies are meaningless, because this is a trial run or no point has learnt anything."""
    return record.study.is_trial or not learnt(accuracies, record.guess).any()
