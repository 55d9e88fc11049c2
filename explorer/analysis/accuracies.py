"""How accurate the points of a study are, and how sure that is: intervals, differences, and draws of what might be true.

A point is measured with n seeds on m validation images. The validation images are a sample, and so are the seeds, so whether
seed s gets image i right is taken as

    y[s, i] = accuracy + image[i] + seed[s] + noise[s, i]       with variances A, B and G,

the two-way random-effects layout with one value in a cell. The point's accuracy, the mean of them all, then has the variance
A/m + B/n + G/(n m). It is put together from two estimates:

- S^2, the variance of a run's accuracy between seeds. It estimates B + G/m, and is pooled over the points of the study,
  because n - 1 = 2 degrees of freedom say next to nothing about one point alone: S^2 = sum((n_p - 1) s_p^2) / sum(n_p - 1).
- V, the variance between images of the mean over seeds. It estimates A + G/n. As S^2/n already holds G/(n m), that share is taken
  off, with G estimated by the mean square of the interaction (what is left of y without the means of its rows and columns).

So variance = (V - G/n)/m + S^2/n. (V/m + S^2/n would count the noise twice and be too wide by a tenth or more.)
The interval is mean +- t sqrt(variance) at 95 %, with Student's t at the degrees of freedom of Welch and Satterthwaite: the
image term rests on thousands of images and the seed term on few seeds, so the pooled degrees of freedom alone would be too
few where the images dominate. What it takes for granted: seeds scatter alike at all points of a study.
tests/test_analysis.py holds the simulated coverage. Sources: Searle, Casella and McCulloch, Variance Components, 1992
(two-way crossed classification, random model); Satterthwaite, Biometrics Bulletin 2, 1946, p. 110.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple, TypeGuard

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from explorer.storage.record import StudyRecord

CONFIDENCE = 0.95
_ROWS = 500  # points that are worked on at a time, so that 10,000 of them need no more memory than their bits


@dataclass(frozen=True)
class Interval:
    """An estimate with the ends of its 95 % interval; NaN where the stored rows do not say."""

    estimate: float
    low: float
    high: float

    @property
    def separated(self) -> bool:
        """Whether a difference is told from 0: its interval is known and does not hold it."""
        return self.low > 0 or self.high < 0


class Intervals(NamedTuple):
    """Estimates with the ends of their 95 % intervals, one entry each, (points,)."""

    estimate: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]


UNKNOWN = Interval(math.nan, math.nan, math.nan)


@dataclass(frozen=True)
class SeedVariance:
    """The variance of a run's accuracy between seeds, pooled over the points of a study, and its degrees of freedom."""

    variance: float
    freedom: int

    @classmethod
    def of(cls, seeds: NDArray[np.int64], spreads: NDArray[np.float64]) -> SeedVariance:
        """That of points with so many seeds and such standard deviations; 0, and not known, without a second seed anywhere."""
        freedom = int((seeds - 1).sum())
        squares = float(np.nansum((seeds - 1) * spreads**2))
        return cls(squares / freedom if freedom else 0.0, freedom)

    @property
    def deviation(self) -> float:
        """The standard deviation between seeds, as a fraction; NaN where no point has two."""
        return math.sqrt(self.variance) if self.freedom else math.nan


