"""A whole sweep on a real PostgreSQL server, where one is installed."""

import os
import platform
import subprocess
import sys
import threading
import time
from contextlib import closing

import pytest
import sqlalchemy as sa
from test_ledger import run_row

from explorer.errors import ExplorerError
from explorer.storage import migrations
from explorer.storage.ledger import Ledger
from explorer.storage.optuna_tables import NoView
from explorer.storage.optuna_view import View
from explorer.storage.runs import Result
from explorer.storage.studies import Provenance
from explorer.study.files import load_study
from explorer.study.plan import plan

pytestmark = pytest.mark.slow


@pytest.fixture
def url(server):
    return server.url


def test_a_sweep_is_stored_and_resumed(url, tmp_path, image_folder):
    work = tmp_path / "work"
    work.mkdir()
    arguments = ["sweep", "bypass", "--data", str(image_folder), "--quick", "--storage", url]
    for _ in range(2):
        shown = subprocess.run(
            [sys.executable, "-m", "explorer", *arguments], check=True, cwd=work, capture_output=True, text=True
        ).stdout
    assert "0 runs to train, 3 stored already" in shown
    record = Ledger(url).studies.load("bypass@stripes-quick")
    assert record.runs["state"].eq("done").all()
    assert (work / "reports" / "bypass@stripes-quick" / "report.html").is_file()


