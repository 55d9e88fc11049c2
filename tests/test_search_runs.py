"""Whole searches through the real engine, command line and database, with canned measurements.

Workers, signals and servers are real. Only training is replaced by results that follow from the network and the run's
key; each training is logged with the images that it takes.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import psutil
import pytest
import sqlalchemy as sa
from test_cluster import running
from test_sweep import wait_until

import explorer
from explorer.__main__ import main
from explorer.errors import ExplorerError
from explorer.searching.searching import SearchWatcher
from explorer.storage.ledger import Ledger
from explorer.storage.tables import members, proposals, rungs, runs

STUDY = """
title = "Stripes"
space = "squeezenet"
preset = "cifar"
data = "{data}"
seeds = 2

[fixed]
fires = 3
pools = [1]

[search.ranges]
base_e = "4..32"
incr_e = "0..16"
squeeze_ratio = "0.1..1.0"

[budget]
images = 192
epochs = 4
validation = 60

[recipe]
batch_size = 32
warmup_images = 64
"""
IMAGES = {1: 192, 4: 608}
"""Images of each rung when continued from the one below: steps of 32 images, of which the last quarter is annealed."""

TRAINING = """
import os, sys, time
if "explorer.training.worker" in sys.orig_argv or "explorer.training.child" in sys.orig_argv:
    import numpy as np
    import explorer.training.performing as performing
    from explorer.networks.quantities import computed
    from explorer.training.bits import pack, pack_classes
    def train(run):
        random = np.random.default_rng(int(run.key[:8], 16))
        rate = 0.3 + 0.05 * np.log2(computed()["params"](run.network) / 500) + 0.05 * np.log2(run.budget.epochs)
        correct = random.random(run.budget.validation) < rate
        accuracy = float(correct.mean())
        return {
            "state": "done", "reason": "", "accuracy": accuracy, "accuracies": [accuracy] * run.budget.epochs,
            "train_losses": [1.0] * run.budget.epochs, "seconds": 1.0, "images_per_second": 100.0,
            "peak_memory_bytes": 1, "host": {"name": "here"},
            **pack(correct, random.random(len(correct)).astype(np.float16)),
            "predicted": pack_classes(random.integers(0, 3, len(correct))),
        }
    def perform(job, *_):
        (run,) = job
        time.sleep(float(os.environ.get("SLEEP", "0")))
        with open(os.environ["TRAININGS"], "a") as log:
            log.write(f"{run.key} {run.budget.epochs}\\n")
        fail, crash = os.environ.get("FAIL", ""), os.environ.get("CRASH", "")
        if str(run.budget.epochs) in fail.split(","):
            return [{"state": "failed", "reason": "the loss is not finite", "host": {"name": "here"}}]
        if str(run.budget.epochs) in crash.split(","):
            raise ZeroDivisionError("canned")
        return [train(run)]
    performing.perform = perform
"""


class Searches:
    """Searches of one study into a storage, and a log of the runs that they train."""

    def __init__(self, folder, images, storage):
        self.folder, self.storage, self.log = folder, str(storage), folder / "trainings"
        self.started = []
        folder.mkdir(exist_ok=True)
        self.file = folder / "stripes.toml"
        self.file.write_text(STUDY.format(data=images))
        (folder / "sitecustomize.py").write_text(TRAINING)
        path = os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH")]))
        self.changes = {"PYTHONPATH": path, "TRAININGS": str(self.log)}
        self.log.touch()

    def call(self, **options):
        """Search in this process; return the points."""
        settings = {"storage": self.storage, "reports": self.folder / "reports", "workers": 1, "progress": False}
        with pytest.MonkeyPatch.context() as patch:
            for key, value in self.changes.items():
                patch.setenv(key, value)
            return explorer.search(self.file, **settings | options)

    def start(self, *options, workers=2, study="stripes", **changes):
        """Search in another process."""
        command = ["search", f"{study}.toml", "--workers", str(workers), "--storage", self.storage, *options]
        self.started.append(
            subprocess.Popen(
                [sys.executable, "-m", "explorer", *command],
                cwd=self.folder,
                env=os.environ | self.changes | changes,
                start_new_session=True,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
        return self.started[-1]

    def run(self, *options, code=0, **changes):
        process = self.start(*options, **changes)
        out, err = process.communicate(timeout=300)
        assert process.returncode == code, out + err
        assert "Traceback" not in err
        return out, err

    def trained(self):
        """The keys of the runs trained so far, in order."""
        return [line.split()[0] for line in self.log.read_text().splitlines()]

    def rows(self, table):
        return [dict(row) for row in Ledger(self.storage).select(sa.select(table))]

    def enlisted(self):
        """The keys of the search's runs at all rungs."""
        return [row["key"] for table in (members, rungs) for row in self.rows(table)]

    def done(self):
        with contextlib.suppress(ExplorerError):  # nothing is stored yet
            return [row["key"] for row in self.rows(runs) if row["state"] == "done"]
        return []

    def record(self):
        return Ledger(self.storage).studies.load("stripes")


