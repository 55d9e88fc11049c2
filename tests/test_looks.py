"""Intervals under optional stopping: against Pocock's table, and simulated coverage at the moment of stopping."""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pytest
from records import World, accuracies_of
from scipy import stats

from explorer.analysis.accuracies import SeedVariance
from explorer.analysis.looks import looks, repeated_confidence


@pytest.mark.parametrize(
    ("number", "constant"), [(1, 1.960), (2, 2.178), (3, 2.289), (4, 2.361), (5, 2.413), (10, 2.555)]
)
def test_equally_spaced_looks_have_the_constants_of_pococks_table(number, constant):
    """Jennison and Turnbull, Group Sequential Methods, 2000, table 2.1."""
    found = repeated_confidence(range(1, number + 1))
    assert stats.norm.isf((1 - found) / 2) == pytest.approx(constant, abs=6e-4)


@pytest.mark.parametrize("most", [2, 3, 5, 9, 30])
def test_all_looks_hold_together_with_95_percent(most):
    seeds = np.random.default_rng(most).normal(size=(40_000, most))
    means = seeds.cumsum(axis=1) / np.sqrt(np.arange(1, most + 1))
    critical = stats.norm.isf((1 - repeated_confidence(looks(most))) / 2)
    held = (np.abs(means[:, 1:]) <= critical).all(axis=1).mean()
    assert held == pytest.approx(0.95, abs=0.004)


@dataclass(frozen=True)
class Setting:
    """A study whose seeds are added up to `most`; all its points have this accuracy, or half a point less."""

    accuracy: float
    images: int
    most: int
    points: int
    world: World

    def ability(self, accuracy):
        total = np.sqrt(self.world.difficulty**2 + self.world.seed**2 + self.world.pair**2)
        return stats.norm.ppf(accuracy) * total

    @property
    def truths(self):
        return np.array([self.accuracy, self.accuracy, self.accuracy - 0.005])

    @cached_property
    def seed_variance(self):
        """The variance of a run's accuracy between seeds."""
        random = np.random.default_rng(0)
        draws = [self.world.draw(random, self.ability(self.accuracy), 50, self.images) for _ in range(20)]
        return np.mean([rows.mean(axis=1).var(ddof=1) for rows in draws])


def stopped(setting, random):
    """Whether the intervals hold the truth at every look, and where a study stops.

    Three points have bits; the others only add their spread between seeds to the pooled variance. Columns: the
    accuracy of the first point, its difference to an equal one and to a worse one. Rows: at every look; at the look
    where the two equal points seem different; and where the worse one does, but after that the third gets no seeds.
    """
    world, most = setting.world, setting.most
    difficulties = world.images(random, setting.images)
    bits = [world.draw(random, setting.ability(truth), most, difficulties) for truth in setting.truths]
    number = setting.points - 3
    others = SeedVariance(setting.seed_variance * random.chisquare(number) / number, number)
    confidence = repeated_confidence(looks(most))
    truths = setting.truths[0] - np.array([0, *setting.truths[1:]])
    held, at = np.ones(3, dtype=bool), {}
    for seeds in looks(most):
        found = accuracies_of([rows[: seeds if point < 2 else min(seeds, 3)] for point, rows in enumerate(bits)])
        freedom = found.pooled.freedom + others.freedom
        pooled = found.pooled.variance * found.pooled.freedom + others.variance * others.freedom
        found = replace(found, pooled=SeedVariance(pooled / freedom, freedom), confidence=confidence)
        own, apart = found.intervals(), [found.difference(0, 1), found.difference(0, 2)]
        low, high = (np.array([getattr(own, end)[0], *(getattr(one, end) for one in apart)]) for end in ("low", "high"))
        right = (low <= truths) & (truths <= high)
        held &= right
        for row, difference in enumerate(apart, start=1):
            if row not in at and (difference.separated or seeds == most):
                at[row] = right
    return np.array([held, at[1], at[2]])


def coverage(setting, studies, seed=0):
    random = np.random.default_rng(seed)
    return np.mean([stopped(setting, random) for _ in range(studies)], axis=0)


DECIDED_BY = {
    "seeds": World(difficulty=1, seed=0.1, pair=0.5),
    "images": World(difficulty=2, seed=0.01, pair=0.3),
    "noise": World(difficulty=0.3, seed=0.03, pair=1),
}
LEAST = 0.93


@pytest.mark.parametrize("world", DECIDED_BY)
def test_intervals_hold_where_a_study_stops(world):
    found = coverage(Setting(0.5, 500, most=5, points=8, world=DECIDED_BY[world]), 200)
    assert (found >= LEAST - 3 * np.sqrt(LEAST * (1 - LEAST) / 200)).all(), found


@pytest.mark.slow
@pytest.mark.parametrize("world", DECIDED_BY)
@pytest.mark.parametrize("most", [3, 8])
@pytest.mark.parametrize("images", [500, 10_000])
def test_coverage_where_a_study_stops_is_at_least_93_percent(images, most, world):
    studies = 150
    least = LEAST - 3 * np.sqrt(LEAST * (1 - LEAST) / studies)
    every = []
    for accuracy in (0.1, 0.5, 0.95, 0.99):
        for points in (4, 30):
            found = coverage(Setting(accuracy, images, most, points, DECIDED_BY[world]), studies, points)
            assert (found[1:] >= least).all(), (accuracy, points, found)
            every.append(found[1:])
    assert np.mean(every) >= 0.95
