"""What is drawn: coordinates, labels and marks, not pixels."""

import itertools
import math

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from drawn import labelled, marks, segments
from matplotlib.collections import PolyCollection
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.text import Annotation
from records import World, broken, changed, make_record

from explorer import analysis
from explorer.drawing import colours, plots
from explorer.drawing.labels import label_ends
from explorer.drawing.marks import MOST_LABELS
from explorer.study.files import load_study


@pytest.fixture
def ax():
    with plots.style():
        figure = Figure(figsize=(4.2, 3.3))
        yield figure.subplots()


@pytest.fixture(scope="module")
def summaries():
    names = ("squeeze_ratio", "pct3x3", "bypass", "delayed_downsampling")
    return {name: analysis.summarise(make_record(name, images=800)) for name in names}


def positions(ax):
    return np.array([(mark.x, mark.y) for mark in marks(ax)])


def intervals(ax):
    return [line[:, 1] for line in segments(ax)]


def texts(ax):
    return [text for text in ax.texts if isinstance(text, Annotation)]


def labels(ax):
    return [text.get_text() for text in texts(ax)]


def hollow(ax):
    return [mark.opacity == 0 or mark.face == "#ffffff" for mark in marks(ax)]


def joined(ax):
    """The lines that join points."""
    return list(ax.lines)


def bands(ax):
    return [artist for artist in ax.collections if isinstance(artist, PolyCollection)]


def test_a_numeric_metaparameter_is_a_labelled_line_with_a_band(ax, summaries):
    summary = summaries["squeeze_ratio"]
    plots.curve(summary, ax)
    expected = np.column_stack([summary["params"].astype(float) / 1e3, 100 * summary["accuracy"]])
    assert positions(ax) == pytest.approx(expected)
    (line,) = joined(ax)
    assert np.column_stack([line.get_xdata(), line.get_ydata()]) == pytest.approx(expected)
    assert labels(ax) == [str(ratio) for ratio in load_study("squeeze_ratio").varied["squeeze_ratio"]]
    (band,) = bands(ax)
    corners = band.get_paths()[0].vertices
    assert corners[:, 1].min() == pytest.approx(100 * summary["low"].min())
    assert corners[:, 1].max() == pytest.approx(100 * summary["high"].max())
    assert ax.get_xlabel() == "Params (k)"
    assert ax.get_ylabel() == "Validation accuracy (%)"


def test_the_line_follows_the_metaparameter_and_not_the_rows(ax, summaries):
    plots.curve(summaries["squeeze_ratio"].sample(frac=1, random_state=1), ax)
    assert (np.diff(joined(ax)[0].get_xdata()) > 0).all()


@pytest.mark.parametrize("name", ["bypass", "delayed_downsampling"])
def test_what_has_no_order_is_points_with_bars(ax, summaries, name):
    summary = summaries[name]
    plots.curve(summary, ax, load_study(name).plot.against)
    assert joined(ax) == []
    assert not bands(ax)
    assert sorted(map(tuple, intervals(ax))) == [
        pytest.approx([100 * low, 100 * high])
        for low, high in sorted(zip(summary["low"], summary["high"], strict=True))
    ]
    assert labels(ax) == summary["label"].tolist()


def test_against_multiply_adds(ax, summaries):
    plots.curve(summaries["delayed_downsampling"], ax, "macs")
    assert ax.get_xlabel() == "FLOPs (multiply-adds, M)"
    assert positions(ax)[:, 0].min() == pytest.approx(1.102848)


def test_two_metaparameters_are_points_without_a_line(ax):
    study = changed("squeeze_ratio", fixed={}, vary={"squeeze_ratio": [0.25, 0.5], "pct3x3": [0.25, 0.75]})
    plots.curve(analysis.summarise(make_record(study, images=100)), ax)
    assert joined(ax) == []
    assert labels(ax) == ["0.25, 0.25", "0.25, 0.75", "0.5, 0.25", "0.5, 0.75"]


def test_a_frame_knows_its_metaparameters_whatever_rows_and_columns_it_has(ax, summaries, tmp_path):
    summary = summaries["squeeze_ratio"]
    summary.sort_values("accuracy").assign(own=0).to_parquet(tmp_path / "points.parquet")
    plots.curve(pd.read_parquet(tmp_path / "points.parquet").query("squeeze_ratio > 0.3"), ax)
    (line,) = joined(ax)
    assert line.get_xdata() == pytest.approx(summary["params"].iloc[2:].to_numpy(dtype=float) / 1e3)


