"""Runs on real worker processes, some of which are killed."""

import math
import os
import re
import shutil
import signal
import threading
import time
from collections import Counter
from contextlib import contextmanager, suppress
from dataclasses import replace

import numpy as np
import psutil
import pytest

from explorer.data import open_dataset
from explorer.errors import ExplorerError
from explorer.machine import torch_threads
from explorer.spaces.squeezenet import SqueezeNet
from explorer.sweeping.resources import Resources
from explorer.training.crew import START_ATTEMPTS, crew, worker_environment
from explorer.training.engine import ATTEMPTS, EngineWatcher, execute
from explorer.training.limits import LEAST_SECONDS, Clock, Speeds
from explorer.training.recipe import Budget, Recipe
from explorer.training.run import Run
from explorer.training.software import gpus
from explorer.training.trainer import measure, numerics

RECIPE = Recipe(batch_size=32, warmup_images=64)
BUDGET = Budget(images=128, epochs=2, validation=50)


def run(dataset, ratio=0.5, seed=0, recipe=RECIPE):
    network = SqueezeNet.point(
        "cifar", classes=3, base_e=8, incr_e=8, fires=2, pools=(1,), squeeze_ratio=ratio
    ).expand()
    return Run(network, dataset.fingerprint, recipe, BUDGET, seed, numerics())


def test_the_key_depends_on_everything_that_affects_the_result(stripes):
    base = run(stripes)
    assert base.key == run(stripes).key
    others = [
        run(stripes, ratio=0.25),
        run(stripes, seed=1),
        run(stripes, recipe=RECIPE.model_copy(update={"learning_rate": 0.1})),
        Run(base.network, "other data", RECIPE, BUDGET, 0, base.numerics),
        Run(base.network, base.data_fingerprint, RECIPE, Budget(images=128, epochs=3), 0, base.numerics),
    ]
    assert len({base.key, *(other.key for other in others)}) == 6


def test_workers_measure_the_same_as_one_process(stripes):
    runs = [run(stripes, ratio, seed) for ratio in (0.25, 1.0) for seed in (0, 1)]
    environment = dict(os.environ)
    outcomes = {outcome.run.key: outcome for outcome in execute([(one,) for one in runs], stripes.folder, workers=2)}
    assert dict(os.environ) == environment
    assert [outcomes[one.key].state for one in runs] == ["done"] * 4
    with torch_threads(1):
        for one in runs:
            alone = measure(one.network, stripes, one.recipe, one.budget, one.seed)
            assert outcomes[one.key].row["accuracies"] == list(alone.accuracies)
            assert outcomes[one.key].row["train_losses"] == list(alone.train_losses)


def test_failures_are_outcomes_and_stop_no_other_run(stripes):
    bad = run(stripes, recipe=RECIPE.model_copy(update={"learning_rate": 1e25, "warmup_images": 0}))
    lost = Run(run(stripes).network, stripes.fingerprint, RECIPE, Budget(images=10**6, epochs=1), 0, numerics())
    good = run(stripes, seed=5)
    outcomes = {outcome.run.key: outcome for outcome in execute([(bad,), (lost,), (good,)], stripes.folder, workers=1)}
    assert outcomes[bad.key].state == "failed"
    assert "not finite" in outcomes[bad.key].row["reason"]
    assert outcomes[lost.key].state == "crashed"
    assert "ExplorerError: budget: images = 1000000" in outcomes[lost.key].row["reason"]
    assert outcomes[lost.key].row["reason"].endswith(", 3 times")
    assert re.search(
        r"(?s)Traceback.*line \d+, in measure_rungs.*images = 1000000", outcomes[lost.key].row["traceback"]
    )
    assert "traceback" not in outcomes[bad.key].row
    assert outcomes[good.key].state == "done"


def test_a_worker_is_replaced_after_several_networks(stripes, tmp_path, monkeypatch):
    monkeypatch.setattr("explorer.training.engine.MOST_NETWORKS", 1)
    canned(monkeypatch, tmp_path, "(HERE / f'{job[0].seed}-{os.getpid()}').touch()")
    assert states(execute(jobs(stripes, 4), stripes.folder, workers=1)) == ["done"] * 4
    pids = [path.name.split("-")[1] for path in tmp_path.glob("[0-9]*")]
    assert len(pids) == len(set(pids)) == 4  # each run once, in its own process


