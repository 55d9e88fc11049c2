"""Training on a separately started Dask scheduler and its workers: real processes, with TLS."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

import cluster_calls
import psutil
import pytest
import test_trunks
from test_engine import jobs, run, states

from explorer.__main__ import main
from explorer.errors import ExplorerError
from explorer.machine import torch_threads
from explorer.sweeping.resources import read_memory
from explorer.training.cluster import Cluster
from explorer.training.crew import ENVIRONMENT
from explorer.training.engine import ATTEMPTS, EngineWatcher, execute
from explorer.training.performing import perform_with_trunks
from explorer.training.software import Software
from explorer.training.trainer import measure
from explorer.training.trunks import trunk_key

HERE = Path(__file__).parent
DASK = [sys.executable, "-m", "distributed.cli.dask_"]


@pytest.fixture(scope="session")
def certificate(tmp_path_factory):
    """A certificate that is its own authority, and its key."""
    return make_certificate(tmp_path_factory.mktemp("tls"))


def make_certificate(folder):
    if shutil.which("openssl") is None:
        pytest.skip("openssl makes the certificates of this test")
    cert, key = folder / "cert.pem", folder / "key.pem"
    kind = [
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
        "-days",
        "2",
        "-subj",
        "/CN=explorer",
    ]
    command = ["openssl", "req", "-x509", *kind, "-keyout", str(key), "-out", str(cert)]
    subprocess.run(command, check=True, capture_output=True)
    return cert, key


class Running:
    """A scheduler and its workers."""

    def __init__(self, folder, certificate=None):
        self.folder = folder
        self.file = folder / "scheduler.json"
        self.processes = []
        cert, key = certificate or (None, None)
        self.tls = ["--tls-ca-file", cert, "--tls-cert", cert, "--tls-key", key] if certificate else []
        address = ["--protocol", "tls"] if certificate else []
        self.scheduler = self.start("scheduler", "--port", "0", "--host", "127.0.0.1", *address)
        while not self.file.exists():
            assert self.scheduler.poll() is None, self.log
            time.sleep(0.05)
        import json

        self.address = json.loads(self.file.read_text())["address"]
        self.cluster = Cluster(self.address, cert, cert, key) if certificate else Cluster(self.address)
        self.options = ["--cluster", self.address]
        if certificate:
            self.options += ["--tls-ca", str(cert), "--tls-cert", str(cert), "--tls-key", str(key)]

    @property
    def log(self):
        return (self.folder / "log").read_text()

    def start(self, what, *options, **environment):
        """Start a scheduler or a worker."""
        path = os.pathsep.join(map(str, (HERE, HERE.parent)))
        with (self.folder / "log").open("a") as log:
            process = subprocess.Popen(
                ["dask", what, "--scheduler-file", self.file, "--no-dashboard", *self.tls, *options],
                executable=shutil.which("dask", path=str(Path(sys.executable).parent)),
                cwd=self.folder,
                env=os.environ | {"PYTHONPATH": path} | environment,
                stdout=log,
                stderr=log,
            )
        self.processes.append(process)
        return process

    def worker(self, *options, **environment):
        """Start a worker and return at once; the coordinator waits for it."""
        return self.start("worker", "--local-directory", str(self.folder), *options, **environment)

    def children(self):
        """Processes of these workers that train."""
        found = []
        for worker in self.processes:
            with suppress(psutil.Error):
                below = psutil.Process(worker.pid).children(recursive=True)
                found += [process.pid for process in below if "explorer.training.child" in process.cmdline()]
        return found

    def close(self):
        for process in self.processes:
            with suppress(psutil.Error):
                for child in psutil.Process(process.pid).children(recursive=True):
                    child.kill()
            process.kill()
            process.wait()


@contextmanager
def running(folder, certificate=None):
    found = Running(folder, certificate)
    try:
        yield found
    finally:
        found.close()


@pytest.fixture(scope="module")
def dask_cluster(tmp_path_factory, certificate):
    """A scheduler with TLS and one worker of two threads, which trains two runs at a time."""
    with running(tmp_path_factory.mktemp("cluster"), certificate) as found:
        found.worker("--nthreads", "2")
        yield found


class Listener(EngineWatcher):
    """Remembers what the engine says; stops it when a message contains `until`."""

    def __init__(self, until=None):
        self.told, self.numbers, self.until = [], [], until

    def doing(self, what):
        self.told.append(what)

    def working(self, workers):
        self.numbers.append(workers)

    def stopping(self):
        return self.until is not None and any(self.until in line for line in self.told)


def on(cluster, dataset, count=1, call=cluster_calls.canned, folder=None, **settings):
    """Perform jobs on a cluster."""
    return list(
        execute(jobs(dataset, count), folder or dataset.folder, None, cluster=cluster.cluster, call=call, **settings)
    )


def gone(pid, seconds=10):
    """Whether a process ends within some seconds."""
    deadline = time.monotonic() + seconds
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


def test_workers_of_a_cluster_measure_the_same_as_this_process(stripes, dask_cluster):
    watcher = Listener()
    work = [(run(stripes, ratio),) for ratio in (0.25, 1.0)]
    outcomes = {
        outcome.run.key: outcome
        for outcome in execute(work, stripes.folder, None, cluster=dask_cluster.cluster, watcher=watcher)
    }
    with torch_threads(1):
        for (one,) in work:
            alone = measure(one.network, stripes, one.recipe, one.budget, one.seed)
            assert outcomes[one.key].row["accuracies"] == list(alone.accuracies)
            assert outcomes[one.key].row["train_losses"] == list(alone.train_losses)
    assert watcher.numbers == [2]
    assert watcher.told == [f"connecting to {dask_cluster.address}"]
    time.sleep(0.5)
    assert not dask_cluster.children()


@pytest.mark.slow
def test_children_have_the_environment_that_makes_training_fast(stripes, dask_cluster):
    (outcome,) = on(dask_cluster, stripes, call=cluster_calls.environment)
    assert outcome.row["host"].items() >= {"threads": "1"}.items()
    assert {name: outcome.row["host"][name] for name in ENVIRONMENT if name.startswith("MALLOC")} == {
        name: value for name, value in ENVIRONMENT.items() if name.startswith("MALLOC")
    }


@pytest.mark.slow
def test_data_that_a_worker_does_not_see_are_sent_once(stripes, dask_cluster, tmp_path, monkeypatch):
    monkeypatch.setattr("explorer.training.remote.SENT_BYTES", 100_000)
    shutil.copytree(stripes.folder, tmp_path / stripes.folder.name)
    monkeypatch.chdir(tmp_path)  # the worker has another current folder
    outcomes = on(dask_cluster, stripes, 3, folder=Path(stripes.folder.name))
    (there,) = {Path(outcome.row["host"]["folder"]) for outcome in outcomes}
    assert dask_cluster.folder in there.parents
    for name in ("images.npy", "labels.npy", "meta.json"):
        assert (there / name).read_bytes() == (stripes.folder / name).read_bytes()
    assert [path.name for path in there.parent.iterdir()] == [stripes.folder.name]
    written = (there / "images.npy").stat().st_mtime_ns
    on(dask_cluster, stripes, folder=Path(stripes.folder.name))
    assert (there / "images.npy").stat().st_mtime_ns == written
    (there / "images.npy").write_bytes(b"damaged")
    on(dask_cluster, stripes, folder=Path(stripes.folder.name))
    assert (there / "images.npy").read_bytes() == (stripes.folder / "images.npy").read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("call", [cluster_calls.killed_once, cluster_calls.hanging_once])
def test_a_process_that_dies_or_hangs_costs_its_run_one_attempt(stripes, dask_cluster, tmp_path, call):
    marker = tmp_path / "marker"
    outcomes = on(dask_cluster, stripes, 2, call=partial(call, marker), run_timeout=3)
    assert states(outcomes) == ["done"] * 2
    assert marker.exists()
    if pid := marker.read_text():
        assert gone(int(pid))


@pytest.mark.slow
def test_a_process_above_the_memory_limit_is_ended_and_its_run_recorded(stripes, dask_cluster):
    (outcome,) = on(dask_cluster, stripes, call=cluster_calls.hungry, memory_limit=600 * 2**20)
    assert outcome.state == "crashed"
    assert outcome.row["reason"] == f"its worker used more than 0.6 GiB of memory, {ATTEMPTS} times"


@pytest.mark.slow
def test_an_exception_is_recorded(stripes, dask_cluster):
    (outcome,) = on(dask_cluster, stripes, call=cluster_calls.failing)
    assert outcome.state == "crashed"
    assert outcome.row["reason"] == f"ZeroDivisionError: 1 run in {stripes.folder.name}, {ATTEMPTS} times"
    assert "in failing" in outcome.row["traceback"]


def test_workers_with_other_software_are_refused_and_both_are_named(stripes, dask_cluster, monkeypatch):
    here = Software.here()
    other = replace(here, numerics=replace(here.numerics, torch="9.9.9"))
    monkeypatch.setattr("explorer.training.remote.Software.here", lambda: other)
    with pytest.raises(ExplorerError) as error:
        on(dask_cluster, stripes)
    message = str(error.value)
    assert message.startswith(f"cluster {dask_cluster.address}: none of its 1 workers can be used; tls://127.0.0.1:")
    assert message.endswith(f"it computes with {here}, but this machine with {other}")
    assert "\n" not in message


@pytest.mark.slow
def test_a_sweep_on_a_cluster_is_the_same_sweep(dask_cluster, image_folder, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    sweep = ["sweep", "squeeze_ratio", "--quick", "--data", str(image_folder), "--reports", "reports", "--json"]
    assert main([*sweep, "--storage", "there.db", *dask_cluster.options, "--memory-limit", "2GiB"]) == 0
    there = capsys.readouterr().out
    assert main([*sweep, "--storage", "here.db"]) == 0
    assert capsys.readouterr().out == there


@pytest.mark.parametrize(
    ("address", "files", "message"),
    [
        ("127.0.0.1:8786", {}, "address as tcp://host:port or tls://host:port, such as tcp://127.0.0.1:8786$"),
        ("http://127.0.0.1:8786", {}, "give the scheduler's address as tcp://host:port"),
        ("tcp://127.0.0.1", {}, "give the scheduler's address"),
        ("tcp://127.0.0.1:99999", {}, "give the scheduler's address"),
        ("tcp://127.0.0.1:1", {}, "^cluster tcp://127.0.0.1:1: no Dask scheduler answers there; start one with"),
        ("tcp://nowhere.invalid:8786", {}, "no Dask scheduler answers there"),
        ("tls://127.0.0.1:1", {}, "TLS needs ca, cert and key .* not given: ca, cert, key$"),
        ("tls://127.0.0.1:1", {"ca": "cert", "cert": "cert"}, "not given: key$"),
        ("tcp://127.0.0.1:1", {"ca": "cert"}, "TLS files are for encrypted addresses; drop them, or write tls://"),
        ("tls://127.0.0.1:1", {"ca": "nope", "cert": "cert", "key": "key"}, "nope: .* No such file or directory$"),
        ("tls://127.0.0.1:1", {"ca": "text", "cert": "cert", "key": "key"}, "text: it must hold certificates in PEM"),
        ("tls://127.0.0.1:1", {"ca": "cert", "cert": "text", "key": "key"}, "text and .*: they must be a certificate"),
        ("tls://127.0.0.1:1", {"ca": "cert", "cert": "cert", "key": "cert"}, "they must be a certificate and its pri"),
    ],
)
def test_a_bad_address_or_certificate_is_one_line(certificate, tmp_path, address, files, message):
    (tmp_path / "text").write_text("not a certificate")
    for file, name in zip(certificate, ("cert", "key"), strict=True):
        shutil.copy(file, tmp_path / name)
    with pytest.raises(ExplorerError, match=message) as error:
        Cluster(address, **{name: tmp_path / file for name, file in files.items()}).threads()
    assert "\n" not in str(error.value)


def test_a_certificate_of_another_authority_is_one_line(dask_cluster, tmp_path):
    cert, key = make_certificate(tmp_path)
    stranger = Cluster(dask_cluster.address, cert, cert, key)
    with pytest.raises(ExplorerError, match="TLS fails"):
        stranger.threads()


def test_a_server_that_never_answers_and_one_without_tls_are_one_line(dask_cluster, monkeypatch):
    monkeypatch.setattr("explorer.training.cluster.CONNECT_SECONDS", 1)
    with socket.create_server(("127.0.0.1", 0)) as server:
        silent = Cluster(f"tcp://127.0.0.1:{server.getsockname()[1]}")
        with pytest.raises(ExplorerError, match="no Dask scheduler answers there"):
            silent.threads()
    plain = Cluster(dask_cluster.address.replace("tls", "tcp"))
    with pytest.raises(ExplorerError, match="no Dask scheduler answers there"):
        plain.threads()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--cluster", "tcp://127.0.0.1:1"], "cluster tcp://127.0.0.1:1: no Dask scheduler answers there"),
        (["--tls-ca", "ca.pem"], "--tls-ca ca.pem: it is for a cluster; also give --cluster tls://host:port"),
        (["--memory-limit", "much"], "memory limit much: give a size such as 2GiB or 500MB"),
        (["--memory-limit", "100MB"], "memory limit 100MB: a worker needs at least 0.25 GiB"),
    ],
)
@pytest.mark.parametrize("command", [["sweep", "squeeze_ratio", "--quick"], ["certify", "squeezenet", "--quick"]])
def test_bad_options_end_commands_with_one_line(tmp_path, monkeypatch, capsys, command, arguments, message):
    monkeypatch.chdir(tmp_path)
    assert main([*command, *arguments]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert lines[-1].startswith(f"explorer: {message}")


@pytest.mark.parametrize(
    ("text", "size"),
    [("2GiB", 2**31), ("2 gb", 2 * 10**9), ("1.5G", 1.5e9), ("512MiB", 2**29), (2**30, 2**30), (None, None)],
)
def test_memory_limits_are_read_with_their_unit(text, size):
    assert read_memory(text) == size


@pytest.mark.slow
def test_workers_that_are_killed_or_frozen_or_join_later(stripes, tmp_path, monkeypatch):
    """Runs go to workers that join, also from killed and frozen ones, and the nanny's new worker is used."""
    monkeypatch.setattr("explorer.training.remote.SILENT_SECONDS", 4.0)
    monkeypatch.setattr("explorer.training.remote.ALONE_SECONDS", 0.5)
    with running(tmp_path) as cluster:
        watcher = Listener()
        kill = partial(cluster_calls.signalled_once, tmp_path / "killed", signal.SIGKILL)
        outcomes = execute(jobs(stripes, 2), stripes.folder, None, cluster=cluster.cluster, call=kill, watcher=watcher)
        cluster.worker("--nthreads", "1")
        assert states(outcomes) == ["done"] * 2
        child, worker = map(int, (tmp_path / "killed").read_text().split())
        assert gone(child)
        assert gone(worker)

        freeze = partial(cluster_calls.signalled_once, tmp_path / "frozen", signal.SIGSTOP)
        outcomes = execute(
            jobs(stripes, 2), stripes.folder, None, cluster=cluster.cluster, call=freeze, watcher=watcher
        )
        cluster.worker("--nthreads", "1")
        assert states(outcomes) == ["done"] * 2


