"""Fronts, how sure they are, and what they enclose: against brute force, closed forms and moocore."""

import math

import moocore
import numpy as np
import pandas as pd
import pytest
from records import World, accuracies_of, broken, make_record, record_of_bits
from scipy import stats

from explorer.analysis import Accuracies, Findings, fronts, pareto_front


def dominated(rows, row):
    """Whether one of the rows costs no more, is as accurate, and is better in one of these."""
    return any(other[0] <= row[0] and other[1] >= row[1] and (other[0] < row[0] or other[1] > row[1]) for other in rows)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_front_is_that_of_brute_force(seed):
    rows = np.random.default_rng(seed).integers(0, 20, (60, 2)).astype(float)
    frame = pd.DataFrame(rows, columns=["params", "accuracy"])
    expected = [not dominated(rows, row) for row in rows]
    assert pareto_front(frame, "params").tolist() == expected
    assert 0 < sum(expected) < 60


def test_draws_have_the_means_and_variances_of_the_formula():
    random = np.random.default_rng(0)
    world = World(seed=0.1)
    difficulties = world.images(random, 800)
    found = Accuracies.of(
        record_of_bits({p: world.draw(random, a, 3, difficulties) for p, a in enumerate((0, 0.2, 1))})
    )
    draws = found.draws(20_000)
    assert draws.mean(axis=1) == pytest.approx(found.means, abs=5e-4)
    intervals = found.intervals()
    # The noise of seeds and images is known well, so that draws differ by up to a tenth from the intervals.
    widths = np.diff(np.quantile(draws, [0.025, 0.975], axis=1), axis=0)[0]
    assert (
        (widths / (intervals.high - intervals.low) > 0.88) & (widths / (intervals.high - intervals.low) < 1.06)
    ).all()
    # A difference pairs the images.
    difference = found.difference(2, 0)
    apart = np.diff(np.quantile(draws[2] - draws[0], [0.025, 0.975]))[0]
    assert 0.88 < apart / (difference.high - difference.low) < 1.06
    unpaired = np.diff(np.quantile(draws[2] - np.random.default_rng(1).permutation(draws[0]), [0.025, 0.975]))[0]
    assert unpaired > 1.05 * apart


def test_one_seed_draws_nothing():
    assert Findings(make_record(seeds=1, images=50)).draws is None
    assert Findings(make_record(seeds=1, images=50)).points["params_front_probability"].isna().all()


def test_the_dearer_of_two_points_is_on_the_front_if_it_is_the_more_accurate_one():
    random = np.random.default_rng(3)
    world = World()
    difficulties = world.images(random, 1000)
    found = Accuracies.of(
        record_of_bits({0: world.draw(random, 0.0, 3, difficulties), 1: world.draw(random, 0.05, 3, difficulties)})
    )
    cheap, dear = fronts.front_probability(np.array([1.0, 2.0]), found.draws(40_000))
    difference = found.difference(1, 0)
    # The interval is estimate +- t(0.975) * error; so many degrees of freedom are those of Welch and Satterthwaite.
    error = (difference.high - difference.low) / 2 / stats.norm.ppf(0.975)
    assert cheap == 1
    assert dear == pytest.approx(stats.norm.cdf(difference.estimate / error), abs=0.02)
    assert 0.5 < dear < 0.999


def test_the_probability_is_the_share_of_draws_whose_front_holds_the_point():
    random = np.random.default_rng(1)
    costs = np.array([3.0, 1, 2, 2, 5, 3, 8])
    draws = random.normal(0.5, 0.1, (7, 200)).astype(np.float32)
    draws[3, ::4] = draws[2, ::4]  # equal in both
    expected = np.mean(
        [pareto_front(pd.DataFrame({"cost": costs, "accuracy": column}), "cost") for column in draws.T.astype(float)],
        axis=0,
    )
    assert fronts.front_probability(costs, draws) == pytest.approx(expected)


@pytest.mark.parametrize("maximise", [(False, False), (False, True), (True, True)])
def test_the_probability_with_several_costs_is_that_of_moocore(maximise):
    random = np.random.default_rng(2)
    costs = random.integers(0, 4, (25, 2)).astype(float)  # some are equal
    draws = random.integers(0, 6, (25, 100)).astype(np.float32)
    expected = [
        moocore.is_nondominated(np.column_stack([costs, column]), maximise=[*maximise, True], keep_weakly=True)
        for column in draws.T.astype(float)
    ]
    found = fronts.front_probability(costs, draws, maximise)
    assert found == pytest.approx(np.mean(expected, axis=0))
    assert (found == fronts.front_probability(np.where(maximise, -costs, costs), draws)).all()


def test_a_point_is_compared_with_its_strongest_rival():
    random = np.random.default_rng(4)
    means, costs = np.array([0.5, 0.4, 0.53, 0.5, 0.9]), np.array([[1.0, 5], [2, 6], [2, 6], [9, 1], [9, 9]])
    draws = (means[:, None] + random.normal(0, 0.01, (5, 50_000))).astype(np.float32)
    first, beaten, close, apart, best = fronts.rival_probability(costs, draws)
    assert first == apart == 1, "nothing else costs as little"
    assert beaten == pytest.approx(0, abs=1e-9)
    assert close == pytest.approx(stats.norm.cdf(0.03 / 0.01 / math.sqrt(2)), abs=0.002)
    assert best == pytest.approx(1, abs=1e-9)
    assert fronts.undecided(np.array([first, beaten, close, apart, best]), 0.99).tolist() == [
        *(False, False, True, False, False)
    ]
    level = np.full((3, 10), 0.5, dtype=np.float32)  # without stored bits, accuracies do not vary
    assert fronts.rival_probability(np.array([1.0, 2, 3]), level).tolist() == [1, 0.5, 0.5]


