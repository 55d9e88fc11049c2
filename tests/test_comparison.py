"""Comparisons of studies: budgets, leads and their intervals, shared networks, and the page."""

import re
from dataclasses import replace
from html import unescape

import numpy as np
import pytest
from records import World, changed, make_record, record_of_bits

from explorer.analysis import Accuracies, Findings
from explorer.analysis.comparison import Comparison
from explorer.commands.cli import run
from explorer.reporting.comparison import statements, write_comparison
from explorer.reporting.index import write_index


def named(record, name):
    return replace(record, study=record.study.model_copy(update={"name": name}))


@pytest.fixture(scope="module")
def three():
    return Comparison(
        [Findings(make_record(name, images=1000)) for name in ("squeeze_ratio", "pct3x3", "compound_scaling")], "macs"
    )


def staircase(findings, cost, budget):
    frame = findings.measured
    return frame.loc[frame[cost].astype(float) <= budget, "accuracy"].max()


def test_the_lead_is_the_mean_difference_of_the_best_affordable_over_the_logarithm_of_the_cost(three):
    reference = three.reference
    assert reference.smallest == max(one.costs_of("macs").min() for one in three.studies)
    assert reference.largest == max(one.costs_of("macs").max() for one in three.studies)
    budgets = np.geomspace(reference.smallest, reference.largest, 20_001)
    means = [np.mean([staircase(one, "macs", budget) for budget in budgets[::20]]) for one in three.studies]
    for lead, (one, other) in zip(three.leads, [(0, 1), (0, 2), (1, 2)], strict=True):
        assert lead.difference.estimate == pytest.approx(means[one] - means[other], abs=5e-4)
    for volume, mean in zip(three.hypervolumes, means, strict=True):
        assert volume.mean_accuracy.estimate == pytest.approx(mean, abs=5e-4)


def test_a_study_has_no_lead_over_a_copy_of_itself(three):
    record = three.studies[0].record
    found = Comparison([Findings(record), Findings(named(record, "copy"))], "macs")
    (lead,) = found.leads
    assert lead.difference.estimate == 0
    assert not lead.difference.separated
    said = " ".join(statements(found))
    assert "the runs cannot tell squeeze_ratio from copy (+0.0 points, " in said
    assert "more accurate" not in said
    # The shared images cancel; the spread between seeds remains.
    own = found.hypervolumes[0].mean_accuracy
    assert lead.difference.high - lead.difference.low < own.high - own.low


def test_joined_accuracies_compare_points_of_different_studies_image_by_image():
    random, world = np.random.default_rng(1), World(seed=0.05)
    difficulties = world.images(random, 500)
    bits = {point: world.draw(random, ability, 3, difficulties) for point, ability in enumerate((0.0, 0.2, 0.4, 0.6))}
    whole = Accuracies.of(record_of_bits(bits))
    parts = [
        Accuracies.of(record_of_bits({0: bits[0], 1: bits[1]})),
        Accuracies.of(record_of_bits({0: bits[2], 1: bits[3]})),
    ]
    joined = Accuracies.joined(parts)
    found, expected = joined.difference(3, 0), whole.difference(3, 0)
    assert (found.estimate, found.low, found.high) == pytest.approx((expected.estimate, expected.low, expected.high))
    assert joined.pooled == whole.pooled


def test_each_budget_has_the_best_affordable_point(three):
    frame = three.at_budgets
    assert len(frame) == 15
    for row in frame.to_dict(orient="records"):
        findings = three.studies[three.names.index(row["study"])]
        assert row["accuracy"] == staircase(findings, "macs", row["budget"] * (1 + 1e-9))
        assert row["cost"] <= row["budget"] * (1 + 1e-9)
    assert (frame.groupby("budget")["standing"].agg(list).map(lambda all_: all_.count("best")) == 1).all()


def test_points_that_share_their_runs_are_merged():
    whole = make_record("squeeze_ratio", images=400)
    part = named(replace(whole, points=whole.points.head(5), runs=whole.runs[whole.runs["point"] < 5]), "part")
    found = Comparison([Findings(part), Findings(whole)], "macs")
    assert len(found.joined.points) == 8
    (lead,) = found.leads
    # The studies differ only in points that one of them has; up to the fifth all draws are equal.
    one, other = found.draws
    assert (one == other[:5]).all()
    assert lead.difference.estimate < 0
    standings = found.at_budgets.groupby("budget")["standing"].agg(list)
    assert standings.iloc[0] == ["best", "best"], "one network is not compared with itself"


