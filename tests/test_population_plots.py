"""What is drawn of points as a population: steps, bands, lines through axes, not pixels."""

import numpy as np
import pandas as pd
import pytest
from drawn import labelled, segments
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from explorer.analysis.edf import edf
from explorer.drawing import plots, population_plots
from explorer.drawing.colours import LINES


@pytest.fixture
def ax():
    with plots.style():
        figure = Figure(figsize=(4.2, 3.3))
        yield figure.subplots()


ACCURACIES = np.array([0.5, 0.6, 0.6, 0.7, 0.75, 0.8, 0.9, 0.4])


def test_errors_are_a_staircase_from_none_to_all(ax):
    population_plots.error_distribution(edf(ACCURACIES), ax)
    (line,) = labelled(ax.lines, "share")
    assert line.get_drawstyle() == "steps-post"
    x, y = line.get_xdata(), line.get_ydata()
    for error in (9.0, 10.5, 22.0, 33.0, 45.0, 59.0, 61.0):
        height = y[np.searchsorted(x, error, side="right") - 1]
        assert height == pytest.approx(100 * (error >= 100 * (1 - ACCURACIES)).mean()), error
    assert not labelled(ax.collections, "band")
    assert [text.get_text() for text in ax.texts] == ["half: 30.0 % or less"]
    assert ax.get_xlabel() == "Validation error (%)"


def test_the_band_of_a_sample_is_drawn(ax):
    steps = edf(ACCURACIES, sample=True)
    population_plots.error_distribution(steps, ax)
    (band,) = labelled(ax.collections, "band")
    path = band.get_paths()[0]
    between = 100 * (steps["error"].iloc[2] + steps["error"].iloc[3]) / 2
    low, high = 100 * steps["low"].iloc[2], 100 * steps["high"].iloc[2]
    assert path.contains_point((between, low + 1))
    assert path.contains_point((between, high - 1))
    assert not path.contains_point((between, low - 1))
    assert not path.contains_point((between, high + 1))


def test_without_points_it_says_so(ax):
    population_plots.error_distribution(edf(np.array([])), ax)
    assert [text.get_text() for text in ax.texts] == ["no runs have finished yet"]


@pytest.fixture
def frame():
    return pd.DataFrame(
        {
            "width": [8, 16, 32, 8],
            "ratio": [0.1, 0.5, 1.0, 0.5],
            "bypass": ["none", "simple", "none", "complex"],
            "pools": [(1, 4), (1, 4), (2, 5), (1, 4)],
            "accuracy": [0.5, 0.6, 0.9, np.nan],
        }
    )


KEYS = ["width", "ratio", "bypass", "pools"]


def test_a_line_for_each_measured_point_crosses_every_axis(ax, frame):
    population_plots.parallel(frame, KEYS, ax)
    lines = segments(ax, "point")
    assert len(lines) == 3
    # From the least accurate to the most, so that the best is on top.
    heights = np.array([line[:, 1] for line in lines])
    assert heights[:, -1] == pytest.approx([0, 0.25, 1])
    assert heights[:, 0] == pytest.approx([0, 0.5, 1], abs=0.04)
    # Few values stand evenly, whatever their amounts; choices in the order of the study.
    assert heights[:, 1] == pytest.approx([0, 0.5, 1], abs=0.04)
    assert heights[:, 2] == pytest.approx([0, 0.5, 0], abs=0.04)
    assert heights[0, 2] != heights[2, 2]
    (drawn,) = labelled(ax.collections, "point")
    assert to_hex(drawn.get_colors()[0]) == to_hex(LINES(0.0))
    assert to_hex(drawn.get_colors()[2]) == to_hex(LINES(1.0))
    assert drawn.get_linewidths()[2] == max(drawn.get_linewidths()) > drawn.get_linewidths()[0]


def test_axes_are_named_with_their_values(ax, frame):
    population_plots.parallel(frame, KEYS, ax)
    assert [text.get_text() for text in ax.get_xticklabels()] == [*KEYS, "accuracy\n(%)"]
    written = {(round(text.xy[0]), round(text.xy[1], 3)): text.get_text() for text in ax.texts}
    assert [written[2, height] for height in (0, 0.5, 1)] == ["none", "simple", "complex"]
    assert [written[3, height] for height in (0, 1)] == ["1-4", "2-5"]
    assert [written[0, height] for height in (0, 0.5, 1)] == ["8", "16", "32"]
    assert [written[4, height] for height in (0, 1)] == ["50.0", "90.0"]
    assert len(labelled(ax.lines, "axis")) == 5


def test_many_values_stand_by_their_amounts_and_the_ends_are_written(ax):
    values = np.array([1e-6, 0.1, 0.12, 0.2, 0.3, 0.4, 0.5, 0.6, 0.99961])
    frame = pd.DataFrame({"share": values, "other": 1, "third": [1, 2, 3] * 3, "accuracy": values})
    population_plots.parallel(frame, ["share", "other", "third"], ax)
    heights = [line[0, 1] for line in segments(ax, "point")]
    assert heights == pytest.approx((values - values[0]) / np.ptp(values))
    written = [text.get_text() for text in ax.texts if text.xy[0] == 0]
    assert written == ["0", "1"]


def test_of_a_crowd_some_have_lines_and_the_best_are_among_them(ax):
    random = np.random.default_rng(0)
    frame = pd.DataFrame(random.uniform(size=(5000, 4)), columns=["a", "b", "c", "accuracy"])
    population_plots.parallel(frame, ["a", "b", "c"], ax)
    lines = segments(ax, "point")
    assert len(lines) == population_plots.MOST_LINES
    best = frame.nlargest(100, "accuracy").sort_values("accuracy")
    span = frame["a"].max() - frame["a"].min()
    assert [line[0, 1] for line in lines[-100:]] == pytest.approx(((best["a"] - frame["a"].min()) / span).tolist())
    assert lines[0][-1, 1] == 0


def test_points_of_equal_accuracy_are_drawn(ax, frame):
    population_plots.parallel(frame.assign(accuracy=0.5), KEYS, ax)
    assert {line[-1, 1] for line in segments(ax, "point")} == {0.5}
