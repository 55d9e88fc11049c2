"""Error distribution functions, checked by counting, and their band, by simulation."""

import math

import numpy as np
import pytest
from records import broken, changed, make_record

from explorer import analysis
from explorer.analysis.edf import edf, is_sample
from explorer.study.forms import Triangle


def test_the_steps_are_counted():
    accuracies = np.array([0.5, 0.7, 0.5, math.nan, 0.9, 0.25])
    table = edf(accuracies)
    assert table["error"].tolist() == pytest.approx([0.1, 0.3, 0.5, 0.75])
    errors = 1 - accuracies[~np.isnan(accuracies)]
    assert table["share"].tolist() == [sum(errors <= error) / 5 for error in table["error"]]
    assert table[["low", "high"]].isna().all(axis=None), "no random sample, no band"
    assert edf(np.array([])).empty
    assert edf(np.array([math.nan]), sample=True).empty


@pytest.mark.slow
def test_the_band_covers_the_whole_function_as_often_as_claimed():
    random, held, widths = np.random.default_rng(0), [], []
    for _ in range(600):
        # Errors uniform on [0, 1]: the function of the population is the identity.
        table = edf(1 - random.random(20), sample=True)
        error, share = table["error"].to_numpy(), table["share"].to_numpy()
        half = (table["high"] - table["share"])[0]
        # The largest deviation is at the upper or lower end of a step.
        held.append((np.abs(share - error) <= half).all() and (np.abs(share - 1 / 20 - error) <= half).all())
        widths.append(half)
        assert table["low"].min() >= 0
        assert table["high"].max() <= 1
    assert widths[0] == pytest.approx(math.sqrt(math.log(40) / 40))
    assert 0.94 <= np.mean(held) <= 0.99


def drawn(**changes):
    study = changed("compound_grid", simplex=Triangle(draw=12, seed=3), **changes)
    return make_record(study, images=20)


def test_points_are_a_sample_only_if_drawn_and_all_measured():
    record = drawn()
    summary = analysis.summarise(record)
    assert is_sample(record, summary)
    assert len(edf(summary["accuracy"].to_numpy(), sample=True)) <= 12
    lost = broken(record, int(record.runs["point"].iloc[0]), (0, 1, 2))
    assert not is_sample(lost, analysis.summarise(lost))
    lattice = make_record("compound_grid", images=20)
    assert not is_sample(lattice, analysis.summarise(lattice))
    combined = drawn(vary={"divisor": [4, 8]})
    assert not is_sample(combined, analysis.summarise(combined))