@pytest.mark.parametrize("points", [12, 40])
@pytest.mark.parametrize("gain", [0.0, 0.01, 0.1])
def test_few_points_are_placed_wrongly_on_the_front(points, gain):
    """On a rising curve that is nearly flat against the noise, front probabilities alone would rule out many."""
    random = np.random.default_rng(points)
    truths, costs = np.linspace(0.5, 0.5 + gain, points) - 1e-9 * np.arange(points) * (gain == 0), np.arange(points)
    on_front = pareto_front(pd.DataFrame({"cost": costs, "accuracy": truths}), "cost").to_numpy()
    wrong = np.zeros(points)
    for _ in range(150):
        means = truths + random.normal(0, 0.01, points)
        draws = (means[:, None] + random.normal(0, 0.01, (points, 400))).astype(np.float32)
        found = fronts.rival_probability(costs.astype(float), draws)
        wrong += ~fronts.undecided(found) & ((found > 0.5) != on_front)
    assert (wrong / 150).mean() <= 0.05
    assert (wrong / 150).max() <= 0.1


def test_the_area_is_the_hypervolume_over_the_logarithm_of_the_cost():
    random = np.random.default_rng(5)
    costs, accuracies = random.uniform(1e5, 1e6, 30), random.uniform(0.05, 0.9, 30)
    reference = fronts.reference(costs, 0.1)
    found = fronts.areas(costs, accuracies[:, None], reference)[0]
    points = np.column_stack([np.log2(costs), accuracies])
    expected = moocore.hypervolume(points, ref=[math.log2(costs.max()), 0.1], maximise=[False, True])
    assert found == pytest.approx(expected)


def test_a_hypervolume_by_hand_and_its_mean_accuracy():
    costs, accuracies = np.array([1.0, 4.0, 8.0]), np.array([0.3, 0.2, 0.5])
    found = fronts.hypervolume(costs, accuracies, None, fronts.reference(costs, 0.2))
    # Three doublings at 0.1 above guessing; what costs most encloses nothing, and the second point is beaten.
    assert found.area.estimate == pytest.approx(0.3)
    assert math.isnan(found.area.low)
    assert found.mean_accuracy.estimate == pytest.approx(0.3)
    assert fronts.reference(np.array([2.0, 2.0]), 0.1) is None


@pytest.mark.slow
def test_simulated_coverage_of_the_hypervolume_is_at_least_90_percent():
    random = np.random.default_rng(7)
    world = World(seed=0.08)
    costs = np.geomspace(1e5, 8e5, 8)
    reference = fronts.Reference(0.1, costs[0], costs[-1])
    held = 0
    for _ in range(120):
        abilities = 0.2 * np.log(costs / costs.max()) + random.normal(0, 0.03, 8)
        difficulties = world.images(random, 600)
        found = Accuracies.of(
            record_of_bits({p: world.draw(random, a, 3, difficulties) for p, a in enumerate(abilities)})
        )
        area = fronts.hypervolume(costs, found.means, found.draws(400), reference).area
        truth = fronts.areas(costs, world.accuracy(abilities)[:, None], reference)[0]
        held += area.low <= truth <= area.high
    assert held / 120 >= 0.9


def test_an_area_is_cut_to_what_accuracies_can_be():
    """Networks that get all of a few images right: the draws go above 100 %, the interval does not."""
    costs, bits = np.array([1.0, 2.0, 4.0]), np.ones((3, 10), dtype=bool)
    found = accuracies_of([bits] * 3)
    volume = fronts.hypervolume(costs, found.means, found.draws(500), fronts.reference(costs, 0.5))
    assert (volume.area.estimate, volume.area.high) == (1.0, 1.0)
    assert 0.5 < volume.mean_accuracy.low < volume.mean_accuracy.high == 1
    likely = fronts.front_probability(costs, found.draws(500))
    assert likely[0] == 1
    assert ((likely[1:] > 0.2) & (likely[1:] < 0.8)).all(), "which of equal points is best is unknown"


def test_points_that_are_not_measured_are_on_no_front():
    record = broken(make_record(images=200), 0, (0, 1, 2))
    found = Findings(record).points
    assert not found["on_params_front"][0]
    assert math.isnan(found["params_front_probability"][0])
    assert found["on_params_front"][1]
    assert found["params_front_probability"][1] == 1, "the cheapest one that is measured"


def test_latency_is_a_cost_where_it_was_measured():
    record = make_record(images=100)
    columns = {"processor": "p", "torch": "2", "dtype": "float32", "threads": 1, "repeats": 20}
    columns |= {"lower_seconds": 0.01, "upper_seconds": 0.02}
    rows = [
        {"network": n, "batch": b, "median_seconds": 0.01 * b * (i + 1), **columns}
        for i, n in enumerate(record.points["network"])
        for b in (1, 32)
    ]
    found = Findings(record, pd.DataFrame(rows[:-1]))
    assert found.latency.batch == 1, "more networks were measured with it"
    assert found.points["latency_seconds"].tolist() == pytest.approx([0.01 * (i + 1) for i in range(8)])
    assert found.points["on_latency_seconds_front"].any()
    assert "latency_seconds" not in Findings(record).points
