import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from explorer.spaces.simplex import Simplex

MEANINGS = {"alpha": "depth", "beta": "width", "gamma": "resolution"}
COMPOUND = Simplex({"alpha": 1, "beta": 2, "gamma": 2}, MEANINGS, "phi")


def test_a_lattice_of_five_steps_has_the_21_points():
    shares = COMPOUND.lattice(5)
    assert shares.shape == (21, 3)
    by_hand = [(i / 5, j / 5, (5 - i - j) / 5) for i in range(5, -1, -1) for j in range(5 - i, -1, -1)]
    assert shares.tolist() == [list(row) for row in by_hand]


@given(st.integers(1, 40), st.integers(1, 4))
def test_lattices_are_complete_and_without_duplicates(steps, count):
    shares = Simplex({str(place): 1 for place in range(count)}, {}, "phi").lattice(steps)
    assert len(shares) == math.comb(steps + count - 1, count - 1)
    assert len(set(map(tuple, shares.tolist()))) == len(shares)
    assert np.allclose(shares.sum(axis=1), 1)
    assert (shares >= 0).all()


@given(st.integers(0, 1000), st.floats(1.1, 16))
def test_the_product_is_exact(seed, ratio):
    shares = COMPOUND.draw(50, np.random.default_rng(seed))
    factors = COMPOUND.factors(shares, ratio)
    assert np.allclose(factors["alpha"] * factors["beta"] ** 2 * factors["gamma"] ** 2, ratio, rtol=1e-13)
    assert np.allclose(COMPOUND.product(factors), ratio, rtol=1e-13)
    assert np.allclose(COMPOUND.shares(factors).T, shares)


def test_draws_are_even_over_the_triangle():
    # Cut at the middle of each side, the triangle has four parts of equal area.
    shares = COMPOUND.draw(40_000, np.random.default_rng(1))
    parts = [(shares[:, place] > 0.5).mean() for place in range(3)]
    assert parts == pytest.approx([0.25] * 3, abs=0.01)


def test_shares_of_the_paper_s_best_point():
    a, b, g = COMPOUND.shares({"alpha": 1.2, "beta": 1.1, "gamma": 1.15})
    assert a + b + g == pytest.approx(1)
    assert (a, b, g) == pytest.approx((0.2795, 0.2922, 0.4284), abs=1e-3)