@dataclass(frozen=True)
class Accuracies:
    """The points of a study that have a done run, one entry each, in the order of their numbers.

    `points` are their numbers, `seeds` how many runs are done, `means` and `spreads` the mean and the standard deviation (NaN for
    fewer than two) of their accuracies, and `counts` how many of the seeds got each validation image right, (points, images).
    `known` is False where a run's bits are not stored: there, nothing is known but the mean.
    """

    points: NDArray[np.int64]
    seeds: NDArray[np.int64]
    means: NDArray[np.float64]
    spreads: NDArray[np.float64]
    counts: NDArray[np.uint16]
    known: NDArray[np.bool_]
    pooled: SeedVariance

    @classmethod
    def of(cls, record: StudyRecord) -> Accuracies:
        """Those of a study's stored runs."""
        done = record.runs[record.runs["state"] == "done"]
        # The accuracies may be objects, where other runs have none.
        groups = [
            (int(str(point)), rows["accuracy"].to_numpy(dtype=float), list(rows["correct"]))
            for point, rows in done.groupby("point")
        ]
        images = validation_images(record)
        counts = np.zeros((len(groups), images), dtype=np.uint16)
        known = np.zeros(len(groups), dtype=bool)
        for place, (_, _, bits) in enumerate(groups):
            known[place] = images > 1 and all(is_stored(entry) and len(entry) == images for entry in bits)
            if known[place]:
                counts[place] = np.stack(bits).sum(axis=0)
        spreads = np.array([values.std(ddof=1) if len(values) > 1 else math.nan for _, values, _ in groups])
        seeds = np.array([len(values) for _, values, _ in groups], dtype=np.int64)
        return cls(
            points=np.array([point for point, _, _ in groups], dtype=np.int64),
            seeds=seeds,
            means=np.array([values.mean() for _, values, _ in groups]),
            spreads=spreads,
            counts=counts,
            known=known,
            pooled=SeedVariance.of(seeds, spreads),
        )

    @classmethod
    def joined(cls, several: Sequence[Accuracies]) -> Accuracies:
        """Those of several studies on the same validation images as those of one, numbered from 0 on; seeds are taken to scatter alike."""
        seeds, spreads = (np.concatenate([getattr(one, name) for one in several]) for name in ("seeds", "spreads"))
        return cls(
            points=np.arange(len(seeds)),
            seeds=seeds,
            means=np.concatenate([one.means for one in several]),
            spreads=spreads,
            counts=np.concatenate([one.counts for one in several]),
            known=np.concatenate([one.known for one in several]),
            pooled=SeedVariance.of(seeds, spreads),
        )

    def only(self, chosen: NDArray[np.bool_]) -> Accuracies:
        """Those of some of the points, (points,); the variance between seeds stays that of all."""
        return replace(
            self,
            points=self.points[chosen],
            seeds=self.seeds[chosen],
            means=self.means[chosen],
            spreads=self.spreads[chosen],
            counts=self.counts[chosen],
            known=self.known[chosen],
        )

    def place(self, point: int) -> int:
        """Where a point stands in the entries; raises `KeyError` where it has no done run."""
        place = int(np.searchsorted(self.points, point))
        if place == len(self.points) or self.points[place] != point:
            raise KeyError(point)
        return place

    def intervals(self) -> Intervals:
        """The accuracies with their 95 % intervals, fractions; NaN where bits are not stored.

        A single seed does not tell its noise from the images; its share is then left in, and the interval is wider.
        """
        squares = self._squares - self._totals**2 / max(1, self.images)
        images = self._image_term(squares, self._noise / self.seeds)
        return self._intervals(self.means, images, self.pooled.variance / self.seeds, self.known)

    def differences(self, other: int) -> Intervals:
        """How much more accurate each point is than the point `other`, with 95 % intervals.

        All saw the same validation images, so the images are paired: their term is the variance of the difference an image. The
        same seed on two networks is no pair; the seeds' terms add up. NaN where bits are not stored, and everywhere where no point
        has two seeds: a difference between two single trainings may be the seeds' alone. `KeyError` where `other` has no done run.
        """
        return self._differences(np.arange(len(self.points)), self.place(other))

    def difference(self, point: int, other: int) -> Interval:
        """How much more accurate a point is than another, as `differences` has it; NaN where one has no done run."""
        try:
            places = self.place(point), self.place(other)
        except KeyError:
            return UNKNOWN
        found = self._differences(np.array(places[:1]), places[1])
        return Interval(*(float(end[0]) for end in found))

    def draws(self, count: int, seed: int = 0) -> NDArray[np.float32] | None:
        """What the accuracies might be, drawn `count` times for all points together, (points, count); None where that is not known.

        Each draw moves the measured means by what the variances above allow: by one sample of images, which all points share, and by
        seeds of each point's own, whose pooled variance is itself drawn (a scaled inverse chi-square). The noise G rests on thousands of
        images and is taken as known, so that the spread of draws differs by up to a tenth from `intervals`. Points without stored bits
        stand still, as nothing is known of them; without a second seed anywhere there are no draws.
        """
        if not self.pooled.freedom or not len(self.points):
            return None
        random = np.random.default_rng(seed)
        moves = random.standard_normal((self.images, count), dtype=np.float32)
        # Exactly the images' covariance of the means: sum((x - mean)(y - mean)) / (m (m - 1)).
        moves /= np.float32(math.sqrt(max(1, self.images * (self.images - 1))))
        scale = np.sqrt(self.pooled.freedom / random.chisquare(self.pooled.freedom, count))
        own = np.sqrt(self._own)
        drawn = np.empty((len(self.points), count), dtype=np.float32)
        for start in range(0, len(self.points), _ROWS):
            rows = slice(start, start + _ROWS)
            shares = self._centred(rows)
            drawn[rows] = shares @ moves
            drawn[rows] += random.standard_normal((len(shares), count)) * (own[rows, None] * scale)
        drawn[~self.known] = 0
        return drawn + self.means[:, None].astype(np.float32)

    def noise(self, places: NDArray[np.int64]) -> tuple[NDArray[np.float64], float]:
        """The variance of the mean of each point in those places about what all of them share, (points,), and the variance of what they share.

        They share the sample of images: its effect that is the same for all moves them together. Seeds, and how unlike images suit
        unlike networks, are each point's own.
        """
        shares = self._centred(places)
        freedom = max(1, self.images * (self.images - 1))
        common = shares.mean(axis=0)
        own = np.square(shares - common).sum(axis=1, dtype=np.float64) / freedom + self._own[places]
        return own, float(np.square(common).sum(dtype=np.float64) / freedom)

    @property
    def images(self) -> int:
        """How many validation images the runs were measured on."""
        return int(self.counts.shape[1])

    @property
    def _own(self) -> NDArray[np.float64]:
        """What is left of the seeds' variance of each mean when the noise, which the images' covariance holds already, is taken off."""
        return np.clip((self.pooled.variance - self._noise / max(1, self.images)) / self.seeds, 0, None)

    def _centred(self, places: slice | NDArray[np.int64]) -> NDArray[np.float32]:
        """For each point and image the share of seeds that got it right, less the point's mean, (points, images)."""
        shares = (self.counts[places] / self.seeds[places, None]).astype(np.float32)
        if not self.images:
            return shares
        return np.asarray(shares - shares.mean(axis=1, keepdims=True))

    @cached_property
    def _totals(self) -> NDArray[np.float64]:
        """The sum over images of the mean over seeds."""
        totals: NDArray[np.float64] = self.counts.sum(axis=1, dtype=np.int64) / self.seeds
        return totals

    @cached_property
    def _squares(self) -> NDArray[np.float64]:
        """The sum over images of the squared mean over seeds."""
        return _products(self.counts, self.counts) / self.seeds**2

    @cached_property
    def _noise(self) -> NDArray[np.float64]:
        """G: the mean square of the interaction of seeds and images, (points,); 0 where one seed does not tell.

        By the sums of squares of the two-way layout; a bit is its own square.
        """
        n, m = self.seeds, self.images
        within = np.where(n > 1, (n - 1) * np.nan_to_num(self.spreads) ** 2, 0)  # sum((mean of a seed - mean)^2)
        rest = n * self._totals - n * self._squares - m * within
        return np.where(n > 1, np.clip(rest, 0, None) / (np.maximum(1, n - 1) * max(1, m - 1)), 0.0)

    def _differences(self, places: NDArray[np.int64], other: int) -> Intervals:
        seeds, seeds_of_other = self.seeds[places], self.seeds[other]
        products = _products(self.counts[places], self.counts[other]) / (seeds * seeds_of_other)
        total = self._totals[places] - self._totals[other]
        squares = self._squares[places] + self._squares[other] - 2 * products - total**2 / max(1, self.images)
        noise = (self._noise / self.seeds)[places] + (self._noise / self.seeds)[other]
        return self._intervals(
            self.means[places] - self.means[other],
            self._image_term(squares, noise),
            self.pooled.variance * (1 / seeds + 1 / seeds_of_other),
            self.known[places] & self.known[other] & (self.pooled.freedom > 0),
        )

    def _image_term(self, squares: NDArray[np.float64], noise: NDArray[np.float64]) -> NDArray[np.float64]:
        """The variance that the sample of images gives to means; `squares` are sums of squares about them, `noise` is the seeds' share."""
        m = self.images
        term: NDArray[np.float64] = np.clip(squares / max(1, m - 1) - noise, 0, None) / max(1, m)
        return term

    def _intervals(
        self,
        estimates: NDArray[np.float64],
        images: NDArray[np.float64],
        seeds: NDArray[np.float64],
        known: NDArray[np.bool_],
    ) -> Intervals:
        variance = images + seeds
        share = images**2 / max(1, self.images - 1) + (seeds**2 / self.pooled.freedom if self.pooled.freedom else 0.0)
        with np.errstate(invalid="ignore", divide="ignore"):
            freedom = variance**2 / share
        # Without any variance the ends are the estimate, whatever the degrees of freedom.
        quantile = stats.t.ppf((1 + CONFIDENCE) / 2, np.where(variance > 0, freedom, 1))
        half = np.where(known, quantile * np.sqrt(variance), math.nan)
        return Intervals(np.where(known, estimates, math.nan), estimates - half, estimates + half)


def _products(rows: NDArray[np.uint16], others: NDArray[np.uint16]) -> NDArray[np.float64]:
    """The sum over images of the counts of each row times those of the others, (points,): exact, as they are whole numbers."""
    sums: NDArray[np.int64] = np.einsum("...i,...i->...", rows, others, dtype=np.int64, casting="unsafe")
    return sums.astype(np.float64)


def validation_images(record: StudyRecord) -> int:
    """How many validation images the runs were measured on; 0 where no run says."""
    return next((len(bits) for bits in record.runs["correct"] if is_stored(bits)), 0)


def is_stored(entries: object) -> TypeGuard[Sequence[float]]:
    """Whether a row holds entries; what is not known is None or NaN."""
    return np.ndim(entries) == 1  # type: ignore[arg-type]
