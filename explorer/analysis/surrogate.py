"""A smooth surrogate of accuracy over a study's metaparameters: a Gaussian process over its `coordinates`.

The noise in the mean accuracies (`accuracies`) has two parts. Each point has a part of its own, from its seeds and its
particular response to the images, which blurs the surface. All points share the other part, from the sample of images,
which only makes the level uncertain. If no point has two seeds, the seed variance is unknown, and the roughness of the
process accounts for it. docs/methodology.md has the sources and simulated coverage, and explains why the full
covariance between images is not used.
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

from explorer.analysis.accuracies import Accuracies
from explorer.analysis.gaussian_process import GaussianProcess
from explorer.analysis.looks import CONFIDENCE
from explorer.storage.record import StudyRecord
from explorer.study.coordinates import Coordinates

FEWEST = 5
"""Minimum number of measured points for a surrogate."""
MOST = 400
"""Maximum number of measured points to fit. The time grows with its cube."""


@dataclass(frozen=True)
class Quality:
    """Leave-one-out quality of the surrogate's predictions.

    `inside` is the share of `points` with a measured accuracy inside their 95 % predictive interval. `r_squared` is 1
    minus the mean squared error over the variance of the accuracies. A value of 1 is perfect, 0 is no better than
    predicting their mean, and negative values are worse. It is NaN if all accuracies are equal.
    """

    points: int
    inside: float
    r_squared: float


@dataclass(frozen=True)
class Surrogate:
    """The surrogate of a study: its coordinates, the numbers of the fitted `points`, and how many were `measured`.

    If more than `MOST` points are measured, `chosen` selects `MOST` of them that are spread over the coordinates.
    """

    coordinates: Coordinates
    points: NDArray[np.int64]
    measured: int
    process: GaussianProcess

    @classmethod
    def fit(cls, record: StudyRecord, frame: pd.DataFrame, accuracies: Accuracies) -> Surrogate | None:
        """Fit the surrogate to measured points, the rows of `frame` (`explorer.analysis.measured`) in any order.

        Returns None if there are fewer than five points, if no number varies, or if points take metaparameters from
        the preset, as they do in series.
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
        """Return predicted accuracies and their standard deviations, (designs,) each, not clipped to [0, 1].

        `columns` has a sequence for each of `coordinates.names`. The deviations cover only the smooth surface.
        Measurements also vary by their noise and `process.roughness`.
        """
        return self.process.predict(self.coordinates.encode(columns))

    def draws(self, columns: Mapping[str, Any], count: int, seed: int = 0) -> NDArray[np.float64]:
        """Draw plausible accuracies jointly for up to about 3,000 designs, `count` times, (designs, count)."""
        return self.process.draws(self.coordinates.encode(columns), count, seed)

    def leave_one_out(self) -> pd.DataFrame:
        """Predict each point from the others: `point`, `accuracy` (measured), `predicted`, `low`, `high` and `inside`.

        The 95 % interval includes the point's measurement noise. `inside` tells whether it contains the measured
        accuracy.
        """
        predicted, deviations = self.process.leave_one_out()
        half = float(stats.norm.ppf((1 + CONFIDENCE) / 2)) * deviations
        found = pd.DataFrame({"point": self.points, "accuracy": self.process.targets, "predicted": predicted})
        found["low"], found["high"] = predicted - half, predicted + half
        return found.assign(inside=np.abs(found["accuracy"] - predicted) <= half)

    def quality(self) -> Quality:
        """Summarise `leave_one_out` in two numbers."""
        left_out = self.leave_one_out()
        errors = (left_out["accuracy"] - left_out["predicted"]) ** 2
        differ = np.ptp(left_out["accuracy"]) > 0
        r_squared = 1 - float(errors.mean()) / float(left_out["accuracy"].var(ddof=0)) if differ else math.nan
        return Quality(len(left_out), float(left_out["inside"].mean()), r_squared)


def chosen(places: NDArray[np.float64], most: int) -> NDArray[np.int64]:
    """Select up to `most` places (points, coordinates) by greedy farthest-point sampling; return ascending indices.

    Accuracy plays no part. The best of many noisy points were lucky, so a surface through them would be too high.
    """
    if len(places) <= most:
        return np.arange(len(places))
    kept = [0]
    nearest = np.full(len(places), np.inf)
    while len(kept) < most:
        nearest = np.minimum(nearest, ((places - places[kept[-1]]) ** 2).sum(axis=1))
        nearest[kept[-1]] = -1  # never chosen again, even if places coincide
        kept.append(int(nearest.argmax()))
    return np.sort(kept)