@contextlib.contextmanager
def searching(folder, images, storage):
    made = Searches(folder, images, storage)
    try:
        yield made
    finally:
        for process in made.started:
            process.kill()


@pytest.fixture
def searches(tmp_path, image_folder):
    with searching(tmp_path / "work", image_folder, tmp_path / "explorer.db") as made:
        yield made


class Listener(SearchWatcher):
    """Remembers what a search says."""

    def __init__(self):
        self.notes, self.fronts, self.outcomes, self.stop = [], [], [], None

    def note(self, text):
        self.notes.append(text)

    def front(self, found):
        self.fronts.append(found)

    def ended(self, outcome):
        self.outcomes.append(outcome)

    def stopping(self):
        return self.stop is not None and len(self.outcomes) >= self.stop


@pytest.fixture(scope="module")
def searched(tmp_path_factory, image_folder):
    """A search of 30 runs."""
    folder = tmp_path_factory.mktemp("searched")
    with searching(folder, image_folder, folder / "explorer.db") as made:
        made.listener = Listener()
        made.points = made.call(runs=30, watcher=made.listener)
        yield made


def test_proposals_rungs_and_members_are_stored(searched):
    proposed, lower, top = (searched.rows(table) for table in (proposals, rungs, members))
    assert [row["point"] for row in proposed] == list(range(len(proposed)))
    assert len(lower) + len(top) == 30
    assert {row["epochs"] for row in lower} == {1}
    assert top
    stored = {row["key"]: row for row in searched.rows(runs)}
    assert {row["key"] for row in lower + top} == stored.keys()
    assert all(stored[row["key"]]["settings"]["budget"]["epochs"] == row["epochs"] for row in lower)
    assert all(stored[row["key"]]["settings"]["budget"]["epochs"] == 4 for row in top)
    # Each promoted point has been through the rungs below, and further seeds start at the top.
    tried = {(row["point"], row["epochs"]) for row in lower}
    assert all((row["point"], 1) in tried for row in top)
    assert all(row["seed"] == 0 for row in lower)


def test_the_record_and_the_frame_tell_what_reached_the_top(searched):
    record = searched.record()
    at_top = {row["point"] for row in searched.rows(members)}
    states = dict(zip(record.points["point"], record.points["state"], strict=True))
    assert {point for point, state in states.items() if state == "planned"} == at_top
    assert {state for point, state in states.items() if point not in at_top} == {"stopped"}
    stopped = record.points[record.points["state"] == "stopped"]
    assert stopped["reason"].str.fullmatch(r"\d+\.\d% after 1 of 4 epochs").all()
    assert len(record.rungs) == len(searched.rows(rungs))
    points = searched.points
    assert set(points.loc[points["accuracy"].notna(), "point"]) == at_top
    assert set(points.attrs["front"]) <= at_top
    assert points.attrs["best"] in points.attrs["front"]
    (last,) = searched.listener.fronts[-1:]
    assert (last.proposed, last.finalists) == (len(points), len(at_top))


def test_a_report_is_written(searched):
    page = searched.folder / "reports" / "stripes" / "report.html"
    assert searched.points.attrs["report"] == str(page)
    assert "Stripes" in page.read_text()


