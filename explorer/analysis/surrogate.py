"""A smooth surrogate of accuracy over the metaparameters of a study, with its uncertainty.

It is a Gaussian process (`gaussian_process`) over the study's `coordinates`. What it is fitted to are the mean accuracies of the measured
points, and their noise is the one that all intervals here rest on (`accuracies`), in two parts:

- Each point's own: its seeds, and how images suit it other than they suit all. These blur the surface.
- Shared by all: the sample of images, as far as it moves every point alike. It makes the level of the surface less sure, and leaves
  differences along it alone.

The full covariance of the images, estimated from the same bits, is not used: it grows with what it is the noise of, and a fit by it falls far below
the points (Peelle's pertinent puzzle: Chiba and Smith, ANL/NDM-121, 1991). What neighbours share beyond what all do counts as each one's
own, so that intervals along the surface are a little too narrow where networks are much alike.

Where no point has two seeds, the seeds' variance is not known, and the roughness of the process stands for it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from explorer.analysis.accuracies import CONFIDENCE, Accuracies
from explorer.analysis.gaussian_process import GaussianProcess
from explorer.storage.record import StudyRecord
from explorer.study.coordinates import Coordinates

FEWEST = 5
"""Measured points below which there is no surrogate."""
MOST = 400
"""Measured points that it is fitted to at most: what it takes grows with their third power."""


@dataclass(frozen=True)
class Quality:
    """How well the surrogate predicts the accuracies of points that it has not seen, by leaving out one after the other.

    `inside` is the share of the `points` whose measured accuracy is inside its 95 % predictive interval. `r_squared` is 1 less the mean
    squared error over the variance of the accuracies: 1 is perfect, 0 no better than their mean, below 0 worse; NaN where all are equal.
    """

    points: int
    inside: float
    r_squared: float


@dataclass(frozen=True)
class Surrogate:
    """The surrogate of a study: its coordinates, the numbers of the `points` that it is fitted to, and how many are `measured`.

    Where more than `MOST` points are measured it is fitted to so many of them, which `chosen` spreads over the coordinates.
    """

    coordinates: Coordinates
    points: NDArray[np.int64]
    measured: int
    process: GaussianProcess

    @classmethod
    def fit(cls, record: StudyRecord, frame: pd.DataFrame, accuracies: Accuracies) -> Surrogate | None:
        """That of the measured points, which are the rows of `frame` (`explorer.analysis.measured`), in any order.

        None where fewer than five are measured, where no number varies, and where points leave metaparameters to the preset, as series do.
        """
        coordinates = record.study.form.coordinates
        if coordinates is None or len(frame) < FEWEST:
            return None
        ordered = frame.sort_values("point")
        points, places = (
            ordered["point"].to_numpy(dtype=np.int64),
            coordinates.encode({str(name): column for name, column in ordered.items()}),
        )
        kept = chosen(places, MOST)
        points, places = points[kept], places[kept]
        rows = np.array([accuracies.place(point) for point in points.tolist()])
        noise, shared = accuracies.noise(rows)
        process = GaussianProcess.fit(places, accuracies.means[rows], noise, shared)
        return cls(coordinates, points, len(frame), process)

    def predict(self, columns: Mapping[str, Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Predicted accuracies and their standard deviations, fractions, (designs,) each; not cut off at 0 and 1.

        `columns` has a sequence for each of `coordinates.names`. The deviations are those of the smooth surface: a measurement
        scatters by its noise and by `process.roughness` as well.
        """
        return self.process.predict(self.coordinates.encode(columns))

    def draws(self, columns: Mapping[str, Any], count: int, seed: int = 0) -> NDArray[np.float64]:
        """What the accuracies might be, drawn `count` times for all designs together, (designs, count); some 3,000 designs at most."""
        return self.process.draws(self.coordinates.encode(columns), count, seed)

    def leave_one_out(self) -> pd.DataFrame:
        """What the other points say of each: `point`, `accuracy` (measured), `predicted`, `low` and `high`, fractions, and `inside`.

        The 95 % interval is for a measurement with the point's noise, and `inside` says whether the measured accuracy is in it.
        """
        predicted, deviations = self.process.leave_one_out()
        half = float(stats.norm.ppf((1 + CONFIDENCE) / 2)) * deviations
        found = pd.DataFrame({"point": self.points, "accuracy": self.process.targets, "predicted": predicted})
        found["low"], found["high"] = predicted - half, predicted + half
        return found.assign(inside=np.abs(found["accuracy"] - predicted) <= half)

    def quality(self) -> Quality:
        """`leave_one_out` in two numbers."""
        left_out = self.leave_one_out()
        errors = (left_out["accuracy"] - left_out["predicted"]) ** 2
        differ = np.ptp(left_out["accuracy"]) > 0
        r_squared = 1 - float(errors.mean()) / float(left_out["accuracy"].var(ddof=0)) if differ else math.nan
        return Quality(len(left_out), float(left_out["inside"].mean()), r_squared)


def chosen(places: NDArray[np.float64], most: int) -> NDArray[np.int64]:
    """At most so many of the places, (points, coordinates): all, or again and again the one farthest from those chosen, in rising order.

    The first is the first place. Nothing is chosen by its accuracy, not even the front: the best of many noisy points are those with
    lucky noise, and a surface through them is too high, by three of its own standard deviations in `tests/test_surrogate.py`. Gonzalez,
    Theoretical Computer Science 38, 1985, p. 293.
    """
    if len(places) <= most:
        return np.arange(len(places))
    kept = [0]
    nearest = np.full(len(places), np.inf)
    while len(kept) < most:
        nearest = np.minimum(nearest, ((places - places[kept[-1]]) ** 2).sum(axis=1))
        nearest[kept[-1]] = -1  # not again, even where places coincide
        kept.append(int(nearest.argmax()))
    return np.sort(kept)
