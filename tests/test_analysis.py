"""Computations from stored rows: summaries, intervals and their coverage, fronts, published curves."""

import math
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from records import World, accuracies_of, broken, changed, make_record, record_of_bits
from scipy import stats

from explorer import analysis
from explorer.errors import ExplorerError
from explorer.study.coordinates import is_ordered
from explorer.study.files import load_study
from explorer.study.model import Range


@pytest.fixture(scope="module")
def record():
    return make_record(images=400)


def many_states():
    """A record with planned, merged and over-budget points."""
    study = load_study("squeeze_ratio")
    vary = {"squeeze_ratio": [0.125, 0.126, 0.5, 1.0]}
    return make_record(changed(study, vary=vary, constraints={"params": Range(max=300_000)}), images=200)


def test_a_summary_has_one_row_for_each_point_and_keeps_its_columns(record):
    summary = analysis.summarise(record)
    pd.testing.assert_frame_equal(
        summary[record.points.columns].drop(columns=["state"]), record.points.drop(columns=["state"])
    )
    assert (summary["state"] == "done").all()
    assert (summary["runs"] == 3).all()
    first = record.runs[record.runs["point"] == 0]["accuracy"]
    assert summary["accuracy"][0] == pytest.approx(first.mean())
    assert summary["spread"][0] == pytest.approx(first.std(ddof=1))
    assert ((summary["low"] < summary["accuracy"]) & (summary["accuracy"] < summary["high"])).all()
    assert (record.points["state"] == "planned").all(), "the record itself is left as it was"


def test_states_after_measuring():
    record = broken(make_record(images=100), 0, (1,))
    record = broken(record, 1, (0, 1, 2), reason="the loss is not finite")
    record = broken(record, 2, (0, 1, 2), "crashed", "the worker died")
    record = broken(record, 3, (2,), "missing", "")
    record = broken(record, 4, (0, 1, 2), "missing", "")
    summary = analysis.summarise(record).set_index("point")
    assert summary["state"].head(6).tolist() == ["partly done", "failed", "failed", "partly done", "planned", "done"]
    assert summary["runs"].head(6).tolist() == [2, 0, 0, 2, 0, 3]
    assert summary["reason"][0] == "1 of 3 runs failed: the loss is not finite"
    assert summary["reason"][2] == "3 of 3 runs failed: the worker died"
    assert summary["reason"][3] == "1 of 3 runs are missing"
    assert summary["reason"][4] == ""
    assert summary.loc[[1, 2, 4], ["accuracy", "spread", "low", "high"]].isna().all(axis=None)


def test_merged_points_show_the_measurements_of_their_network_and_excluded_ones_show_none():
    summary = analysis.summarise(many_states())
    assert summary["state"].tolist() == ["done", "merged", "done", "over budget"]
    assert summary["accuracy"][1] == summary["accuracy"][0]
    assert summary["high"][1] == summary["high"][0]
    assert math.isnan(summary["accuracy"][3])
    assert summary["reason"][3].startswith("params = ")


def test_the_interval_is_the_stated_formula():
    bits = {0: np.random.default_rng(0).random((3, 50)) < 0.6, 1: np.random.default_rng(1).random((3, 50)) < 0.4}
    summary = analysis.summarise(record_of_bits(bits))
    y = bits[0].astype(float)
    seeds = (y.mean(axis=1).var(ddof=1) + bits[1].mean(axis=1).var(ddof=1)) / 2 / 3
    shrunk = (y.mean(axis=0).sum() + 1) / 52
    images = 1 - y.var(axis=0, ddof=1).sum() / (52 * shrunk * (1 - shrunk))
    effective = 50 / max(images, 1 / 3 - 50 * seeds / (shrunk * (1 - shrunk)))
    p = summary["accuracy"][0]
    exact = stats.beta.ppf([0.025, 0.975], effective * p + [0, 1], effective * (1 - p) + [1, 0])
    for end, sampled in zip((summary["low"][0], summary["high"][0]), exact, strict=True):
        variance = ((sampled - p) / stats.norm.ppf(0.975)) ** 2
        quantile = stats.t.ppf(0.975, (variance + seeds) ** 2 / (seeds**2 / 4))
        assert abs(end - p) == pytest.approx(quantile * math.sqrt(variance + seeds))