def test_the_same_budget_again_trains_nothing(searched):
    before = searched.trained()
    listener = Listener()
    again = searched.call(runs=30, watcher=listener)
    assert searched.trained() == before
    assert not listener.outcomes
    assert [note for note in listener.notes if "its budget is spent: 30 runs" in note]
    pd.testing.assert_frame_equal(again, searched.points)


def test_other_commands_know_searches(searched, capsys):
    options = ["--storage", searched.storage, "--json"]
    assert main(["status", "stripes", *options]) == 0
    status = json.loads(capsys.readouterr().out)
    assert {row["epochs"]: row["done"] for row in status["rungs"]}.keys() == {1, 4}
    assert sum(row["done"] for row in status["rungs"]) == 30
    assert main(["studies", *options]) == 0
    assert "stripes" in capsys.readouterr().out


def test_a_search_as_json(searched, capsys, monkeypatch):
    monkeypatch.chdir(searched.folder)
    assert main(["search", "stripes.toml", "--runs", "30", "--storage", searched.storage, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["study"] == "stripes"
    assert document["front"] == searched.points.attrs["front"]
    assert len(document["records"]) == len(searched.points)


def test_a_larger_budget_goes_on(searches):
    searches.call(runs=6, reports=None)
    first, declined = searches.trained(), searches.record().declined
    listener = Listener()
    searches.call(runs=14, reports=None, watcher=listener)
    assert searches.trained()[:6] == first
    assert len(searches.trained()) == len(set(searches.trained())) == 14
    assert sorted(searches.enlisted()) == sorted(searches.trained())
    points = searches.record().points
    assert points["network"].is_unique
    assert searches.record().declined == declined  # the first proposals are not repeated


@pytest.mark.slow
def test_runs_of_another_study_are_taken_over(searches):
    searches.call(runs=12, reports=None)
    text = searches.file.read_text().replace('title = "Stripes"', 'title = "Others"')
    searches.file = searches.file.with_name("others.toml")
    searches.file.write_text(text)
    listener = Listener()
    searches.call(runs=12, reports=None, watcher=listener)
    assert not listener.outcomes
    assert len(searches.trained()) == 12
    found = searches.rows(members) + searches.rows(rungs)
    assert len({row["key"] for row in found}) == 12
    assert {row["study"] for row in found} == {"stripes", "others"}
    assert len(found) == 24


def test_images_are_never_exceeded(searches):
    listener = Listener()
    searches.call(images="5k", reports=None, watcher=listener)
    epochs = [int(line.split()[1]) for line in searches.log.read_text().splitlines()]
    top = [row for row in searches.rows(members) if row["seed"]]
    used = sum(IMAGES[each] for each in epochs) + len(top) * (4 * 192 - 608)
    assert 5_000 - 800 < used <= 5_000
    assert any("what is left of its budget is too little for another point; used:" in note for note in listener.notes)


def test_a_time_limit_ends_the_search(searches, monkeypatch):
    monkeypatch.setattr("explorer.searching.searching.BRIEF", 0)  # accept a short time
    began = time.monotonic()
    listener = Listener()
    searches.call(time=3, runs=1_000, reports=None, watcher=listener)
    assert 3 < len(listener.outcomes) < 1_000
    assert time.monotonic() - began > 2  # it does not begin what it cannot end


@pytest.mark.parametrize(
    ("budget", "message"),
    [
        ({"images": 799}, "images = 799: one point needs 800 to reach the top rung"),
        ({"runs": 1}, "runs = 1: one point needs 2 runs, one at each rung"),
        ({"time": 0.5}, "time = 0.5 s: one point takes about"),
    ],
)
def test_budgets_that_are_too_small(searches, budget, message):
    with pytest.raises(ExplorerError, match=message):
        searches.call(**budget)
    assert not searches.trained()


def test_a_search_in_which_nothing_reaches_the_top(searches):
    """Three points would need six runs; three runs are spent on first proposals."""
    points = searches.call(runs=3)
    assert points.attrs["front"] == []
    assert points.attrs["best"] is None
    assert points["accuracy"].isna().all()


def test_a_search_in_which_nothing_reaches_the_top_ends_well(searches, capsys, monkeypatch):
    searches.call(runs=3, reports=None)
    monkeypatch.chdir(searches.folder)
    for option in ([], ["--json"]):
        assert main(["search", "stripes.toml", "--runs", "3", "--storage", searches.storage, *option]) == 0
        assert "Traceback" not in capsys.readouterr().err


def test_runs_that_fail_at_a_rung_end_their_points(searches):
    searches.changes["FAIL"] = "4"
    points = searches.call(runs=12)
    failed = points[points["state"] == "failed"]
    assert len(failed)
    assert failed["reason"].str.endswith("the loss is not finite").all()
    assert points["accuracy"].isna().all()
    assert len({row["point"] for row in searches.rows(rungs) if row["epochs"] == 1}) == len(points)
    assert len(searches.rows(members)) == len(failed)
    # Failed runs are final: the same command with a larger budget leaves them alone.
    before = searches.trained()
    searches.call(runs=14, reports=None)
    assert len(searches.trained()) == len(set(searches.trained())) == len(before) + 2


@pytest.mark.slow
def test_runs_that_crash_are_retried_then_and_by_the_next_command(searches):
    searches.changes["CRASH"] = "4"
    searches.call(runs=16, reports=None)
    crashed = [row["key"] for row in searches.rows(runs) if row["state"] == "crashed"]
    assert crashed
    assert all(searches.trained().count(key) == 3 for key in crashed)
    assert all("ZeroDivisionError: canned" in row["reason"] for row in searches.rows(runs) if row["key"] in crashed)
    before = len(searches.trained())
    searches.changes["CRASH"] = ""
    searches.call(runs=16 + len(crashed), reports=None)
    assert sorted(searches.trained()[before : before + len(crashed)]) == sorted(crashed)
    assert not [row for row in searches.rows(runs) if row["state"] != "done"]


def test_a_search_whose_runs_all_fail_gives_up(searches):
    searches.changes["FAIL"] = "1"
    with pytest.raises(ExplorerError, match="stripes: the first 10 runs failed, the last one with: the loss is not"):
        searches.call(time=60)
    assert len(searches.trained()) == 10


@pytest.mark.slow
def test_points_of_other_training_code_are_trained_again(searches):
    searches.call(runs=8, reports=None)
    ledger = Ledger(searches.storage)
    top = {row["point"] for row in searches.rows(members)}
    old = next(row["key"] for row in searches.rows(rungs) if row["point"] not in top)
    with ledger.writing():
        for table in (members, rungs, runs):
            change = table.update().where(table.c.key == old).values(key="other")
            ledger.perform(lambda connection, change=change: connection.execute(change))
    listener = Listener()
    searches.call(runs=8, reports=None, watcher=listener)
    assert any("1 stored run had different versions of torch or the training code" in note for note in listener.notes)
    assert searches.trained().count(old) == 2
    assert "other" not in searches.enlisted()


@pytest.mark.slow
def test_a_stop_lets_runs_in_progress_end(searches):
    listener = Listener()
    listener.stop = 4
    with pytest.raises(KeyboardInterrupt):
        searches.call(runs=12, watcher=listener)
    assert len(searches.trained()) == len(searches.done()) == 4
    searches.call(runs=12, reports=None)
    assert len(searches.trained()) == len(set(searches.trained())) == 12


def test_a_search_is_renamed_and_deleted(searches, capsys):
    searches.call(runs=4, reports=None)
    options = ["--storage", searches.storage]
    assert main(["rename", "stripes", "others", *options]) == 0
    assert {row["study"] for row in searches.rows(proposals) + searches.rows(rungs)} == {"others"}
    assert main(["delete", "others", "--runs", "--yes", *options]) == 0
    assert not any(searches.rows(table) for table in (proposals, rungs, members, runs))
    capsys.readouterr()


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("search squeezenett", "unknown space or search 'squeezenett'; did you mean 'squeezenet'"),
        ("search squeeze_ratio", "squeeze_ratio: has no table [search]; `explorer sweep squeeze_ratio`"),
        ("search squeezenet cifar", "presets are given as preset=NAME"),
        ("search squeezenet preset=cifar --preset v1_0", "--preset v1_0: preset=cifar is also given; drop one of them"),
        ("search squeezenet --preset cifer", "cifar"),
        ("search squeezenet --objectives accuracy,parms", "unknown objective 'parms'; did you mean 'params'?"),
        ("search squeezenet --objectives params", "must include accuracy"),
        ("search squeezenet --sampler tpee", "unknown sampler 'tpee'"),
        ("search squeezenet classes=2..10", "the data determine the number of classes; remove it"),
        ("search squeezenet --quick --budget 100x4", "--budget 100x4: --quick has its own budget"),
        ("search squeezenet_front --where params<200k", "squeezenet_front: where: write it into the study file"),
        ("search squeezenet_front base_e=8..16", "squeezenet_front: base_e: write it into the study file"),
        ("search squeezenet --seeds 0", "seeds = 0"),
        ("search squeezenet --seed -1", "seed = -1"),
        ("search squeezenet --time 0", "--time 0"),
        ("search squeezenet --time soon", "--time soon"),
        ("search squeezenet --runs 0", "runs = 0: the budget of a search must be above 0"),
        ("search squeezenet --images few", "images = few"),
        ("search squeezenet --workers 0", "workers"),
        ("search squeezenet --data nowhere", "unknown data set 'nowhere'"),
        ("sweep squeezenet_front", "squeezenet_front: is a search; use `explorer search squeezenet_front`"),
        ("sweep squeezenet_front --dry-run", "squeezenet_front: is a search; use `explorer search squeezenet_front`"),
    ],
)
def test_bad_input_gets_one_line(command, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("explorer.searching.searching.execute", None)  # nothing is trained
    assert main(command.split()) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "explorer.db").exists() or not Ledger(tmp_path / "explorer.db").studies.names()


