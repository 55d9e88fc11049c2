"""Sobol' indices of surrogates, checked against closed forms and dense grids of known functions."""

import numpy as np
import pytest
from records import make_record
from surrogates import surrogate_of, varied

from explorer import analysis
from explorer.analysis import importance as module
from explorer.analysis.accuracies import Accuracies
from explorer.analysis.importance import importance
from explorer.analysis.surrogate import Surrogate

SIDES = {"squeeze_ratio": [0.2, 0.4, 0.6, 0.8, 1.0], "pct3x3": [0.1, 0.25, 0.4, 0.55, 0.7]}


def indices(table):
    return table[["first", "total"]].to_numpy()


def test_the_indices_of_a_sum_are_the_shares_of_its_variances():
    study = varied(**SIDES)
    table = importance(surrogate_of(study, lambda squeeze_ratio, pct3x3: 0.3 * squeeze_ratio + 0.2 * pct3x3))
    # Uniform over 0.8 and 0.6: standard deviations of 0.24 and 0.12, in units of 1 / sqrt(12).
    assert table["metaparameter"].tolist() == ["squeeze_ratio", "pct3x3"]
    assert indices(table) == pytest.approx(np.array([[0.8, 0.8], [0.2, 0.2]]), abs=0.01)
    assert (table["first_low"] <= table["first"]).all()
    assert (table["first"] <= table["first_high"]).all()
    assert (table["total_high"] - table["total_low"] < 0.02).all(), "hardly any noise"


def test_a_product_has_an_interaction():
    """f = x y with x, y uniform on [0, 1]: variance 7 / 144, of which each alone explains 1 / 48."""
    study = varied(**SIDES)
    found = surrogate_of(study, lambda squeeze_ratio, pct3x3: (squeeze_ratio - 0.2) / 0.8 * (pct3x3 - 0.1) / 0.6)
    assert indices(importance(found)) == pytest.approx(np.array([[3 / 7, 4 / 7]] * 2), abs=0.02)


def dense(function, count=120):
    """First-order and total indices of a function on the unit cube, by conditional means on a dense grid."""
    middles = (np.arange(count) + 0.5) / count
    values = function(*np.meshgrid(middles, middles, middles, indexing="ij"))
    found = []
    for axis in range(3):
        others = tuple(other for other in range(3) if other != axis)
        found.append([values.mean(axis=others).var(), values.var() - values.mean(axis=axis).var()])
    return np.array(found) / values.var()


def test_three_metaparameters_with_an_interaction_and_a_logarithm():
    """Like Ishigami's function: x1 alone, x2 alone and nonlinear, x3 only in a product with x1."""

    def accuracy(x1, x2, x3):
        return 0.2 * np.sin(2 * x1) + 0.2 * (x2 - 0.4) ** 2 + 0.3 * (x3 - 0.5) * (x1 - 0.5)

    study = varied(
        squeeze_ratio=np.linspace(0.2, 1, 5).tolist(),
        pct3x3=np.linspace(0.1, 0.7, 5).tolist(),
        dropout=np.linspace(0.1, 0.9, 5).tolist(),
    )
    found = surrogate_of(
        study,
        lambda squeeze_ratio, pct3x3, dropout: accuracy(
            (squeeze_ratio - 0.2) / 0.8, (pct3x3 - 0.1) / 0.6, (dropout - 0.1) / 0.8
        ),
    )
    assert any(axis.logarithmic for axis in found.coordinates.axes), "dropout spans 0.1 to 0.9"
    expected = dense(accuracy)
    assert expected[2, 0] < 0.01
    assert expected[2, 1] > 0.05
    assert indices(importance(found)) == pytest.approx(expected, abs=0.03)


def test_whole_numbers_and_choices_are_equally_frequent():
    """freq is 1, 2 or 3: variance 2/3; bypass none or not: 1/4, times 4."""
    study = varied("fire_growth", freq=[1, 2, 3], bypass=["none", "simple"], base_e=[16, 24, 32])
    found = surrogate_of(study, lambda freq, bypass, base_e: 0.1 * freq + 0.2 * (bypass == "none") + 0 * base_e)
    table = importance(found).set_index("metaparameter")
    assert table["first"]["freq"] == pytest.approx(0.4, abs=0.02)
    assert table["first"]["bypass"] == pytest.approx(0.6, abs=0.02)
    assert table["total"]["base_e"] < 0.01


@pytest.mark.slow
def test_with_noise_the_intervals_are_wide_and_cover_the_truth(monkeypatch):
    monkeypatch.setattr(module, "_MOST", 512)
    study, held, widths = varied(**SIDES), [], []
    for seed in range(20):
        found = surrogate_of(
            study, lambda squeeze_ratio, pct3x3: 0.3 * squeeze_ratio + 0.2 * pct3x3, noise=0.03, seed=seed
        )
        table = importance(found, draws=100)
        held.append((table["first_low"] <= [0.8, 0.2]) & (table["first_high"] >= [0.8, 0.2]))
        widths.append(table["first_high"] - table["first_low"])
        assert ((table[["first", "total"]] >= 0) & (table[["first", "total"]] <= 1)).all(axis=None)
    assert np.mean(held) >= 0.8
    assert np.mean(widths) > 0.1


def test_indices_are_reproducible_and_a_simplex_has_none():
    record = make_record("squeezenet_grid", images=100)
    accuracies = Accuracies.of(record)
    frame = analysis.measured(analysis.summarise(record, accuracies))
    tables = [importance(Surrogate.fit(record, frame, accuracies)) for _ in range(2)]
    assert tables[0].to_csv() == tables[1].to_csv()
    assert list(tables[0]) == [
        *("metaparameter", "first", "first_low", "first_high", "total", "total_low", "total_high"),
    ]
    triangle = make_record("compound_grid", images=30)
    accuracies = Accuracies.of(triangle)
    frame = analysis.measured(analysis.summarise(triangle, accuracies))
    assert importance(Surrogate.fit(triangle, frame, accuracies)) is None
    one = varied(squeeze_ratio=SIDES["squeeze_ratio"])
    assert importance(surrogate_of(one, lambda squeeze_ratio: squeeze_ratio)) is None
