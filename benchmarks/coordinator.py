"""Time the coordinator: runs settled a second, resuming, memory, workers that die, and two workers against one.

The engine, the ledger and the Optuna view are the real ones. Except in the last part, workers are Dask workers in one
other process, which sleep and return measurements of 5,000 images instead of training, so that hundreds fit on one
machine. That process takes most of one core. `--parts sqlite,postgresql,deaths,scaling` chooses parts.

PostgreSQL is skipped where its programs are not installed.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import random
import resource
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
from report import large

from explorer.machine import cores, load
from explorer.storage.ledger import Ledger
from explorer.storage.tables import runs as table
from explorer.study.model import Study
from explorer.study.plan import plan
from explorer.sweeping import sweeping
from explorer.sweeping.resources import Resources
from explorer.sweeping.sweeping import Watcher, run_studies, runs_of
from explorer.training import crew as crews
from explorer.training import engine
from explorer.training.bits import pack, pack_classes
from explorer.training.engine import Jobs, Outcome, execute
from explorer.training.performing import Job, Rows
from explorer.training.run import Run

VALIDATION = 5_000
NO_PROCESS = 1 << 23  # above every process id, as simulated workers are no processes
POINTS = 10_000
SETTLED = {"sqlite": 4_000, "postgresql": 2_000}
WORKERS = 200
SHORT, LONG = 0.25, 3.0  # seconds of a run: as many as the coordinator can serve, or long enough to die in
DEATHS_A_MINUTE = 0.01
BUSY_RUNS = 12
LINEAR = 0.8  # a warning is printed below this share of a linear speed-up


def canned(job: Job, _: Path, seconds: float) -> Rows:
    """Return measurements of the usual size after a while."""
    time.sleep(seconds)
    return [measurement(run) for run in job]


def busy(job: Job, _: Path, steps: int = 60_000_000) -> Rows:
    """Compute for two or three seconds, and return measurements."""
    total = 0
    for number in range(steps):
        total += number
    return [measurement(run) for run in job]


def measurement(run: Run) -> dict[str, Any]:
    """Return the ledger columns of a run, whose accuracy rises with its multiply-adds."""
    rng = np.random.default_rng(int(run.key[:8], 16))
    correct = rng.random(VALIDATION) < 0.1 * np.log10(run.network.cost.macs)
    accuracy, epochs = float(correct.mean()), run.budget.epochs
    return {
        "state": "done",
        "reason": "",
        "accuracy": accuracy,
        "accuracies": [accuracy] * epochs,
        "train_losses": [2.0] * epochs,
        "seconds": 3.0,
        "images_per_second": 5000.0,
        "peak_memory_bytes": 700 << 20,
        "host": {"name": "simulated"},
        **pack(correct, rng.random(VALIDATION, dtype=np.float32)),
        "predicted": pack_classes(rng.integers(10, size=VALIDATION)),
    }


# Each worker watches itself up to a hundred times a second, which is too much for a process of hundreds.
UNWATCHED = {
    "distributed.worker.profile.enabled": False,
    "distributed.admin.tick.interval": "1s",
    "distributed.admin.system-monitor.interval": "60s",
}


async def serve(scheduler: str) -> None:
    """Be a process of many workers: `start N` and `kill N` come from standard input."""
    import dask

    from explorer.training.dask_import import Worker

    dask.config.set(UNWATCHED)
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    workers: dict[int, Worker] = {}
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)

    async def start(number: int) -> None:
        workers[number] = Worker(
            scheduler,
            nthreads=1,
            name=number,
            host="127.0.0.1",
            memory_limit=0,
            executor=ThreadPoolExecutor(1),
            local_directory=tempfile.gettempdir(),
            heartbeat_interval="10s",
        )
        await workers[number]

    tasks = set()
    while line := await reader.readline():
        word, number = line.split()
        if word == b"start":
            task = asyncio.ensure_future(start(int(number)))
        elif int(number) in workers:
            task = asyncio.ensure_future(workers.pop(int(number)).close(timeout=0, executor_wait=False))
        else:
            continue
        tasks.add(task)
        task.add_done_callback(tasks.discard)
    os._exit(0)


class Simulated:
    """A worker of `serve`, with what the crew uses of a process."""

    numbers = count(NO_PROCESS)
    stdin = None

    def __init__(self, host: subprocess.Popen[str]) -> None:
        self.pid, self.host = next(self.numbers), host
        self.code: int | None = None
        self._send("start")

    def _send(self, word: str) -> None:
        assert self.host.stdin is not None
        self.host.stdin.write(f"{word} {self.pid}\n")
        self.host.stdin.flush()

    def poll(self) -> int | None:
        """Return the exit code, or None if it is running."""
        return self.code

    def wait(self, _: float) -> int | None:
        """Return the exit code."""
        return self.code

    def kill(self) -> None:
        """End it at once."""
        if self.code is None:
            self.code = -9
            self._send("kill")


@contextmanager
def simulated_crew(deaths_a_second: float, died: list[int], workers: int, *_: object) -> Iterator[crews.Crew]:
    """Yield a crew of simulated workers, which die at random without a word to the crew."""
    with ExitStack() as stack:
        members = stack.enter_context(crews.crew(workers))
        command = [sys.executable, __file__, "--serve", members.scheduler]
        host = subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)  # noqa: S603
        stack.callback(host.kill)
        stack.enter_context(patch.object(members, "_start", lambda: crews.Member(Simulated(host))))  # type: ignore[arg-type]
        over = threading.Event()
        stack.callback(over.set)

        def reap() -> None:
            while deaths_a_second and not over.wait(random.expovariate(deaths_a_second)):
                member = random.choice(members.members)  # noqa: S311
                died.append(member.process.pid)
                member.process.kill()

        threading.Thread(target=reap, daemon=True).start()
        yield members


@contextmanager
def simulated(seconds: float, deaths_a_second: float = 0.0, died: list[int] | None = None) -> Iterator[None]:
    """Replace the workers of sweeps by simulated ones."""
    with (
        patch.object(engine, "crew", partial(simulated_crew, deaths_a_second, [] if died is None else died)),
        # A worker of a cluster replaces its own process after some networks; the coordinator takes no part in it.
        patch.object(engine, "MOST_NETWORKS", sys.maxsize),
        patch.object(sweeping, "execute", partial(execute, call=partial(canned, seconds=seconds))),
        patch.object(Resources, "count", lambda given: given.workers),
    ):
        yield


class Times(Watcher):
    """When each run of a sweep ended: seconds since the call, and seconds of the coordinator's CPU time."""

    def __init__(self) -> None:
        self.called, self.cpu = time.perf_counter(), time.process_time()
        self.ends: list[tuple[float, float]] = []

    def ended(self, outcome: Outcome) -> None:
        """Note a run that has ended and is stored."""
        assert outcome.state == "done", outcome.row["reason"]
        self.ends.append(self.passed())

    def passed(self) -> tuple[float, float]:
        """Return the seconds and the CPU seconds since the call."""
        return time.perf_counter() - self.called, time.process_time() - self.cpu

    def rates(self) -> list[float]:
        """Return the runs settled a second and a CPU second, from the end of the first tenth."""
        first = len(self.ends) // 10
        pairs = zip(self.ends[first], self.ends[-1], strict=True)
        return [(len(self.ends) - 1 - first) / (last - begun) for begun, last in pairs]


