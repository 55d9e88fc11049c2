"""Perform runs on all cores with a Dask cluster of single-threaded workers. Any worker may die or hang."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterator, Sequence
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from queue import Empty, SimpleQueue
from traceback import format_exception
from typing import Any

from explorer.data import Dataset, open_dataset
from explorer.errors import ExplorerError
from explorer.training.cluster import Cluster
from explorer.training.crew import Crew, Member, crew, silent_scheduler
from explorer.training.dask_import import CancelledError, Future, KilledWorker
from explorer.training.fetching import Results
from explorer.training.hosting import ChildLost
from explorer.training.limits import LEAST_SECONDS, Clock, Speeds, duration
from explorer.training.performing import SPEEDS, DataUnreadable, Job, Rows, host, perform
from explorer.training.remote import RemoteCrew, Slot, remote_crew
from explorer.training.run import Run

ATTEMPTS = 3
"""Number of attempts before a job is recorded as crashed because its workers keep dying or timing out."""

MOST_NETWORKS = 12
"""Number of networks that a worker trains before it is replaced. Torch retains 15 to 30 MB for each of them."""

WAIT_SECONDS = 0.5  # time between checks of the workers while waiting for a result
FETCH_SECONDS = 120  # time limit for fetching a finished result, which may hold megabytes of weights, from a worker


class Jobs:
    """Chooses the next job whenever a worker is free. This class is a plain queue; subclasses can choose otherwise.

    `execute` calls `take` between outcomes, so a subclass can base its decision on the outcomes so far.
    """

    def __init__(self, jobs: Sequence[Job] = ()) -> None:
        self.waiting = deque(jobs)

    @property
    def finished(self) -> bool:
        """Whether there will be no more jobs, regardless of the outcomes of those in progress."""
        return not self.waiting

    def take(self) -> Job | None:
        """Return the next job, or None if there is none at the moment."""
        return self.waiting.popleft() if self.waiting else None

    def tend(self) -> None:
        """Do what is needed from time to time; called about twice a second, even while all workers are busy."""

    def store(self, outcomes: Sequence[Outcome]) -> None:
        """Store outcomes that became known at the same time; called before `execute` yields them one by one."""


class EngineWatcher:
    """Follows the progress of the engine and may stop it. This base class does nothing."""

    def doing(self, what: str) -> None:
        """Report a step before training starts, such as `starting 2 workers`."""

    def speed(self, run: Run, images_per_second: float) -> None:
        """Report the speed of a run in progress. The first report comes after about a second of training."""

    def working(self, workers: int) -> None:
        """Receive the number of runs that a cluster can train at the same time. Called when that number changes."""

    def stopping(self) -> bool:
        """Whether to stop starting runs, and to end once the runs in progress have ended."""
        return False


@dataclass(frozen=True)
class Outcome:
    """A run and its ledger row: `done` with a measurement, `failed` for good, or `crashed` and to be retried later."""

    run: Run
    row: dict[str, Any]

    @property
    def state(self) -> str:
        """`done`, `failed` or `crashed`."""
        return str(self.row["state"])


def execute(
    jobs: Sequence[Job] | Jobs,
    dataset_folder: Path,
    workers: int | None,
    *,
    cluster: Cluster | None = None,
    memory_limit: float | None = None,
    workers_per_gpu: int = 1,
    prepare: Callable[[], Dataset] | None = None,
    run_timeout: float | None = None,
    started: Callable[[Job], None] | None = None,
    watcher: EngineWatcher | None = None,
    call: Callable[[Job, Path], Rows] | None = None,
) -> Generator[Outcome, None, None]:
    """Perform the jobs in order on `workers` one-thread processes and yield their outcomes as jobs finish.

    A job is retried, up to three attempts in total, if its worker dies or times out; on a cluster, preferably on
    another worker.

    Args:
        jobs: The jobs to perform, or a `Jobs` object that decides on the next one.
        dataset_folder: The folder of the data set, which workers open.
        workers: Number of processes; None for all that a cluster has.
        cluster: A running Dask scheduler, whose workers train instead of processes on this machine.
        memory_limit: Bytes that a process may use; by default an equal share of its machine's memory.
        workers_per_gpu: Processes that share a GPU of a cluster's workers.
        prepare: Rebuilds the data set if a worker cannot open it because it was deleted or damaged in the meantime.
        run_timeout: Seconds that a run may take; by default, 20 times the estimate from earlier runs, at least 10 min.
        started: Called with each job when a worker starts it.
        watcher: Follows the progress and may stop it.
        call: Function that a worker calls with a job and the folder; `perform` if not given.

    Raises:
        ExplorerError: Workers do not start, the scheduler does not respond, or the data set has changed; none of a
            cluster's workers has the software of this machine.
    """
    queue = jobs if isinstance(jobs, Jobs) else Jobs(jobs)
    if queue.finished:
        return
    following = EngineWatcher() if watcher is None else watcher
    # A cluster's further workers are for retries.
    most = workers if cluster is not None or isinstance(jobs, Jobs) else min(workers or len(jobs), len(jobs))
    with _crew(dataset_folder, most, cluster, memory_limit, workers_per_gpu, following) as members:
        yield from _Execution(
            members, call or perform, queue, dataset_folder, prepare, run_timeout, started, following
        ).outcomes()


@contextmanager
def _crew(
    dataset_folder: Path,
    workers: int | None,
    cluster: Cluster | None,
    memory_limit: float | None,
    workers_per_gpu: int,
    watcher: EngineWatcher,
) -> Iterator[Crew | RemoteCrew]:
    if cluster is not None:
        watcher.doing(f"connecting to {cluster.address}")
        fingerprint = open_dataset(dataset_folder).fingerprint
        with remote_crew(
            cluster,
            (dataset_folder, fingerprint),
            watcher.doing,
            watcher.working,
            most=workers,
            memory_limit=memory_limit,
            per_gpu=workers_per_gpu,
        ) as remote:
            yield remote
        return
    number = workers or 1
    each = (
        ""
        if memory_limit is None
        else f" with at most {memory_limit / 2**30:.1f} GiB of memory" + " each" * (number > 1)
    )
    watcher.doing((f"starting {number} workers" if number > 1 else "starting a worker") + each)
    with crew(number, memory_limit) as local:
        yield local


@dataclass(eq=False)
class _Flight:
    """A job on a worker, which has begun it or will when it has time.

    Attributes:
        seconds: Seconds since it began, or since it was submitted if it has not begun.
        fetching: Seconds since its task ended.
    """

    job: Job
    member: Member | Slot
    begun: bool
    seconds: float = 0.0
    fetching: float = 0.0


class _Execution:
    """The state of `execute`: jobs to come, to retry and on workers, and the failures so far."""

    def __init__(
        self,
        members: Crew | RemoteCrew,
        call: Callable[[Job, Path], Rows],
        jobs: Jobs,
        dataset_folder: Path,
        prepare: Callable[[], Dataset] | None,
        run_timeout: float | None,
        started: Callable[[Job], None] | None,
        watcher: EngineWatcher,
    ) -> None:
        self.members = members
        self.call = call
        self.jobs = jobs
        self.retries: deque[Job] = deque()
        self.dataset_folder = dataset_folder
        self.prepare = prepare
        self.run_timeout = run_timeout
        self.started = started
        self.watcher = watcher
        self.flights: dict[Future[Any], _Flight] = {}
        self.results = Results()
        self.troubles: dict[str, list[str]] = {}  # why attempts at a job failed, by its first run's key
        self.failed_at: dict[str, set[str | None]] = {}  # on which workers of a cluster, by the same key
        self.submissions = count()
        self.speeds = Speeds()
        self.reports: SimpleQueue[tuple[str, float]] = SimpleQueue()
        self.members.listen(SPEEDS, lambda key, speed: self.reports.put((key, speed)))

    def outcomes(self) -> Iterator[Outcome]:
        """Perform all jobs. Each pass takes a fraction of a second, and every wait for a worker has a time limit."""
        clock = Clock()
        try:
            while self.flights or (self._more and not self.watcher.stopping()):
                seconds = clock.passed()
                self.members.tend(seconds)
                self.jobs.tend()
                self._launch()
                finished = self._finished()
                self._hear_speeds()
                found = [outcome for task, result in finished.items() for outcome in self._land(task, result)]
                for task, flight in list(self.flights.items()):
                    found += self._check(task, flight, seconds)
                if found:
                    self.jobs.store(found)
                yield from found
        finally:
            self.results.close()

    @property
    def _more(self) -> bool:
        return bool(self.retries) or not self.jobs.finished

    def _launch(self) -> None:
        busy = {flight.member for flight in self.flights.values()}
        ready = self.members.ready
        places = {member.where for member in ready}
        more = True
        for member in ready:
            if member not in busy and not self.watcher.stopping():
                job = self._retry(member, places) or (self.jobs.take() if more else None)
                if job is None:
                    more = False
                    continue
                key = f"{job[0].key}-{next(self.submissions)}"
                task = self.members.submit(member, self.call, job, self.dataset_folder, key=key)
                self.flights[task] = _Flight(job, member, begun=not self.members.shared)
                self.results.expect(task)
                if self.started is not None:
                    self.started(job)

    def _retry(self, member: Member | Slot, places: AbstractSet[str | None]) -> Job | None:
        """Return a job to retry on a member, where it has not failed yet unless it has failed everywhere."""
        for job in self.retries:
            failed_at = self.failed_at.get(job[0].key, set())
            if member.where not in failed_at or places <= failed_at:
                self.retries.remove(job)
                return job
        return None

    def _finished(self) -> dict[Future[Any], Any]:
        seconds = WAIT_SECONDS if self.members.complete else WAIT_SECONDS / 10
        if not self.flights:
            time.sleep(WAIT_SECONDS / 10)
            return {}
        return {task: result for task, result in self.results.take(seconds).items() if task in self.flights}

    def _land(self, task: Future[Any], result: Rows | Exception) -> Sequence[Outcome]:
        """Return the outcomes of a job whose result has been fetched, unless it has to be tried again."""
        flight = self.flights.pop(task)
        if isinstance(result, CancelledError) and self.members.client.status != "running":
            raise silent_scheduler()
        if isinstance(result, DataUnreadable):
            return self._again(flight, str(result), prepare=True)
        if isinstance(result, ChildLost):
            return self._again(flight, str(result))
        if isinstance(result, KilledWorker | CancelledError):
            return self._lost(task, flight, flight.member.trouble)
        if isinstance(result, Exception):
            return self._lost(task, flight, _first_line(result), _traceback_of(task, result))
        task.release()  # otherwise, Dask would compute it again when its worker ends
        flight.member.networks.add(flight.job[0].network.digest)
        if len(flight.member.networks) >= MOST_NETWORKS and self._more:
            flight.member.end()
        for run, row in zip(flight.job, result, strict=True):
            self.speeds.note(run, row.get("images_per_second") or 0.0)
        return _outcomes(flight.job, result)

    def _check(self, task: Future[Any], flight: _Flight, seconds: float) -> Sequence[Outcome]:
        """Abort an attempt at a job if its worker has exited, or if it takes too long; `seconds` more have passed."""
        flight.seconds += seconds
        if task.done():
            flight.fetching += seconds
        if flight.member.alive and not flight.begun and flight.seconds > LEAST_SECONDS:
            self._withdraw(task, flight)
            return ()
        if flight.member.alive and flight.fetching < FETCH_SECONDS:
            if not flight.begun or not self.speeds.exceeded(flight.seconds, flight.job, self.run_timeout):
                return ()
            limit = self.speeds.limit(flight.job, self.run_timeout)
            flight.member.trouble = f"no result after {duration(limit)}"
        del self.flights[task]
        return self._lost(task, flight, flight.member.trouble)

    def _withdraw(self, task: Future[Any], flight: _Flight) -> None:
        """Queue a job again whose worker is busy with the work of others. This is not one of its attempts."""
        self.watcher.doing(f"worker {flight.member.where} is busy with other work; trying its run elsewhere")
        task.cancel()
        del self.flights[task]
        self.retries.append(flight.job)

    def _lost(self, task: Future[Any], flight: _Flight, trouble: str, trace: str | None = None) -> Sequence[Outcome]:
        """Replace the worker of a job that brought no result, and try again on another one."""
        flight.member.end()
        task.cancel()
        return self._again(flight, trouble, trace)

    def _again(
        self, flight: _Flight, trouble: str, trace: str | None = None, *, prepare: bool = False
    ) -> Sequence[Outcome]:
        """Retry a job next, or record it as crashed after the last attempt, with the traceback of that attempt."""
        job = flight.job
        if flight.member.where is not None:
            self.failed_at.setdefault(job[0].key, set()).add(flight.member.where)
        troubles = self.troubles.setdefault(job[0].key, [])
        troubles.append(trouble)
        if prepare and self.prepare is not None:
            try:
                self._prepare(job[0].data_fingerprint, self.prepare)
            except OSError as error:
                troubles.append(_first_line(error))
        if prepare:
            self.members.recheck(flight.member, self.dataset_folder)
        if len(troubles) < ATTEMPTS:
            self.retries.append(job)
            return ()
        reason = "; ".join(f"{reason}, {_times(times)}" for reason, times in Counter(troubles).items())
        row = {"state": "crashed", "reason": reason, "host": host(), "traceback": trace}
        return _outcomes(job, [row] * len(job))

    def _prepare(self, fingerprint: str, prepare: Callable[[], Dataset]) -> None:
        self.watcher.doing("preparing the data again, because a worker could not read it")
        again = prepare()
        if again.fingerprint != fingerprint:
            raise ExplorerError(
                f"the images of {again.name} must not change during a sweep, but they did; stored runs are kept"
            )
        self.dataset_folder = again.folder

    def _hear_speeds(self) -> None:
        flights = {flight.job[0].key: flight for flight in self.flights.values()}
        while True:
            try:
                key, images_per_second = self.reports.get_nowait()
            except Empty:
                return
            if key not in flights:
                continue
            if not flights[key].begun:
                flights[key].begun, flights[key].seconds = True, 0.0
            if images_per_second:
                run = flights[key].job[0]
                self.speeds.note(run, images_per_second)
                self.watcher.speed(run, images_per_second)


def _traceback_of(task: Future[Any], error: BaseException) -> str:
    """Return the traceback of the error that a task ended with, as text."""
    try:
        trace = task.traceback(timeout=FETCH_SECONDS)
    except Exception:  # noqa: BLE001 (one that cannot be fetched is left out)
        trace = None
    return "".join(format_exception(type(error), error, trace))


def _times(number: int) -> str:
    return "once" if number == 1 else f"{number} times"


def _first_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0]


def _outcomes(job: Job, rows: Sequence[dict[str, Any]]) -> list[Outcome]:
    return [_outcome(run, row) for run, row in zip(job, rows, strict=True)]


def _outcome(run: Run, measured: dict[str, Any]) -> Outcome:
    row = {
        "key": run.key,
        "network": run.network.digest,
        "data_fingerprint": run.data_fingerprint,
        "settings": run.settings,
        "seed": run.seed,
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        **measured,
    }
    return Outcome(run, row)
