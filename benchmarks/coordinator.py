"""Time the coordinator: runs settled a second, resuming, memory, dying workers, and two workers against one.

The engine, the ledger and the Optuna view are the real ones. Workers are Dask workers in one other process, which sleep
and return canned measurements of 5,000 validation images instead of training, so that hundreds fit on one machine:

    python benchmarks/coordinator.py                 # all parts; --parts settle,deaths,scaling for some
    python benchmarks/coordinator.py --storage postgresql+psycopg://user@host/empty_database

Without --storage, the PostgreSQL part starts a server of its own, if one is installed.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
from report import large

from explorer.machine import load_average
from explorer.storage.ledger import Ledger
from explorer.storage.tables import runs as table
from explorer.study.model import Study
from explorer.sweeping import sweeping
from explorer.sweeping.sweeping import Watcher, run_studies
from explorer.training import crew as crews
from explorer.training import engine
from explorer.training.bits import pack, pack_classes
from explorer.training.engine import Job, Outcome, Rows, execute
from explorer.training.run import Run

VALIDATION = 5_000
NO_PROCESS = 1 << 23  # above every process id, as simulated workers are no processes
FINISHED = 10_000
SETTLED = {"sqlite": 4_000, "postgresql": 2_000}
WORKERS = 200
DEATHS_A_MINUTE = 0.01
LINEAR = 0.8  # a warning is printed below this share of a linear speed-up


def canned(job: Job, folder: Path, seconds: float = 0.5) -> Rows:
    """Return a measurement of the usual size after a while."""
    time.sleep(seconds)
    return [measurement(run) for run in job]


def measurement(run: Run) -> dict[str, Any]:
    """Return the ledger columns of a run, whose accuracy rises with its multiply-adds."""
    rng = np.random.default_rng(int(run.key[:8], 16))
    correct = rng.random(VALIDATION) < 0.1 * np.log10(run.network.cost.macs)
    epochs = run.budget.epochs
    return {
        "state": "done",
        "reason": "",
        "accuracy": float(correct.mean()),
        "accuracies": [float(correct.mean())] * epochs,
        "train_losses": [2.0] * epochs,
        "seconds": 3.0,
        "images_per_second": 5000.0,
        "peak_memory_bytes": 700 << 20,
        "host": {"name": "simulated"},
        **pack(correct, rng.random(VALIDATION, dtype=np.float32)),
        "predicted": pack_classes(rng.integers(10, size=VALIDATION)),
    }


async def serve(scheduler: str) -> None:
    """Be a process of many workers: `start N` and `kill N` come from standard input."""
    from explorer.training.dask_import import Worker

    workers: dict[int, Worker] = {}
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)

    async def start(number: int) -> None:
        worker = workers[number] = Worker(
            scheduler,
            nthreads=1,
            name=number,
            host="127.0.0.1",
            memory_limit=0,
            executor=ThreadPoolExecutor(1),
            local_directory=tempfile.gettempdir(),
            heartbeat_interval="10s",
        )
        await worker

    tasks = set()
    while line := await reader.readline():
        word, number = line.split()
        worker = workers.pop(int(number), None)
        if word == b"start":
            task = asyncio.ensure_future(start(int(number)))
        elif worker is not None:
            task = asyncio.ensure_future(worker.close(timeout=0, executor_wait=False, reason="killed"))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
    os._exit(0)


class Simulated:
    """A worker of `serve`, with the methods of a process that the crew uses."""

    numbers = count(NO_PROCESS)
    stdin = None

    def __init__(self, host: subprocess.Popen[str]) -> None:
        self.pid, self.host = next(self.numbers), host
        self.code: int | None = None
        self.send("start")

    def send(self, word: str) -> None:
        assert self.host.stdin is not None
        self.host.stdin.write(f"{word} {self.pid}\n")
        self.host.stdin.flush()

    def poll(self) -> int | None:
        return self.code

    def wait(self, timeout: float) -> int | None:
        return self.code

    def kill(self) -> None:
        if self.code is None:
            self.code = -9
            self.send("kill")


@contextmanager
def simulated_crew(deaths_a_second: float, died: list[int], workers: int) -> Iterator[crews.Crew]:
    """Yield a crew of simulated workers, which die at random: the crew is not told, only the process is gone."""
    with ExitStack() as stack:
        members = stack.enter_context(crews.crew(workers))
        command = [sys.executable, __file__, "--serve", members.scheduler]
        host = subprocess.Popen(command, stdin=subprocess.PIPE, text=True)  # noqa: S603
        stack.callback(host.kill)
        stack.enter_context(patch.object(members, "_start", lambda: crews.Member(Simulated(host))))  # type: ignore[arg-type]
        over = threading.Event()
        stack.callback(over.set)

        def reap() -> None:
            while deaths_a_second and not over.wait(random.expovariate(deaths_a_second)):
                member = random.choice(members.ready)
                died.append(member.process.pid)
                member.process.kill()

        threading.Thread(target=reap, daemon=True).start()
        yield members


@contextmanager
def simulated(seconds: float, deaths_a_second: float = 0.0, died: list[int] | None = None) -> Iterator[None]:
    """Replace the workers of sweeps by simulated ones."""
    crew = partial(simulated_crew, deaths_a_second, [] if died is None else died)
    call = partial(canned, seconds=seconds)
    with (
        patch.object(engine, "crew", crew),
        # A worker of a cluster replaces its own process after some networks; the coordinator takes no part.
        patch.object(engine, "MOST_NETWORKS", sys.maxsize),
        patch.object(sweeping, "execute", partial(execute, call=call)),
        patch.object(sweeping, "worker_count", lambda asked: asked),
    ):
        yield


class Times(Watcher):
    """When a sweep began, started its first run, and ended each run."""

    def __init__(self) -> None:
        self.called, self.cpu = time.perf_counter(), time.process_time()
        self.begun: tuple[float, float] | None = None
        self.ends: list[tuple[float, float]] = []

    def doing(self, what: str) -> None:
        if what.startswith("starting") and self.begun is None:
            self.begun = self.passed()

    def ended(self, outcome: Outcome) -> None:
        assert outcome.state == "done", outcome.row["reason"]
        self.ends.append(self.passed())

    def passed(self) -> tuple[float, float]:
        return time.perf_counter() - self.called, time.process_time() - self.cpu

    def rate(self) -> tuple[float, float]:
        """Return the runs settled a second of time and of the coordinator's CPU time, without the first tenth."""
        first = len(self.ends) // 10
        rates = [(len(self.ends) - 1 - first) / (last - begun) for begun, last in zip(self.ends[first], self.ends[-1])]
        return rates[0], rates[1]


