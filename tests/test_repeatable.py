"""The same run gives the same measurement, to the last bit, whoever performs it and whatever that worker did before."""

import pytest

from explorer.spaces import find_space
from explorer.training.engine import execute
from explorer.training.recipe import Budget, Recipe
from explorer.training.run import Run
from explorer.training.trainer import numerics

# A rate at which no network is sure of everything after ten steps: equal probabilities would hide a mix-up.
RECIPE = Recipe(batch_size=16, learning_rate=0.005, warmup_images=64)
NETWORKS = {
    "squeezenet": {"dropout": 0.2, "classes": 3},
    "efficientnet": {"drop_connect": 0.2, "classes": 3},
}
# What a measurement says, as against how fast and where it was taken.
MEASURED = ("state", "accuracy", "accuracies", "train_losses", "validation_images", "correct", "top_probability")


def runs(stripes):
    """Two networks and two budgets, in the arithmetic that this machine trains in: bfloat16 where it can."""
    budgets = [Budget(images=160, epochs=epochs, validation=100) for epochs in (1, 2)]
    return [
        Run(find_space(space).point("cifar", **settings).expand(), stripes.fingerprint, RECIPE, budget, 1, numerics())
        for space, settings in NETWORKS.items()
        for budget in budgets
    ]


def measured(jobs, stripes, workers):
    return {
        outcome.run.key: {column: outcome.row[column] for column in MEASURED}
        for outcome in execute(jobs, stripes.folder, workers)
    }


@pytest.fixture(scope="module")
def one_by_one(stripes):
    return measured([(run,) for run in runs(stripes)], stripes, workers=1)


def test_the_runs_are_done_and_differ(one_by_one):
    assert [row["state"] for row in one_by_one.values()] == ["done"] * 4
    assert len({row["top_probability"] for row in one_by_one.values()}) == 4


@pytest.mark.parametrize("order", [pytest.param(1, marks=pytest.mark.slow), -1], ids=["same order", "other order"])
def test_more_workers_measure_the_same(stripes, one_by_one, order):
    assert measured([(run,) for run in runs(stripes)[::order]], stripes, workers=2) == one_by_one


def test_a_shared_trunk_in_another_order_measures_the_same(stripes, one_by_one):
    short, long, *others = runs(stripes)
    assert measured([tuple(others), (short, long)], stripes, workers=1) == one_by_one
