"""Searches: the rule, the policy on made-up accuracies, and whole searches with canned measurements."""

import itertools

import moocore
import numpy as np
import pytest

from explorer.errors import ExplorerError
from explorer.searching.asking import search_study
from explorer.searching.budget import SearchBudget
from explorer.searching.designs import SpaceDesigns
from explorer.searching.expectation import MISJUDGED, expected_at_top
from explorer.searching.policy import Policy
from explorer.searching.promotion import gained, next_point
from explorer.searching.samplers import Sampler
from explorer.study.rungs import rung_budgets, rung_images
from explorer.study.search import SAMPLERS

RANGES = {"base_e": "8..64", "incr_e": "0..32", "squeeze_ratio": "0.1..1.0"}


def accuracy(point, rung, noise=0.0):
    """An accuracy that grows with the network and the rung."""
    cost = point.cost
    return 0.2 + 0.04 * np.log2(cost.params / 1e3) - 0.01 * np.log2(cost.macs / 1e6) + 0.05 * rung + noise


def policy(sampler="random", seeds=1, where=None, settings=RANGES):
    study = search_study("squeezenet", settings=settings, where=where, sampler=sampler, budget="1000x8", seeds=seeds)
    table = study.form.search
    asked = Sampler(sampler, study.form.search_axes, len(table.costs), table.seed)
    return Policy(
        table, SpaceDesigns(study, 10), asked, rung_images(study), guess=0.1, seeds=seeds, validation_images=5_000
    )


def played(one, steps, noise=0.0):
    random = np.random.default_rng(0)
    taken = []
    for step in itertools.islice(iter(lambda: one.next(len(taken) / steps), None), steps):
        taken.append(step)
        one.record(step, float(accuracy(step.point, step.rung, noise * random.standard_normal())))
    return taken


def test_what_a_point_adds_is_the_difference_of_two_hypervolumes():
    random = np.random.default_rng(0)
    front, points, corner = random.random((12, 3)), random.random((30, 3)), np.array([0.0, 1.0, 1.0])
    signs = np.array([-1, 1, 1])
    volume = lambda rows: moocore.hypervolume(rows * signs, ref=corner * signs)  # noqa: E731
    wanted = [volume(np.vstack([front, point])) - volume(front) for point in points]
    np.testing.assert_allclose(gained(points, front, corner), wanted, atol=1e-12)


def test_nothing_is_chosen_that_cannot_be_on_the_front():
    front, corner = np.array([[0.6, 3.0], [0.4, 1.0]]), np.array([0.1, 5.0])
    costs, images = np.array([[3.5], [1.5], [0.5]]), np.ones(3)
    arguments = (costs, images, front, corner)
    assert next_point(np.array([0.5, 0.45, 0.05]), np.full(3, 0.01), *arguments) == 1
    assert next_point(np.array([0.5, 0.3, 0.05]), np.full(3, 0.001), *arguments, optimism=(1,)) is None
    assert next_point(np.array([0.5, 0.3, 0.05]), np.array([0.001, 0.02, 0.001]), *arguments) == 1


def test_of_equal_gains_the_one_with_less_left_to_train_goes_first():
    one = np.full(2, 0.5), np.full(2, 0.01), np.full((2, 1), 2.0)
    assert next_point(*one, np.array([5e4, 1e4]), np.zeros((0, 2)), np.array([0.1, 3.0])) == 1


@pytest.mark.parametrize(
    "sampler", [pytest.param(name, marks=pytest.mark.slow) if name == "gp" else name for name in SAMPLERS]
)
def test_each_sampler_proposes_and_points_reach_the_top(sampler):
    one = policy(sampler)
    taken = played(one, 30)
    assert max(step.rung for step in taken) > 0
    assert len({step.point.network.digest for step in taken if step.rung == 0}) == sum(s.rung == 0 for s in taken)
    for step, at in ((step, one.points[step.point.number]) for step in taken):
        assert len(at.accuracies) >= step.rung


def test_published_networks_come_first_then_designs_spread_over_the_costs():
    one = policy()
    first = [step.point for step in played(one, 8)]
    assert first[0].metaparameters["squeeze_ratio"] == 0.125  # of SqueezeNet v1.0
    played(one, 30)
    params = [at.point.cost.params for at in one.points]
    pool = one.designs.pool.amounts["params"]
    assert min(params) < 2 * pool.min()
    assert max(params) > 0.5 * pool.max()


