"""Storages of earlier revisions are brought to the newest one on opening; nothing is lost where that fails."""

import gc
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.config import Config
from alembic.script import ScriptDirectory

from explorer.__main__ import main
from explorer.errors import ExplorerError
from explorer.storage import migrations
from explorer.storage.ledger import Ledger
from explorer.storage.studies import Provenance
from explorer.storage.tables import REVISION
from explorer.study.files import load_study
from explorer.study.plan import plan

OLD = Path(__file__).parent / "fixtures" / "ledger_v1" / "explorer.db"


@pytest.fixture
def storage(tmp_path):
    return Path(shutil.copy(OLD, tmp_path / "explorer.db"))


def content(storage):
    with closing(sqlite3.connect(storage)) as connection:
        return list(connection.iterdump())


def query(storage, *statements):
    with closing(sqlite3.connect(storage)) as connection, connection:
        return [connection.execute(statement).fetchall() for statement in statements][-1]


def schema(storage):
    """What there is to know of our tables, in no order of columns, as a new column comes last in a migrated table."""
    inspector = sa.inspect(Ledger(storage).engine)
    return {
        name: (
            {
                column["name"]: (str(column["type"]), column["nullable"], column["default"])
                for column in inspector.get_columns(name)
            },
            inspector.get_pk_constraint(name)["constrained_columns"],
            inspector.get_indexes(name),
            inspector.get_foreign_keys(name),
        )
        for name in inspector.get_table_names()
        if name.startswith("ledger_")
    }


def folder_study(tmp_path, classes, **changes):
    """A storage as the first version left it, with a study of a folder of images."""
    study = load_study("squeeze_ratio").model_copy(update={"data": "a-folder"} | changes)
    ledger = Ledger(tmp_path / "old.db", create=True)
    with ledger.writing():
        ledger.studies.save(study, "f", plan(study, classes), {(0, 0): "k"}, Provenance("", {}, {}, classes))
    query(
        tmp_path / "old.db",
        "alter table ledger_studies drop column classes",
        "alter table ledger_runs drop column predicted",
        "alter table ledger_runs drop column traceback",
        "alter table ledger_studies drop column class_counts",
        "alter table ledger_studies drop column declined",
        "alter table ledger_runs drop column file_bytes",
        "drop table ledger_weights",
        "drop table ledger_sources",
        "drop table ledger_proposals",
        "drop table ledger_rungs",
        "drop table ledger_revision",
        "update ledger_version set schema = 1",
    )
    return tmp_path / "old.db"


def test_the_tables_are_at_the_last_revision():
    config = Config()
    config.set_main_option("script_location", "explorer.storage:migrations")
    script = ScriptDirectory.from_config(config)
    assert script.get_current_head() == REVISION
    assert [revision.revision for revision in script.walk_revisions()] == [
        "0007",
        "0006",
        "0005",
        "0004",
        "0003",
        "0002",
        "0001",
    ]


def test_a_migrated_storage_equals_a_new_one(storage, tmp_path):
    optuna = query(storage, "select * from alembic_version")
    migrated = schema(storage)
    with Ledger(tmp_path / "new.db", create=True).writing():
        pass
    assert migrated == schema(tmp_path / "new.db")
    assert query(storage, "select * from ledger_revision") == [(REVISION,)]
    assert query(storage, "select * from alembic_version") == optuna
    record = Ledger(storage).studies.load("depths")
    assert (record.classes, record.class_counts, record.guess) == (10, None, 0.1)
    assert not list(tmp_path.glob("*before*"))


def test_missing_tables_are_created(storage):
    query(storage, *(f"drop table ledger_{name}" for name in ("latencies", "certificates", "tests")))
    ledger = Ledger(storage)
    assert ledger.latencies.of("squeezes").empty
    assert ledger.tests.of("squeezes").empty
    assert ledger.certificates.all() == []
    assert len(ledger.studies.load("squeezes").runs) == 4


@pytest.mark.parametrize("classes", [2, 7, 100])
def test_classes_are_found_by_params(tmp_path, classes):
    assert Ledger(folder_study(tmp_path, classes)).studies.load("squeeze_ratio").classes == classes


