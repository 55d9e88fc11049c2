"""Sweeps that are disturbed in every way, on SQLite and PostgreSQL, end with the ledger of an undisturbed one.

Coordinators, workers, signals and servers are real. Only training is replaced, by a short sleep and results that follow
from the run's key; each training is logged.
"""

import contextlib
import fcntl
import os
import pty
import resource
import signal
import subprocess
import sys
import termios
import time

import numpy as np
import psutil
import pytest
from test_sweep import STUDY, same_rows, wait_until

import explorer
from explorer.storage.ledger import Ledger
from explorer.storage.tables import members, runs

pytestmark = pytest.mark.slow

TRAINING = """
import os, sys, time
if "explorer.training.worker" in sys.orig_argv:
    import numpy as np
    import explorer.training.performing as performing
    from explorer.training.bits import pack, pack_classes
    def train(run):
        random = np.random.default_rng(int(run.key[:8], 16))
        correct = random.random(run.budget.validation) < 0.7
        accuracy = float(correct.mean())
        return {
            "state": "done", "reason": "", "accuracy": accuracy, "accuracies": [accuracy], "train_losses": [1.0],
            "seconds": 1.0, "images_per_second": 100.0, "peak_memory_bytes": 1, "host": {"name": "here"},
            **pack(correct, random.random(len(correct)).astype(np.float16)),
            "predicted": pack_classes(random.integers(0, 3, len(correct))),
        }
    def perform(job, *_):
        time.sleep(1)
        while os.path.exists(os.environ["TRAININGS"] + ".hold"):
            time.sleep(0.1)
        with open(os.environ["TRAININGS"], "a") as log:
            log.writelines(f"{run.key}\\n" for run in job)
        return [train(run) for run in job]
    performing.perform = perform
"""
RUNS = 12


class Sweeps:
    """Sweeps of one study or several into a storage, and a log of the runs that they train."""

    def __init__(self, folder, images, storage):
        self.folder, self.storage, self.log = folder, storage, folder / "trainings"
        self.started = []
        folder.mkdir()
        self.write("stripes", images, "0.25, 0.5, 0.75, 1.0")
        (folder / "sitecustomize.py").write_text(TRAINING)
        path = os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH")]))
        self.environment = os.environ | {"PYTHONPATH": path, "TRAININGS": str(self.log)}
        self.log.touch()

    def write(self, name, images, ratios):
        text = STUDY.format(data=images, epochs=1).replace("0.125, 0.25, 0.251, 0.5, 1.0", ratios)
        (self.folder / f"{name}.toml").write_text(text)

    def start(self, study="stripes", storage=None, **options):
        storage = str(storage or self.storage)
        command = [sys.executable, "-m", "explorer", "sweep", f"{study}.toml", "--workers", "2", "--storage", storage]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        started = {"cwd": self.folder, "env": self.environment, "start_new_session": True} | pipes | options
        self.started.append(subprocess.Popen(command, **started))
        return self.started[-1]

    def run(self, *arguments, **options):
        process = self.start(*arguments, **options)
        _, err = process.communicate(timeout=600)
        assert process.returncode == 0, err
        assert "Traceback" not in err

    def record(self, study="stripes", storage=None):
        with contextlib.suppress(Exception):  # not there yet, or the server is away
            return Ledger(storage or self.storage).studies.load(study)
        return None

    def done(self, study="stripes"):
        """The keys of the finished runs."""
        record = self.record(study)
        return [] if record is None else record.runs["key"][record.runs["state"] == "done"].tolist()

    @contextlib.contextmanager
    def held(self):
        """Let no training end."""
        hold = self.log.with_name("trainings.hold")
        hold.touch()
        yield
        hold.unlink()

    def trained(self):
        return self.log.read_text().split()

    def calm(self):
        """The record of an undisturbed sweep."""
        self.run(storage=self.folder / "calm.db")
        self.log.write_text("")
        return self.record(storage=self.folder / "calm.db")


@contextlib.contextmanager
def sweeping(folder, images, storage):
    made = Sweeps(folder, images, storage)
    try:
        yield made
    finally:
        for process in made.started:
            process.kill()


@pytest.fixture
def on_sqlite(tmp_path, image_folder):
    with sweeping(tmp_path / "work", image_folder, tmp_path / "explorer.db") as made:
        yield made