@pytest.mark.parametrize("right", [0, 1, 26, 27])
@pytest.mark.parametrize("seeds", [1, 3])
def test_images_that_all_seeds_classify_alike_are_a_binomial_sample(right, seeds):
    bits = np.tile(np.arange(27) < right, (seeds, 1))
    found = accuracies_of([bits, bits]).intervals()
    exact = stats.binomtest(right, 27).proportion_ci()
    assert (found.low[0], found.high[0]) == pytest.approx((exact.low, exact.high))


def test_with_one_seed_the_interval_accounts_for_the_images_only():
    record = make_record(seeds=1, images=400)
    summary = analysis.summarise(record)
    assert summary["spread"].isna().all()
    exact = stats.binomtest(int(record.runs["correct"][0].sum()), 400).proportion_ci()
    assert (summary["low"][0], summary["high"][0]) == pytest.approx((exact.low, exact.high))
    assert math.isnan(analysis.Accuracies.of(record).pooled.deviation)
    assert not analysis.Accuracies.of(record).difference(0, 7).separated


@pytest.mark.parametrize("images", [1, 4, 27, 1000])
def test_where_no_image_differs_a_difference_has_an_honest_width(images):
    """Two images that differ are added: Bonett and Price's interval, with Student's t."""
    same = np.ones((3, images), dtype=bool)
    found = accuracies_of([same, same, ~same])
    half = stats.t.ppf(0.975, images + 1) * math.sqrt(2) / (images + 2)
    nothing = found.difference(0, 1)
    assert (nothing.estimate, nothing.low, nothing.high) == pytest.approx((0, -min(1, half), min(1, half)))
    assert not nothing.separated
    everything = found.difference(0, 2)
    assert everything.estimate == everything.high == 1
    assert everything.separated == (images > 4)
    assert np.ptp(found.draws(4000)[0] - found.draws(4000)[1]) > half, "draws agree"


def test_with_thousands_of_images_intervals_are_those_of_the_variance():
    """Mean +- t sqrt(variance), to a hundredth of a point."""
    world, random = World(), np.random.default_rng(4)
    images = world.images(random, 5000)
    bits = [world.draw(random, ability, 3, images) for ability in (0.0, 0.1, 0.4, -0.5)]
    found, shares = accuracies_of(bits), [rows.mean(axis=0) for rows in bits]
    noise = [((rows - rows.mean(0) - rows.mean(1)[:, None] + rows.mean()) ** 2).sum() / (2 * 4999) for rows in bits]
    intervals = found.intervals()

    def half(images, seeds):
        freedom = (images + seeds) ** 2 / (images**2 / 4999 + seeds**2 / found.pooled.freedom)
        return stats.t.ppf(0.975, freedom) * math.sqrt(images + seeds)

    for point, share in enumerate(shares):
        wide = half((share.var(ddof=1) - noise[point] / 3) / 5000, found.pooled.variance / 3)
        assert (intervals.low[point], intervals.high[point]) == pytest.approx(
            (share.mean() - wide, share.mean() + wide), abs=3e-4
        )
        apart, difference = found.difference(point, 3), share - shares[3]
        if point < 3:
            variance = (difference.var(ddof=1) - (noise[point] + noise[3]) / 3) / 5000
            wide = half(variance, found.pooled.variance * 2 / 3)
            assert (apart.low, apart.high) == pytest.approx(
                (difference.mean() - wide, difference.mean() + wide), abs=1e-4
            )


def test_a_point_with_one_seed_uses_the_spread_of_the_others(record):
    less = analysis.summarise(broken(record, 3, (0, 1), "missing", ""))
    full = analysis.summarise(record)
    assert less["high"][3] - less["low"][3] > full["high"][3] - full["low"][3]


def test_without_stored_bits_there_is_a_mean_but_no_interval(record):
    runs = record.runs.assign(correct=None)
    summary = analysis.summarise(replace(record, runs=runs))
    assert summary["accuracy"].notna().all()
    assert summary[["low", "high"]].isna().all(axis=None)