def test_where_that_nothing_meets(tmp_path, image_folder, monkeypatch, capsys):
    monkeypatch.setattr("explorer.searching.designs.MOST_DRAWN", 10_000)
    monkeypatch.chdir(tmp_path)
    arguments = ["search", "squeezenet", "--data", str(image_folder), "--where", "params < 100", "--budget", "192x2"]
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert "random designs is within the limits; the closest has params = " in error
    assert error.count("\n") == 1


@pytest.fixture(params=["sqlite", "postgresql"])
def disturbed(request, tmp_path, image_folder):
    """Searches in processes of their own, on a file and on a server."""
    storage = tmp_path / "explorer.db" if request.param == "sqlite" else request.getfixturevalue("server").url
    with searching(tmp_path / "work", image_folder, storage) as made:
        yield made


@pytest.mark.slow
def test_killed_searches_lose_nothing_and_train_nothing_twice(disturbed):
    random = np.random.default_rng(0)
    for finished in (1, 4):
        before, known = len(disturbed.trained()), disturbed.done()
        process = disturbed.start("--runs", "14", SLEEP="0.3")
        wait_until(lambda: len(disturbed.done()) >= finished or process.poll() is not None)  # noqa: B023
        time.sleep(random.uniform(0, 0.5))
        process.kill()
        process.communicate()
        assert set(known) <= set(disturbed.done())
        assert not set(known) & set(disturbed.trained()[before:])
    before, known = len(disturbed.trained()), disturbed.done()
    begun = sorted(set(disturbed.enlisted()) - set(known))
    disturbed.run("--runs", "14")
    assert sorted(disturbed.trained()[before : before + len(begun)]) == begun  # what had begun comes first
    assert not set(known) & set(disturbed.trained()[before:])
    assert len(disturbed.done()) == len(disturbed.enlisted()) == 14
    again, _ = disturbed.run("--runs", "14")
    assert "its budget is spent: 14 runs" in again