def study_of(points: int, finished: int, storage: str) -> Study:
    """Return a study with one seed; the first runs are stored as finished."""
    grown = large()
    vary = dict(grown.varied)
    vary["base_e"] = list(range(8, 8 + points // 1000))
    form = grown.form.model_copy(update={"vary": vary})
    study = grown.model_copy(update={"name": f"of {points}", "form": form, "seeds": 1, "data": "proxy"})
    if finished:
        stored: list[dict[str, Any]] = []

        def keep(jobs: Sequence[Job], *_: object, **__: object) -> Iterator[Outcome]:
            for (run,) in jobs[:finished]:
                stored.append(engine._outcome(run, measurement(run)).row)  # noqa: SLF001
            return
            yield

        with patch.object(sweeping, "execute", keep), patch.object(sweeping, "worker_count", lambda asked: asked):
            run_studies([study], storage=storage, workers=1)
        ledger = Ledger(storage)
        with ledger.writing(), ledger.engine.begin() as connection:
            connection.execute(table.insert(), stored)
    return study


def settle(kind: str, storage: str) -> None:
    """Settle the last runs of a study of 10,000, and then resume it with all runs finished."""
    study = study_of(FINISHED, FINISHED - SETTLED[kind], storage)
    times = Times()
    with simulated(seconds=0.25):
        run_studies([study], storage=storage, workers=WORKERS, watcher=times)
    wall, cpu = times.rate()
    print(f"{kind}: {wall:.0f} runs settled a second ({cpu:.0f} a second of the coordinator's CPU time)")
    found = Ledger(storage).studies.load(study.name).runs
    assert len(found) == FINISHED
    assert found["state"].eq("done").all()
    with patch.object(sweeping, "worker_count", lambda asked: asked):
        times = Times()
        run_studies([study], storage=storage, workers=WORKERS, watcher=times)
    wall, cpu = times.passed()
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 if sys.platform == "darwin" else 1024)
    print(f"{kind}: {FINISHED:,} finished runs resumed in {wall:.1f} s ({cpu:.1f} s of CPU time)")
    print(f"{kind}: at most {memory:,.0f} MiB of memory, with the libraries")


def deaths(storage: str) -> None:
    """Run 200 workers of which some die each minute, until every run is done."""
    study, died, times = study_of(4_000, 0, storage), [], Times()
    with simulated(3.0, WORKERS * DEATHS_A_MINUTE / 60, died):
        run_studies([study], storage=storage, workers=WORKERS, watcher=times)
    states = Counter(Ledger(storage).studies.load(study.name).runs["state"])
    assert len({*times.ends}) == len(times.ends) == 4_000 == states["done"]
    print(f"{WORKERS} workers, {len(died)} of which died: {states['done']:,} of 4,000 runs done, each once")


def busy(job: Job, folder: Path, work: int = 20_000_000) -> Rows:
    """Compute for about half a second without waiting for anything."""
    total = 0
    for number in range(work):
        total += number
    return [measurement(run) for run in job]


def scaling(storage: str) -> None:
    """Compare one and two real workers on CPU-bound runs, alternately."""
    runs = Ledger(storage).studies.load("of 4000")
    del runs


def main() -> None:
    """Run the chosen parts."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--serve")
    parser.add_argument("--parts", default="sqlite,postgresql,deaths,scaling")
    parser.add_argument("--storage")
    options = parser.parse_args()
    if options.serve:
        asyncio.run(serve(options.serve))
        return
    parts = options.parts.split(",")
    load = load_average()
    if load is not None:
        print(f"load average per core: {load:.2f}")
    with tempfile.TemporaryDirectory() as folder:
        if "sqlite" in parts:
            settle("sqlite", f"sqlite:///{folder}/settle.db")
        if "deaths" in parts:
            deaths(f"sqlite:///{folder}/deaths.db")


if __name__ == "__main__":
    main()