def test_unmeasured_points_are_not_drawn_and_unfinished_ones_are_hollow(ax):
    record = broken(broken(make_record(images=100), 2, (0, 1, 2)), 4, (1,))
    plots.curve(analysis.summarise(record), ax)
    assert len(marks(ax)) == 7
    assert "0.375" not in labels(ax)
    assert [label for label, empty in zip(labels(ax), hollow(ax), strict=True) if empty] == ["0.625"]


def test_one_network_is_one_mark_with_all_its_labels(ax):
    study = changed("squeeze_ratio", vary={"squeeze_ratio": [0.125, 0.126, 0.5]})
    plots.curve(analysis.summarise(make_record(study, images=100)), ax)
    assert labels(ax) == ["0.125 = 0.126", "0.5"]


def test_points_of_equal_cost_are_moved_apart(ax, summaries):
    plots.curve(summaries["bypass"], ax)
    one, other, _ = sorted(marks(ax))
    same = summaries["bypass"]["params"].min() / 1e3
    assert 3 < (other.pixels[0] - one.pixels[0]) * 72 / ax.figure.dpi < 9
    assert (one.x + other.x) / 2 == pytest.approx(same)


def mark_of(ax, row, cost="params", scale=1e3):
    """The mark of a point, which may stand aside by a few percent of the axis."""
    room = 0.1 * np.ptp(ax.get_xlim())
    (found,) = [
        mark
        for mark in marks(ax)
        if abs(mark.x - row[cost] / scale) < room and mark.y == pytest.approx(100 * row["accuracy"])
    ]
    return found


def test_the_front_is_filled_and_joined_by_a_staircase(ax, summaries):
    summary = summaries["bypass"]
    plots.front(summary, ax, "params")
    front = analysis.pareto_front(summary, "params").tolist()
    for chosen, (_, row) in zip(front, summary.iterrows(), strict=True):
        mark = mark_of(ax, row)
        assert mark.opacity == chosen
        assert mark.edge == (colours.BLUE if chosen else colours.GREY)
    (line,) = joined(ax)
    chosen = summary[front].sort_values("params")
    assert line.get_drawstyle() == "steps-post"
    assert line.get_ydata()[:-1] == pytest.approx(100 * chosen["accuracy"])
    assert line.get_xdata()[:-1] == pytest.approx(chosen["params"].astype(float) / 1e3)


def test_marks_are_as_full_as_it_is_probable_that_they_are_on_the_front(ax):
    findings = analysis.Findings(make_record("fire_growth", images=300))
    plots.front(findings.points, ax, "macs")
    sure = findings.measured[analysis.probability_column("macs")]
    assert sure.between(0.1, 0.9).any()
    assert sure.min() < 0.05
    for _, row in findings.measured.iterrows():
        mark = mark_of(ax, row, "macs", 1e6)
        assert mark.opacity == pytest.approx(row[analysis.probability_column("macs")])
        likely = row[analysis.front_column("macs")] or row[analysis.probability_column("macs")] > 0.05
        assert mark.edge == mark.face == (colours.BLUE if likely else colours.GREY)
    # What shines through a mark is the ground and not the staircase.
    assert {(mark.x, mark.y) for mark in marks(ax, "ground")} == {
        (mark.x, mark.y) for mark in marks(ax) if mark.opacity < 1
    }
    assert {mark.face for mark in marks(ax, "ground")} == {colours.GROUND}


def test_a_published_choice_has_a_diamond_and_its_name(ax):
    summary = analysis.summarise(make_record(images=200))
    plots.curve(summary, ax, chosen={3: "SqueezeNet v1.0"})
    (diamond,) = marks(ax, "published")
    assert (diamond.x, diamond.y) == pytest.approx((summary["params"][3] / 1e3, 100 * summary["accuracy"][3]))
    assert diamond.face == "none"
    assert "0.5\nas in SqueezeNet v1.0" in labels(ax)


