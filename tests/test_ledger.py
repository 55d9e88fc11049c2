import multiprocessing
import platform
import sqlite3
from contextlib import closing

import numpy as np
import pytest
from records import changed

from explorer.errors import ExplorerError
from explorer.storage.database import Database, storage_url
from explorer.storage.ledger import Ledger
from explorer.storage.studies import Provenance
from explorer.storage.tables import metadata
from explorer.study.files import load_study
from explorer.study.plan import plan
from explorer.training.bits import pack, pack_classes

PROVENANCE = Provenance("the command", {"python": "3"}, {"cores": "2"}, classes=10)


def run_row(key, **changes):
    row = {
        "key": key,
        "network": "n",
        "data_fingerprint": "f",
        "settings": {},
        "seed": 0,
        "state": "done",
        "reason": "",
        "accuracy": 0.5,
        "accuracies": [0.4, 0.5],
        "train_losses": [2.0, 1.5],
        "seconds": 1.0,
        "images_per_second": 100.0,
        "peak_memory_bytes": 1 << 33,
        "finished": "2026-01-01T00:00:00+00:00",
        "host": {"name": "here"},
    }
    return row | pack(np.array([True, False, True] * 5), np.linspace(0, 1, 15, dtype=np.float32)) | changes


@pytest.fixture
def ledger(tmp_path):
    opened = Ledger(tmp_path / "runs.db", create=True)
    with opened.writing():
        yield opened


def save(ledger, study, fingerprint="f"):
    points = plan(study, 10)
    keys = {(point.number, seed): f"{point.number}-{seed}" for point in points for seed in range(study.seeds)}
    ledger.studies.save(study, fingerprint, points, keys, PROVENANCE)
    return points


def test_what_is_stored_comes_back(ledger):
    study = load_study("delayed_downsampling")
    points = save(ledger, study)
    ledger.runs.record(run_row("2-1"))
    ledger.runs.record(run_row("2-2", state="failed", reason="the loss", accuracy=None))
    record = Ledger(ledger.url.database).studies.load(study.name)
    assert record.study == study
    assert (record.command, record.versions, record.machine) == ("the command", {"python": "3"}, {"cores": "2"})
    assert record.points["pools"].tolist() == [point.metaparameters["pools"] for point in points]
    assert record.points["macs"].tolist() == [point.cost.macs for point in points]
    assert len(record.runs) == 21
    runs = record.runs.set_index(["point", "seed"])
    assert runs["state"].value_counts().to_dict() == {"missing": 19, "done": 1, "failed": 1}
    done = runs.loc[(2, 1)]
    assert done["accuracies"] == [0.4, 0.5]
    assert done["correct"].tolist() == [True, False, True] * 5
    assert np.allclose(ledger.runs.find("2-1").top_probability, np.linspace(0, 1, 15), atol=1e-3)
    assert done["peak_memory_bytes"] == 1 << 33
    assert runs.loc[(2, 2), "reason"] == "the loss"


def test_runs_are_shared_between_studies(ledger):
    first, second = load_study("squeeze_ratio"), load_study("pct3x3")
    save(ledger, first)
    save(ledger, second)
    ledger.runs.record(run_row("0-0"))
    assert ledger.studies.load(first.name).runs["state"].eq("done").sum() == 1
    assert ledger.studies.load(second.name).runs["state"].eq("done").sum() == 1
    assert ledger.runs.results(["0-0", "0-1"])["0-0"].accuracy == 0.5


def test_a_crash_is_replaced_and_is_not_final(ledger):
    ledger.runs.record(run_row("k", state="crashed", reason="killed"))
    assert not ledger.runs.results(["k"])["k"].final
    ledger.runs.record(run_row("k"))
    assert ledger.runs.results(["k"])["k"].final


def test_a_name_belongs_to_one_study_and_data_set(ledger):
    study = load_study("squeeze_ratio")
    save(ledger, study)
    assert ledger.studies.claim(study, "f").name == "squeeze_ratio"
    other_data = ledger.studies.claim(study, "g")
    assert other_data.name.startswith("squeeze_ratio~")
    other_points = ledger.studies.claim(changed(study, vary={"squeeze_ratio": [0.5]}), "f")
    assert other_points.name.startswith("squeeze_ratio~")
    assert other_points.name != other_data.name
    save(ledger, other_data, "g")
    assert ledger.studies.claim(study, "g").name == other_data.name


def test_an_unknown_study_suggests_the_nearest(ledger):
    save(ledger, load_study("squeeze_ratio"))
    with pytest.raises(ExplorerError, match=r"unknown study in .* 'squeze_ratio'; did you mean 'squeeze_ratio'"):
        ledger.studies.load("squeze_ratio")


