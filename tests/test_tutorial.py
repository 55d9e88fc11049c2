"""The tutorial runs as written, block by block in an empty folder, and every file that it names exists."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

pytestmark = pytest.mark.slow

PAGE = Path(__file__).parent.parent / "docs" / "tutorial.md"
BLOCK = re.compile(r"```(\w+)\n(.*?)```\n", flags=re.DOTALL)
FILE = re.compile(r"`([\w@./-]+\.(?:html|csv|parquet|svg|png|py|md|safetensors|onnx|json|db|toml))`")


def execute(folder, line):
    """Runs a line of a `sh` block, which begins with `python`; returns what it printed."""
    program, *arguments = shlex.split(line)
    assert program == "python", line
    # As wide as a terminal may be, so that tables are whole.
    environment = {**os.environ, "COLUMNS": "200"}
    ended = subprocess.run(
        [sys.executable, *arguments], check=False, capture_output=True, text=True, cwd=folder, env=environment
    )
    assert ended.returncode == 0, f"{line}\n{ended.stdout}\n{ended.stderr}"
    assert "Traceback" not in ended.stderr, f"{line}\n{ended.stderr}"
    return ended.stdout


def tiny(study):
    """A study file with a budget that takes no time."""
    (budget,) = re.findall(r"images = 5_000\nepochs = 4\nvalidation = 5_000\n", study)
    return study.replace(budget, "images = 500\nepochs = 1\nvalidation = 500\n")


@pytest.fixture(scope="module", params=["tiny", "as written"])
def followed(request, tmp_path_factory):
    """A folder where the tutorial was followed, what each line printed, and whether its budgets were tiny."""
    folder, printed = tmp_path_factory.mktemp("tutorial"), {}
    for language, text in BLOCK.findall(PAGE.read_text()):
        if language == "sh":
            for line in text.replace("\\\n", " ").splitlines():
                printed[line] = execute(folder, line)
        elif language != "text":
            (name,) = re.findall(r"^# ([\w.]+)\n", text)
            (folder / name).write_text(tiny(text) if request.param == "tiny" and language == "toml" else text)
    return folder, printed, request.param


def test_every_line_works_and_every_file_is_there(followed):
    folder, printed, _ = followed
    assert len(printed) >= 12
    named = set(FILE.findall(PAGE.read_text()))
    assert {"explorer.db", "reports/index.html", "mine.toml", "chosen/network.py", "sheet.png"} <= named
    assert {name for name in named if not (folder / name).exists()} == set()


def test_what_the_text_says_is_so(followed):
    folder, printed, budget = followed
    text = PAGE.read_text()
    points = pd.read_parquet(folder / "reports" / "mine" / "points.parquet").set_index("label")
    assert points["state"].to_dict() == dict.fromkeys(["0.125", "0.25", "0.5", "0.75"], "done") | {"1.0": "over budget"}
    for params, macs in zip(points["params"], points["macs"], strict=True):
        assert f"{params:,}   {macs:,}" in text, "the table of the text"
    summary = json.loads((folder / "reports" / "mine" / "summary.json").read_text())
    first, second = summary["verdicts"]
    if budget == "as written":
        assert first.startswith("supported")
        low, high = points.loc["0.125"], points.loc["0.75"]
        half = np.hypot(high["high"] - high["low"], low["high"] - low["low"]) / 2
        assert high["accuracy"] - low["accuracy"] > 2 * half, "several times the width of their interval"
        assert not second.startswith("supported")
    (shared,) = (printed[line] for line in printed if line.endswith("sweep filters.toml"))
    (promised,) = re.findall(r"`(\d+ runs to train, \d+ stored already)`", text)
    assert promised in shared
    (priced,) = (printed[line] for line in printed if " price " in line)
    for count in re.findall(r"priced ([\d,]+) networks, of which ([\d,]+)", text)[0]:
        assert count in priced
    assert re.match(r"sheet.png\n( +\d+\.\d%  kind \d\n){5}$", printed["python chosen/predict.py sheet.png"])
    assert re.match(r"kind \d\n$", printed["python use.py"])
    index = (folder / "reports" / "index.html").read_text()
    assert re.findall(r'<h2><a href="([^"]+)/report.html"', index)
    assert sorted(path.parent.name for path in folder.glob("reports/*/report.html")) == sorted(
        ["squeeze_ratio@quick", "mine", "filters", "mine-vs-filters", "mine@photos-quick"]
    )