def test_under_a_limit_that_few_meet_nothing_outside_is_trained_and_the_sampler_moves():
    one = policy("tpe", where="params < 6k")
    taken = played(one, 30)
    assert all(step.point.cost.params < 6_000 for step in taken)
    assert one.declined["outside the limits"] > 10
    assert len(one.finalists()) > 1
    excess = [trial.excess for trial in one.refused]
    assert np.mean(excess[-10:]) < np.mean(excess[:10])  # the sampler learns where the limits are


def test_a_small_space_is_searched_to_the_end():
    one = policy(settings={"base_e": [16, 32], "squeeze_ratio": [0.25, 0.5], "bypass": ["none", "simple"]}, seeds=1)
    played(one, 100)
    assert len(one.points) == 8
    assert one.exhausted


def test_seeds_go_to_points_whose_place_is_undecided():
    one = policy(seeds=4)
    taken = played(one, 80, noise=0.01)
    seeds = [step for step in taken if step.seed]
    assert seeds
    assert all(step.rung == one.top for step in seeds)
    assert {step.seed for step in seeds} <= {1, 2, 3}
    alone = max(one.finalists(), key=lambda at: at.seeds[0] - 10 * at.costs[0])  # the cheapest, far from the others
    assert len(alone.seeds) == 1


def test_the_same_search_twice_is_the_same():
    runs = [[(step.point.label, step.rung) for step in played(policy("tpe"), 20)] for _ in range(2)]
    assert runs[0] == runs[1]


def test_rungs_have_four_times_the_epochs_of_the_one_below_and_the_last_is_the_budget():
    study = search_study("squeezenet", budget="1000x8")
    assert [budget.epochs for budget in rung_budgets(study)] == [2, 8]
    assert [budget.epochs for budget in rung_budgets(search_study("squeezenet", budget="1000x3"))] == [1, 3]
    assert [budget.epochs for budget in rung_budgets(search_study("squeezenet", budget="1000x1"))] == [1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"objectives": ["params"]}, "must include accuracy"),
        ({"objectives": ["accuracy", "parms"]}, "did you mean params|params"),
        ({"objectives": ["accuracy", "latency"]}, "measured and not computed"),
        ({"sampler": "tpee"}, "tpe"),
        ({"where": "params"}, "limits compare"),
        ({"where": "params < 200k or macs < 1M"}, "limits compare"),
        ({"where": "params < 100 and params > 200"}, "no params"),
        ({"where": "parms < 200k"}, "params"),
        ({"settings": {"base_e": "64..8"}}, "low end"),
        ({"settings": {"base_e": [16], "squeeze_ratio": [0.25, 0.5]}}, "base_e = .*16.*: is a single value"),
        ({"settings": {"classes": "2..10"}}, "classes"),
        ({"settings": {"basee": "8..64"}}, "base_e"),
        ({"budget": "1000"}, "IMAGESxEPOCHS"),
    ],
)
def test_mistakes_get_one_line(arguments, message):
    with pytest.raises(ExplorerError, match=message) as error:
        search_study("squeezenet", **arguments)
    assert "\n" not in str(error.value)


def test_limits_that_nothing_meets_name_the_closest_design():
    study = search_study("squeezenet", where="params < 100")
    with pytest.raises(
        ExplorerError, match=r"none of .* random designs is within the limits; the closest has params ="
    ):
        SpaceDesigns(study, 10)


def test_the_accuracy_at_the_top_is_that_of_a_line_through_the_points_there():
    low = np.array([0.1, 0.4, 0.8])  # far apart, so that the prior slope of 1 hardly counts
    there = [[accuracy, 2 * accuracy] for accuracy in low]
    means, deviations = expected_at_top([*there, [0.3]], 1, noise=0.007)
    np.testing.assert_allclose(means[:3], 2 * low)
    assert means[3] == pytest.approx(0.6, abs=0.01)
    assert list(deviations[:3]) == [0.007] * 3
    assert 0 < deviations[3] < MISJUDGED[-1]  # all three were right, so it is trusted more than at first


def test_without_points_at_the_top_the_last_rung_counts_as_it_is():
    means, deviations = expected_at_top([[0.3], [0.2, 0.25]], 2, noise=0.007)
    np.testing.assert_allclose(means, [0.35, 0.25])
    np.testing.assert_allclose(deviations, MISJUDGED)


@pytest.mark.parametrize("limit", [{"seconds": 0}, {"runs": -1}, {"images": 0}])
def test_a_budget_must_be_positive(limit):
    with pytest.raises(ExplorerError, match="must be above 0"):
        SearchBudget(**limit)
