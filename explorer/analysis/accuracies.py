"""Accuracies of a study's points with their uncertainty: intervals, differences and joint draws.

A point is measured with n seeds on m validation images, and both are samples. Whether seed s classifies image i
correctly is modelled as

    y[s, i] = accuracy + image[i] + seed[s] + noise[s, i]       with variances A, B and G.

The variance of the mean is then A/m + B/n + G/(n m) = A/m + S^2/n, where S^2 estimates B + G/m. S^2 is the variance of
a run's accuracy between seeds, pooled over points. The degrees of freedom follow Welch and Satterthwaite, assuming that
the spread between seeds is the same at all points.

Runs that start from the same trained network, one for each seed, share its luck. Two such points are compared seed by
seed: S^2 is then the variance of what is left after the mean of each point and of each seed, pooled over these points.

Near 0 and 1, or with few images, A can be far too low: 27 correct answers out of 27 do not vary at all. The images of
an accuracy are therefore treated as a binomial sample with an effective size, and a difference is computed with one
more image in favour of each side. With thousands of images, neither matters. Sources and simulated coverage are in
docs/methodology.md.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple, TypeGuard

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from explorer.analysis.gaussian_process import one_thread
from explorer.analysis.looks import CONFIDENCE, looks, repeated_confidence
from explorer.storage.record import StudyRecord
from explorer.study.model import Study

_LEAST_SHARE = 1e-6  # minimum share of the variance explained by images, which keeps effective sizes finite
# Of `Accuracies`, with one entry for each point.
_COLUMNS = ("points", "seeds", "means", "spreads", "counts", "known", "groups")
ALONE = -1
"""The group of a point whose seeds are independent of those of all others."""
_ROWS = 500  # points processed at a time; 10,000 points then need little more memory than their bits


@dataclass(frozen=True)
class Interval:
    """An estimate and the ends of its 95 % interval; NaN if unknown."""

    estimate: float
    low: float
    high: float

    @property
    def separated(self) -> bool:
        """Whether a difference is separated from 0, meaning that its interval is known and excludes 0."""
        return self.low > 0 or self.high < 0

    def within(self, least: float, most: float) -> Interval:
        """Clip the ends to the range of the quantity. NaN stays NaN."""
        low, high = np.clip((self.low, self.high), least, most)
        return Interval(self.estimate, float(low), float(high))


class Intervals(NamedTuple):
    """Estimates and the ends of their 95 % intervals, each of shape (points,)."""

    estimate: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]


UNKNOWN = Interval(math.nan, math.nan, math.nan)


@dataclass(frozen=True)
class SeedVariance:
    """Variance of a run's accuracy between seeds, pooled over a study's points, and its degrees of freedom."""

    variance: float
    freedom: int

    @classmethod
    def of(cls, seeds: NDArray[np.int64], spreads: NDArray[np.float64]) -> SeedVariance:
        """Pool the standard deviations of points. If no point has two seeds, the degrees of freedom are 0."""
        freedom = int((seeds - 1).sum())
        squares = float(np.nansum((seeds - 1) * spreads**2))
        return cls(squares / freedom if freedom else 0.0, freedom)

    @classmethod
    def paired(cls, accuracies: Sequence[NDArray[np.float64]]) -> SeedVariance:
        """Pool what is left after the means of points and of seeds; `accuracies` has (points, seeds) for each group."""
        left = [one - one.mean(axis=0) - one.mean(axis=1, keepdims=True) + one.mean() for one in accuracies]
        freedom = sum((one.shape[0] - 1) * (one.shape[1] - 1) for one in accuracies)
        squares = float(sum(np.square(one).sum() for one in left))
        return cls(squares / freedom if freedom else 0.0, freedom)

    @property
    def deviation(self) -> float:
        """The standard deviation between seeds as a fraction; NaN if no point has two seeds."""
        return math.sqrt(self.variance) if self.freedom else math.nan


@dataclass(frozen=True)
class Accuracies:
    """The points of a study that have finished runs, one entry each, sorted by number.

    `seeds` is the number of finished runs. `means` and `spreads` are the mean and the standard deviation of their
    accuracies (NaN for fewer than two runs). `counts` (points, images) is the number of seeds that classified each
    validation image correctly. `known` is False if the bits of a run are not stored, in which case only the mean is
    known. Points of the same group, unless it is `ALONE`, start from the same trained networks, one for each seed, and
    `paired` is the variance between their seeds apart from that of these networks. `confidence` is the confidence of
    each interval. If the study adds seeds until something is decided, it is above 95 %, which makes the intervals at
    all looks hold together with 95 % (`looks`).
    """

    points: NDArray[np.int64]
    seeds: NDArray[np.int64]
    means: NDArray[np.float64]
    spreads: NDArray[np.float64]
    counts: NDArray[np.unsignedinteger[Any]]
    known: NDArray[np.bool_]
    groups: NDArray[np.int64]
    pooled: SeedVariance
    paired: SeedVariance = SeedVariance(0.0, 0)
    confidence: float = CONFIDENCE

    @classmethod
    def of(cls, record: StudyRecord) -> Accuracies:
        """Return the accuracies of the stored runs of a study."""
        done = record.runs[record.runs["state"] == "done"]
        points, places, seeds = np.unique(
            done["point"].to_numpy(dtype=np.int64), return_inverse=True, return_counts=True
        )
        # The dtype is object if some runs have no accuracy.
        accuracies = done["accuracy"].to_numpy(dtype=float)
        means = np.bincount(places, accuracies) / seeds
        squares = np.bincount(places, (accuracies - means[places]) ** 2)
        spreads = np.sqrt(squares / np.where(seeds > 1, seeds - 1, math.nan))
        images = validation_images(record)
        counts = np.zeros((len(points), images), dtype=np.min_scalar_type(seeds.max(initial=0)))
        unknown = np.array([not is_stored(bits) or len(bits) != images for bits in done["correct"]], dtype=bool)
        known = (np.bincount(places, unknown) == 0) & (images > 0)
        for place, bits in zip(places, done["correct"], strict=True):
            if known[place]:
                counts[place] += bits
        groups, together = _groups(record, points, done)
        return cls(
            points=points,
            seeds=seeds,
            means=means,
            spreads=spreads,
            counts=counts,
            known=known,
            groups=groups,
            pooled=SeedVariance.of(seeds, spreads),
            paired=SeedVariance.paired(together),
            confidence=interval_confidence(record.study),
        )

    @classmethod
    def joined(cls, several: Sequence[Accuracies]) -> Accuracies:
        """Merge studies on the same validation images and number points from 0, assuming equal seed variances."""
        columns: dict[str, Any] = {name: np.concatenate([getattr(one, name) for one in several]) for name in _COLUMNS}
        columns["points"] = np.arange(len(columns["seeds"]))
        columns["groups"] = np.full(len(columns["seeds"]), ALONE)  # across studies, seeds are not compared
        pooled = SeedVariance.of(columns["seeds"], columns["spreads"])
        return cls(**columns, pooled=pooled, confidence=max(one.confidence for one in several))

    def only(self, chosen: NDArray[np.bool_]) -> Accuracies:
        """Select points by a mask (points,). The variance between seeds still includes all points."""
        return replace(self, **{name: getattr(self, name)[chosen] for name in _COLUMNS})

    def place(self, point: int) -> int:
        """Return the index of a point; raise `KeyError` if it has no finished run."""
        place = int(np.searchsorted(self.points, point))
        if place == len(self.points) or self.points[place] != point:
            raise KeyError(point)
        return place

    def intervals(self) -> Intervals:
        """Return the accuracies with their 95 % intervals as fractions, with NaN if bits are not stored.

        With a single seed, noise cannot be separated from the choice of images. The interval then includes the noise
        and is wider.
        """
        estimates, seeds = np.where(self.known, self.means, math.nan), self.pooled.variance / self.seeds
        size = np.where(self.known, self._effective_images, math.nan)
        right = estimates * size
        with np.errstate(invalid="ignore"):
            # The Clopper-Pearson interval. Its quantiles do not exist at 0 and 1.
            low = np.where(right > 0, stats.beta.ppf(self._tail, right, size - right + 1), 0)
            high = np.where(right < size, stats.beta.ppf(1 - self._tail, right + 1, size - right), 1)
        normal = stats.norm.ppf(1 - self._tail)
        below, above = (((estimates - end) / normal) ** 2 for end in (low, high))
        return Intervals(
            estimates,
            np.clip(estimates - self._half(below, seeds), 0, 1),
            np.clip(estimates + self._half(above, seeds), 0, 1),
        )

    def differences(self, other: int) -> Intervals:
        """Return how much more accurate each point is than the point `other`, with 95 % intervals.

        Images are paired, so their term is the variance of the difference over images. Seeds are only paired where runs
        start from the same network. Otherwise, the same seed affects two networks in different ways, so their variances
        are added. The result is NaN if bits
        are not stored or no point has two seeds. Raises `KeyError` if `other` has no finished run.
        """
        return self._differences(slice(None), self.place(other))

    def difference(self, point: int, other: int) -> Interval:
        """Return how much more accurate a point is than another (see `differences`); NaN without a finished run."""
        try:
            places = self.place(point), self.place(other)
        except KeyError:
            return UNKNOWN
        found = self._differences(np.array(places[:1]), places[1])
        return Interval(*(float(end[0]) for end in found))

    def draws(self, count: int, seed: int = 0) -> NDArray[np.float32] | None:
        """Draw plausible accuracies for all points jointly, `count` times, (points, count).

        Each draw shifts the means by a common sample of images and by each point's own seeds. The pooled variance of
        seeds is also drawn (scaled inverse chi-square). The noise G is estimated from thousands of images and treated
        as known, so the spread differs from `intervals` by up to a tenth. With few images, it matches `differences`
        rather than `intervals`. Points without stored bits do not vary. Returns None if no point has two seeds.
        """
        if not self.pooled.freedom or not len(self.points):
            return None
        random = np.random.default_rng(seed)
        moves = random.standard_normal((self.images, count), dtype=np.float32)
        # Reproduces the covariance of the means between images, sum((x - mean)(y - mean)) / (m (m - 1)).
        moves /= np.float32(math.sqrt(max(1, self.images * (self.images - 1))))
        scale = np.sqrt(self.pooled.freedom / random.chisquare(self.pooled.freedom, count))
        own = np.sqrt(self._own)
        drawn = np.empty((len(self.points), count), dtype=np.float32)
        with one_thread():
            for start in range(0, len(self.points), _ROWS):
                rows = slice(start, start + _ROWS)
                shares = self._centred(rows)
                drawn[rows] = shares @ moves
                drawn[rows] += random.standard_normal((len(shares), count)) * (own[rows, None] * scale)
        drawn[~self.known] = 0
        drawn += self.means[:, None].astype(np.float32)
        return drawn

    def noise(self, places: NDArray[np.int64]) -> tuple[NDArray[np.float64], float]:
        """Return the variance of each mean around the shared shift, (points,), and the variance of that shift.

        The choice of images shifts all points by the shared shift, and each point by an additional amount of its own.
        """
        shares = self._centred(places)
        freedom = max(1, self.images * (self.images - 1))
        common = shares.mean(axis=0)
        own = np.square(shares - common).sum(axis=1, dtype=np.float64) / freedom + self._own[places]
        return own, float(np.square(common).sum(dtype=np.float64) / freedom)

    @property
    def images(self) -> int:
        """The number of validation images on which the runs were measured."""
        return int(self.counts.shape[1])

    @property
    def _tail(self) -> float:
        return (1 - self.confidence) / 2

    @property
    def _own(self) -> NDArray[np.float64]:
        """Seed variance of each mean, plus the variance of one more image.

        It excludes the noise that the covariance between images already contains. With one more image for each point,
        the difference of two points has the two images that `differences` adds.
        """
        m = self.images
        seeds = np.clip((self.pooled.variance - self._noise / max(1, m)) / self.seeds, 0, None)
        own: NDArray[np.float64] = seeds + np.where(self.known, 1 / (m + 2) ** 2, 0)
        return own

    def _centred(self, places: slice | NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the share of seeds that classify each image correctly, minus the point's mean, (points, images)."""
        shares = self.counts[places].astype(np.float32)
        shares /= self.seeds[places, None].astype(np.float32)
        if self.images:
            shares -= shares.mean(axis=1, keepdims=True)
        return shares

    @cached_property
    def _totals(self) -> NDArray[np.float64]:
        """Sum over images of the mean over seeds."""
        totals: NDArray[np.float64] = self.counts.sum(axis=1, dtype=np.int64) / self.seeds
        return totals

    @cached_property
    def _squares(self) -> NDArray[np.float64]:
        """Sum over images of the squared mean over seeds."""
        return _products(self.counts, self.counts) / self.seeds**2

    @cached_property
    def _noise(self) -> NDArray[np.float64]:
        """G, the mean square of the interaction between seeds and images, (points,); 0 with a single seed."""
        n, m = self.seeds, self.images
        within = np.where(n > 1, (n - 1) * np.nan_to_num(self.spreads) ** 2, 0)  # sum((mean of a seed - mean)^2)
        rest = n * self._totals - n * self._squares - m * within
        return np.where(n > 1, np.clip(rest, 0, None) / (np.maximum(1, n - 1) * max(1, m - 1)), 0.0)

    @cached_property
    def _effective_images(self) -> NDArray[np.float64]:
        """The number of images that would give the same variance due to images if all seeds agreed on every image.

        The share of variance explained by images is estimated with two more images, which all seeds get right or all
        get wrong. If images explain nothing, all results are independent, and the variance cannot be lower than theirs.
        """
        m, n = max(1, self.images), self.seeds
        shrunk = (self._totals + 1) / (m + 2)
        variance = shrunk * (1 - shrunk)
        between_seeds = (self._totals - self._squares) * n / np.maximum(1, n - 1)
        least = 1 / n - self.pooled.variance / n * m / variance
        share = np.maximum(1 - between_seeds / ((m + 2) * variance), np.maximum(least, _LEAST_SHARE))
        return m / np.minimum(share, 1)

    def _differences(self, places: slice | NDArray[np.int64], other: int) -> Intervals:
        known = self.known[places] & self.known[other] & (self.pooled.freedom > 0)
        n, n_of_other, m = self.seeds[places], self.seeds[other], self.images
        products = _products(self.counts[places], self.counts[other]) / (n * n_of_other)
        total = self._totals[places] - self._totals[other]
        # Adds one image that only this point gets right, and one that only the other does.
        squares = self._squares[places] + self._squares[other] - 2 * products + 2 - total**2 / (m + 2)
        paired = (self.groups[places] == self.groups[other]) & (self.groups[other] != ALONE) & (self.paired.freedom > 0)
        # Paired runs may also agree in their noise, so none of it is subtracted.
        noise = np.where(paired, 0.0, m * ((self._noise / self.seeds)[places] + (self._noise / self.seeds)[other]))
        seeds = np.where(paired, self.paired.variance, self.pooled.variance) * (1 / n + 1 / n_of_other)
        freedom = np.where(paired, self.paired.freedom, self.pooled.freedom)
        # If images have no common effect, all results are independent, which sets the lowest possible variance.
        images = np.maximum(squares - noise, 2 + noise - seeds * (m + 2) ** 2)
        half = self._half(np.clip(images, 0, None) / (m + 2) ** 2, seeds, m + 1, freedom)
        middle = np.where(known, total / (m + 2), math.nan)
        estimates = np.where(known, self.means[places] - self.means[other], math.nan)
        return Intervals(estimates, np.clip(middle - half, -1, 1), np.clip(middle + half, -1, 1))

    def _half(
        self,
        images: NDArray[np.float64],
        seeds: NDArray[np.float64],
        freedom: float = math.inf,
        seed_freedom: NDArray[np.int64] | None = None,
    ) -> NDArray[np.float64]:
        """Half the width of an interval, from the variances due to seeds and images, and their degrees of freedom.

        Uses Student's t with Welch-Satterthwaite degrees of freedom.
        """
        variance = images + seeds
        of_seeds = np.asarray(self.pooled.freedom if seed_freedom is None else seed_freedom, dtype=float)
        share = images**2 / freedom + np.where(of_seeds > 0, seeds**2 / np.where(of_seeds > 0, of_seeds, 1), 0.0)
        with np.errstate(invalid="ignore", divide="ignore"):
            combined = np.where(share > 0, variance**2 / share, math.inf)
        half: NDArray[np.float64] = stats.t.ppf(1 - self._tail, combined) * np.sqrt(variance)
        return half