@pytest.mark.parametrize(
    "trouble", ["os.kill(os.getpid(), signal.SIGKILL)", "os.kill(os.getpid(), signal.SIGSTOP)", "time.sleep(1_000)"]
)
def test_a_worker_that_dies_freezes_or_hangs_costs_its_run_one_attempt(stripes, tmp_path, monkeypatch, trouble):
    canned(monkeypatch, tmp_path, f"{trouble} if first_time('trouble') else None")
    assert states(execute(jobs(stripes, 3), stripes.folder, workers=1, run_timeout=6)) == ["done"] * 3
    assert (tmp_path / "trouble").exists()


@pytest.mark.parametrize(
    ("trouble", "reason"),
    [
        ("os.kill(os.getpid(), signal.SIGKILL)", f"its worker died (killed, or out of memory), {ATTEMPTS} times"),
        ("time.sleep(1_000)", f"no result after 3 s, {ATTEMPTS} times"),
    ],
)
def test_a_run_that_costs_every_worker_is_a_crash(stripes, tmp_path, monkeypatch, trouble, reason):
    canned(monkeypatch, tmp_path, f"{trouble} if job[0].seed == 0 else None")
    outcomes = list(execute(jobs(stripes, 2), stripes.folder, workers=1, run_timeout=3))
    assert [(outcome.run.seed, outcome.state) for outcome in outcomes] == [(0, "crashed"), (1, "done")]
    assert outcomes[0].row["reason"] == reason


def test_a_worker_above_the_memory_limit_costs_its_run_one_attempt(stripes, tmp_path, monkeypatch):
    canned(monkeypatch, tmp_path, "(lambda held: time.sleep(30))(bytes([1]) * (700 << 20))")
    outcomes = list(execute(jobs(stripes, 1), stripes.folder, workers=1, memory_limit=500 * 2**20))
    assert [outcome.row["reason"] for outcome in outcomes] == [
        f"its worker used more than 0.5 GiB of memory, {ATTEMPTS} times"
    ]


@pytest.mark.parametrize(
    ("visible", "gpu", "expected"),
    [(None, None, None), (None, 1, "1"), ("", 0, "0"), ("4,7", 1, "7"), ("4", None, "4")],
)
def test_a_worker_sees_its_own_gpu(monkeypatch, visible, gpu, expected):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert worker_environment(gpu).get("CUDA_VISIBLE_DEVICES") == expected


@pytest.mark.slow
def test_workers_share_a_gpu(stripes):
    if not gpus():
        pytest.skip("torch finds no GPU here")
    assert Resources(workers_per_gpu=2).count() == 2 * gpus()
    outcomes = list(execute(jobs(stripes, 4), stripes.folder, workers=2 * gpus()))
    assert states(outcomes) == ["done"] * 4


