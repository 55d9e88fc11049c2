"""The installed package, away from the clone."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from explorer.study.files import builtin_studies

ROOT = Path(__file__).parent.parent


@pytest.mark.slow
def test_an_installation_brings_its_studies_templates_and_migrations(tmp_path):
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
    subprocess.run([*pip, "--target", tmp_path / "site", ROOT], check=True)
    environment = os.environ | {"PYTHONPATH": str(tmp_path / "site")}
    work = tmp_path / "work"
    work.mkdir()

    def run(*arguments):
        command = [tmp_path / "site" / "bin" / "explorer", *arguments]
        return subprocess.run(command, check=True, cwd=work, env=environment, capture_output=True, text=True).stdout

    shown = run("studies")
    for name in builtin_studies():
        assert name in shown
    where = subprocess.run(
        [sys.executable, "-c", "import explorer; print(explorer.__file__)"],
        check=True,
        cwd=work,
        env=environment,
        capture_output=True,
        text=True,
    ).stdout
    assert str(tmp_path / "site") in where
    # Migrations travel as well.
    shutil.copy(ROOT / "tests" / "fixtures" / "ledger_v1" / "explorer.db", work / "old.db")
    assert "4 of 4" in run("studies", "--storage", "old.db")
    run("sweep", "bypass", "--quick")
    page = (work / "reports" / "bypass@quick" / "report.html").read_text()
    assert "Do connections around the fire modules help?" in page
    assert "ImageNet top-5" in page  # the published curve travels too