def test_on_different_images_only_the_ranking_of_shared_networks_is_compared():
    one = make_record("squeeze_ratio", images=500)
    other = named(replace(make_record("squeeze_ratio", images=500, random=3), data_fingerprint="a" * 64), "elsewhere")
    found = Comparison([Findings(one), Findings(other)], "macs")
    assert found.leads == []
    assert found.on_joint_front is None
    (shared,) = found.shared_networks
    assert shared.networks == 8
    together = found.common(0, 1)
    order = np.sign(
        np.subtract.outer(*[together["first"].to_numpy()] * 2) * np.subtract.outer(*[together["second"].to_numpy()] * 2)
    )
    assert shared.kendall.estimate == pytest.approx(order.sum() / (8 * 7), abs=0.08)
    assert set(found.at_budgets["standing"]) == {""}, "no best one of different images"
    said = " ".join(statements(found))
    assert "measured on different images" in said
    assert "both measured 8 networks" in said


def test_nothing_is_compared_with_a_trial_run_or_where_nothing_is_learnt(tmp_path):
    learnt = make_record("squeeze_ratio", images=200)
    trial = make_record(changed("squeeze_ratio", budget={"images": 500, "epochs": 1}), seeds=1, images=200)
    runs = learnt.runs.assign(correct=[np.arange(200) % 10 == 0] * len(learnt.runs), accuracy=0.1)
    guessing = named(replace(learnt, runs=runs), "guessing")
    for other, said in (
        (named(trial, "quick"), "quick is a trial run: its accuracies mean nothing."),
        (guessing, "No network of guessing has learnt anything yet, so there is nothing to compare."),
    ):
        found = Comparison([Findings(learnt), Findings(other)], "macs")
        assert statements(found)[-1] == said
        assert (found.leads, found.hypervolumes, found.on_joint_front) == ([], [], None)
        assert set(found.at_budgets["standing"]) == {""}
        assert "Nothing to compare." in write_comparison(found, tmp_path / other.study.name, "").read_text()


def test_very_different_numbers_of_points_give_a_warning(tmp_path):
    few = make_record("squeeze_ratio", images=200)
    few = named(replace(few, points=few.points.head(2), runs=few.runs[few.runs["point"] < 2]), "few")
    found = Comparison([Findings(make_record("squeezenet_grid", images=200)), Findings(few)], "params")
    assert "which favours the larger study" in write_comparison(found, tmp_path, "").read_text()


def test_the_joint_front_covers_all_points(three):
    counts = three.on_joint_front
    rows = [
        (float(cost), value, name)
        for one, name in zip(three.studies, three.names, strict=True)
        for cost, value in zip(one.measured["macs"], one.measured["accuracy"], strict=True)
    ]
    front = [
        name
        for cost, value, name in rows
        if not any((c <= cost and v >= value and (c < cost or v > value)) for c, v, _ in rows)
    ]
    assert counts.to_dict() == {name: front.count(name) for name in three.names}


def test_different_training_is_mentioned_first(three):
    alike = Comparison(three.studies[:2], "macs")
    assert "trained with different" not in " ".join(statements(alike))
    record = three.studies[0].record
    longer = replace(
        record, study=record.study.model_copy(update={"name": "longer", "budget": record.study.budget.times(4)})
    )
    first = statements(Comparison([Findings(record), Findings(longer)], "macs"))[0]
    assert "different budgets (10000x2 and 10000x8)" in first


def test_one_seed_has_leads_without_intervals():
    found = Comparison(
        [Findings(make_record(name, images=200, seeds=1)) for name in ("squeeze_ratio", "pct3x3")], "params"
    )
    assert "interval unknown" in statements(found)[0]


def test_the_page_has_statements_tables_and_figures(three, tmp_path):
    page = write_comparison(three, tmp_path / "c", "the command").read_text()
    plain = str.maketrans("\N{NO-BREAK SPACE}\N{MINUS SIGN}", " -")
    for sentence in statements(three):
        assert sentence.translate(plain) in unescape(page).translate(plain)
    assert len(re.findall("<table>", page)) == 3
    assert {path.name for path in (tmp_path / "c" / "figures").iterdir()} == {"fronts.svg", "errors.svg"}
    assert write_comparison(three, tmp_path / "d", "the command").read_text() == page
    index = write_index(tmp_path).read_text()
    assert index.count("<li>") == 2
    assert 'href="c/report.html"' in index


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["squeeze_ratio"], "give two or more different studies"),
        (["squeeze_ratio", "squeeze_ratio"], "give two or more different studies"),
        (["a", "b", "--against", "flips"], "unknown cost 'flips'"),
        (["a", "b", "--storage", "none.db"], "does not exist"),
    ],
)
def test_mistakes_are_one_line(arguments, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run(["compare", *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_an_index_ignores_folders_without_a_report(tmp_path):
    (tmp_path / "notes").mkdir()
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "summary.json").write_text("{")
    assert "0 reports" in write_index(tmp_path).read_text()
