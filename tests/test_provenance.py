"""The commit that a study was run from, read from a temporary repository."""

import shutil
import subprocess

import pytest

from explorer.sweeping import provenance


@pytest.fixture
def clone(tmp_path, monkeypatch):
    def git(*arguments):
        identity = ("-c", "user.name=n", "-c", "user.email=e@example.org")
        done = subprocess.run(
            ["git", "-C", tmp_path, *identity, *arguments], check=True, capture_output=True, text=True
        )
        return done.stdout.strip()

    (tmp_path / "explorer" / "sweeping").mkdir(parents=True)
    (tmp_path / "studies").mkdir()
    (tmp_path / "studies" / "a.toml").write_text("1")
    file = tmp_path / "explorer" / "sweeping" / "provenance.py"
    shutil.copy(provenance.__file__, file)
    git("init", "-q")
    monkeypatch.setattr(provenance, "__file__", str(file))
    return tmp_path, git


def test_the_commit_and_whether_the_code_or_a_study_was_changed(clone):
    folder, git = clone
    git("add", "-A")
    git("commit", "-qm", "first")
    head = git("rev-parse", "HEAD")[:12]
    assert provenance.commit() == head
    (folder / "explorer.db").write_text("results are no change")
    assert provenance.commit() == head
    (folder / "studies" / "a.toml").write_text("2")
    assert provenance.commit() == f"{head}, changed"


def test_an_untracked_package_has_no_commit(clone):
    _, git = clone
    git("add", "studies")
    git("commit", "-qm", "without the package")
    assert provenance.commit().startswith("unknown")
