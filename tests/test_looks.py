"""Intervals under optional stopping: against Pocock's table, and simulated coverage at the moment of stopping."""

import numpy as np
import pytest
from scipy import stats

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
