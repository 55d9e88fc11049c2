"""Reports of searches, on stored searches with made-up accuracies."""

import itertools
import re

import numpy as np
import pandas as pd
import pytest
from searches import IMAGES, store_search

from explorer.__main__ import main
from explorer.analysis import Findings
from explorer.analysis.search_history import rung_accuracies, search_runs
from explorer.errors import ExplorerError
from explorer.reporting.answer import answer
from explorer.reporting.search import search_course
from explorer.reporting.stored import report
from explorer.reporting.study import report_files
from explorer.storage.ledger import Ledger

RUNS = 60


def stored(folder, runs=RUNS, **options):
    path = folder / "explorer.db"
    study = store_search(path, runs, **options)
    return Findings(Ledger(path).studies.load(study.name))


@pytest.fixture(scope="module")
def findings(tmp_path_factory):
    return stored(tmp_path_factory.mktemp("search"), where="params < 200k", broken={5})


@pytest.fixture(scope="module")
def page(findings):
    return report_files(findings)["report.html"].decode()


def plain(text):
    return text.replace("\N{NO-BREAK SPACE}", " ")


def on_front(points, costs):
    """The numbers of the points that no other point dominates, by comparing all pairs."""
    rows = points[["accuracy", *costs]].to_numpy(dtype=float) * [-1, *[1] * len(costs)]
    numbers = points["point"].tolist()
    return {
        number
        for number, row in zip(numbers, rows, strict=True)
        if not any((other <= row).all() and (other < row).any() for other in rows)
    }


def test_the_answer_counts_points_and_the_front_and_names_the_most_accurate_point(findings):
    top = findings.points[findings.points["accuracy"].notna()]
    front = on_front(top, ["params", "macs"])
    best = top.loc[top["accuracy"].idxmax()]
    said = plain(" ".join(answer(findings)))
    assert f"Of {len(findings.points)} proposed points, {len(top)} reached the top rung (8 epochs of 5,000" in said
    assert f"{'all' if len(front) == len(top) else len(front)} of these are on the front of accuracy, params" in said
    assert f"The most accurate point within the limits is {best['point']} (base_e = {best['base_e']}, " in said
    assert (
        f"{100 * best['accuracy']:.1f} % (95 % interval {100 * best['low']:.1f} to {100 * best['high']:.1f} %)" in said
    )
    assert "accuracies at lower rungs do not count" in said
    assert set(findings.points.loc[findings.points["on_front"], "point"]) == front


def test_the_front_of_other_objectives_is_theirs(tmp_path):
    found = stored(tmp_path, 40, seeds=1, objectives=["accuracy", "activations"])
    top = found.points[found.points["accuracy"].notna()]
    assert set(found.points.loc[found.points["on_front"], "point"]) == on_front(top, ["activations"])
    said = plain(" ".join(answer(found)))
    assert "on the front of accuracy and activations" in said
    assert "Accuracy against activations" in report_files(found)["report.html"].decode()


def test_without_a_point_at_the_top_the_answer_says_how_to_go_on(tmp_path):
    found = stored(tmp_path, 12, stop=1)
    first, second = answer(found)
    assert "none has reached the top rung (8 epochs of 5,000 images) yet, so there is no front" in plain(first)
    assert "`--time`" in second
    text = report_files(found)["report.html"].decode()
    assert "Rungs." in text
    assert 'id="points"' not in text
    assert set(re.findall(r'href="#([^"]+)"', text)) <= set(re.findall(r'id="([^"]+)"', text))


def test_a_trial_search_counts_its_points(tmp_path):
    found = stored(tmp_path, 20, seeds=1, budget="250x4")
    first, second = answer(found)
    assert first.startswith("Trial run: one seed and 4 epochs of 250 images")
    assert re.match(r"Of \d+ proposed points, \d+ reached the top rung|\d+ points were proposed", second)
    assert b"Front." not in report_files(found)["report.html"]


def test_where_nothing_is_learnt_the_advice_is_a_larger_budget(findings, monkeypatch):
    monkeypatch.setitem(vars(findings), "learnt", frozenset())
    assert "`--budget 5000x32`" in " ".join(answer(findings))


def test_training_images_are_what_each_rung_adds(findings):
    record = findings.record
    runs = search_runs(record)
    assert len(runs) == RUNS
    assert runs["finished"].is_monotonic_increasing
    recipe, budget = record.study.recipe, record.study.budget
    rungs = [budget.model_copy(update={"epochs": epochs}) for epochs in (1, 2, 4, 8)]
    for _, own in runs[(runs["seed"] == 0) & (runs["state"] == "done")].groupby("point"):
        climbed = [rung for rung in rungs if rung.epochs in set(own["epochs"])]
        assert own["images"].sum() == recipe.images_trained(climbed)
    assert set(runs.loc[runs["seed"] > 0, "images"]) == {recipe.images_trained(rungs[-1:])}


def volume(points, corner):
    """The volume of boxes, by inclusion and exclusion over all sets of points."""
    total = 0.0
    for size in range(1, len(points) + 1):
        for chosen in itertools.combinations(points, size):
            sides = np.maximum(corner - np.max(chosen, axis=0), 0)
            total += (-1) ** (size + 1) * float(np.prod(sides))
    return total


