"""Storages that cannot be written: on read-only media, of other users, and with what a crash has left beside them."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import open_to_all

import explorer
from explorer.errors import ExplorerError
from explorer.storage.ledger import Ledger

OLD = Path(__file__).parent / "fixtures" / "ledger_v1" / "explorer.db"
AS_ROOT = hasattr(os, "geteuid") and os.geteuid() == 0

CRASH = """
import os, sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute(f"pragma journal_mode={sys.argv[2]}")
connection.execute("pragma cache_size=1")
connection.execute("begin")
connection.execute("update ledger_studies set command = 'from the journal'")
connection.execute("create table filler as with recursive t(n) as (select 1 union all select n + 1 from t "
                   "where n < 20000) select n, 'some text to fill pages' from t")
if sys.argv[2] == "wal":
    connection.execute("commit")
os._exit(0)
"""


@pytest.fixture(params=["closed", "with a log", "half a transaction"])
def left(request, tmp_path):
    """A storage as a writer left it: closed, killed with rows in the log only, or killed within a transaction."""
    folder = tmp_path / "medium"
    folder.mkdir()
    storage = Path(shutil.copy(OLD, folder / "explorer.db"))
    command = Ledger(storage).studies.load("squeezes").command  # migrated
    if request.param != "closed":
        mode = "wal" if request.param == "with a log" else "delete"
        subprocess.run([sys.executable, "-c", CRASH, storage, mode], check=True)
        (folder / "explorer.db-shm").unlink(missing_ok=True)
        assert [path.name for path in folder.glob("*-*")] == [f"explorer.db-{'wal' if mode == 'wal' else 'journal'}"]
        command = "from the journal" if mode == "wal" else command
    return storage, command


@pytest.fixture
def mounted(left):
    """The same on a file system that is mounted read-only."""
    storage, command = left
    medium = storage.parent.with_name("mounted")
    medium.mkdir()
    bind = [["mount", "--bind", storage.parent, medium], ["mount", "-o", "remount,bind,ro", medium]]
    if not AS_ROOT or any(subprocess.run(step, check=False, capture_output=True).returncode for step in bind):
        pytest.skip("file systems cannot be mounted here")
    try:
        yield medium / storage.name, command
    finally:
        subprocess.run(["umount", medium], check=True)


def content(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_read_only_media_are_read(mounted):
    storage, command = mounted
    before = content(storage.parent)
    ledger = Ledger(storage)
    assert ledger.studies.load("squeezes").command == command
    with pytest.raises(ExplorerError, match="cannot be written"), ledger.writing():
        pass
    with pytest.raises(ExplorerError, match="cannot be written"):
        Ledger(storage, create=True)
    assert content(storage.parent) == before


@pytest.mark.parametrize("left", ["with a log"], indirect=True)
def test_a_study_on_read_only_media_is_listed_reported_compared_and_shown(mounted, tmp_path):
    storage, _ = mounted
    before = content(storage.parent)
    assert explorer.stored_studies(storage)["name"].tolist() == ["depths", "squeezes"]
    assert explorer.report("squeezes", storage=storage, reports=tmp_path / "reports").page.is_file()
    compared = explorer.compare(["squeezes", "depths"], storage=storage, reports=tmp_path / "reports")
    assert compared.page.is_file()
    explorer.dashboard_server(storage, port=0).server_close()
    assert content(storage.parent) == before


def as_nobody(code, *arguments):
    """Run code as another user; the imports come before, as that user may not read them."""
    before = (
        "import os, sys, sqlalchemy.dialects.sqlite\n"
        "from explorer.errors import ExplorerError\n"
        "from explorer.storage.ledger import Ledger\n"
        "from explorer.study.model import Study\n"
        "import explorer.spaces; explorer.spaces.all_spaces()\n"
        "os.setgid(65534), os.setuid(65534)\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", before + code, *arguments], check=False, capture_output=True, text=True
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


@pytest.mark.skipif(not AS_ROOT, reason="only root may act as another user")
def test_files_of_other_users_are_read(left):
    storage, command = left
    open_to_all(storage.parent)
    before = content(storage.parent)
    assert as_nobody("print(Ledger(sys.argv[1]).studies.load('squeezes').command)", storage).strip() == command
    assert content(storage.parent) == before


@pytest.mark.skipif(not AS_ROOT, reason="only root may act as another user")
def test_what_may_not_be_read_is_one_line(tmp_path):
    open_to_all(tmp_path)
    storage = tmp_path / "secret" / "x.db"
    storage.parent.mkdir()
    shutil.copy(OLD, storage)
    code = "try: Ledger(sys.argv[1])\nexcept ExplorerError as error: print(error)"
    for folder_mode, file_mode in ((0o700, 0o644), (0o755, 0o600)):
        storage.parent.chmod(folder_mode)
        storage.chmod(file_mode)
        said = as_nobody(code, storage)
        assert said.startswith(f"storage {storage}: ")
        assert said.count("\n") == 1


def test_without_room_for_a_copy_there_is_one_line(left, monkeypatch):
    storage, _ = left
    access = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK and access(path, mode))

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tempfile.mkdtemp", full)
    with pytest.raises(ExplorerError, match=r"cannot be read: No space left on device$"):
        Ledger(storage)