def test_intervals_stay_between_0_and_1():
    bits = {0: np.array([[True] * 20, [True] * 19 + [False]]), 1: np.array([[False] * 20, [False] * 19 + [True]])}
    record = record_of_bits(bits)
    summary = analysis.summarise(record)
    assert 0.95 < summary["high"][0] <= 1
    assert 0 <= summary["low"][1] < 0.05
    assert analysis.Accuracies.of(record).difference(0, 1).high == 1
    ends = analysis.Accuracies.of(record).intervals()
    assert (summary["low"].tolist(), summary["high"].tolist()) == (ends.low.tolist(), ends.high.tolist())


SLOW = pytest.mark.slow


@pytest.mark.parametrize(
    ("luck", "points"), [pytest.param(0.0, 8, marks=SLOW), pytest.param(0.15, 8, marks=SLOW), (0.05, 3)]
)
def test_simulated_coverage_at_three_seeds_is_at_least_92_percent(luck, points):
    world = World(seed=luck)
    random = np.random.default_rng(2)
    abilities = np.linspace(-0.4, 0.6, points)
    truth = world.accuracy(abilities)
    covered, told_apart = [], []
    for _ in range(300):
        images = world.images(random, 300)
        record = record_of_bits({point: world.draw(random, abilities[point], 3, images) for point in range(points)})
        summary = analysis.summarise(record)
        covered.extend((summary["low"] <= truth) & (truth <= summary["high"]))
        interval = analysis.Accuracies.of(record).difference(points - 1, points - 2)
        told_apart.append(interval.low <= truth[-1] - truth[-2] <= interval.high)
    assert 0.92 <= np.mean(covered) <= 0.98
    assert 0.92 <= np.mean(told_apart) <= 0.99


def test_a_difference_pairs_the_images():
    world, random = World(difficulty=4, seed=0, pair=0.3), np.random.default_rng(0)
    images = world.images(random, 500)
    record = record_of_bits({point: world.draw(random, ability, 3, images) for point, ability in enumerate((0, 0.5))})
    summary, difference = analysis.summarise(record), analysis.Accuracies.of(record).difference(1, 0)
    assert difference.estimate == pytest.approx(summary["accuracy"][1] - summary["accuracy"][0])
    assert summary["low"][1] < summary["high"][0], "the intervals overlap"
    assert difference.separated
    assert analysis.Accuracies.of(record).difference(0, 1).high == pytest.approx(-difference.low)


def test_a_difference_with_an_unmeasured_point_is_unknown(record):
    assert math.isnan(analysis.Accuracies.of(broken(record, 0, (0, 1, 2))).difference(0, 1).low)


@pytest.mark.parametrize(
    ("name", "change", "expected"),
    [
        ("compound_grid", {}, "triangle"),
        ("compound_grid", {"vary": {"divisor": [4, 8]}}, "points"),
        ("compound_scaling", {}, "series"),
        ("squeezenet_grid", {}, "plane"),
        ("squeezenet_grid", {"vary": {"squeeze_ratio": [0.5], "pct3x3": [0.25, 0.5]}}, "points"),
        ("bypass", {"vary": {"squeeze_ratio": [0.25, 0.5], "bypass": ["none", "simple"]}}, "points"),
        ("bypass", {"vary": {"squeeze_ratio": [0.25, 0.5], "batch_norm": [True, False]}}, "points"),
        ("fire_growth", {}, "points"),
        ("squeeze_ratio", {}, "points"),
    ],
)
def test_the_points_of_a_study_have_a_figure(name, change, expected):
    assert changed(name, **change).form.figure == expected


def test_every_point_is_ranked_against_the_best(record):
    frame = analysis.ranked(broken(record, 2, (0, 1, 2)))
    best = int(frame["accuracy"].argmax())
    expected = [
        "separated" if analysis.Accuracies.of(record).difference(best, point).separated else "not separated"
        for point in range(8)
    ]
    expected[best], expected[2] = "best", ""
    assert frame["standing"].tolist() == expected
    assert set(expected) == {"best", "separated", "not separated", ""}
    assert frame.attrs["metaparameters"] == ["squeeze_ratio"]


def test_merged_points_rank_like_their_network_and_one_seed_shows_only_the_best():
    frame = analysis.ranked(many_states())
    assert frame["standing"].tolist() == ["separated", "separated", "best", ""]
    assert sorted(analysis.ranked(make_record(seeds=1, images=50))["standing"]) == [""] * 7 + ["best"]