@pytest.mark.slow
@pytest.mark.parametrize(
    "signals",
    [[signal.SIGINT], [signal.SIGINT] * 2, [signal.SIGTERM], [signal.SIGHUP]],
    ids=["Ctrl-C", "Ctrl-C twice", "SIGTERM", "SIGHUP"],
)
def test_stopped_searches_go_on(searches, signals):
    process = searches.start("--runs", "14", SLEEP="0.5")
    wait_until(lambda: len(searches.done()) >= 3)
    family = psutil.Process(process.pid).children(recursive=True)
    for number in signals:
        process.send_signal(number)
        time.sleep(0.1)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "stopped; " in err
    assert "Traceback" not in err
    assert not [one for one in psutil.wait_procs(family, timeout=20)[1] if one.is_running()]
    if signals == [signal.SIGINT]:
        assert sorted(searches.trained()) == sorted(searches.done())
    assert main(["report", "stripes", "--storage", searches.storage, "--reports", str(searches.folder)]) == 0
    known, before = searches.done(), len(searches.trained())
    searches.run("--runs", "14")
    assert not set(known) & set(searches.trained()[before:])
    assert len(searches.done()) == 14


@pytest.mark.slow
def test_two_searches_on_a_server_share_runs(tmp_path, image_folder, server):
    """They have the same space and proposals, so what one trains the other takes over."""
    with searching(tmp_path / "work", image_folder, server.url) as made:
        other = made.folder / "others.toml"
        other.write_text(made.file.read_text())
        first = made.start("--runs", "14", SLEEP="0.3")
        second = made.start("--runs", "14", SLEEP="0.3", study="others")
        for process in (first, second):
            out, err = process.communicate(timeout=300)
            assert process.returncode == 0, out + err
        trained = made.trained()
        assert len(trained) == len(set(trained))
        studies = Ledger(server.url).studies
        keys = {}
        for name in ("stripes", "others"):
            record = studies.load(name)
            frames = (record.runs, record.rungs)
            assert sum(len(frame) for frame in frames) == 14
            assert all(frame["state"].eq("done").all() for frame in frames)
            keys[name] = {key for frame in frames for key in frame["key"]}
        assert set(trained) == keys["stripes"] | keys["others"]
        assert keys["stripes"] & keys["others"]