@pytest.mark.slow
def test_a_run_promoted_on_another_machine_is_the_same_run(stripes, tmp_path):
    """Two workers with caches of their own, as on two machines: the second one does not have the first one's trunk."""
    one, another = tmp_path / "one", tmp_path / "another"
    with running(tmp_path) as cluster, torch_threads(1):
        for home, budget in zip((one, another), test_trunks.BUDGETS, strict=False):
            worker = cluster.worker("--nthreads", "1", "--no-nanny", XDG_CACHE_HOME=str(home))
            promoted = test_trunks.run(stripes, budget)
            (outcome,) = execute([(promoted,)], stripes.folder, None, cluster=cluster.cluster, call=perform_with_trunks)
            worker.kill()
            worker.wait()
            alone = measure(promoted.network, stripes, promoted.recipe, budget, promoted.seed)
            assert outcome.row["accuracies"] == list(alone.accuracies)
            assert outcome.row["train_losses"] == list(alone.train_losses)
    trunks = [{path.name for path in home.rglob("trunks/*")} for home in (one, another)]
    assert trunks[0] == trunks[1] == {trunk_key(test_trunks.run(stripes))}


@pytest.mark.slow
def test_without_workers_the_user_is_told_and_may_stop(stripes, tmp_path):
    with running(tmp_path) as cluster:
        watcher = Listener(until="waiting for workers")
        assert on(cluster, stripes, watcher=watcher) == []
        assert watcher.told[-1] == (
            f"waiting for workers at {cluster.address}; start one with `dask worker {cluster.address}`"
        )


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_a_scheduler_that_dies_or_freezes_is_one_line(stripes, tmp_path, monkeypatch, number):
    monkeypatch.setattr("explorer.training.remote.ANSWER_SECONDS", 3)
    with running(tmp_path) as cluster:
        cluster.worker("--nthreads", "1")
        marker = tmp_path / "marker"
        outcomes = execute(
            jobs(stripes, 1),
            stripes.folder,
            None,
            cluster=cluster.cluster,
            call=partial(cluster_calls.hanging_once, marker),
            started=lambda _: os.kill(cluster.scheduler.pid, number),
        )
        with pytest.raises(ExplorerError, match="the Dask scheduler no longer responds; stored runs are kept"):
            next(outcomes)


