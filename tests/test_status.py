"""The status of stored studies, while nobody and while somebody writes."""

import json
import os
import platform
from datetime import UTC, datetime, timedelta

import pytest
from records import changed
from test_ledger import PROVENANCE, run_row, save

import explorer
from explorer.__main__ import main
from explorer.errors import ExplorerError
from explorer.storage.ledger import Ledger
from explorer.storage.lock import FileWriter
from explorer.storage.searches import RungRun
from explorer.storage.tables import rungs
from explorer.study.files import load_study
from explorer.study.plan import plan
from explorer.training.run import effort

STATES = ["runs", "done", "failed", "crashed", "running", "missing"]


@pytest.fixture
def ledger(tmp_path, monkeypatch):
    """Two studies, one of them with runs that failed."""
    monkeypatch.chdir(tmp_path)
    opened = Ledger("explorer.db", create=True)
    with opened.writing():
        save(opened, load_study("bypass"))
        save(opened, load_study("squeeze_ratio"))
        for key in ("0-0", "0-1", "0-2"):
            opened.runs.record(run_row(key))
        for key in ("3-0", "3-1"):
            opened.runs.record(run_row(key, state="failed", reason="the loss is not finite", accuracy=None))
        opened.runs.record(run_row("3-2", state="crashed", reason="KeyError: 1", traceback="Traceback ... KeyError: 1"))
    return opened


def counts(found, study):
    return found.studies.set_index("study").loc[study, STATES].tolist()


@pytest.mark.usefixtures("ledger")
def test_runs_are_counted_by_state():
    found = explorer.status()
    assert found.studies["study"].tolist() == ["bypass", "squeeze_ratio"]
    assert counts(found, "bypass") == [9, 3, 0, 0, 0, 6]
    assert counts(found, "squeeze_ratio") == [24, 3, 2, 1, 0, 18]
    assert found.studies["seconds_left"].isna().all()
    assert found.writers.empty
    assert found.rungs.empty
    assert explorer.status("bypass").studies["study"].tolist() == ["bypass"]


@pytest.mark.usefixtures("ledger")
def test_failures_are_grouped_and_tracebacks_are_in_json(capsys):
    assert main(["status", "squeeze_ratio"]) == 0
    shown = capsys.readouterr().out
    lines = [" ".join(line.split()) for line in shown.splitlines()]
    assert "squeeze_ratio 24 3 2 1 18" in lines
    assert "squeeze_ratio failed the loss is not finite 2" in lines
    assert "squeeze_ratio crashed KeyError: 1 1" in lines
    assert "to train them again: explorer retry squeeze_ratio" in lines
    assert lines[-1] == "no command is writing to the storage"
    assert main(["status", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert [row["study"] for row in said["records"]] == ["bypass", "squeeze_ratio"]
    assert said["failures"][-1] == {
        "study": "squeeze_ratio",
        "point": 3,
        "seed": 2,
        "epochs": load_study("squeeze_ratio").budget.epochs,
        "state": "crashed",
        "reason": "KeyError: 1",
        "traceback": "Traceback ... KeyError: 1",
    }
    assert main(["status", "--quiet"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "bypass: 3 of 9 runs done, 6 missing",
        "squeeze_ratio: 3 of 24 runs done, 2 failed, 1 crashed, 18 missing",
    ]


@pytest.mark.usefixtures("ledger")
def test_an_unknown_study_is_one_line(capsys):
    assert main(["status", "squeze_ratio"]) == 2
    assert "did you mean 'squeeze_ratio'" in capsys.readouterr().err


def test_while_a_command_writes(ledger, monkeypatch, capsys):
    """It is named, with what it trains and how long the rest takes at its speed."""
    begun = datetime.now(UTC) - timedelta(seconds=100)
    started = FileWriter.__init__

    def earlier(writer, path):
        started(writer, path)
        writer.since = begun

    monkeypatch.setattr(FileWriter, "__init__", earlier)
    with ledger.writing("squeeze_ratio"):
        assert ledger.claim(["1-0", "2-0", "3-2"])
        ledger.keep()
        found = explorer.status()
        assert counts(found, "squeeze_ratio") == [24, 3, 2, 0, 3, 16]
        assert found.studies["seconds_left"].isna().all()
        ledger.runs.record(run_row("1-0", finished=datetime.now(UTC).isoformat(timespec="seconds")))
        ledger.release(["1-0"])
        ledger.keep()
        found = explorer.status()
        (writer,) = found.writers.to_dict(orient="records")
        assert (writer["host"], writer["pid"], writer["studies"]) == (platform.node(), os.getpid(), ["squeeze_ratio"])
        assert counts(found, "squeeze_ratio") == [24, 4, 2, 0, 2, 16]
        points = plan(load_study("squeeze_ratio"), 10)
        work = [effort(1, point.network.cost.macs, point.network.cost.activations) for point in points]
        ahead = sum(work[place] * (3 - ended) for place, ended in enumerate([3, 1, 0, 2, 0, 0, 0, 0]))
        left = found.studies.set_index("study")["seconds_left"]
        assert left["squeeze_ratio"] == pytest.approx(100 * ahead / work[1], rel=0.2)
        assert left.isna().to_dict() == {"bypass": True, "squeeze_ratio": False}
        assert main(["status", "squeeze_ratio"]) == 0
        last = capsys.readouterr().out.splitlines()[-1]
        assert last.startswith(f"process {os.getpid()} on {platform.node()} has been writing squeeze_ratio for 1 min")
    assert explorer.status().writers.empty


def test_rungs_of_a_search_are_counted_apart(ledger):
    rows = [{"study": "bypass", "point": point, "seed": 0, "epochs": 1, "key": f"rung {point}"} for point in range(3)]
    with ledger.writing():
        ledger.replace(rungs, rows)
        ledger.runs.record(run_row("rung 0"))
        ledger.runs.record(run_row("rung 1", state="failed", reason="no"))
    top = load_study("bypass").budget.epochs
    found = explorer.status("bypass")
    assert counts(found, "bypass") == [9, 3, 0, 0, 0, 6]
    expected = [
        ["bypass", 1, 3, 1, 1, 0, 0, 1],
        ["bypass", top, 9, 3, 0, 0, 0, 6],
    ]
    assert found.rungs[["study", "epochs", *STATES]].values.tolist() == expected
    assert found.failures[["point", "epochs"]].values.tolist() == [[1, 1]]


def test_an_older_writer_is_unknown(ledger):
    with ledger.writing():
        (lock := ledger.file.with_name("explorer.db.lock")).write_text("")
        (writer,) = explorer.status().writers.to_dict(orient="records")
        assert (writer["host"], writer["pid"]) == (None, None)
        lock.write_text('{"host": "h", "pid": 1')  # cut off
        assert explorer.status().writers["pid"].tolist() == [None]


def test_a_search_is_not_retried(ledger):
    search = changed("bypass", name="search", search={"ranges": {"bypass": ["none", "simple"]}}, vary={}, claims=[])
    with ledger.writing():
        ledger.searches.open(search, "f", PROVENANCE)
        ledger.searches.enlist(search, RungRun(0, 0, search.budget.epochs, "0-0"))
    with pytest.raises(ExplorerError, match="search: is a search, which chooses its runs itself"):
        explorer.retry("search")
    assert counts(explorer.status("search"), "search") == [1, 1, 0, 0, 0, 0]