def test_at_equal_cost_the_points_stand_side_by_side_under_their_names(ax, summaries):
    summary = summaries["delayed_downsampling"]
    plots.front(summary, ax, "params", chosen={2: "SqueezeNet v1.1"})
    assert sorted(positions(ax)[:, 0]) == list(range(7))
    assert [text.get_text() for text in ax.get_xticklabels()] == summary["label"].tolist()
    assert hollow(ax).count(False) == 1
    assert ax.get_xlabel() == "pools; Params (k): 183 at every point"
    assert joined(ax) == []
    assert labels(ax) == ["as in SqueezeNet v1.1"]


def test_many_points_have_labels_on_the_front_only_and_the_best_one_for_sure(ax):
    study = changed(
        "pct3x3", fixed={}, vary={"squeeze_ratio": [0.2, 0.4, 0.6, 0.8], "pct3x3": [0.1, 0.3, 0.5, 0.7, 0.9]}
    )
    summary = analysis.summarise(make_record(study, images=300))
    plots.front(summary, ax, "macs")
    assert len(marks(ax)) == 20
    assert set(labels(ax)) <= set(summary[analysis.pareto_front(summary, "macs")]["label"])
    assert summary.loc[summary["accuracy"].idxmax(), "label"] in labels(ax)
    assert len(labels(ax)) > 3
    assert_labels_are_free(ax)


def test_costs_far_apart_stand_on_a_logarithmic_axis(ax, summaries):
    summary = summaries["bypass"]
    plots.curve(summary.assign(params=[1_000, 20_000, 3_000]), ax)
    assert ax.get_xscale() == "log"
    assert [mark.x for mark in sorted(marks(ax))] == [1, 3, 20]
    ax.figure.draw_without_rendering()
    assert {"1", "2", "5", "10", "20"} <= {text.get_text() for text in ax.get_xticklabels()}


@pytest.fixture(scope="module")
def crowd():
    """2,400 points, of which some are on the front."""
    random = np.random.default_rng(0)
    count = 2400
    params = random.integers(10_000, 1_000_000, count)
    accuracy = 0.1 * np.log10(params) + random.normal(0, 0.03, count)
    points = np.arange(count)
    return pd.DataFrame(
        {
            "point": points,
            "width": random.integers(1, 100, count),
            "depth": random.integers(1, 100, count),
            "label": [f"point {point}" for point in points],
            "state": "done",
            "same_as": pd.array([pd.NA] * count, dtype="Int64"),
            "params": params,
            "accuracy": accuracy,
            "low": accuracy - 0.02,
            "high": accuracy + 0.02,
        }
    )


@pytest.mark.parametrize("draw", [plots.front, plots.curve])
def test_of_a_crowd_all_but_the_front_is_small_see_through_and_an_image(ax, crowd, draw):
    draw(crowd, ax, "params")
    on_front = analysis.pareto_front(crowd, "params")
    assert {mark.x for mark in marks(ax)} == set(crowd["params"][on_front] / 1e3)
    assert len(marks(ax, "crowd")) == len(crowd) - on_front.sum()
    assert {round(mark.opacity, 2) for mark in marks(ax, "crowd")} == {0.3}
    assert all(collection.get_rasterized() for collection in labelled(ax.collections, "crowd"))
    assert not any(collection.get_rasterized() for collection in labelled(ax.collections, "point"))
    assert 0 < len(segments(ax)) <= MOST_LABELS
    assert len(ax.collections) + len(ax.lines) < 12
    best = crowd.loc[crowd["accuracy"].idxmax(), "label"]
    assert best in labels(ax)
    assert set(labels(ax)) <= set(crowd["label"])
    assert_labels_are_free(ax)


def scaling(images=800, change=lambda record: record):
    return analysis.summarise(change(make_record("compound_scaling", images=images)))


def lines_of_series(ax):
    """The lines by series: their coordinates, without those of the marks."""
    return {
        line.get_label(): line
        for line in ax.lines
        if line.get_label() in {"depth only", "width only", "resolution only", "compound"}
    }


def test_a_series_is_a_line_from_the_base_network_with_its_name_at_the_end(ax):
    frame = scaling()
    plots.scaling_curves(frame, ax)
    drawn = lines_of_series(ax)
    base = [frame["macs"][0] / 1e6, 100 * frame["accuracy"][0]]
    assert frame["series"].nunique() == len(drawn) == 4
    for series, rows in frame.sort_values("macs").groupby("series"):
        points = drawn[series].get_xydata()
        assert points == pytest.approx(np.column_stack([rows["macs"].astype(float) / 1e6, 100 * rows["accuracy"]]))
        assert points[0] == pytest.approx(base)
        (text,) = [text for text in texts(ax) if text.get_text() == series]
        assert text.xy == pytest.approx(points[-1])
        assert to_hex(text.arrow_patch.get_edgecolor()) == drawn[series].get_color()
    assert ax.get_xlabel() == "FLOPs (multiply-adds, M)"
    assert ax.get_ylabel() == "Validation accuracy (%)"
    assert len({line.get_color() for line in drawn.values()}) == 4