@pytest.fixture
def on_postgresql(tmp_path, image_folder, server):
    with sweeping(tmp_path / "work", image_folder, server.url) as made:
        yield made


@pytest.fixture(params=["on_sqlite", "on_postgresql"])
def sweeps(request):
    return request.getfixturevalue(request.param)


def ended(process, family, code):
    """Wait for a process and check its exit code and that none of its workers is left; return what it wrote."""
    out, err = process.communicate(timeout=300)
    assert process.returncode == code, err
    left = psutil.wait_procs(family, timeout=20)[1]
    assert not [one for one in left if one.is_running() and one.status() != psutil.STATUS_ZOMBIE]
    return out, err


def send(process, number):
    """Send a signal as its usual sender does: a terminal sends it to the workers too."""
    if number in {signal.SIGINT, signal.SIGHUP}:
        os.killpg(process.pid, number)
    else:
        process.send_signal(number)


@pytest.mark.parametrize(
    ("signals", "moments"),
    [
        ([signal.SIGKILL], ["start", 1, 5]),
        ([signal.SIGTERM], [3]),
        ([signal.SIGHUP], [3]),
        ([signal.SIGINT], [3]),
        ([signal.SIGINT, signal.SIGINT], [3]),
    ],
    ids=["SIGKILL", "SIGTERM", "SIGHUP", "Ctrl-C", "Ctrl-C twice"],
)
def test_a_signal_loses_nothing(sweeps, signals, moments):
    expected = sweeps.calm()
    random = np.random.default_rng(len(moments))
    for moment in moments:
        before, process = len(sweeps.trained()), sweeps.start()
        known = sweeps.done()
        if moment == "start":
            time.sleep(random.uniform(1, 8))
        else:
            wait_until(lambda: len(sweeps.done()) >= moment or process.poll() is not None)  # noqa: B023
            time.sleep(random.uniform(0, 0.3))
        family = psutil.Process(process.pid).children(recursive=True)
        for number in signals:
            send(process, number)
            time.sleep(0.1)
        _, err = ended(process, family, -signal.SIGKILL if signals == [signal.SIGKILL] else 130)
        assert not set(known) & set(sweeps.trained()[before:])
        if signals != [signal.SIGKILL]:
            count = len(sweeps.done())
            assert moment <= count < RUNS
            assert f"stopped; {count} of {RUNS} runs are done; the same command continues from there" in err
    # Those in progress when Ctrl-C was pressed once are stored too.
    if signals == [signal.SIGINT]:
        assert sorted(sweeps.trained()) == sorted(sweeps.done())
    finishes(sweeps, expected)


def finishes(sweeps, expected):
    """The same command again trains only what is not stored, and ends with the same ledger."""
    before, known = len(sweeps.trained()), sweeps.done()
    sweeps.run()
    assert sorted([*known, *sweeps.trained()[before:]]) == sorted(expected.runs["key"])
    same_rows(sweeps.record(), expected)


def test_closing_the_terminal_loses_nothing(on_sqlite):
    sweeps = on_sqlite
    expected = sweeps.calm()
    master, slave = pty.openpty()
    terminal = dict.fromkeys(("stdin", "stdout", "stderr"), slave)
    process = sweeps.start(**terminal, preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0))
    os.close(slave)
    os.set_blocking(master, False)

    def three_are_done():
        with contextlib.suppress(OSError):
            os.read(master, 1 << 16)
        return len(sweeps.done()) >= 3

    wait_until(three_are_done)
    family = psutil.Process(process.pid).children(recursive=True)
    os.close(master)
    ended(process, family, 130)
    assert 3 <= len(sweeps.done()) < RUNS
    finishes(sweeps, expected)


def test_a_limit_on_the_size_of_files_loses_nothing(on_sqlite):
    """As `ulimit -f` sets it; a full disk gives the same errors (see test_full_disk.py)."""
    sweeps = on_sqlite
    expected = sweeps.calm()
    process = sweeps.start()
    wait_until(lambda: len(sweeps.done()) >= 1)
    family = psutil.Process(process.pid).children(recursive=True)
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (1000, 1000))
    _, err = ended(process, family, 2)
    assert f"storage {sweeps.storage}: " in err
    assert err.count("\n") == 1
    assert len(sweeps.done()) < RUNS
    finishes(sweeps, expected)


