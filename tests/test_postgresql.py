"""A whole sweep on a real PostgreSQL server, where one is installed."""

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import sqlalchemy as sa

from explorer.errors import ExplorerError
from explorer.storage import migrations
from explorer.storage.ledger import Ledger
from explorer.storage.studies import Provenance
from explorer.study.files import load_study
from explorer.study.plan import plan

BINARIES = sorted(Path("/usr/lib/postgresql").glob("*/bin"))

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not BINARIES, reason="needs a PostgreSQL server (Debian's postgresql)"),
]


@pytest.fixture
def url(tmp_path):
    pytest.importorskip("psycopg", reason="needs the extra `postgresql`")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    data = tmp_path / "data"
    as_root = os.geteuid() == 0  # initdb refuses to run as root
    if as_root:
        for folder in (tmp_path, *tmp_path.parents[:2]):
            folder.chmod(0o755)
        shutil.chown(tmp_path, "postgres")

    def server(*arguments):
        user = ["runuser", "-u", "postgres", "--"] if as_root else []
        subprocess.run([*user, *map(str, arguments)], check=True, stdout=subprocess.DEVNULL, cwd=tmp_path)

    control = BINARIES[-1] / "pg_ctl"
    server(BINARIES[-1] / "initdb", "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-locale", "-N")
    options = f"-c listen_addresses=127.0.0.1 -p {port} -c unix_socket_directories='' -c fsync=off"
    server(control, "-D", data, "-w", "-l", tmp_path / "log", "-o", options, "start")
    try:
        yield f"postgresql+psycopg://postgres@127.0.0.1:{port}/postgres"
    finally:
        server(control, "-D", data, "-w", "-m", "immediate", "stop")


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


def test_a_storage_of_the_first_version_is_migrated_or_unchanged(url, monkeypatch):
    study, ledger = load_study("squeeze_ratio"), Ledger(url, create=True)
    with ledger.writing():
        ledger.studies.save(study, "f", plan(study, 7), {(0, 0): "k"}, Provenance("", {}, {}, classes=7))
    new = columns(ledger)
    with ledger.engine.begin() as connection:
        for statement in (
            "alter table ledger_studies drop column classes",
            "alter table ledger_runs drop column predicted",
            "alter table ledger_studies drop column class_counts",
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
