"""The Optuna dashboard as a browser would ask it, over a real port."""

import json
import operator
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from contextlib import closing, contextmanager
from datetime import datetime, timedelta

import optuna
import psutil
import pytest
from optuna_dashboard import get_note, save_note
from searches import points_of, store_search

from explorer.reporting.view_note import annotate_view
from explorer.storage.ledger import Ledger
from explorer.storage.optuna_view import View
from explorer.storage.runs import Result
from explorer.storage.search_view import SearchView
from explorer.storage.studies import Provenance
from explorer.study.files import load_study
from explorer.study.plan import plan, points_frame


@pytest.fixture
def storage(tmp_path):
    study = load_study("squeeze_ratio")
    points = plan(study, 10)
    ledger = Ledger(tmp_path / "explorer.db", create=True)
    with ledger.writing():
        ledger.studies.save(study, "f", points, {(0, 0): "k"}, Provenance("", {}, {}, classes=10))
    results = [
        Result("done", "", 0.5, 60.0, [0.1, 0.5], "2026-01-01T12:01:00+00:00"),
        Result("done", "", 0.6, 60.0, [0.3, 0.6], "2026-01-01T12:03:00+00:00"),
    ]
    with ledger.writing(), closing(View(ledger, study, points)) as view:
        view.sync({point.number: (point, results) for point in points})
    frame = points_frame(study, points).assign(accuracy=0.55, low=0.5, high=0.6)
    frame.attrs = {"study": study.name, "report": tmp_path / "report.html", "answer": "All are the same."}
    annotate_view(frame, tmp_path / "explorer.db")
    return tmp_path / "explorer.db"


def ask(address, path):
    with urllib.request.urlopen(f"{address}{path}") as answer:  # noqa: S310 (our own server)
        return json.load(answer)


@contextmanager
def dashboard(storage):
    """The address of a dashboard."""
    arguments = [sys.executable, "-u", "-m", "explorer", "dashboard", "--storage", str(storage), "--port", "0"]
    process = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        yield re.search(r"http://127\.0\.0\.1:\d+", process.stdout.readline()).group()
    finally:
        os.kill(process.pid, signal.SIGINT)
        process.communicate(timeout=20)


def trials_of(address, name):
    (summary,) = (one for one in ask(address, "/api/studies")["study_summaries"] if one["study_name"] == name)
    detail = ask(address, f"/api/studies/{summary['study_id']}?after=0")
    trials = {}
    for trial in detail["trials"]:
        attributes = {one["key"]: json.loads(one["value"]) for one in trial["user_attrs"] if one["key"] == "point"}
        trials[attributes["point"]] = trial
    return detail, trials


def test_a_search_is_live_with_a_value_per_rung_and_its_limits(tmp_path):
    path = tmp_path / "explorer.db"
    study = store_search(path, 30, seeds=1, where="params < 100k", broken={3})
    record, ledger, points = Ledger(path).studies.load(study.name), Ledger(path), points_of(path, study)
    rungs = record.rungs[record.rungs["state"] == "done"]
    measured = {
        point: {row["epochs"]: row["accuracy"] for row in rows.to_dict(orient="records")}
        for point, rows in rungs.groupby("point")
    }
    top = dict(record.runs[["point", "accuracy"]].itertuples(index=False))
    for point, accuracy in top.items():
        measured[point][8] = accuracy
    (failed,) = record.rungs.loc[record.rungs["state"] == "failed", "point"]
    with dashboard(path) as address:
        with ledger.writing(), closing(SearchView(ledger, study)) as view:
            view.begin(points[:2])
            view.update(points)
            _, trials = trials_of(address, study.name)
            states = {point: trial["state"] for point, trial in trials.items()}
            assert states == {
                at.number: "Complete" if at.number in top else "Fail" if at.number == failed else "Running"
                for at in points
            }
            for point, values in measured.items():
                shown = trials[point]["intermediate_values"]
                assert {one["step"]: one["value"] for one in shown} == pytest.approx(values)
            view.end(points)
        stopped = {at.number for at in points if at.number not in top and at.number != failed}
        deadline = time.monotonic() + 20  # the dashboard asks the storage every two seconds
        pruned = set()
        while pruned != stopped and time.monotonic() < deadline:
            time.sleep(0.2)
            detail, trials = trials_of(address, study.name)
            pruned = {point for point, trial in trials.items() if trial["state"] == "Pruned"}
        assert pruned == stopped
        for point, values in measured.items():
            assert trials[point]["values"] == pytest.approx([values[max(values)]])
            cost = points[point].network.cost.params
            assert trials[point]["constraints"] == [cost - study.constraints["params"].max]
        space = {one["name"]: one["distribution"] for one in detail["union_search_space"]}
        assert {key: (space["base_e"][key]) for key in ("low", "high")} == {"low": 8, "high": 64}
        assert sorted(one["value"] for one in space["bypass"]["choices"]) == ["none", "simple"]
        _, on_front = trials_of(address, f"{study.name}: front")
        assert {point: trial["values"] for point, trial in on_front.items()} == {
            point: pytest.approx([accuracy, points[point].network.cost.params, points[point].network.cost.macs])
            for point, accuracy in top.items()
        }
    (stored,) = (
        trial
        for trial in optuna.load_study(study_name=study.name, storage=f"sqlite:///{path}").trials
        if trial.user_attrs["point"] == min(top)
    )
    assert max(stored.constraints.values()) <= 0
    assert any("params at most" in name for name in stored.constraints)