def study_of(points: int) -> Study:
    """Return a study of this number of points, a multiple of 1,000, with one seed."""
    study = large()
    vary = {**study.varied, "base_e": list(range(8, 8 + points // 1000))}
    form = study.form.model_copy(update={"vary": vary})
    return study.model_copy(update={"name": f"of_{points}", "form": form, "seeds": 1, "data": "proxy"})


def prefill(study: Study, finished: int, storage: str) -> None:
    """Store a study with its first runs finished."""
    rows: list[dict[str, Any]] = []

    def stored(jobs: Jobs, *_: object, **__: object) -> Iterator[Outcome]:
        while len(rows) < finished and (job := jobs.take()):
            rows.append(engine._outcome(job[0], measurement(job[0])).row)  # noqa: SLF001
        return
        yield

    with patch.object(sweeping, "execute", stored), patch.object(Resources, "count", lambda given: given.workers):
        run_studies([study], storage=storage, resources=Resources(workers=1))
    ledger = Ledger(storage)
    with ledger.writing(), ledger.engine.begin() as connection:
        connection.execute(table.insert(), rows)


def settle(kind: str, storage: str) -> None:
    """Settle the last runs of a study of 10,000, and then resume it with all runs finished."""
    study = study_of(POINTS)
    prefill(study, POINTS - SETTLED[kind], storage)
    times = Times()
    with simulated(SHORT):
        run_studies([study], storage=storage, resources=Resources(workers=WORKERS), watcher=times)
    wall, cpu = times.rates()
    print(f"{kind}: {wall:.0f} runs settled a second, {cpu:.0f} a second of the coordinator's CPU time")
    found = Ledger(storage).studies.load(study.name).runs
    assert len(found) == POINTS
    assert found["state"].eq("done").all()
    times = Times()
    with patch.object(Resources, "count", lambda given: given.workers):
        run_studies([study], storage=storage, resources=Resources(workers=WORKERS), watcher=times)
    wall, cpu = times.passed()
    print(f"{kind}: {POINTS:,} finished runs resumed in {wall:.1f} s, {cpu:.1f} s of CPU time")
    # Kilobytes on Linux, bytes on macOS.
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024) >> 20
    print(f"{kind}: at most {peak:,} MiB of memory, libraries included")


def deaths(storage: str, points: int) -> None:
    """Train with 200 workers of which some die each minute, until every run is done."""
    study, times = study_of(points), Times()
    died: list[int] = []
    with simulated(LONG, WORKERS * DEATHS_A_MINUTE / 60, died):
        run_studies([study], storage=storage, resources=Resources(workers=WORKERS), watcher=times)
    states = Counter(Ledger(storage).studies.load(study.name).runs["state"])
    assert states == {"done": points}
    assert len(times.ends) == points
    print(f"{WORKERS} workers, {len(died)} deaths: {points:,} runs done, each once, in {times.passed()[0]:.0f} s")


def scaling() -> None:
    """Compare one and two real workers on CPU-bound runs."""
    study = study_of(1000).model_copy(update={"seeds": BUSY_RUNS})
    jobs = [(run,) for run in runs_of(study, plan(study, 10)[:1], "f" * 64).values()]
    rates = {}
    for workers in (1, 2):
        ends = [time.perf_counter() for _ in execute(jobs, Path(), workers, call=busy)]
        rates[workers] = (len(ends) - workers) / (ends[-1] - ends[workers - 1])  # from when every worker has ended one
        print(f"{workers} worker{'s' if workers > 1 else ''}: {rates[workers]:.2f} CPU-bound runs a second")
    ratio = rates[2] / rates[1]
    print(f"two workers are {ratio:.2f} times as fast as one")
    if ratio < 2 * LINEAR:
        print(f"warning: below {LINEAR} of linear, on {cores()} cores")


@contextmanager
def server(folder: Path) -> Iterator[str | None]:
    """Yield the URL of a PostgreSQL server, or None if there is no such program."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin")) or [Path(shutil.which("initdb") or "").parent]
    if not (found[-1] / "initdb").is_file():
        yield None
        return
    user: list[str] = []
    if os.geteuid() == 0:  # initdb refuses to run as root
        shutil.chown(folder, "postgres")
        user = ["runuser", "-u", "postgres", "--"]
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]

    def run(name: str, *arguments: str) -> None:
        command = [*user, str(found[-1] / name), "-D", str(folder / "data"), *arguments]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=folder)  # noqa: S603

    run("initdb", "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-locale")
    options = f"-c listen_addresses=127.0.0.1 -p {port} -c unix_socket_directories=''"
    run("pg_ctl", "-w", "-l", str(folder / "log"), "-o", options, "start")
    try:
        yield f"postgresql+psycopg://postgres@127.0.0.1:{port}/postgres"
    finally:
        run("pg_ctl", "-m", "immediate", "stop")


def main() -> None:
    """Run the chosen parts."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    parser.add_argument("--parts", default="sqlite,postgresql,deaths,scaling")
    parser.add_argument("--deaths-of", type=int, default=8_000, help="runs of the part `deaths`")
    options = parser.parse_args()
    if options.serve:
        asyncio.run(serve(options.serve))
        return
    parts = options.parts.split(",")
    print(f"cores in use at the start: {load():.0%}")
    with tempfile.TemporaryDirectory() as folder:
        if "sqlite" in parts:
            settle("sqlite", f"{folder}/settle.db")
        if "deaths" in parts:
            deaths(f"{folder}/deaths.db", options.deaths_of)
    if "postgresql" in parts:
        with tempfile.TemporaryDirectory() as folder, server(Path(folder)) as url:
            if url is None:
                print("postgresql: skipped, because its programs (initdb, pg_ctl) are not installed")
            else:
                settle("postgresql", url)
    if "scaling" in parts:
        scaling()


if __name__ == "__main__":
    # Workers import `canned`. Functions of the main module would be sent as code with each run, unlike the real ones.
    import coordinator

    coordinator.main()