def test_shares_match_the_labels():
    frame = analysis.triangle(make_record("compound_grid", images=5, seeds=1))
    assert analysis.share_columns(frame) == ["share_depth", "share_width", "share_resolution"]
    expected = [[int(share) / 100 for share in text.split("-")] for text in frame["label"]]
    assert frame[analysis.share_columns(frame)].to_numpy() == pytest.approx(np.array(expected))


def test_measured_points_have_all_labels_of_their_network():
    frame = analysis.measured(analysis.summarise(make_record("compound_scaling", images=20)))
    assert len(frame) == 13
    assert frame["label"].iloc[0] == "depth 1.0 and 3 more"
    assert frame["label"].iloc[1].startswith("depth 2")
    twins = analysis.measured(analysis.summarise(many_states()))
    assert twins["label"].tolist() == ["0.125 = 0.126", "0.5"]


def test_points_near_in_cost_are_a_group():
    costs = [100, 116, 113, 131, 114, 400, 20]
    frame = pd.DataFrame({"macs": pd.array(costs, dtype="Int64"), "point": range(7)})
    groups = [group["point"].tolist() for group in analysis.near_in_cost(frame, "macs")]
    assert groups == [[6], [0, 2, 4], [1, 3], [5]]
    assert analysis.near_in_cost(frame.head(0), "macs") == []


def test_the_plane_is_priced_exactly_between_its_values():
    record = make_record("squeezenet_grid", images=2, seeds=1)
    params = analysis.plane_params(record)
    assert list(params.columns) == ["squeeze_ratio", "pct3x3", "params"]
    assert len(params) == 49**2
    merged = record.points.merge(params, on=["squeeze_ratio", "pct3x3"])
    assert len(merged) == 25
    assert (merged["params_x"] == merged["params_y"]).all()


def test_whole_numbers_stay_whole_between_the_values_of_a_plane():
    study = changed("fire_growth", vary={"base_e": [16, 20], "incr_e": [0, 48]})
    params = analysis.plane_params(make_record(study, images=2, seeds=1))
    assert sorted(set(params["base_e"])) == [16, 17, 18, 19, 20]
    assert params["incr_e"].dtype.kind == "i"


def test_the_front_matches_brute_force():
    random = np.random.default_rng(0)
    frame = pd.DataFrame({"params": random.integers(1, 12, 60), "accuracy": random.integers(1, 12, 60) / 20})
    frame.loc[[3, 17], "accuracy"] = math.nan
    frame["params"] = frame["params"].astype("Int64")
    frame.loc[5, "params"] = pd.NA
    frame.index = frame.index + 100

    def beaten(row):
        better = (frame["params"] <= row["params"]) & (frame["accuracy"] >= row["accuracy"])
        return (better & ((frame["params"] < row["params"]) | (frame["accuracy"] > row["accuracy"]))).any()

    known = frame.notna().all(axis=1)
    expected = [bool(known[index]) and not beaten(row) for index, row in frame.iterrows()]
    front = analysis.pareto_front(frame, "params")
    assert front.tolist() == expected
    assert front.index.equals(frame.index)
    assert front.dtype == bool


def test_equal_rows_share_the_front_and_unmeasured_ones_are_never_on_it():
    frame = pd.DataFrame({"macs": [1, 1, 2, 2, 1], "accuracy": [0.5, 0.5, 0.6, 0.5, math.nan]})
    assert analysis.pareto_front(frame, "macs").tolist() == [True, True, True, False, False]
    assert not analysis.pareto_front(frame.assign(accuracy=math.nan), "macs").any()
    assert analysis.pareto_front(frame.head(0), "macs").empty


def test_at_equal_cost_the_front_is_the_best_point():
    summary = analysis.summarise(make_record("delayed_downsampling", images=300))
    front = summary[analysis.pareto_front(summary, "params")]
    assert front["accuracy"].tolist() == [summary["accuracy"].max()]