@pytest.mark.slow
def test_a_killed_coordinator_leaves_no_process_on_the_workers(stripes, tmp_path):
    with running(tmp_path) as cluster:
        cluster.worker("--nthreads", "1")
        marker = tmp_path / "marker"
        script = (
            "import sys; from functools import partial; from pathlib import Path\n"
            "import cluster_calls, test_engine\n"
            "from explorer.data import open_dataset\n"
            "from explorer.training.cluster import Cluster\n"
            "from explorer.training.engine import execute\n"
            "data, address, marker = sys.argv[1:]\n"
            "call = partial(cluster_calls.hanging_once, marker)\n"
            "dataset = open_dataset(Path(data))\n"
            "list(execute(test_engine.jobs(dataset, 1), dataset.folder, None, cluster=Cluster(address), call=call))\n"
        )
        path = os.pathsep.join(map(str, (HERE, HERE.parent)))
        coordinator = subprocess.Popen(
            [sys.executable, "-c", script, str(stripes.folder), cluster.address, str(marker)],
            env=os.environ | {"PYTHONPATH": path},
        )
        while not marker.exists() or not marker.read_text():
            assert coordinator.poll() is None
            time.sleep(0.1)
        coordinator.kill()
        coordinator.wait()
        assert gone(int(marker.read_text()))
        assert not cluster.children()
