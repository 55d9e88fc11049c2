"""The Optuna dashboard as a browser would ask it, over a real port."""

import json
import operator
import os
import re
import signal
import subprocess
import sys
import urllib.request
from contextlib import closing
from datetime import datetime, timedelta

import psutil
import pytest

from explorer.reporting.view_note import annotate_view
from explorer.storage.ledger import Ledger
from explorer.storage.optuna_view import View
from explorer.storage.runs import Result
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
