"""Rank correlations of costs with accuracy: against scipy, pairs counted one by one, and simulation."""

import itertools
import math

import numpy as np
import pandas as pd
import pytest
from records import make_record
from scipy import stats

from explorer import analysis
from explorer.analysis.ranks import cost_ranks, rank_correlation


def test_the_correlations_of_costs_are_scipys_with_the_stated_intervals():
    frame = analysis.measured(analysis.summarise(make_record("squeezenet_grid", images=300)))
    table = cost_ranks(frame).set_index("cost")
    assert {"params", "macs", "memory_access_bytes"} < set(table.index)
    for cost, row in table.iterrows():
        amounts, accuracies = frame[cost].astype(float), frame["accuracy"]
        assert row["n"] == 25
        tau, rho = stats.kendalltau(amounts, accuracies).statistic, stats.spearmanr(amounts, accuracies).statistic
        assert (row["kendall"], row["spearman"]) == (tau, rho)
        for name, found, deviation in (
            ("kendall", tau, math.sqrt(0.437 / 21)),
            ("spearman", rho, math.sqrt((1 + rho**2 / 2) / 22)),
        ):
            ends = np.tanh(stats.norm.interval(0.95, np.arctanh(found), deviation))
            assert row[[f"{name}_low", f"{name}_high"]].tolist() == pytest.approx(list(ends))
    assert table["kendall"]["params"] == table["kendall"]["model_bytes"] > 0.5


def test_ties_are_counted_by_tau_b():
    one, other = [1, 2, 2, 3, 4, 4], [0.1, 0.3, 0.2, 0.3, 0.5, 0.4]
    signs = [(np.sign(one[i] - one[j]), np.sign(other[i] - other[j])) for i, j in itertools.combinations(range(6), 2)]
    expected = sum(a * b for a, b in signs) / math.sqrt(sum(a * a for a, _ in signs) * sum(b * b for _, b in signs))
    assert rank_correlation(one, other).kendall.estimate == pytest.approx(expected)


@pytest.mark.parametrize("count", [5, 8, 30])
def test_for_identical_orders_the_interval_is_that_of_two_neighbours_exchanged(count):
    numbers = np.arange(count)
    exchanged = numbers.copy()
    exchanged[:2] = exchanged[1::-1]
    same, turned, nearly = (rank_correlation(numbers, other) for other in (numbers, -numbers, exchanged))
    for name in ("kendall", "spearman"):
        found = getattr(same, name)
        assert (found.estimate, found.high) == (1, 1)
        assert found.low == pytest.approx(getattr(nearly, name).low)
        assert getattr(turned, name).high == pytest.approx(-found.low)
        assert getattr(turned, name).low == -1
    assert same.kendall.separated or count == 5


def test_unknown_correlations():
    frame = pd.DataFrame(
        {
            "params": pd.array([1, 2, pd.NA, 4, 5, 6, 7], dtype="Int64"),
            "macs": [3] * 7,
            "accuracy": [0.1, 0.3, 0.9, 0.2, 0.4, 0.5, math.nan],
        }
    )
    table = cost_ranks(frame).set_index("cost")
    assert table["n"].tolist() == [5, 6]
    assert table["kendall"]["params"] == pytest.approx(0.8)
    assert table.loc["macs"].drop("n").isna().all()
    assert cost_ranks(frame.head(4)).drop(columns=["cost", "n"]).isna().all(axis=None)
    assert cost_ranks(frame.assign(accuracy=0.5))["spearman"].isna().all()
    assert cost_ranks(frame.head(0))["n"].tolist() == [0, 0]


@pytest.mark.slow
def test_intervals_cover_the_correlation_of_a_population():
    """Normal numbers with a correlation r have the tau 2 / pi arcsin(r); here with 25 points."""
    random, truth = np.random.default_rng(2), 2 / np.pi * np.arcsin(0.6)
    held = []
    for _ in range(250):
        drawn = random.multivariate_normal([0, 0], [[1, 0.6], [0.6, 1]], size=25)
        found = rank_correlation(drawn[:, 0], drawn[:, 1]).kendall
        held.append(found.low <= truth <= found.high)
    assert 0.92 <= np.mean(held) <= 0.985
