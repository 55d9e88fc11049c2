"""What is drawn of a surrogate: lines, bands, levels and marks, not pixels."""

import numpy as np
import pandas as pd
import pytest
from drawn import labelled, marks, segments
from matplotlib.contour import ContourSet
from matplotlib.figure import Figure

from explorer.drawing import model_plots, plots
from explorer.drawing.colours import BLUE, ORANGE
from explorer.spaces.simplex import SHARE


@pytest.fixture
def ax():
    with plots.style():
        figure = Figure(figsize=(4.2, 4.6))
        yield figure.subplots()


@pytest.fixture
def points():
    values = np.array([0.125, 0.25, 0.5, 1.0])
    accuracy = 0.5 + 0.1 * np.log2(values / 0.125)
    return pd.DataFrame({"ratio": values, "accuracy": accuracy, "low": accuracy - 0.02, "high": accuracy + 0.03})


def smooth_line(least=0.125):
    values = np.geomspace(least, 1, 50)
    mean = 0.5 + 0.1 * np.log2(values / 0.125)
    return pd.DataFrame({"value": values, "mean": mean, "low": mean - 0.01, "high": mean + 0.01})


@pytest.mark.parametrize("least", [0.125, 0.25])
def test_over_one_metaparameter_it_is_a_line_with_a_band_and_the_measured_points(ax, points, least):
    smooth, points = smooth_line(least), points[points["ratio"] >= least]
    model_plots.surrogate_line(smooth, points, "ratio", ax)
    (line,) = labelled(ax.lines, "surrogate")
    assert line.get_xydata() == pytest.approx(np.column_stack([smooth["value"], 100 * smooth["mean"]]))
    (band,) = labelled(ax.collections, "band")
    assert band.get_paths()[0].contains_point((0.5, 70.5))
    assert not band.get_paths()[0].contains_point((0.5, 71.5))
    assert [(mark.x, mark.y) for mark in marks(ax)] == [
        pytest.approx(place) for place in zip(points["ratio"], 100 * points["accuracy"], strict=True)
    ]
    assert [tuple(line[:, 1]) for line in segments(ax)] == [
        pytest.approx(ends) for ends in zip(100 * points["low"], 100 * points["high"], strict=True)
    ]
    assert ax.get_xlabel() == "ratio"
    assert ax.get_xscale() == ("log" if least == 0.125 else "linear")
    if least == 0.125:
        ax.figure.draw_without_rendering()
        assert [text.get_text() for text in ax.get_xticklabels()] == ["0.125", "0.25", "0.5", "1"]
    low, high = ax.get_ylim()
    assert low < 100 * points["low"].min()
    assert high > 100 * points["high"].max()


def smooth_plane(spread=0.02):
    x, y = np.meshgrid(np.linspace(0, 1, 21), np.linspace(10, 20, 21))
    frame = pd.DataFrame({"share": x.ravel(), "width": y.ravel()})
    # Rows in any order.
    return frame.assign(
        mean=0.3 + 0.2 * frame["share"] + 0.01 * frame["width"], half=0.01 + spread * frame["share"]
    ).sample(frac=1, random_state=0)


def contours(ax):
    return [artist for artist in ax.collections if isinstance(artist, ContourSet)]


PLACES = pd.DataFrame({"share": [0.0, 0.5, 1.0], "width": [10, 15, 20], "accuracy": [0.4, 0.55, 0.7]})


def test_over_two_metaparameters_it_is_a_map_with_lines_of_equal_uncertainty(ax):
    model_plots.surrogate_plane(smooth_plane(), PLACES, ax)
    filled, lines = contours(ax)
    assert filled.levels[0] <= 40
    assert filled.levels[-1] >= 70
    for level, path in zip(filled.levels, filled.get_paths(), strict=False):
        inside = path.vertices
        found = 100 * (0.3 + 0.2 * inside[:, 0] + 0.01 * inside[:, 1])
        step = filled.levels[1] - filled.levels[0]
        assert found.min() >= level - 1e-6
        assert found.max() <= level + step + 1e-6
    for level, path in zip(lines.levels, lines.get_paths(), strict=True):
        assert 100 * (0.01 + 0.02 * path.vertices[:, 0]) == pytest.approx(level)
    written = {text.get_text(): text.get_position() for text in labelled(ax.texts, "level")}
    assert set(written) == {f"\N{PLUS-MINUS SIGN}{level:g}" for level in lines.levels}
    for text, (x, _) in written.items():
        assert 100 * (0.01 + 0.02 * x) == pytest.approx(float(text[1:]), abs=0.02)
    assert [(mark.x, mark.y) for mark in marks(ax)] == [(0, 10), (0.5, 15), (1, 20)]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("share", "width")