def test_the_network_that_series_share_is_one_black_mark_and_the_others_have_the_colour_of_their_line(ax):
    frame = scaling()
    plots.scaling_curves(frame, ax)
    assert len(marks(ax)) == len(intervals(ax)) == 13
    colours = {series: line.get_color() for series, line in lines_of_series(ax).items()}
    own = frame[frame["same_as"].isna()].iloc[1:]
    expected = [(row["macs"] / 1e6, 100 * row["accuracy"], colours[row["series"]]) for _, row in own.iterrows()]
    expected.append((frame["macs"][0] / 1e6, 100 * frame["accuracy"][0], "#333333"))
    found = [(mark.x, mark.y, mark.edge) for mark in marks(ax)]
    assert sorted(found) == [(pytest.approx(x), pytest.approx(y), colour) for x, y, colour in sorted(expected)]
    bars = {tuple(np.round(line, 6)) for line in intervals(ax)}
    assert bars == {tuple(np.round(row, 6)) for row in 100 * frame[["low", "high"]].to_numpy()}


def test_lines_of_a_scaling_stand_aside_from_each_other_by_their_order(ax):
    plots.scaling_curves(scaling(), ax)
    ax.figure.draw_without_rendering()
    starts = [line.get_transform().transform(line.get_xydata()[0])[0] for line in lines_of_series(ax).values()]
    assert np.diff(starts) * 72 / ax.figure.dpi == pytest.approx([2.4] * 3)
    (base,) = [mark for mark in marks(ax) if mark.edge == "#333333"]
    assert base.pixels[0] == pytest.approx(np.mean(starts))


def test_a_scaling_with_gaps_has_hollow_marks_and_shorter_lines(ax):
    frame = scaling(100, lambda record: broken(broken(record, 3, (0, 1, 2)), 7, (0,)))
    plots.scaling_curves(frame, ax)
    assert len(lines_of_series(ax)["depth only"].get_xdata()) == 3
    (empty,) = [mark for mark, no_fill in zip(marks(ax), hollow(ax), strict=True) if no_fill]
    assert empty.y == pytest.approx(100 * frame["accuracy"][7])


def test_in_a_crowd_the_points_of_the_front_are_named_and_others_where_there_is_room(ax):
    summary = analysis.summarise(make_record("compound_grid", images=800))
    plots.curve(summary, ax, "macs")
    front = summary[analysis.pareto_front(summary, "macs")]
    assert len(marks(ax)) == 21
    assert summary.loc[summary["accuracy"].idxmax(), "label"] in labels(ax)
    assert len(front) > MOST_LABELS / 2 or set(front["label"]) <= set(labels(ax))
    assert len(labels(ax)) < 21
    assert_labels_are_free(ax)


@pytest.mark.parametrize("name", ["fire_growth", "squeezenet_grid"])
def test_studies_of_many_points_are_still_read(ax, name):
    summary = analysis.summarise(make_record(name, images=2000))
    plots.curve(summary, ax)
    assert len(labels(ax)) >= 7
    assert set(labels(ax)) <= set(analysis.measured(summary)["label"])
    assert_labels_are_free(ax)


def assert_labels_are_free(ax):
    ax.figure.draw_without_rendering()
    boxes = [super(Annotation, text).get_window_extent() for text in texts(ax)]
    for one, other in itertools.combinations(boxes, 2):
        assert not one.padded(-1).overlaps(other.padded(-1))
    for box, mark in itertools.product(boxes, marks(ax)):
        assert not box.contains(*mark.pixels)