def test_classes_may_be_fixed(tmp_path):
    fixed = load_study("squeeze_ratio").fixed | {"classes": 5}
    assert Ledger(folder_study(tmp_path, 5, fixed=fixed)).studies.load("squeeze_ratio").classes == 5


def test_a_study_of_an_unknown_space_does_not_stop_the_others(tmp_path):
    storage = folder_study(tmp_path, 7)
    query(storage, "update ledger_studies set study = json_replace(study, '$.space', 'gone')")
    assert Ledger(storage).studies.names() == ["squeeze_ratio"]


def test_a_failed_migration_leaves_the_storage_unchanged(storage, monkeypatch):
    before, upgrade = content(storage), migrations.upgrade

    def failing(connection):
        upgrade(connection)
        assert connection.execute(sa.text("select max(classes) from ledger_studies")).scalar_one() == 10
        raise KeyError("half-way")

    monkeypatch.setattr(migrations, "upgrade", failing)
    with pytest.raises(
        ExplorerError, match=f"cannot be migrated to revision {REVISION}: 'half-way'; it is unchanged"
    ) as error:
        Ledger(storage)
    copy = storage.with_name(f"explorer.db.before-{REVISION}")
    assert str(copy) in str(error.value)
    assert content(storage) == before == content(copy)
    monkeypatch.undo()
    assert Ledger(storage).studies.names() == ["depths", "squeezes"]
    assert not copy.exists()


def test_a_killed_migration_leaves_the_storage_unchanged(storage):
    before = content(storage)
    code = (
        "import os, signal, sys\n"
        "from explorer.storage import migrations\n"
        "from explorer.storage.ledger import Ledger\n"
        "upgrade = migrations.upgrade\n"
        "migrations.upgrade = lambda connection: (upgrade(connection), os.kill(os.getpid(), signal.SIGKILL))\n"
        "Ledger(sys.argv[1])\n"
    )
    assert subprocess.run([sys.executable, "-c", code, storage], check=False).returncode == -signal.SIGKILL
    assert content(storage.with_name(f"explorer.db.before-{REVISION}")) == before
    assert content(storage) == before
    assert Ledger(storage).studies.names() == ["depths", "squeezes"]
    assert not storage.with_name(f"explorer.db.before-{REVISION}").exists()


@pytest.mark.parametrize(
    ("statements", "message"),
    [
        (["update ledger_revision set version_num = '0099'"], f"revision 0099, this one reads {REVISION}"),
        (["drop table ledger_revision", "update ledger_version set schema = 7"], "revision schema 7"),
    ],
)
def test_a_newer_storage_is_refused(storage, capsys, statements, message):
    Ledger(storage)
    query(storage, *statements)
    assert main(["report", "squeezes", "--storage", str(storage)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert message in err
    assert err.count("\n") == 1


def test_a_storage_is_not_migrated_while_another_process_writes(storage):
    ledger = Ledger(storage)
    before = content(shutil.copy(OLD, storage.with_name("old.db")))
    shutil.copy(OLD, storage)
    with ledger._writing(), pytest.raises(ExplorerError, match="is writing to it"):
        Ledger(storage)
    assert content(storage) == before


def test_opening_is_quick(storage):
    """Alembic is imported only where there is something to migrate."""
    Ledger(storage)
    code = (
        "import sys\n"
        "from explorer.storage.ledger import Ledger\n"
        "Ledger(sys.argv[1]).studies.names()\n"
        "with Ledger(sys.argv[2], create=True).writing(): pass\n"
        "assert 'alembic' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code, storage, storage.with_name("new.db")], check=True)


def test_a_write_protected_storage_is_readable(storage, monkeypatch):
    before, access = storage.read_bytes(), os.access
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK and access(path, mode))
    ledger = Ledger(storage)
    assert ledger.studies.load("squeezes").runs["state"].eq("done").all()
    assert ledger.shown == str(storage)
    with pytest.raises(ExplorerError, match="cannot be written"), ledger.writing():
        pass
    assert storage.read_bytes() == before
    assert list(storage.parent.iterdir()) == [storage]
    copy = ledger.file
    del ledger
    gc.collect()
    assert not copy.exists()
