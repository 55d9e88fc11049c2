"""A clone as a user finds it: `make sweep` changes no tracked file and says how to go on."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import explorer
from explorer.sweeping import sweeping
from explorer.training import trainer
from explorer.training.run import Numerics

ROOT = Path(__file__).parent.parent
OLD = ROOT / "tests" / "fixtures" / "ledger_v1"


def git(folder, *arguments):
    command = ["git", "-C", folder, "-c", "user.name=a", "-c", "user.email=a@b", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


@pytest.fixture
def clone(tmp_path):
    """A fresh repository with the files of this one."""
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("not a clone")
    for name in git(ROOT, "ls-files", "-z", "--cached", "--others", "--exclude-standard").split("\0")[:-1]:
        if (ROOT / name).is_file():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, tmp_path / name)
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "add", "--all")
    git(tmp_path, "commit", "--quiet", "--message", "all")
    return tmp_path


def test_a_sweep_leaves_a_clone_clean(clone, monkeypatch):
    # Every run is stored already, by an earlier version, so that nothing is trained; migrating leaves a copy.
    monkeypatch.chdir(clone)
    shutil.copyfile(OLD / "explorer.db", "explorer.db")
    monkeypatch.setattr(trainer, "numerics", lambda: Numerics(2, "2.13.0", "cpu", "bfloat16"))
    monkeypatch.setattr(sweeping, "execute", lambda jobs, *_, **__: (job for job in iter(jobs.take, None)))
    explorer.sweep(OLD / "squeezes.toml", figures=["png"], progress=False)
    pages = [Path("reports/squeezes/report.html"), Path("reports/index.html")]
    written = [*pages, Path("explorer.db"), *Path().glob("explorer.db.*")]
    assert len(written) > 3
    assert all(path.is_file() for path in written)
    assert git(clone, "status", "--porcelain", "--untracked-files=all") == ""
    # The examples are no reports of the user, and have an index of their own.
    assert "squeeze_ratio@cifar10" not in Path("reports/index.html").read_text()
    assert "squeeze_ratio@cifar10" in Path("reports/examples/index.html").read_text()


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_make_sweep_says_how_to_go_on(clone):
    commands = subprocess.run(
        ["make", "--no-print-directory", "-n", "sweep"], cwd=clone, check=True, capture_output=True, text=True
    ).stdout
    *_, sweep, last = commands.splitlines()
    assert sweep == ".venv/bin/python -m explorer sweep squeeze_ratio"
    assert last == 'echo "Now: source .venv/bin/activate"'


def test_without_the_environment_one_line_says_how_to_activate_it():
    # -S leaves out the installed packages, as a Python outside the environment does.
    command = [sys.executable, "-S", "-m", "explorer", "studies"]
    found = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)
    assert found.returncode == 2
    assert found.stdout == ""
    (line,) = found.stderr.splitlines()
    assert line.startswith("explorer: typer is not installed for ")
    assert line.endswith("source .venv/bin/activate")
