"""What is drawn over two dimensions of a space: places, colours, rings, texts and lines, not pixels."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.text import Annotation
from records import broken, make_record

from explorer import analysis, maps, plots
from explorer.pricing import price
from explorer.study import Range, Triangle
from explorer.study_files import load_study


@pytest.fixture
def ax():
    with plots.style():
        figure = Figure(figsize=(4.2, 4.6))
        figure.set_layout_engine("constrained", w_pad=0.08, h_pad=0.08)
        yield figure.subplots()


@pytest.fixture(scope="module")
def record():
    return make_record("compound_grid", images=2000)


@pytest.fixture(scope="module")
def triangle(record):
    return analysis.triangle(record)


@pytest.fixture(scope="module")
def plane():
    record = make_record("squeezenet_grid", images=300)
    return analysis.ranked(record), analysis.plane_params(record)


def labelled(artists, label):
    return [artist for artist in artists if artist.get_label() == label]


def marks(ax):
    """The marks of the points by their place, rounded."""
    return {(round(x, 6), round(y, 6)): line for line in labelled(ax.lines, "point") for x, y in [line.get_xydata()[0]]}


def place(depth, width, resolution):
    assert depth + width + resolution == pytest.approx(1)
    return round(depth * 0.5 + resolution, 6), round(depth * math.sqrt(0.75), 6)


def figures(ax):
    """The accuracies that are written, by the place that they belong to."""
    return {
        (round(text.xy[0], 6), round(text.xy[1], 6)): text.get_text()
        for text in ax.texts
        if isinstance(text, Annotation) and "all to" not in text.get_text()
    }


def colour_of(accuracy, frame):
    low, high = frame["accuracy"].min(), frame["accuracy"].max()
    return to_hex(maps._COLOURS((accuracy - low) / (high - low)))


def test_each_point_stands_at_its_shares_in_the_colour_of_its_accuracy(ax, triangle):
    maps.ternary(triangle, ax)
    drawn = marks(ax)
    assert len(drawn) == 21
    for _, row in triangle.iterrows():
        # The label gives the shares in percent: depth on top, width on the left, resolution on the right.
        shares = [int(share) / 100 for share in row["label"].split("-")]
        mark = drawn[place(*shares)]
        assert to_hex(mark.get_markerfacecolor()) == colour_of(row["accuracy"], triangle)


def test_the_corners_are_named(ax, triangle):
    maps.ternary(triangle, ax)
    names = {text.get_text(): tuple(np.round(text.xy, 6)) for text in ax.texts if "all to" in text.get_text()}
    assert names == {
        "all to depth": place(1, 0, 0),
        "all to width": place(0, 1, 0),
        "all to resolution": place(0, 0, 1),
    }


def test_every_point_of_the_lattice_has_its_accuracy_and_half_interval(ax, triangle):
    maps.ternary(triangle, ax)
    written = figures(ax)
    assert len(written) == 21
    for _, row in triangle.iterrows():
        shares = [int(share) / 100 for share in row["label"].split("-")]
        half = 50 * (row["high"] - row["low"])
        assert written[place(*shares)] == f"{100 * row['accuracy']:.1f}\n\N{PLUS-MINUS SIGN}{half:.1f}"


def test_rings_tell_the_best_and_what_is_not_separated_from_it(ax, record, triangle):
    maps.ternary(triangle, ax)
    widths = [marks(ax)[place(*row)].get_markeredgewidth() for row in triangle[SHARES].to_numpy()]
    best = int(triangle["accuracy"].argmax())
    expected = [0.0 if analysis.difference(record, best, point).separated else 1.1 for point in range(len(triangle))]
    expected[best] = 3.0
    assert widths == expected
    assert {0.0, 1.1, 3.0} == set(widths)
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["best", "not separated\nfrom the best"]


SHARES = ["share_depth", "share_width", "share_resolution"]


def test_points_without_an_accuracy_are_crosses_and_unfinished_ones_have_a_star(ax, record):
    frame = analysis.triangle(broken(broken(record, 0, (0, 1, 2)), 15, (1,)))
    maps.ternary(frame, ax)
    (crosses,) = labelled(ax.lines, "no accuracy")
    assert crosses.get_xydata() == pytest.approx(np.array([place(1, 0, 0)]), abs=1e-6)
    assert place(1, 0, 0) not in marks(ax)
    assert figures(ax)[place(0, 1, 0)].split("\n")[0] == f"{100 * frame['accuracy'][15]:.1f}*"


def test_points_drawn_at_random_are_all_marked_and_their_texts_cover_nothing(ax):
    study = load_study("compound_grid").model_copy(update={"simplex": Triangle(draw=30, seed=3)})
    frame = analysis.triangle(make_record(study, images=300))
    maps.ternary(frame, ax)
    expected = {place(*row) for row in frame[SHARES].to_numpy()}
    assert marks(ax).keys() == expected
    assert 5 < len(figures(ax)) < 30
    best = frame.loc[frame["accuracy"].idxmax(), SHARES]
    assert place(*best) in figures(ax)
    assert_nothing_is_covered(ax)


def test_the_texts_of_the_lattice_cover_nothing(ax, triangle):
    maps.ternary(triangle, ax)
    assert_nothing_is_covered(ax)


def assert_nothing_is_covered(ax):
    ax.figure.draw_without_rendering()
    boxes = [super(Annotation, text).get_window_extent().padded(-1) for text in ax.texts]
    assert not any(one.overlaps(other) for one, other in itertools.combinations(boxes, 2))
    assert not any(box.overlaps(ax.get_legend().get_window_extent()) for box in boxes)
    assert all(ax.figure.bbox.x0 <= box.x0 and box.x1 <= ax.figure.bbox.x1 for box in boxes)
    middles = ax.transData.transform([line.get_xydata()[0] for line in labelled(ax.lines, "point")])
    assert not any(box.contains(*middle) for box, middle in itertools.product(boxes, middles))


def test_without_a_second_seed_only_the_best_has_a_ring(ax):
    frame = analysis.triangle(make_record("compound_grid", images=100, seeds=1))
    maps.ternary(frame, ax)
    assert sorted(line.get_markeredgewidth() for line in marks(ax).values()) == [0.0] * 20 + [3.0]
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["best"]


@pytest.mark.parametrize("draw", [maps.ternary, lambda frame, ax: maps.plane(frame, pd.DataFrame(), ax)])
def test_without_a_measured_point_it_says_so(ax, triangle, draw):
    draw(triangle.assign(accuracy=math.nan), ax)
    assert [text.get_text() for text in ax.texts] == ["no run is done yet"]


def cells(ax):
    """The cells by column and row."""
    return {
        (round(cell.get_x() + 0.5), round(cell.get_y() + 0.5)): cell
        for label in ("cell", "no accuracy")
        for cell in labelled(ax.patches, label)
    }


def cell_texts(ax):
    return {text.get_position(): text.get_text() for text in ax.texts if text.get_label() != "params"}


def test_a_plane_has_a_cell_for_each_point_with_its_accuracy(ax, plane):
    frame, params = plane
    maps.plane(frame, params, ax)
    columns, rows = [0.125, 0.25, 0.5, 0.75, 1.0], [0.01, 0.25, 0.5, 0.75, 0.99]
    assert [text.get_text() for text in ax.get_xticklabels()] == list(map(str, columns))
    assert [text.get_text() for text in ax.get_yticklabels()] == list(map(str, rows))
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("squeeze_ratio", "pct3x3")
    assert len(cells(ax)) == 25
    for _, row in frame.iterrows():
        at = (columns.index(row["squeeze_ratio"]), rows.index(row["pct3x3"]))
        assert to_hex(cells(ax)[at].get_facecolor()) == colour_of(row["accuracy"], frame)
        assert cell_texts(ax)[at] == f"{100 * row['accuracy']:.1f}"


def test_a_frame_marks_the_best_cell_and_those_not_separated_from_it(ax, plane):
    frame, params = plane
    maps.plane(frame, params, ax)
    for standing, width in (("best", 3.0), ("not separated", 1.1)):
        chosen = frame[frame["standing"] == standing]
        assert len(chosen) >= 1
        drawn = [(rectangle.get_x() + 0.45, rectangle.get_y() + 0.45) for rectangle in labelled(ax.patches, standing)]
        columns, rows = (sorted(set(frame[key])) for key in ("squeeze_ratio", "pct3x3"))
        assert drawn == [
            (pytest.approx(columns.index(row["squeeze_ratio"])), pytest.approx(rows.index(row["pct3x3"])))
            for _, row in chosen.iterrows()
        ]
        assert {rectangle.get_linewidth() for rectangle in labelled(ax.patches, standing)} == {width}


def test_lines_of_equal_params_stand_where_the_networks_have_these_params(ax, plane):
    frame, params = plane
    maps.plane(frame, params, ax)
    columns, rows = (sorted(set(frame[key])) for key in ("squeeze_ratio", "pct3x3"))
    _, lines = ax.collections
    assert lines.levels.tolist() == [100_000, 200_000, 300_000, 400_000, 500_000, 600_000]
    for level, path in zip(lines.levels, lines.get_paths(), strict=True):
        x, y = path.vertices.T
        squeeze = np.interp(x, range(len(columns)), columns)
        share = np.interp(y, range(len(rows)), rows)
        priced = price("squeezenet", "cifar", squeeze_ratio=squeeze, pct3x3=share)["params"].to_numpy(dtype=float)
        # Filters are whole numbers, so that params rise in small steps.
        assert np.abs(priced - level).max() < 6_000
    written = {text.get_text(): text.get_position() for text in labelled(ax.texts, "params")}
    # There is no room for 600 k, in the corner.
    assert list(written) == ["100 k", "200 k", "300 k", "400 k", "500 k"]
    for (text, position), path in zip(written.items(), lines.get_paths(), strict=False):
        assert np.hypot(*(path.vertices - position).T).min() == pytest.approx(0), text


def test_cells_without_an_accuracy_are_hatched_and_say_why(ax):
    study = load_study("squeezenet_grid").model_copy(update={"constraints": {"params": Range(max=400_000)}})
    record = broken(broken(make_record(study, images=100), 3, (0, 1, 2)), 7, (1,))
    frame = analysis.ranked(record)
    maps.plane(frame, analysis.plane_params(record), ax)
    columns, rows = (sorted(set(frame[key])) for key in ("squeeze_ratio", "pct3x3"))
    over = frame[frame["state"] == "over budget"]
    assert len(over) == 3
    for _, row in over.iterrows():
        at = (columns.index(row["squeeze_ratio"]), rows.index(row["pct3x3"]))
        assert cells(ax)[at].get_hatch()
        assert cell_texts(ax)[at] == "over\nbudget"
    assert cell_texts(ax)[0, 3] == "failed"
    assert cells(ax)[0, 3].get_hatch()
    assert cell_texts(ax)[1, 2].endswith("*")
    assert sum(bool(cell.get_hatch()) for cell in cells(ax).values()) == 4


def test_a_merged_cell_shows_the_accuracy_of_its_network(ax):
    study = load_study("squeezenet_grid").model_copy(
        update={"vary": {"squeeze_ratio": [0.125, 0.126], "pct3x3": [0.25, 0.5]}}
    )
    record = make_record(study, images=100)
    frame = analysis.ranked(record)
    assert frame["state"].tolist() == ["done", "done", "merged", "merged"]
    maps.plane(frame, analysis.plane_params(record), ax)
    assert cell_texts(ax)[1, 0] == cell_texts(ax)[0, 0]
    assert len([patch for patch in ax.patches if patch.get_label() == "best"]) == 2


def test_the_plane_has_the_classes_of_the_data(plane):
    record = make_record("squeezenet_grid", images=10)
    _, params = plane
    more = price("squeezenet", "cifar", classes=37, **{key: record.points[key] for key in record.metaparameters})
    other = analysis.plane_params(replace(record, points=record.points.assign(params=more["params"])))
    assert (other["params"] - params["params"]).min() > 0
    corner = other[(other["squeeze_ratio"] == 1.0) & (other["pct3x3"] == 0.99)]
    assert corner["params"].tolist() == [more["params"].iloc[-1]]