def test_storages_that_cannot_be_opened(tmp_path):
    def refused(storage, **options):
        with pytest.raises(ExplorerError) as error:
            Ledger(storage, **options)
        assert "\n" not in str(error.value)
        return str(error.value)

    assert "the folder" in refused(tmp_path / "no" / "x.db", create=True)
    assert "does not exist" in refused(tmp_path / "x.db")
    assert not (tmp_path / "x.db").exists()
    (tmp_path / "text.db").write_text("not a database" * 100)
    assert "file is not a database" in refused(tmp_path / "text.db", create=True)
    assert "plugin" in refused("oracle+nothing://host/db")
    assert "connection" in refused("postgresql+psycopg://nobody@127.0.0.1:1/none")
    (tmp_path / "empty.db").touch()
    assert "has no studies" in refused(tmp_path / "empty.db")
    assert "not a database URL" in refused("://")
    assert "give a file" in refused("sqlite://", create=True)


def test_incomplete_tables_are_created_again(tmp_path):
    """As left by a kill between creating the tables and their version number."""
    sqlite3.connect(tmp_path / "half.db").execute("create table ledger_version (schema integer primary key)")
    with pytest.raises(ExplorerError, match="has no studies"):
        Ledger(tmp_path / "half.db")
    half = Ledger(tmp_path / "half.db", create=True)
    with half.writing():
        save(half, load_study("bypass"))
    assert half.studies.names() == ["bypass"]
    assert half.studies.progress()["bypass"] == (0, 9)


def latency_row(network, **changes):
    row = {
        "network": network,
        "processor": "p",
        "torch": "2",
        "dtype": "float32",
        "batch": 1,
        "threads": 1,
        "median_seconds": 0.5,
        "lower_seconds": 0.4,
        "upper_seconds": 0.7,
        "repeats": 9,
        "load": None,
        "finished": "2026-01-01T00:00:00+00:00",
    }
    return row | changes


def test_latencies_of_a_study(ledger):
    first, second = save(ledger, load_study("squeeze_ratio"))[:2]
    save(ledger, load_study("compound_grid"))
    row = latency_row(second.network.digest)
    ledger.latencies.record([row, row | {"batch": 64}, latency_row(first.network.digest), latency_row("another")])
    found = ledger.latencies.of("squeeze_ratio")
    assert list(found.columns) == list(row)
    assert len(found) == 3
    assert found["load"].isna().all()
    assert ledger.latencies.of("compound_grid").empty
    ledger.latencies.record([row | {"median_seconds": 0.25, "load": 0.1}])
    found = ledger.latencies.of("squeeze_ratio").set_index(["network", "batch"])
    assert found["median_seconds"].to_dict() == {
        (first.network.digest, 1): 0.5,
        (second.network.digest, 1): 0.25,
        (second.network.digest, 64): 0.5,
    }
    with pytest.raises(ExplorerError, match="did you mean 'squeeze_ratio'"):
        ledger.latencies.of("squeze_ratio")


def reading(key, **changes):
    row = {"key": key, "study": "squeeze_ratio", "point": 1, "seed": 2, "accuracy": 0.25, "images": 100}
    return row | {"finished": "2026-01-01T00:00:00+00:00"} | changes


def test_a_run_s_test_accuracy_is_stored_once_and_shown_in_all_its_studies(ledger):
    first, second = load_study("squeeze_ratio"), load_study("pct3x3")
    save(ledger, first)
    save(ledger, second)
    assert ledger.tests.find("1-2") is None
    assert ledger.tests.of("squeeze_ratio").empty
    ledger.tests.record(reading("1-2"))
    ledger.tests.record(reading("0-1", point=0, seed=1))
    assert dict(ledger.tests.find("1-2")) == reading("1-2")
    for study in (first, second):
        found = ledger.tests.of(study.name)
        assert list(found.columns) == ["key", "point", "seed", "accuracy", "images", "finished"]
        assert found[["key", "point", "seed"]].values.tolist() == [["0-1", 0, 1], ["1-2", 1, 2]]
    with pytest.raises(ExplorerError, match="UNIQUE"):
        ledger.tests.record(reading("1-2", accuracy=0.5))
    assert ledger.tests.find("1-2")["accuracy"] == 0.25
    with pytest.raises(ExplorerError, match="did you mean 'squeeze_ratio'"):
        ledger.tests.of("squeze_ratio")


def test_a_run_is_found_by_its_key(ledger):
    study = load_study("squeeze_ratio")
    save(ledger, study)
    ledger.runs.record(run_row("1-2", settings={"seed": 2}))
    ledger.runs.record(run_row("x", state="failed", accuracy=None, validation_images=None, correct=None))
    assert ledger.runs.keys() == ["1-2", "x"]
    run = ledger.runs.find("1-2")
    assert (run.key, run.state, run.accuracy, run.settings, run.host) == (
        "1-2",
        "done",
        0.5,
        {"seed": 2},
        {"name": "here"},
    )
    assert run.correct.tolist() == [True, False, True] * 5
    assert run.top_probability.dtype == np.float16
    assert ledger.runs.find("x").correct is None
    assert ledger.runs.find("y") is None
    assert ledger.studies.places("1-2") == [("squeeze_ratio", 1, 2)]
    assert ledger.studies.places("x") == []


