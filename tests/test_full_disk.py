"""Disks that are full and limits on the size of files: one line, and what was stored before stays."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from explorer.storage.ledger import Ledger

WRITE = """
import resource, sys
from contextlib import closing
sys.path.insert(0, sys.argv[1])
from test_ledger import PROVENANCE, run_row, save
from explorer.errors import ExplorerError
from explorer.storage.ledger import Ledger
from explorer.storage.optuna_view import View
from explorer.storage.runs import Result
from explorer.study.files import load_study
from explorer.study.plan import plan

what, storage, limit = sys.argv[2], sys.argv[3], int(sys.argv[4])
study = load_study("squeezenet_grid")
points = plan(study, 10)
stored = 0
try:
    ledger = Ledger(storage, create=True)
    with ledger.writing():
        ledger.studies.save(study, "f", points, {(0, 0): "0"}, PROVENANCE)
        with closing(View(ledger, study, points)) as view:
            if limit:
                resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
            for number in range(2000):
                if what == "runs":
                    ledger.runs.record(run_row(f"{number:04}", reason="x" * 10_000))
                else:
                    view.show([], {number: (points[number % len(points)], [Result("done", "", 0.5, 1.0, [0.5] * 200)])})
                stored += 1
except ExplorerError as error:
    print(stored, error, sep="|")
"""

WHAT = ["runs", pytest.param("view", marks=pytest.mark.slow)]


def fill(what, storage, limit=0):
    """Write until it fails; return how many steps succeeded, and the message."""
    code = [sys.executable, "-c", WRITE, str(Path(__file__).parent), what, str(storage), str(limit)]
    ended = subprocess.run(code, check=False, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    assert ended.stderr == ""
    assert ended.stdout.count("\n") == 1, ended.stdout
    count, _, message = ended.stdout.strip().partition("|")
    return int(count), message


@pytest.mark.parametrize("what", WHAT)
def test_a_limit_on_the_size_of_files_is_one_line(tmp_path, what):
    storage = tmp_path / "explorer.db"
    count, message = fill(what, storage, limit=2_000_000)
    assert message == f"storage {storage}: disk I/O error; check for a full disk or a file size limit"
    if what == "runs":
        assert Ledger(storage).runs.keys() == [f"{number:04}" for number in range(count)]


@pytest.mark.parametrize("what", WHAT)
def test_a_full_disk_is_one_line(tmp_path, what):
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "none", disk]
    if os.geteuid() or subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("file systems cannot be mounted here")
    try:
        storage = disk / "explorer.db"
        count, message = fill(what, storage)
        assert message.startswith(f"storage {storage}: ")
        assert "full" in message
        if what == "runs":
            assert Ledger(storage).runs.keys() == [f"{number:04}" for number in range(count)]
    finally:
        subprocess.run(["umount", disk], check=True)