def _groups(
    record: StudyRecord, points: NDArray[np.int64], done: pd.DataFrame
) -> tuple[NDArray[np.int64], list[NDArray[np.float64]]]:
    """Return the group of each point, and the accuracies (points, seeds) of each group of several points."""
    groups = np.full(len(points), ALONE)
    form = record.study.form
    if not form.training:
        return groups, []
    designs = [point.metaparameters for point in record.study.design_points()]
    networks = dict(zip(record.points["point"], record.points["network"], strict=True))
    table = done.pivot(index="point", columns="seed", values="accuracy")  # noqa: PD010 (one run for each cell)
    members: dict[tuple[str, tuple[int, ...]], list[int]] = {}
    for place, point in enumerate(points.tolist()):
        if form.starts_with_others(designs[point]):
            seeds = tuple(table.columns[table.loc[point].notna()])
            members.setdefault((networks[point], seeds), []).append(place)
    found = [places for (_, seeds), places in members.items() if len(places) > 1 and len(seeds) > 1]
    for number, places in enumerate(found):
        groups[places] = number
    accuracies = [table.loc[points[places]].dropna(axis="columns").to_numpy(dtype=float) for places in found]
    return groups, accuracies


def _products(rows: NDArray[np.unsignedinteger[Any]], others: NDArray[np.unsignedinteger[Any]]) -> NDArray[np.float64]:
    """Sum the products of counts over images, (points,), in exact integer arithmetic."""
    sums: NDArray[np.int64] = np.einsum("...i,...i->...", rows, others, dtype=np.int64, casting="unsafe")
    return sums.astype(np.float64)