def test_a_sweep_survives_restarts_of_the_server(server, tmp_path, image_folder):
    work = tmp_path / "work"
    work.mkdir()
    arguments = ["sweep", "bypass", "--data", str(image_folder), "--quick", "--storage"]
    calm = subprocess.run(
        [sys.executable, "-m", "explorer", *arguments, "calm.db"], check=False, cwd=work, capture_output=True, text=True
    )
    assert calm.returncode == 0, calm.stderr
    expected = Ledger(work / "calm.db").studies.load("bypass@stripes-quick").runs
    sweep = subprocess.Popen(
        [sys.executable, "-m", "explorer", *arguments, server.url],
        cwd=work,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    engine, restarts = sa.create_engine(server.url, poolclass=sa.NullPool), 0
    while sweep.poll() is None:
        if restarts < 3 and sa.inspect(engine).has_table("trials"):
            server.restart()
            restarts += 1
        time.sleep(2)
    out, err = sweep.communicate()
    assert sweep.returncode == 0, err
    assert "Traceback" not in out + err
    assert "reconnected" in err
    found = Ledger(server.url).studies.load("bypass@stripes-quick").runs
    measured = ["point", "seed", "key", "state", "accuracy", "accuracies", "train_losses"]
    assert found[measured].to_dict("records") == expected[measured].to_dict("records")


def test_a_storage_of_the_first_version_is_migrated_or_unchanged(url, monkeypatch):
    study, ledger = load_study("squeeze_ratio"), Ledger(url, create=True)
    with ledger.writing():
        ledger.studies.save(study, "f", plan(study, 7), {(0, 0): "k"}, Provenance("", {}, {}, classes=7))
    new = columns(ledger)
    with ledger.engine.begin() as connection:
        for statement in (
            "alter table ledger_studies drop column classes",
            "alter table ledger_runs drop column predicted",
            "alter table ledger_runs drop column traceback",
            "alter table ledger_studies drop column declined",
            "alter table ledger_studies drop column class_counts",
            "drop table ledger_proposals, ledger_rungs",
            "drop table ledger_revision, ledger_latencies, ledger_certificates, ledger_tests",
            "update ledger_version set schema = 1",
            # A folder, so that the classes are found by the params.
            "update ledger_studies set study = replace(study, '\"proxy\"', '\"folder\"')",
        ):
            connection.execute(sa.text(statement))
    old, upgrade = columns(ledger), migrations.upgrade

    def failing(connection):
        upgrade(connection)
        raise KeyError("half-way")

    monkeypatch.setattr(migrations, "upgrade", failing)
    with pytest.raises(ExplorerError, match=r"cannot be migrated to revision .*: 'half-way'; it is unchanged$"):
        Ledger(url)
    assert columns(ledger) == old
    monkeypatch.undo()
    assert Ledger(url).studies.load("squeeze_ratio").classes == 7
    assert columns(ledger) == new


def columns(ledger):
    inspector = sa.inspect(ledger.engine)
    return {
        (table, column["name"], str(column["type"]), column["nullable"])
        for table in inspector.get_table_names()
        for column in inspector.get_columns(table)
    }


@pytest.fixture
def written(server):
    """A ledger that is being written to, with a study's view."""
    study, ledger = load_study("squeeze_ratio"), Ledger(server.url, create=True)
    points = plan(study, 10)
    with ledger.writing(study.name):
        ledger.studies.save(study, "f", points, {(0, 0): "k"}, Provenance("", {}, {}, classes=10))
        with closing(View(ledger, study, points)) as view:
            view.sync({0: (points[0], [Result("done", "", 0.5)])})
            yield ledger, view, points


def test_writing_goes_on_after_the_server_was_restarted(server, written, caplog):
    ledger, view, points = written
    for number in (1, 2):
        server.restart()
        ledger.runs.record(run_row(f"k{number}"))
        view.show([points[number]], {})
        server.restart()
        view.show([], {number: (points[number], [Result("done", "", 0.6)])})
    assert Ledger(server.url).runs.keys() == ["k1", "k2"]
    trials = view.trials.study.get_trials()
    assert [(trial.user_attrs["point"], trial.value) for trial in trials] == [(0, 0.5), (1, 0.6), (2, 0.6)]
    named = rf"is writing the study squeeze_ratio \(process {os.getpid()} on {platform.node()}, for \d+ s\); wait"
    with pytest.raises(ExplorerError, match=named), Ledger(server.url).writing("squeeze_ratio"):
        pass
    said = {record.getMessage().partition("postgres: ")[2] for record in caplog.records}
    assert said == {"connection lost; waiting up to 5 minutes for the server", "reconnected"}


def test_writing_goes_on_after_the_server_was_away(server, written):
    ledger, _, _ = written
    server.stop()
    starting = threading.Timer(4, server.start)  # after several attempts to reconnect
    starting.start()
    ledger.runs.record(run_row("k"))
    starting.join()
    assert Ledger(server.url).runs.keys() == ["k"]


def test_a_writer_that_was_cut_off_stops_if_another_took_over(server, written):
    ledger, view, points = written
    server.restart()
    with Ledger(server.url).writing("squeeze_ratio"):
        for write in (lambda: ledger.runs.record(run_row("k1")), lambda: view.show([], {1: (points[1], [])})):
            with pytest.raises(ExplorerError, match="another explorer command took over while"):
                write()
    assert Ledger(server.url).runs.keys() == []
    assert len(view.trials.study.get_trials()) == 1


def test_a_session_that_the_server_still_believes_in_is_ended(written):
    ledger, _, _ = written
    old = ledger._lock.session
    ledger._lock.session = ledger.engine.connect()
    ledger._lock.retake()
    with pytest.raises(sa.exc.OperationalError):
        old.exec_driver_sql("select 1")
    old.close()
    ledger.runs.record(run_row("k1"))
    assert ledger.runs.keys() == ["k1"]


def test_writers_of_different_studies_claim_runs(server):
    first, second = Ledger(server.url, create=True), Ledger(server.url, create=True)
    with first.writing("a"):
        with second.writing("b"):
            assert first.claim(["k1", "k2"])
            assert not second.claim(["k0", "k1"])
            assert second.claim(["k0", "k3"])
            assert not first.claim(["k0"])
            first.release(["k1"])
            assert second.claim(["k1"])
            with pytest.raises(ExplorerError, match="is writing the study a "):
                second.hold("a")
        # A writer that has ended claims nothing.
        assert first.claim(["k0", "k1", "k3"])


def test_claims_outlast_a_lost_connection(server, monkeypatch):
    monkeypatch.setattr("explorer.storage.server_lock.GRACE_SECONDS", 2.0)
    monkeypatch.setattr("explorer.storage.server_lock.CHECK_SECONDS", 0.0)
    first, second = Ledger(server.url, create=True), Ledger(server.url, create=True)
    with first.writing("a"), second.writing("b"):
        assert first.claim(["k"])
        server.restart()
        assert not second.claim(["k"])  # the first one may not have come back yet
        first.keep()
        time.sleep(2)
        assert not second.claim(["k"])
        assert second.claim(["another"])
        first.release(["k"])
        assert second.claim(["k"])


def test_tables_are_not_migrated_while_another_process_writes(url):
    ledger, other = Ledger(url, create=True), Ledger(url, create=True)
    with ledger.writing("a"), pytest.raises(ExplorerError, match="is writing to it"), other._writing(alone=True):
        pass
    with ledger._writing(alone=True), pytest.raises(ExplorerError, match="is writing to it"), other.writing("a"):
        pass


def test_processes_that_start_together_create_the_tables_once(url):
    code = (
        "import sys\n"
        "from explorer.storage.ledger import Ledger\n"
        "from explorer.storage.optuna_tables import OptunaTables\n"
        "ledger = Ledger(sys.argv[1], create=True)\n"
        "sys.stdin.readline()\n"
        "with ledger.writing(sys.argv[2]): OptunaTables(ledger).close()\n"
    )
    starting = [
        subprocess.Popen(
            [sys.executable, "-c", code, url, str(number)], stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for number in range(3)
    ]
    for process in starting:
        process.stdin.write("\n")
        process.stdin.flush()
    assert [process.communicate()[1] for process in starting] == [""] * 3
    assert Ledger(url).studies.names() == []


def test_a_server_that_does_not_come_back_is_one_line(server, written, monkeypatch):
    ledger, view, points = written
    monkeypatch.setattr("explorer.storage.database.PATIENCE", 3)
    server.stop()
    for write in (lambda: ledger.runs.record(run_row("k1")), lambda: view.show([], {1: (points[1], [])})):
        with pytest.raises(ExplorerError, match=r"no connection for .*; stored runs are kept") as error:
            write()
        assert "\n" not in str(error.value)


def test_reading_does_not_wait(server):
    ledger = Ledger(server.url, create=True)
    with ledger.writing():
        pass
    server.stop()
    with pytest.raises(ExplorerError, match="connection"):
        ledger.studies.names()


def test_tables_of_the_user_are_never_touched(url):
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    with engine.begin() as connection:
        connection.exec_driver_sql("create table ledger_runs (amount integer)")
        connection.exec_driver_sql("create table trials (amount integer)")
    with pytest.raises(ExplorerError, match="its table ledger_runs"), Ledger(url, create=True).writing():
        pass
    assert set(sa.inspect(engine).get_table_names()) == {"ledger_runs", "trials"}
    with engine.begin() as connection:
        connection.exec_driver_sql("drop table ledger_runs")
    ledger, study = Ledger(url, create=True), load_study("squeeze_ratio")
    with ledger.writing(), pytest.raises(NoView, match="its table trials does not belong to Optuna"):
        View(ledger, study, plan(study, 10))
    assert "studies" not in sa.inspect(engine).get_table_names()