def test_the_published_curve_has_an_axis_of_its_own(ax):
    plots.paper_curve(analysis.published_curve("squeezenet_fig3", "squeeze_ratio"), ax)
    line, printed, read_off = ax.lines
    assert line.get_xdata().tolist() == [4.8, 7.6, 13, 19, 24]
    assert line.get_ydata() == pytest.approx([80.3, 83.3, 85.3, 86, 86])
    assert (len(printed.get_xdata()), len(read_off.get_xdata())) == (3, 2)
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["printed", "read off the figure"]
    assert ax.get_ylabel() == "ImageNet top-5 accuracy (%)"
    assert labels(ax) == ["0.125", "0.25", "0.5", "0.75", "1.0"]


def test_published_names_are_not_joined(ax):
    plots.paper_curve(analysis.published_curve("squeezenet_table3", "bypass"), ax)
    assert len(ax.lines) == 1
    assert ax.get_legend() is None


def box_of(text):
    """Where a text stands, in pixels, without the line to its point, which its own extent includes."""
    text.figure.draw_without_rendering()
    return super(Annotation, text).get_window_extent()


def test_ends_too_close_to_be_named_have_the_names_of_the_highest_only(ax):
    ends = [(1.0, 50 + 0.001 * number) for number in range(25)]
    ax.set(ylim=(0, 100))
    label_ends(ax, ends, [str(number) for number in range(25)], colours.ordered(25))
    assert set(labels(ax)) == {str(number) for number in range(17, 25)}


@pytest.mark.parametrize("name", ["squeeze_ratio", "pct3x3", "bypass", "delayed_downsampling"])
@pytest.mark.parametrize("kind", ["curve", "params", "macs", "published"])
@pytest.mark.parametrize("seed", [0, 1])
def test_labels_cover_neither_each_other_nor_marks_and_stay_inside(ax, name, kind, seed):
    record = make_record(name, images=2000, world=World(seed=0.03), random=seed)
    summary = analysis.summarise(record)
    if kind == "curve":
        plots.curve(summary, ax, record.study.plot.against)
    elif kind != "published":
        plots.front(summary, ax, kind)
    elif record.study.plot.published:
        plots.paper_curve(analysis.published_curve(record.study.plot.published, record.metaparameters[0]), ax)
    ax.figure.draw_without_rendering()
    # Without the line to the point, which an annotation's own extent includes.
    boxes = [super(Annotation, text).get_window_extent() for text in texts(ax)]
    for one, other in itertools.combinations(boxes, 2):
        assert not one.padded(-1).overlaps(other.padded(-1))
    whole = ax.figure.bbox
    assert all(whole.x0 <= box.x0 and box.y0 >= whole.y0 and box.y1 <= whole.y1 for box in boxes)
    if kind == "curve":
        for box, mark in itertools.product(boxes, marks(ax)):
            assert not box.contains(*mark.pixels)
        for box, band in itertools.product(boxes, bands(ax)):
            assert not band.get_paths()[0].contains_point(
                ax.transData.inverted().transform(box.get_points().mean(axis=0))
            )


@pytest.mark.parametrize("draw", [plots.curve, plots.scaling_curves])
def test_without_a_measured_point_it_says_so(ax, draw):
    record = make_record(images=10)
    for point in range(8):
        record = broken(record, point, (0, 1, 2), "missing", "")
    draw(analysis.summarise(record), ax)
    assert [text.get_text() for text in ax.texts] == ["no runs have finished yet"]


def test_a_dollar_is_not_mathematics(ax, summaries):
    summary = summaries["bypass"].assign(label=["$a", r"$\frac{", "b$c$"])
    plots.curve(summary, ax)
    ax.figure.draw_without_rendering()
    assert labels(ax) == summary["label"].tolist()


def test_a_long_label_is_cut(ax, summaries):
    plots.curve(summaries["bypass"].assign(label=["a" * 30, "b" * 31, "c"]), ax)
    assert labels(ax) == ["a" * 30, "b" * 29 + "\N{HORIZONTAL ELLIPSIS}", "c"]


def test_points_without_an_interval_are_drawn(ax, summaries):
    plots.curve(summaries["squeeze_ratio"].assign(low=math.nan, high=math.nan), ax)
    assert len(labels(ax)) == 8


def test_a_single_point(ax, summaries):
    plots.curve(summaries["squeeze_ratio"].head(1), ax)
    assert len(marks(ax)) == len(labels(ax)) == 1


def test_the_style_outlives_nothing():
    before = dict(mpl.rcParams)
    with plots.style():
        assert mpl.rcParams["svg.fonttype"] == "none"
    assert dict(mpl.rcParams) == before