def test_the_view_of_a_search_that_goes_on_follows_the_ledger(tmp_path):
    """Pruned points run again, seeds change accuracies, and a view that a killed search left behind is mended."""
    path = tmp_path / "explorer.db"
    study = store_search(path, 16, seeds=2, stop=1)
    ledger, points = Ledger(path), points_of(path, study)
    with ledger.writing(), closing(SearchView(ledger, study)) as view:
        view.begin(points)  # and killed
    save_note(optuna.load_study(study_name=study.name, storage=f"sqlite:///{path}"), "my own note")
    for states in (["RUNNING"], ["PRUNED"], ["RUNNING"]):
        with ledger.writing(), closing(SearchView(ledger, study)) as view:
            (view.begin if states == ["RUNNING"] else view.end)(points)
            found = optuna.load_study(study_name=study.name, storage=f"sqlite:///{path}").trials
            assert [trial.user_attrs["point"] for trial in found] == [at.number for at in points]
            assert {trial.state.name for trial in found} == set(states)
    store_search(path, 40, seeds=2)  # the same search, now with points at the top
    with ledger.writing(), closing(SearchView(ledger, study)) as view:
        view.end(points_of(path, study))
    record = ledger.studies.load(study.name)
    means = record.runs.groupby("point")["accuracy"].mean()
    shown = optuna.load_study(study_name=study.name, storage=f"sqlite:///{path}")
    assert get_note(shown) == "my own note"
    found = shown.trials
    complete = {trial.user_attrs["point"]: trial.value for trial in found if trial.state.name == "COMPLETE"}
    assert complete == pytest.approx(means.to_dict())


def test_the_dashboard_serves_only_this_machine(storage):
    arguments = [sys.executable, "-u", "-m", "explorer", "dashboard", "--storage", str(storage), "--port", "0"]
    process = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        address = re.search(r"http://127\.0\.0\.1:\d+", process.stdout.readline()).group()
        summary, front = ask(address, "/api/studies")["study_summaries"]
        assert (summary["study_name"], front["study_name"]) == ("squeeze_ratio", "squeeze_ratio: front")
        detail = ask(address, f"/api/studies/{summary['study_id']}?after=0")
        assert len(detail["trials"]) == 8
        columns = {attribute["key"] for attribute in detail["union_user_attrs"]}
        assert columns >= {"params", "macs", "accuracy", "spread", "interval", "seeds", "network", "training_seconds"}
        assert detail["has_intermediate_values"]
        first = detail["trials"][0]
        assert [(one["step"], one["value"]) for one in first["intermediate_values"]] == [(1, 0.2), (2, 0.55)]
        times = (datetime.fromisoformat(first[key]) for key in ("datetime_start", "datetime_complete"))
        assert timedelta(minutes=3) == -operator.sub(*times)
        assert {"key": "interval", "value": "50.0% to 60.0%"} in first["user_attrs"]
        assert {"key": "report", "value": str(storage.with_name("report.html"))} in detail["user_attrs"]
        assert detail["note"]["body"].startswith("All are the same.\n\nReport: `")
        detail = ask(address, f"/api/studies/{front['study_id']}?after=0")
        assert detail["objective_names"] == ["accuracy", "params", "macs"]
        assert detail["directions"] == ["maximize", "minimize", "minimize"]
        # All are equally accurate, so the cheapest alone is on the front.
        assert [trial["number"] for trial in detail["best_trials"]] == [0]
        listening = {
            connection.laddr.ip
            for connection in psutil.Process(process.pid).net_connections("tcp")
            if connection.status == psutil.CONN_LISTEN
        }
        assert listening == {"127.0.0.1"}
        port = address.rpartition(":")[2]
        taken = subprocess.run([*arguments[:-1], port], check=False, capture_output=True, text=True)
        assert taken.returncode == 2
        assert taken.stderr == f"explorer: --port {port}: Address already in use; choose another port\n"
    finally:
        os.kill(process.pid, signal.SIGINT)
        _, errors = process.communicate(timeout=20)
    assert process.returncode == 130
    assert errors == "explorer: stopped\n"