def test_published_curves():
    frame = analysis.published_curve("squeezenet_fig3", "squeeze_ratio")
    assert frame["value"].tolist() == [0.125, 0.25, 0.5, 0.75, 1.0]
    assert frame["label"].tolist() == ["0.125", "0.25", "0.5", "0.75", "1.0"]
    assert frame["model_mib"].tolist() == [4.8, 7.6, 13, 19, 24]
    assert frame["accuracy"].max() == 0.86
    assert frame["printed"].tolist() == [True, False, True, True, False]
    assert analysis.published_curve("squeezenet_table3", "bypass")["value"].tolist() == ["none", "simple", "complex"]
    assert analysis.published_curve("squeezenet_fig3", "pools") is None
    assert "arXiv:1602.07360v4" in analysis.published_source("squeezenet_fig3")


@pytest.mark.parametrize("name", ["squeezenet_fig4", "../squeezenet_fig3"])
def test_an_unknown_published_curve_names_the_nearest(name):
    with pytest.raises(ExplorerError, match=r"unknown published curve .* did you mean 'squeezenet_fig3'"):
        analysis.published_curve(name, "squeeze_ratio")


def test_tables_for_files_have_plain_values(tmp_path):
    record = broken(make_record("delayed_downsampling", images=100), 0, (0,))
    points, runs = analysis.Findings(record).table, analysis.runs_table(record)
    assert points["pools"].tolist()[:2] == ["1-2-3", "1-2-4"]
    assert points["on_params_front"].sum() == 1
    assert points.attrs["metaparameters"] == ["pools"]
    assert "correct" not in runs
    assert runs["label"][0] == "1-2-3"
    assert runs["accuracies"][0] is None
    assert runs["accuracies"][1] == record.runs["accuracies"][1]
    for name, table in (("points", points), ("runs", runs)):
        table.to_parquet(tmp_path / name)
        assert len(pd.read_parquet(tmp_path / name)) == len(table)


@pytest.mark.parametrize("stored", [False, True], ids=["planned", "stored"])
def test_metaparameters_left_to_the_preset_are_empty_in_files(tmp_path, stored):
    record = make_record("compound_scaling", images=20)
    if stored:
        # As the ledger returns them: None stays None.
        grid = [point.metaparameters for point in record.study.design_points()]
        columns = {key: pd.Series([point.get(key) for point in grid], dtype="object") for key in record.metaparameters}
        record = replace(record, points=record.points.assign(**columns))
    table = analysis.Findings(record).table
    table.to_csv(tmp_path / "points.csv", index=False)
    table.to_parquet(tmp_path / "points.parquet")
    lines = (tmp_path / "points.csv").read_text().splitlines()
    assert lines[1].startswith("0,1.0,,,,depth 1.0,depth only,1.0,1.0,20,1.0,1.0,20,")
    assert lines[10].startswith("9,,,28,,resolution 28,resolution only,")
    assert pd.read_parquet(tmp_path / "points.parquet")["resolution"].dtype == "Int64"
    assert pd.read_parquet(tmp_path / "points.parquet")["depth"].isna().sum() == 12
    runs = analysis.runs_table(record)
    assert runs.loc[runs["point"] == 9, "series"].tolist() == ["resolution only"] * 3


def test_texts_and_booleans_left_to_the_preset_are_empty(tmp_path):
    listed = [
        {"series": "a", "bypass": "simple"},
        {"series": "b", "batch_norm": False},
        {"series": "b", "pools": (1, 4)},
    ]
    study = changed("bypass", vary={}, points=listed)
    table = analysis.Findings(make_record(study, images=5)).table
    table.to_parquet(tmp_path / "points")
    assert table["bypass"].tolist() == ["simple", "", ""]
    assert table["batch_norm"].tolist() == ["", "no", ""]
    assert table["pools"].tolist() == ["", "", "1-4"]


def test_only_numbers_are_ordered():
    assert is_ordered([1, 2.5, np.float64(3)])
    assert not is_ordered([True, False])
    assert not is_ordered(["1", "2"])
    assert not is_ordered([(1, 2), (1, 3)])


@pytest.mark.parametrize("module", ["analysis", "drawing.plots", "reporting.study"])
def test_neither_torch_nor_optuna_nor_dask_is_imported(module):
    code = (
        f"import sys, explorer.{module}; found = {{'torch', 'optuna', 'distributed', 'dask'}} & set(sys.modules); "
        "sys.exit(str(found) if found else 0)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
