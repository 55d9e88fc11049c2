"""The Optuna dashboard as a browser would ask it, over a real port."""

import json
import os
import re
import signal
import subprocess
import sys
import urllib.request

import psutil
import pytest

from explorer.storage.ledger import Ledger
from explorer.storage.optuna_view import View
from explorer.storage.runs import Result
from explorer.storage.studies import Provenance
from explorer.study.files import load_study
from explorer.study.plan import plan


@pytest.fixture
def storage(tmp_path):
    study = load_study("squeeze_ratio")
    points = plan(study, 10)
    ledger = Ledger(tmp_path / "explorer.db", create=True)
    with ledger.writing():
        ledger.studies.save(study, "f", points, {(0, 0): "k"}, Provenance("", {}, {}, classes=10))
    view = View(ledger, study, points)
    view.sync({point.number: (point, [Result("done", "", 0.5), Result("done", "", 0.6)]) for point in points})
    view.close()
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
        assert columns >= {"params", "macs", "accuracy", "spread"}
        listening = {
            connection.laddr.ip
            for connection in psutil.Process(process.pid).net_connections("tcp")
            if connection.status == psutil.CONN_LISTEN
        }
        assert listening == {"127.0.0.1"}
        port = address.rpartition(":")[2]
        taken = subprocess.run([*arguments[:-1], port], check=False, capture_output=True, text=True)
        assert taken.returncode == 2
        assert taken.stderr == f"explorer: --port {port}: cannot be used: Address already in use; choose another\n"
    finally:
        os.kill(process.pid, signal.SIGINT)
        _, errors = process.communicate(timeout=20)
    assert process.returncode == 130
    assert errors == ""