def test_lines_of_intervals_that_hardly_differ_are_left_out(ax):
    model_plots.surrogate_plane(smooth_plane(spread=0.002), PLACES, ax)
    assert len(contours(ax)) == 1
    assert not labelled(ax.texts, "level")
    assert not model_plots.varies(np.array([1.0, 1.2]))
    assert model_plots.varies(np.array([1.0, 1.4]))


def test_many_points_do_not_hide_the_map(ax):
    many = pd.DataFrame({"share": np.linspace(0, 1, 400), "width": 15.0, "accuracy": 0.5})
    model_plots.surrogate_plane(smooth_plane(), many, ax)
    assert marks(ax) == []


def test_over_a_triangle_it_stands_at_the_shares(ax):
    steps = 12
    lattice = np.array([(a, b, steps - a - b) for a in range(steps + 1) for b in range(steps + 1 - a)]) / steps
    keys = [f"{SHARE}depth", f"{SHARE}width", f"{SHARE}resolution"]
    frame = pd.DataFrame(lattice, columns=keys).assign(mean=0.4 + 0.2 * lattice[:, 0], half=0.01)
    corners = pd.DataFrame(np.eye(3), columns=keys)
    model_plots.surrogate_triangle(frame, corners, ax)
    assert [(mark.x, mark.y) for mark in marks(ax)] == [
        pytest.approx(place) for place in ((0.5, np.sqrt(0.75)), (0, 0), (1, 0))
    ]
    (filled,) = contours(ax)
    for level, path in zip(filled.levels, filled.get_paths(), strict=False):
        heights = 40 + 20 * path.vertices[:, 1] / np.sqrt(0.75)
        assert heights.min() >= level - 1e-6
    assert [text.get_text() for text in ax.texts] == ["all to depth", "all to width", "all to resolution"]


def left_out(count=3):
    accuracy = np.linspace(0.5, 0.7, count)
    predicted = accuracy + np.where(np.arange(count) == 1, 0.1, 0.005)
    frame = pd.DataFrame({"point": range(count), "accuracy": accuracy, "predicted": predicted})
    return frame.assign(low=predicted - 0.02, high=predicted + 0.02, inside=np.arange(count) != 1)


def test_predictions_stand_against_measurements_and_those_outside_are_orange(ax):
    model_plots.predicted(left_out(), ax)
    assert [(mark.x, mark.y) for mark in marks(ax)] == [
        pytest.approx(place) for place in ((50, 50.5), (60, 70), (70, 70.5))
    ]
    assert [mark.face for mark in marks(ax)] == [BLUE, ORANGE, BLUE]
    assert [tuple(line[:, 1]) for line in segments(ax)] == [
        pytest.approx(ends) for ends in ((48.5, 52.5), (68, 72), (68.5, 72.5))
    ]
    (equal,) = labelled(ax.lines, "equal")
    assert equal.get_xdata() == pytest.approx(equal.get_ydata())
    low, high = ax.get_ylim()
    assert low < 48.5
    assert high > 72.5


def test_of_a_crowd_of_predictions_there_are_marks_only(ax):
    model_plots.predicted(left_out(400), ax)
    assert len(marks(ax)) == 400
    assert segments(ax) == []


def test_importance_is_ordered_with_both_indices_and_their_intervals(ax):
    table = pd.DataFrame(
        {
            "metaparameter": ["width", "depth", "$x$"],
            "first": [0.2, 0.5, 0.1],
            "first_low": [0.1, 0.4, 0.0],
            "first_high": [0.3, 0.6, 0.2],
            "total": [0.3, 0.6, 0.15],
            "total_low": [0.2, 0.5, 0.1],
            "total_high": [0.4, 0.7, 0.25],
        }
    )
    model_plots.importance(table, ax)
    names = [text.get_text() for text in ax.get_yticklabels()]
    assert names == ["$x$", "width", "depth"]
    for name, order in (("first", [0.1, 0.2, 0.5]), ("total", [0.15, 0.3, 0.6])):
        (drawn,) = labelled(ax.lines, name)
        assert drawn.get_xdata() == pytest.approx(100 * np.array(order))
        assert np.round(drawn.get_ydata()).tolist() == [0, 1, 2]
    assert [tuple(line[:, 0]) for line in segments(ax, "first interval")] == [
        pytest.approx(ends) for ends in ((0, 20), (10, 30), (40, 60))
    ]
    assert {text.get_text() for text in ax.texts} == {"by itself", "with others"}
