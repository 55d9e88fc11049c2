"""Error distribution functions, checked by counting."""

import math

import numpy as np
import pytest

from explorer.analysis.edf import edf


def test_the_steps_are_counted():
    accuracies = np.array([0.5, 0.7, 0.5, math.nan, 0.9, 0.25])
    table = edf(accuracies)
    assert table["error"].tolist() == pytest.approx([0.1, 0.3, 0.5, 0.75])
    errors = 1 - accuracies[~np.isnan(accuracies)]
    assert table["share"].tolist() == [sum(errors <= error) / 5 for error in table["error"]]
    assert edf(np.array([])).empty
    assert edf(np.array([math.nan])).empty