@pytest.mark.slow
def test_a_search_on_a_cluster(tmp_path, image_folder):
    """With real training: runs on a scheduler's workers equal those on this machine, promotions included."""
    with searching(tmp_path / "work", image_folder, tmp_path / "explorer.db") as made, running(tmp_path) as cluster:
        cluster.worker("--nthreads", "1")
        (made.folder / "sitecustomize.py").unlink()
        made.call(runs=5, reports=None, workers=None, cluster=cluster.address)
        assert len(made.done()) == 5
        there = {row["key"]: row["accuracies"] for row in made.rows(runs)}
    with searching(tmp_path / "here", image_folder, tmp_path / "here.db") as made:
        (made.folder / "sitecustomize.py").unlink()
        made.call(runs=5, reports=None)
        assert {row["key"]: row["accuracies"] for row in made.rows(runs)} == there


@pytest.mark.slow
def test_export_latency_and_compare_of_a_search(tmp_path, image_folder, capsys, monkeypatch):
    """With real training, because an export trains a run again."""
    text = STUDY.format(data=image_folder).replace("epochs = 4", "epochs = 2")
    monkeypatch.chdir(tmp_path)
    for name in ("first", "second"):
        (tmp_path / f"{name}.toml").write_text(text.replace("Stripes", name))
        assert main(["search", f"{name}.toml", "--runs", "9", "--workers", "2", "--quiet"]) == 0
    shown = capsys.readouterr().out
    assert "next: explorer export first --point " in shown
    record = Ledger("explorer.db").studies.load("first")
    top, lower = (set(frame["point"]) for frame in (record.runs, record.rungs))
    best = explorer.search("first.toml", runs=9, reports=None, progress=False).attrs["best"]
    assert main(["export", "first"]) == 0
    assert main(["export", "first", "--point", str(best), "--out", "again"]) == 0
    label = record.points.set_index("point")["label"][best]
    assert main(["export", "first", "--point", label, "--out", "labelled"]) == 0
    capsys.readouterr()
    stopped = min(lower - top)
    assert main(["export", "first", "--point", str(stopped), "--out", "stopped"]) == 2
    error = capsys.readouterr().err
    assert "stopped" in error
    assert error.count("\n") == 1
    assert main(["latency", "first"]) == 0
    assert main(["compare", "first", "second"]) == 0
    assert "Traceback" not in capsys.readouterr().err
