"""Time and memory to make a report, the size of its page, and how fast it responds in a browser.

Two studies of synthetic runs: 24 runs (8 points, 3 seeds), and 10,000 points with two seeds each. Times are of the
whole command `python -m explorer report`, imports included. Run it with nothing else on the machine:

    python benchmarks/report.py
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from explorer.storage.ledger import Ledger
from explorer.storage.studies import Provenance
from explorer.storage.tables import runs as table
from explorer.study.files import load_study
from explorer.study.model import Study
from explorer.study.plan import Point, plan
from explorer.training.bits import pack

VALIDATION = 5_000
EPOCHS = 2


def large() -> Study:
    """Return a study of 10,000 points: ten values for each of four metaparameters."""
    vary = {
        "base_e": list(range(8, 48, 4)),
        "incr_e": list(range(2, 42, 4)),
        "squeeze_ratio": [round(0.1 * step, 1) for step in range(1, 11)],
        "pct3x3": [round(0.09 * step, 2) for step in range(1, 11)],
    }
    base = load_study("squeezenet_grid")
    form = base.form.model_copy(update={"vary": vary})
    return base.model_copy(update={"name": "large", "form": form, "claims": [], "seeds": 2})


def store(study: Study, storage: Path) -> None:
    """Store the study with all runs done; accuracy rises with the logarithm of the multiply-adds."""
    points = plan(study, 10)
    ledger = Ledger(storage, create=True)
    trained = [point for point in points if point.state == "planned"]
    keys = {(point.number, seed): f"{point.number:032x}{seed:032x}" for point in trained for seed in range(study.seeds)}
    provenance = Provenance(
        "a benchmark", {"python": sys.version.split()[0]}, {"processor": "any"}, classes=10, image_size=32
    )
    with ledger.writing():
        ledger.studies.save(study, "f" * 64, points, keys, provenance)
        with ledger.engine.begin() as connection:
            for start in range(0, len(trained), 500):
                rows = [row for point in trained[start : start + 500] for row in _rows(study, point, keys)]
                connection.execute(table.insert(), rows)


def _rows(study: Study, point: Point, keys: dict[tuple[int, int], str]) -> list[dict[str, object]]:
    assert point.network is not None
    random = np.random.default_rng(point.number)
    ability = 0.15 * np.log2(point.network.cost.macs / 1e6) + random.normal(0, 0.05)
    rows = []
    for seed in range(study.seeds):
        correct = ability + random.normal(0, 1, VALIDATION) > np.linspace(-1.5, 1.5, VALIDATION)
        accuracy = float(correct.mean())
        rows.append(
            {
                "key": keys[point.number, seed],
                "network": point.network.digest,
                "data_fingerprint": "f" * 64,
                "settings": {},
                "seed": seed,
                "state": "done",
                "reason": "",
                "accuracy": accuracy,
                "accuracies": [*(accuracy * 0.6 for _ in range(EPOCHS - 1)), accuracy],
                "train_losses": [2.0] * EPOCHS,
                "seconds": 3.0,
                "images_per_second": 5000.0,
                "peak_memory_bytes": 700 << 20,
                "finished": "2026-01-02T03:04:05+00:00",
                "host": {"name": "a-host"},
                **pack(correct, random.random(VALIDATION, dtype=np.float32)),
            }
        )
    return rows


def make(name: str, storage: Path, reports: Path) -> tuple[float, int, Path]:
    """Make a report from the command line; return seconds, peak resident bytes and the page."""
    code = (
        "import resource, runpy, sys\n"
        "sys.argv[0] = 'explorer'\n"
        "try:\n    runpy.run_module('explorer', run_name='__main__')\n"
        "except SystemExit as end:\n"
        "    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024, file=sys.stderr)\n"
        "    sys.exit(end.code)\n"
    )
    arguments = ["report", name, "--storage", str(storage), "--reports", str(reports)]
    started = time.perf_counter()
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603
    return time.perf_counter() - started, int(done.stderr.split()[-1]), reports / name / "report.html"


def browse(page_file: Path) -> dict[str, float]:
    """Return the seconds to load the page, and to respond to a hover, a click, a frame, a sort and another axis."""
    from playwright.sync_api import sync_playwright

    found = {}
    with sync_playwright() as started:
        browser = started.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"]
        )
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        begun = time.perf_counter()
        page.goto(page_file.as_uri(), timeout=120_000)
        found["load"] = time.perf_counter() - begun
        page.locator("svg.front").scroll_into_view_if_needed()
        box = page.locator("svg.front").bounding_box()
        assert box is not None
        x, y = box["x"] + 0.6 * box["width"], box["y"] + 0.35 * box["height"]

        def timed(name: str, act: object) -> None:
            begun = time.perf_counter()
            act()  # type: ignore[operator]
            page.evaluate("new Promise(done => requestAnimationFrame(() => setTimeout(done)))")
            found[name] = time.perf_counter() - begun

        def frame() -> None:
            page.mouse.move(x - 60, y - 60)
            page.mouse.down()
            page.mouse.move(x + 60, y + 60)
            page.mouse.up()

        timed("hover", lambda: page.mouse.move(x, y))
        timed("choose", lambda: page.mouse.click(x, y))
        timed("frame", frame)
        timed("sort", lambda: page.click("thead button:has-text('params')"))
        timed("axis", lambda: page.select_option("select[name=x]", "activations"))
        browser.close()
    return found


def main() -> None:
    """Print a line of JSON for each study."""
    with tempfile.TemporaryDirectory() as folder:
        for study in (load_study("squeeze_ratio"), large()):
            storage = Path(folder) / f"{study.name}.db"
            store(study, storage)
            seconds, peak, page = make(study.name, storage, Path(folder) / "reports")
            sizes = {
                "page_bytes": page.stat().st_size,
                "all_bytes": sum(file.stat().st_size for file in page.parent.rglob("*.*")),
            }
            found = {"study": study.name, "points": study.form.size, "seeds": study.seeds, "seconds": round(seconds, 2)}
            found |= {"peak_mib": peak >> 20, **sizes}
            found |= {name: round(value, 2) for name, value in browse(page).items()}
            print(json.dumps(found))


if __name__ == "__main__":
    main()