def test_the_front_over_time_is_the_hypervolume_of_the_points_at_the_top(findings):
    record, frame = findings.record, findings.growth
    costs = record.points.set_index("point")[["params", "macs"]].astype(float)
    corner = np.array([-record.guess, *np.log2(costs.max()) + 0.1])
    runs = search_runs(record)
    runs["total"] = runs["images"].cumsum()
    assert frame["images"].iloc[-1] == runs["images"].sum()
    assert frame["volume"].iloc[0] == 0
    for row in frame.iloc[1:9].to_dict(orient="records"):
        top = runs[(runs["total"] <= row["images"]) & (runs["epochs"] == 8)]
        means = top.groupby("point")["accuracy"].mean()
        points = [np.array([-accuracy, *np.log2(costs.loc[point])]) for point, accuracy in means.items()]
        assert row["finalists"] == len(points)
        assert row["volume"] == pytest.approx(volume(points, corner))


def test_rungs_are_not_mixed(findings, page):
    record = findings.record
    found = rung_accuracies(findings.ended)
    for row in found.to_dict(orient="records"):
        runs = record.runs if row["epochs"] == 8 else record.rungs[record.rungs["epochs"] == row["epochs"]]
        own = runs[(runs["point"] == row["point"]) & (runs["seed"] == 0)]
        assert own["accuracy"].tolist() == [row["accuracy"]]
    top = set(record.runs["point"])
    assert set(findings.measured["point"]) <= top
    below = findings.points[~findings.points["point"].isin(top)]
    assert len(below)
    assert below["accuracy"].isna().all()
    ids = re.findall(r'id="point-(\d+)"', page)
    assert sorted(map(int, ids)) == sorted(findings.measured["point"])


def test_the_front_comes_first_in_the_table(findings, page):
    ids = [int(number) for number in re.findall(r'id="point-(\d+)"', page)]
    front = findings.points[findings.points["on_front"]].sort_values(["params", "macs"])["point"].tolist()
    assert ids[: len(front)] == front


def test_what_was_not_trained_is_listed_with_its_reason_and_rung(findings):
    course = search_course(findings)
    assert dict(course.declined.rows) == {key: f"{n:,}" for key, n in findings.record.declined.items() if n}
    below = pd.DataFrame(course.stopped.rows, columns=course.stopped.columns)
    stopped = findings.points[findings.points["accuracy"].isna()]
    assert below["point"].astype(int).tolist() == stopped["point"].tolist()
    assert below["state"].tolist().count("failed: the loss is not finite") == 1
    rungs = findings.record.rungs
    for row in below[below["state"] == "stopped"].to_dict(orient="records"):
        own = rungs[rungs["point"] == int(row["point"])]
        assert int(row["epochs"]) == own["epochs"].max()
        assert row["accuracy there, %"] == f"{100 * own['accuracy'].iloc[-1]:.1f}"


def test_the_page_says_how_the_search_works_and_counts_all_runs(page):
    text = plain(re.sub(r"\s+", " ", re.sub(r"<[^>]+>", "", page)))
    assert f"This is a partial result: {RUNS - 1} of {RUNS} runs are done (1 failed)." in text
    assert f"{RUNS} runs took" in text
    assert "Points train for 2 or 8 epochs of 5,000 images." in text
    assert "is valid wherever the study stops (repeated confidence intervals)" in text
    assert f"sample of {IMAGES:,} validation images" in text
    assert "explorer sweep" not in text


def test_the_report_of_a_stored_search_has_its_rungs_as_a_table(tmp_path, monkeypatch, capsys):
    study = store_search(tmp_path / "explorer.db", 20)
    found = report(study.name, storage=tmp_path / "explorer.db", reports=tmp_path / "reports")
    rungs = pd.read_csv(found.page.parent / "rungs.csv")
    assert len(rungs) == 20
    assert (found.page.parent / "figures" / "rungs.svg").exists()
    monkeypatch.chdir(tmp_path)
    assert main(["report", study.name]) == 0
    printed = capsys.readouterr().out
    assert found.answer in printed.replace("\n", " ")
    rows = [int(line.split()[0]) for line in printed.splitlines() if re.match(r" +\d+ +base_e", line)]
    assert rows == found.points.attrs["front"]


def test_a_search_that_was_stopped_before_its_first_point_has_no_report(tmp_path):
    study = store_search(tmp_path / "explorer.db", 0)
    with pytest.raises(ExplorerError, match="stopped before it proposed a point"):
        report(study.name, storage=tmp_path / "explorer.db", reports=tmp_path / "reports")


def test_a_stored_search_with_other_rungs_is_still_reported(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("explorer.study.rungs.FACTOR", 2)
        study = store_search(tmp_path / "explorer.db", 30)
    found = Findings(Ledger(tmp_path / "explorer.db").studies.load(study.name))
    assert set(found.ended["epochs"]) == {4, 8}
    recipe, budgets = study.recipe, [study.budget.model_copy(update={"epochs": epochs}) for epochs in (4, 8)]
    first = found.ended[found.ended["seed"] == 0].groupby("epochs")["images"].first()
    assert first.to_dict() == {
        4: recipe.images_trained(budgets[:1]),
        8: recipe.images_trained(budgets[1:], after=budgets[0]),
    }
    assert report_files(found)["report.html"]