def test_a_server_that_is_away_for_a_while_loses_nothing(on_postgresql, server):
    sweeps = on_postgresql
    expected = sweeps.calm()
    process = sweeps.start()
    wait_until(lambda: len(sweeps.done()) >= 3)
    family = psutil.Process(process.pid).children(recursive=True)
    server.stop()
    time.sleep(3)
    server.start()
    _, err = ended(process, family, 0)
    assert "reconnected" in err
    assert "Traceback" not in err
    assert sorted(sweeps.trained()) == sorted(expected.runs["key"])
    same_rows(sweeps.record(), expected)


def test_a_second_command_on_a_file_is_refused(on_sqlite):
    sweeps = on_sqlite
    with sweeps.held():
        first = sweeps.start()
        wait_until(lambda: sweeps.record() is not None)
        second = sweeps.start()
        _, err = second.communicate(timeout=120)
    assert second.returncode == 2
    assert f"is writing to it (process {first.pid} on " in err
    assert err.count("\n") == 1
    _, err = first.communicate(timeout=120)
    assert first.returncode == 0, err
    assert len(sweeps.trained()) == len(set(sweeps.trained())) == RUNS


def test_two_commands_on_a_server_share_runs(on_postgresql, image_folder):
    """Nine runs are in both studies; one command is killed, and the other trains what that one had claimed."""
    sweeps = on_postgresql
    sweeps.write("others", image_folder, "0.375, 0.5, 0.75, 0.875, 1.0")
    with sweeps.held():
        first, second = sweeps.start(), sweeps.start("others")
        wait_until(lambda: sweeps.record("stripes") is not None and sweeps.record("others") is not None)
        third = sweeps.start("others")
        _, err = third.communicate(timeout=120)
        assert third.returncode == 2
        assert f"is writing the study others (process {second.pid} on " in err
        wait_until(lambda: explorer.status(storage=sweeps.storage).studies["running"].tolist() == [4, 3])
    wait_until(lambda: len(sweeps.done("stripes")) >= 4 and len(sweeps.done("others")) >= 4)
    first.kill()
    first.communicate()
    _, err = second.communicate(timeout=300)
    assert second.returncode == 0, err
    assert len(sweeps.done("others")) == 15
    sweeps.run()
    trained = sweeps.trained()
    assert set(trained) == {*sweeps.done("stripes"), *sweeps.done("others")}
    assert len(trained) - len(set(trained)) <= 2  # at most what the killed one had trained but not stored


def test_retry_trains_failed_and_crashed_runs_again(on_sqlite):
    sweeps = on_sqlite
    sweeps.run()
    expected = sweeps.record()
    failed, crashed, *_ = keys = sorted(sweeps.trained())
    ledger = Ledger(sweeps.storage)
    with ledger.writing():
        for key, state in ((failed, "failed"), (crashed, "crashed")):
            change = runs.update().where(runs.c.key == key).values(state=state, reason="a reason", accuracy=None)
            ledger.perform(lambda connection, change=change: connection.execute(change))

    def retry():
        command = [sys.executable, "-m", "explorer", "retry", "stripes", "--storage", str(sweeps.storage)]
        return subprocess.run(
            command, check=False, capture_output=True, text=True, cwd=sweeps.folder, env=sweeps.environment
        )

    done = retry()
    assert done.returncode == 0, done.stderr
    assert "stripes: 2 runs to train, 10 stored already" in done.stdout
    assert sorted(sweeps.trained()) == sorted([*keys, failed, crashed])
    same_rows(sweeps.record(), expected)
    # As if the run had failed with another version of torch.
    with ledger.writing():
        for table in (runs, members):
            change = table.update().where(table.c.key == failed).values(key="other")
            ledger.perform(lambda connection, change=change: connection.execute(change))
        change = runs.update().where(runs.c.key == "other").values(state="failed", accuracy=None)
        ledger.perform(lambda connection: connection.execute(change))
    before = sweeps.done()
    refused = retry()
    assert refused.returncode == 2
    assert "stripes: the images, torch or the training code have changed since its runs failed" in refused.stderr
    assert sweeps.done() == before