def _hold(path, held, release):
    with Ledger(path, create=True).writing():
        held.set()
        release.wait(30)


def test_one_process_at_a_time_writes(tmp_path):
    context = multiprocessing.get_context("spawn")
    held, release = context.Event(), context.Event()
    other = context.Process(target=_hold, args=(tmp_path / "runs.db", held, release))
    other.start()
    assert held.wait(30)
    ledger = Ledger(tmp_path / "runs.db")
    named = rf"is writing to it \(process {other.pid} on {platform.node()}, for \d+ s\); wait, or use another --storage"
    with pytest.raises(ExplorerError, match=named), ledger.writing():
        pass
    other.kill()  # the lock of a killed process is free
    other.join()
    with ledger.writing():
        pass


def test_a_removed_lock_file_lets_nobody_in(tmp_path):
    context = multiprocessing.get_context("spawn")
    held, release = context.Event(), context.Event()
    other = context.Process(target=_hold, args=(tmp_path / "runs.db", held, release))
    other.start()
    assert held.wait(30)
    (tmp_path / "runs.db.lock").unlink()
    (tmp_path / "link.db").symlink_to(tmp_path / "runs.db")
    for path in ("runs.db", "link.db"):
        ledger = Ledger(tmp_path / path)
        with pytest.raises(ExplorerError, match="is writing to it"), ledger.writing():
            pass
    release.set()
    other.join()
    with ledger.writing():
        pass


@pytest.mark.parametrize("table", [table.name for table in metadata.sorted_tables])
@pytest.mark.parametrize("kind", ["table", "view"])
def test_a_table_of_the_user_with_the_name_of_one_of_ours_is_never_touched(tmp_path, table, kind):
    content = "(amount integer)" if kind == "table" else "as select 1 as amount"
    with closing(sqlite3.connect(tmp_path / "books.db")) as books, books:
        books.execute(f"create {kind} {table} {content}")
        before = list(books.iterdump())
    message = f"its table {table} does not belong to the explorer; use another database"
    with pytest.raises(ExplorerError, match=message), Ledger(tmp_path / "books.db", create=True).writing():
        pass
    with closing(sqlite3.connect(tmp_path / "books.db")) as books:
        assert list(books.iterdump()) == before


@pytest.mark.parametrize(
    ("tables", "named"),
    [
        (["places"], "table places"),
        (["studies", "runs"], "tables runs, studies"),
        (list("gfedcba"), "tables a, b, c, d, e, ..."),
    ],
)
def test_a_file_of_another_program_is_refused_and_not_changed(tmp_path, tables, named):
    path = tmp_path / "app.db"
    with closing(sqlite3.connect(path)) as app, app:
        for table in tables:
            app.execute(f"create table {table} (id integer primary key autoincrement)")
    before = path.read_bytes()
    for create in (False, True):
        with pytest.raises(ExplorerError) as error:
            Ledger(path, create=create)
        assert str(error.value) == (f"storage {path}: is a database of another program ({named}); name another file")
    assert path.read_bytes() == before
    assert [found.name for found in tmp_path.iterdir()] == ["app.db"]


def test_a_file_of_optuna_may_be_shared(tmp_path):
    with closing(sqlite3.connect(tmp_path / "optuna.db")) as app, app:
        app.execute("create table version_info (version_info_id integer primary key)")
    with Ledger(tmp_path / "optuna.db", create=True).writing():
        pass
    assert Ledger(tmp_path / "optuna.db").studies.names() == []


def test_a_new_file_that_cannot_be_filled_is_removed(tmp_path, monkeypatch):
    def fails(*_):
        raise sqlite3.OperationalError("database or disk is full")

    (tmp_path / "empty.db").touch()
    monkeypatch.setattr(Database, "_create_tables", fails)
    for name in ("new.db", "empty.db"):
        with pytest.raises(ExplorerError, match="disk is full"), Ledger(tmp_path / name, create=True).writing():
            pass
    assert not (tmp_path / "new.db").exists()
    assert (tmp_path / "empty.db").exists()


def test_a_folder_is_no_storage(tmp_path):
    for create in (False, True):
        with pytest.raises(ExplorerError, match=r"it is a folder; give a file in it, such as .*/explorer\.db"):
            Ledger(tmp_path, create=create)


def test_passwords_are_not_shown():
    url = storage_url("postgresql+psycopg://me:secret@127.0.0.1:1/none")
    with pytest.raises(ExplorerError) as error:
        Ledger(url.render_as_string(hide_password=False))
    assert "secret" not in str(error.value)


@pytest.mark.parametrize("classes", [2, 256, 257, 70_000])
def test_predicted_classes_come_back(ledger, classes):
    predicted = np.array([0, 1, classes - 1] * 5)
    ledger.runs.record(run_row("k") | {"predicted": pack_classes(predicted)})
    assert ledger.runs.find("k").predicted.tolist() == predicted.tolist()
    ledger.runs.record(run_row("older"))
    assert ledger.runs.find("older").predicted is None