def paired_difference(correct: NDArray[np.bool_], other: NDArray[np.bool_]) -> Interval:
    """Return the difference in accuracy of two models on the same images, with its interval over images only.

    Bonett and Price 2012, Journal of Educational and Behavioral Statistics 37, p. 479: one image is added that only the
    first model gets right, and one that only the other does.
    """
    count = len(correct) + 2
    first, second = (np.sum(correct & ~other) + 1) / count, (np.sum(other & ~correct) + 1) / count
    half = stats.norm.ppf((1 + CONFIDENCE) / 2) * math.sqrt((first + second - (first - second) ** 2) / count)
    middle = float(first - second)
    return Interval(float(correct.mean() - other.mean()), middle - half, middle + half).within(-1, 1)


def interval_confidence(study: Study) -> float:
    """Return the confidence of each interval of a study."""
    return repeated_confidence(looks(study.seeds)) if study.adds_seeds else CONFIDENCE


def validation_images(record: StudyRecord) -> int:
    """Return the number of validation images on which the runs were measured, or 0 if no run stores it."""
    return next((len(bits) for bits in record.runs["correct"] if is_stored(bits)), 0)


def is_stored(entries: object) -> TypeGuard[Sequence[float]]:
    """Return whether entries are stored. Unknown ones are None or NaN."""
    return not (entries is None or isinstance(entries, float))
