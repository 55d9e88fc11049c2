"""What is drawn over two dimensions of a space: places, colours, rings, texts and lines, not pixels."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from drawn import labelled, marks, segments
from matplotlib.colors import to_hex
from matplotlib.contour import ContourSet
from matplotlib.figure import Figure
from matplotlib.text import Annotation
from records import broken, changed, make_record

from explorer import analysis
from explorer.drawing import maps, plots
from explorer.drawing.colours import CELLS, contrast
from explorer.pricing.prices import price
from explorer.study.files import load_study
from explorer.study.forms import Triangle
from explorer.study.model import Range


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


def points(ax):
    """The marks of the points by their place, rounded."""
    return {(round(mark.x, 6), round(mark.y, 6)): mark for mark in marks(ax)}


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
    return to_hex(CELLS((accuracy - low) / (high - low)))


def test_each_point_stands_at_its_shares_in_the_colour_of_its_accuracy(ax, triangle):
    maps.ternary(triangle, ax)
    drawn = points(ax)
    assert len(drawn) == 21
    for _, row in triangle.iterrows():
        # The label gives the shares in percent: depth on top, width on the left, resolution on the right.
        shares = [int(share) / 100 for share in row["label"].split("-")]
        mark = drawn[place(*shares)]
        assert mark.face == colour_of(row["accuracy"], triangle)


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
    widths = [points(ax)[place(*row)].width for row in triangle[SHARES].to_numpy()]
    best = int(triangle["accuracy"].argmax())
    expected = [
        0.4 if analysis.Accuracies.of(record).difference(best, point).separated else 1.1
        for point in range(len(triangle))
    ]
    expected[best] = 3.0
    assert widths == expected
    assert {0.4, 1.1, 3.0} == set(widths)
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["best", "not separated\nfrom the best"]


SHARES = ["share_depth", "share_width", "share_resolution"]


def test_points_without_an_accuracy_are_crosses_and_unfinished_ones_have_a_star(ax, record):
    frame = analysis.triangle(broken(broken(record, 0, (0, 1, 2)), 15, (1,)))
    maps.ternary(frame, ax)
    (crosses,) = labelled(ax.lines, "no accuracy")
    assert crosses.get_xydata() == pytest.approx(np.array([place(1, 0, 0)]), abs=1e-6)
    assert place(1, 0, 0) not in points(ax)
    assert figures(ax)[place(0, 1, 0)].split("\n")[0] == f"{100 * frame['accuracy'][15]:.1f}*"


def test_points_drawn_at_random_are_all_marked_and_their_texts_cover_nothing(ax):
    study = changed("compound_grid", simplex=Triangle(draw=30, seed=3))
    frame = analysis.triangle(make_record(study, images=300))
    maps.ternary(frame, ax)
    expected = {place(*row) for row in frame[SHARES].to_numpy()}
    assert points(ax).keys() == expected
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
    middles = [mark.pixels for mark in marks(ax)]
    assert not any(box.contains(*middle) for box, middle in itertools.product(boxes, middles))


def test_without_a_second_seed_only_the_best_has_a_ring(ax):
    frame = analysis.triangle(make_record("compound_grid", images=100, seeds=1))
    maps.ternary(frame, ax)
    assert sorted(mark.width for mark in marks(ax)) == [0.4] * 20 + [3.0]
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["best"]


@pytest.mark.parametrize("draw", [maps.ternary, lambda frame, ax: maps.plane(frame, pd.DataFrame(), ax)])
def test_without_a_measured_point_it_says_so(ax, triangle, draw):
    draw(triangle.assign(accuracy=math.nan), ax)
    assert [text.get_text() for text in ax.texts] == ["no runs have finished yet"]


def cells(ax):
    """The colours of the cells by column and row; None where one is hatched."""
    (mesh,) = labelled(ax.collections, "cells")
    rows, columns = mesh.get_array().shape
    mesh.update_scalarmappable()
    faces = mesh.get_facecolors().reshape(rows, columns, 4)
    found = {(x, y): to_hex(faces[y, x]) for x in range(columns) for y in range(rows)}
    for collection in labelled(ax.collections, "no accuracy"):
        assert collection.get_hatch()
        for path in collection.get_paths():
            assert np.ma.getmaskarray(mesh.get_array())[corner(path)[::-1]]
            found[corner(path)] = None
    return found


def corner(path):
    """The column and row of a cell."""
    return tuple(np.round(path.vertices[:4].mean(axis=0)).astype(int).tolist())


def cell_texts(ax):
    return {text.get_position(): text.get_text() for text in ax.texts if text.get_label() != "level"}


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
        assert cells(ax)[at] == colour_of(row["accuracy"], frame)
        assert cell_texts(ax)[at] == f"{100 * row['accuracy']:.1f}"


def test_a_frame_marks_the_best_cell_and_those_not_separated_from_it(ax, plane):
    frame, params = plane
    maps.plane(frame, params, ax)
    columns, rows = (sorted(set(frame[key])) for key in ("squeeze_ratio", "pct3x3"))
    for standing, width in (("best", 3.0), ("not separated", 1.1)):
        chosen = frame[frame["standing"] == standing]
        assert len(chosen) >= 1
        (drawn,) = labelled(ax.collections, standing)
        assert [corner(path) for path in drawn.get_paths()] == [
            (columns.index(row["squeeze_ratio"]), rows.index(row["pct3x3"])) for _, row in chosen.iterrows()
        ]
        assert drawn.get_linewidths().tolist() == [width]
        assert all(np.ptp(path.vertices[:4], axis=0) == pytest.approx([0.9, 0.9]) for path in drawn.get_paths())


def test_lines_of_equal_params_stand_where_the_networks_have_these_params(ax, plane):
    frame, params = plane
    maps.plane(frame, params, ax)
    columns, rows = (sorted(set(frame[key])) for key in ("squeeze_ratio", "pct3x3"))
    (lines,) = [artist for artist in ax.collections if isinstance(artist, ContourSet)]
    assert lines.levels.tolist() == [100_000, 200_000, 300_000, 400_000, 500_000, 600_000]
    for level, path in zip(lines.levels, lines.get_paths(), strict=True):
        x, y = path.vertices.T
        squeeze = np.interp(x, range(len(columns)), columns)
        share = np.interp(y, range(len(rows)), rows)
        priced = price("squeezenet", "cifar", {"squeeze_ratio": squeeze, "pct3x3": share})["params"]
        # Filters are whole numbers, so that params rise in small steps.
        assert (priced - level).abs().max() < 6_000
    written = {text.get_text(): text.get_position() for text in labelled(ax.texts, "level")}
    # There is no room for 600 k, in the corner.
    assert list(written) == ["100 k", "200 k", "300 k", "400 k", "500 k"]
    for (text, position), path in zip(written.items(), lines.get_paths(), strict=False):
        assert np.hypot(*(path.vertices - position).T).min() == pytest.approx(0, abs=0.01), text


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
        assert cells(ax)[at] is None
        assert cell_texts(ax)[at] == "over\nbudget"
    assert cell_texts(ax)[0, 3] == "failed"
    assert cells(ax)[0, 3] is None
    assert cell_texts(ax)[1, 2].endswith("*")
    assert list(cells(ax).values()).count(None) == 4


def test_a_merged_cell_shows_the_accuracy_of_its_network(ax):
    study = changed("squeezenet_grid", vary={"squeeze_ratio": [0.125, 0.126], "pct3x3": [0.25, 0.5]})
    record = make_record(study, images=100)
    frame = analysis.ranked(record)
    assert frame["state"].tolist() == ["done", "done", "merged", "merged"]
    maps.plane(frame, analysis.plane_params(record), ax)
    assert cell_texts(ax)[1, 0] == cell_texts(ax)[0, 0]
    (best,) = labelled(ax.collections, "best")
    assert len(best.get_paths()) == 2


def test_the_plane_has_the_classes_of_the_data(plane):
    record = make_record("squeezenet_grid", images=10)
    _, params = plane
    more = price("squeezenet", "cifar", record.points[record.metaparameters], classes=37)
    other = analysis.plane_params(replace(record, classes=37))
    assert (other["params"] - params["params"]).min() > 0
    corner = other[(other["squeeze_ratio"] == 1.0) & (other["pct3x3"] == 0.99)]
    assert corner["params"].tolist() == [more["params"].iloc[-1]]


def test_texts_and_frames_are_read_on_the_colour_of_their_cell(ax, plane):
    frame, params = plane
    maps.plane(frame, params, ax, chosen={7: "SqueezeNet v1.0"})
    for text in ax.texts:
        if text.get_label() != "level":
            assert contrast(text.get_color(), cells(ax)[text.get_position()]) >= 4.5
    (diamond,) = marks(ax, "published")
    at = (1, 2)
    assert frame["point"][7] == 7
    assert (round(diamond.x), round(diamond.y)) == at
    assert diamond.edge == to_hex(next(text.get_color() for text in ax.texts if text.get_position() == at))


def test_the_shares_of_published_networks_are_diamonds_that_the_legend_names(ax, triangle):
    maps.ternary(triangle, ax, chosen={"EfficientNet $B0$": [0.5, 0.25, 0.25]})
    (diamond,) = marks(ax, "published")
    assert (round(diamond.x, 6), round(diamond.y, 6)) == place(0.5, 0.25, 0.25)
    texts = ax.get_legend().get_texts()
    assert texts[-1].get_text() == "EfficientNet $B0$"
    assert not texts[-1].get_parse_math()
    assert_nothing_is_covered(ax)


def test_lines_of_the_grid_are_at_each_fifth(ax, triangle):
    maps.ternary(triangle, ax)
    lines = segments(ax, "grid")
    assert len(lines) == 15
    ends = {tuple(np.round(end, 6)) for line in lines for end in line}
    assert {place(fifth / 5, 1 - fifth / 5, 0) for fifth in range(6)} <= ends


def test_many_points_in_a_triangle_are_small_and_the_best_one_has_its_accuracy(ax, triangle):
    random = np.random.default_rng(0)
    count = 1500
    shares = random.dirichlet(np.ones(3), count)
    accuracy = random.uniform(0.4, 0.6, count)
    frame = triangle.loc[[0] * count].reset_index(drop=True)
    frame = frame.assign(accuracy=accuracy, low=accuracy - 0.01, high=accuracy + 0.01, standing="separated")
    frame.loc[accuracy.argmax(), "standing"] = "best"
    frame[SHARES] = shares
    maps.ternary(frame, ax)
    assert len(marks(ax)) == count
    (collection,) = labelled(ax.collections, "point")
    assert collection.get_rasterized()
    assert collection.get_sizes()[0] < 15
    assert [mark.width > 0 for mark in marks(ax)].count(True) == 1
    # The best one is on top.
    assert marks(ax)[-1].width > 0
    assert figures(ax) == {place(*shares[accuracy.argmax()]): f"{100 * accuracy.max():.1f}\n\N{PLUS-MINUS SIGN}1.0"}


@pytest.fixture(scope="module")
def large():
    """A plane of 40 by 30 cells with the prices of its corners."""
    across, up = np.meshgrid(np.linspace(0.025, 1, 40).round(3), np.linspace(0.01, 0.99, 30).round(4))
    frame = pd.DataFrame({"point": range(1200), "squeeze_ratio": across.ravel(), "pct3x3": up.ravel(), "label": ""})
    accuracy = 0.3 + 0.2 * frame["squeeze_ratio"] + 0.1 * frame["pct3x3"]
    frame = frame.assign(state="done", reason="", accuracy=accuracy, standing="separated")
    frame.loc[accuracy.idxmax(), "standing"] = "best"
    frame.loc[5, "standing"] = "not separated"
    prices = frame[["squeeze_ratio", "pct3x3"]].assign(params=(1e6 * accuracy).round().astype("Int64"))
    return frame, prices


def test_a_large_plane_is_an_image_with_a_ring_and_few_words(ax, large):
    frame, prices = large
    maps.plane(frame, prices, ax)
    (mesh,) = labelled(ax.collections, "cells")
    assert mesh.get_rasterized()
    assert mesh.get_array()[29, 39] == pytest.approx(59.9)
    assert mesh.get_array()[0, 0] == pytest.approx(100 * frame["accuracy"].min())
    assert {text.get_label() for text in ax.texts} == {"level"}
    assert not labelled(ax.collections, "not separated")
    assert {(mark.x, mark.y) for mark in marks(ax, "best")} == {(39, 29)}
    ax.figure.draw_without_rendering()
    names = [text for text in ax.get_xticklabels() if text.get_text()]
    boxes = [text.get_window_extent() for text in names]
    assert len(boxes) > 3
    assert not any(one.overlaps(other) for one, other in itertools.combinations(boxes, 2))
    columns = sorted(set(frame["squeeze_ratio"]))
    assert [text.get_text() for text in names] == [str(columns[int(text.get_position()[0])]) for text in names]
    area = ax.get_window_extent()
    for text in ax.texts:
        box = text.get_window_extent()
        assert area.x0 <= box.x0 < box.x1 <= area.x1
        assert area.y0 <= box.y0 < box.y1 <= area.y1
