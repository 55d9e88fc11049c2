"""Differences between points whose runs of a seed start from the same trained network."""

from dataclasses import replace

import numpy as np
import pytest
from records import accuracies_of, broken, make_record
from scipy.stats import norm

from explorer.analysis.accuracies import ALONE, Accuracies, SeedVariance

ABILITIES = np.array([0.0, 0.02, -0.05, 0.05, 0.0, -0.02])
DIFFICULTY, LUCK, OWN, SHARED_PAIR, OWN_PAIR = 1.5, 0.08, 0.02, 0.8, 0.5


def draw(random, seeds=3, images=1_000):
    """Bits (points, seeds, images): luck of a seed and of its pairs with images is shared by all points."""
    points = len(ABILITIES)
    difficulties = random.normal(0, DIFFICULTY, images)
    shared = random.normal(0, LUCK, (1, seeds, 1)) + random.normal(0, SHARED_PAIR, (1, seeds, images))
    own = random.normal(0, OWN, (points, seeds, 1)) + random.normal(0, OWN_PAIR, (points, seeds, images))
    return ABILITIES[:, None, None] + shared + own > difficulties


def paired(bits):
    found = accuracies_of(list(bits))
    return replace(found, groups=np.zeros(len(bits), dtype=int), paired=SeedVariance.paired([bits.mean(axis=2)]))


@pytest.mark.parametrize("images", [300, 3_000])
def test_the_intervals_of_differences_contain_the_true_ones_and_are_narrower(images):
    random = np.random.default_rng(0)
    spread = np.sqrt(DIFFICULTY**2 + LUCK**2 + OWN**2 + SHARED_PAIR**2 + OWN_PAIR**2)
    true = norm.cdf(ABILITIES / spread)
    hits, narrower = [], []
    for _ in range(300):
        bits = draw(random, images=images)
        for one, other in ((0, 1), (2, 3), (4, 5)):
            found = paired(bits).difference(one, other)
            alone = accuracies_of(list(bits)).difference(one, other)
            hits.append(found.low <= true[one] - true[other] <= found.high)
            narrower.append((alone.high - alone.low) / (found.high - found.low))
    assert 0.94 <= np.mean(hits) <= (1 if images == 300 else 0.995)  # conservative with few images
    assert np.median(narrower) > (1.2 if images == 300 else 1.6)


def test_the_variance_is_what_is_left_after_points_and_seeds():
    random = np.random.default_rng(1)
    left = random.normal(0, 0.01, (4, 5))
    accuracies = np.linspace(0.3, 0.6, 4)[:, None] + random.normal(0, 0.1, 5) + left
    # By brute force: the residuals of least squares on indicators of points and of seeds.
    rows, columns = np.divmod(np.arange(20), 5)
    design = np.concatenate([np.eye(4)[rows], np.eye(5)[columns]], axis=1)
    fitted = design @ np.linalg.lstsq(design, accuracies.ravel(), rcond=None)[0]
    found = SeedVariance.paired([accuracies])
    assert found.freedom == 12
    assert found.variance == pytest.approx(np.square(accuracies.ravel() - fitted).sum() / 12)


def test_points_of_a_network_are_one_group_in_studies_that_start_from_weights():
    record = make_record("compression_front", seeds=3)
    found = Accuracies.of(record)
    networks = record.points.set_index("point")["network"]
    for group in set(found.groups):
        assert networks[found.points[found.groups == group]].nunique() == 1
    assert len(set(found.groups)) == 3
    assert found.paired.freedom == 3 * (7 - 1) * (3 - 1)
    moved = Accuracies.of(make_record("transfer_depth", seeds=3))
    scratch = set(record_points("transfer_depth", "start", "scratch"))
    assert {point for point, group in zip(moved.points, moved.groups, strict=True) if group == ALONE} == scratch
    assert set(Accuracies.of(make_record("squeeze_ratio")).groups) == {ALONE}


def record_points(name, column, value):
    points = make_record(name, seeds=3).points
    return points.loc[points[column] == value, "point"]


def test_only_points_with_the_same_seeds_are_compared_seed_by_seed():
    record = broken(make_record("compression_front", seeds=3), 4, (2,))
    found = Accuracies.of(record)
    assert found.groups[found.place(4)] == ALONE
    assert (found.groups != ALONE).sum() == len(found.points) - 1