@pytest.mark.parametrize(
    ("runs", "kills"), [(120, 4), pytest.param(10_000, 150, marks=pytest.mark.slow)], ids=["some", "10,000"]
)
def test_every_run_ends_once_while_workers_are_replaced_and_killed(stripes, tmp_path, monkeypatch, runs, kills):
    """Runs take no time; workers are replaced every now and then, and killed at random moments."""
    monkeypatch.setattr("explorer.training.engine.MOST_NETWORKS", 3)
    canned(monkeypatch, tmp_path, "None")
    networks = [run(stripes, ratio=ratio) for ratio in np.linspace(0.1, 1, 10).tolist()]
    work = [(replace(networks[seed // (runs // 30) % 10], seed=seed),) for seed in range(runs)]
    rng, outcomes, killers = np.random.default_rng(0), [], []

    def kill():
        if workers := worker_processes():
            rng.choice(workers).kill()

    for outcome in execute(work, stripes.folder, workers=2):
        outcomes.append(outcome)
        if rng.random() < kills / runs:
            killers.append(threading.Timer(rng.uniform(0, 0.1), kill))
            killers[-1].start()
    for killer in killers:
        killer.join()
    assert Counter(outcome.run.key for outcome in outcomes) == Counter(job[0].key for job in work)
    assert set(states(outcomes)) == {"done"}
    assert not worker_processes()


def test_workers_killed_while_they_start_are_started_again(stripes, tmp_path, monkeypatch):
    canned(monkeypatch, tmp_path, "None", at_start="first_time('a') and os.kill(os.getpid(), signal.SIGKILL)")
    assert states(execute(jobs(stripes, 2), stripes.folder, workers=2)) == ["done"] * 2
    assert (tmp_path / "a").exists()


@pytest.mark.parametrize(
    ("at_start", "how"),
    [
        ("os.write(2, b'disk full\\n') and os._exit(1)", "ended: disk full"),
        ("os.kill(os.getpid(), signal.SIGKILL)", "was ended by signal 9"),
    ],
)
def test_workers_that_never_start_are_an_error_of_one_line(stripes, tmp_path, monkeypatch, at_start, how):
    canned(monkeypatch, tmp_path, "None", at_start=at_start)
    with pytest.raises(ExplorerError, match=f"workers do not start: tried {START_ATTEMPTS} times, .* {how}$"):
        list(execute(jobs(stripes, 2), stripes.folder, workers=2))


def test_no_temporary_folder_is_an_error_of_one_line(stripes, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "missing"))
    with pytest.raises(ExplorerError, match="workers need a temporary folder: No such file or directory; set TMPDIR"):
        list(execute(jobs(stripes, 1), stripes.folder, workers=1))


@pytest.mark.slow  # Dask tries to connect again for 30 s
def test_a_scheduler_that_is_gone_is_an_error_of_one_line(stripes, tmp_path, monkeypatch):
    canned(monkeypatch, tmp_path, "time.sleep(1_000)")
    started = []

    @contextmanager
    def observed(count, memory_limit):
        with crew(count, memory_limit) as members:
            started.append(members)
            yield members

    monkeypatch.setattr("explorer.training.engine.crew", observed)
    running = execute(jobs(stripes, 1), stripes.folder, workers=1)

    def close():
        while not started or not started[0].complete:
            time.sleep(0.1)
        time.sleep(1)
        scheduler = started[0].client.cluster.scheduler
        started[0].client.sync(scheduler.close)

    closing = threading.Thread(target=close)
    closing.start()
    with pytest.raises(ExplorerError, match="scheduler no longer responds"):
        next(running)
    closing.join()


def test_workers_keep_the_data_and_prepare_them_again_for_new_ones(stripes, tmp_path, monkeypatch):
    monkeypatch.setattr("explorer.training.engine.MOST_NETWORKS", 2)
    canned(monkeypatch, tmp_path, "performing._opened(folder)")
    folder, prepared = tmp_path / "data", []

    def prepare():
        prepared.append(1)
        shutil.copytree(stripes.folder, folder)
        return open_dataset(folder)

    prepare()
    work = [(run(stripes, ratio, seed),) for ratio in (0.25, 0.5, 1.0) for seed in range(2)]
    found = []
    for outcome in execute(work, folder, workers=1, prepare=prepare):
        found.append(outcome.state)
        if len(found) == 1:
            shutil.rmtree(folder)
        elif len(found) == 3:  # its second network
            assert len(prepared) == 1
    assert found == ["done"] * 6
    assert len(prepared) == 2  # for the worker that replaced the first one


def test_images_that_changed_meanwhile_end_the_sweep(stripes, tmp_path, monkeypatch):
    canned(monkeypatch, tmp_path, "performing._opened(folder)")
    changed = replace(stripes, fingerprint="another")
    with pytest.raises(ExplorerError, match="must not change during a sweep"):
        list(execute(jobs(stripes, 1), tmp_path / "missing", workers=1, prepare=lambda: changed))


def test_data_that_cannot_be_opened_are_a_crash(stripes, tmp_path, monkeypatch):
    canned(monkeypatch, tmp_path, "performing._opened(folder)")
    (outcome,) = execute(jobs(stripes, 1), tmp_path / "missing", workers=1)
    assert outcome.state == "crashed"
    assert "a stored data set needs valid images.npy" in outcome.row["reason"]


def test_a_watcher_hears_speeds_and_stops_the_engine(stripes, tmp_path, monkeypatch):
    (tmp_path / "sitecustomize.py").write_text("import explorer.training.performing as p\np.REPORT_SECONDS = 0.0\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    class Watcher(EngineWatcher):
        heard, told, stop = [], [], False

        def doing(self, what):
            self.told.append(what)

        def speed(self, run, images_per_second):
            self.heard.append((run.key, images_per_second))

        def stopping(self):
            return self.stop

    watcher = Watcher()
    found = []
    for outcome in execute(jobs(stripes, 4), stripes.folder, workers=1, watcher=watcher):
        found.append(outcome)
        watcher.stop = True
    assert states(found) == ["done"]
    assert watcher.told == ["starting a worker"]
    assert {key for key, _ in watcher.heard} == {found[0].run.key}
    assert all(speed > 0 for _, speed in watcher.heard)


def test_workers_listen_on_this_machine_only_and_ignore_ctrl_c():
    with crew(1) as members:
        while not members.complete:
            members.tend(0.1)
            time.sleep(0.05)
        (member,) = members.ready
        pid = member.process.pid
        listening = {
            connection.laddr.ip
            for process in (psutil.Process(), psutil.Process(pid))
            for connection in process.net_connections("tcp")
            if connection.status == psutil.CONN_LISTEN
        }
        assert listening == {"127.0.0.1"}
        os.kill(pid, signal.SIGINT)
        time.sleep(0.3)
        assert members.submit(member, os.getpid, key="pid").result(timeout=30) == pid


def test_limits_follow_the_runs_seen_so_far(stripes):
    job = (run(stripes),)
    images = BUDGET.images * BUDGET.epochs
    speeds = Speeds()
    assert math.isnan(speeds.seconds(job))
    assert speeds.limit(job, None) == LEAST_SECONDS
    speeds.note(job[0], images / 100)
    assert speeds.seconds(job) == pytest.approx(100)
    assert speeds.limit(job, None) == pytest.approx(2_000)
    assert speeds.limit(job * 4, run_timeout=60) == 240
    for nonsense in (0.0, math.nan, math.inf):
        speeds.note(run(stripes, seed=1), nonsense)
    assert speeds.seconds(job) == pytest.approx(100)


def test_time_in_which_the_coordinator_was_stopped_does_not_count(monkeypatch):
    now = 100.0
    monkeypatch.setattr("explorer.training.limits.time.monotonic", lambda: now)
    clock = Clock()
    now += 0.5
    assert clock.passed() == 0.5
    now += 3_600
    assert clock.passed() == 2


def jobs(dataset, count):
    return [(run(dataset, seed=seed),) for seed in range(count)]


def states(outcomes):
    return [outcome.state for outcome in outcomes]


def worker_processes():
    """The worker processes of this one."""
    found = []
    for child in psutil.Process().children():
        with suppress(psutil.Error):
            if "explorer.training.worker" in child.cmdline() and child.status() != psutil.STATUS_ZOMBIE:
                found.append(child)
    return found


def canned(monkeypatch, folder, action, at_start="None"):
    """Workers measure nothing: they do `action` and return a canned row for each run; `at_start` comes first of all."""
    (folder / "sitecustomize.py").write_text(
        "import os, signal, sys, time\n"
        "from pathlib import Path\n"
        f"HERE = Path({str(folder)!r})\n"
        "def first_time(name):\n"
        "    try:\n"
        "        (HERE / name).touch(exist_ok=False)\n"
        "    except FileExistsError:\n"
        "        return False\n"
        "    return True\n"
        "if 'explorer.training.worker' in sys.orig_argv:\n"
        f"    {at_start}\n"
        "    import explorer.training.performing as performing\n"
        "    def perform(job, folder):\n"
        f"        {action}\n"
        "        return [{'state': 'done', 'reason': '', 'images_per_second': 1e6, 'host': {}}] * len(job)\n"
        "    performing.perform = perform\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(folder))
