"""The workers on this machine: single-threaded processes of a Dask cluster that are restarted whenever they end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psutil

from explorer.errors import ExplorerError
from explorer.training.dask_import import MEMORY_LIMIT, Client, Future, LocalCluster, dask_defaults
from explorer.training.software import gpus

WORKER_BYTES = 2**30
"""Memory of a worker in the built-in studies: 0.7 to 1.5 GiB, part of it shared by all workers of a machine."""

START_SECONDS = 60.0
"""Time allowed for a process to start and reach the scheduler before it is replaced."""

MEMORY_SECONDS = 0.5  # between looks at the memory of all processes

START_ATTEMPTS = 20
"""Number of consecutive processes that may end before they reach the scheduler."""

DIED = "its worker died (killed, or out of memory)"

SETTINGS = {
    # A worker has only one task, so its death has one cause. The engine counts attempts and records the reason.
    "distributed.scheduler.allowed-failures": 0,
    # The engine has its own clock: a run may keep a worker from answering for longer than Dask's five minutes.
    "distributed.scheduler.worker-ttl": None,
}

ENVIRONMENT = {
    # Otherwise, glibc returns large blocks to the kernel and page-faults them in again at every training step.
    "MALLOC_MMAP_THRESHOLD_": str(1 << 32),
    "MALLOC_TRIM_THRESHOLD_": str(1 << 33),
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
}


def worker_environment(gpu: int | None = None) -> dict[str, str]:
    """Return the environment of a worker process; it sees all GPUs that this process sees, or only the given one."""
    path = os.pathsep.join(filter(None, [os.environ.get("PYTHONPATH"), *(entry or "." for entry in sys.path)]))
    environment = os.environ | ENVIRONMENT | {"PYTHONPATH": path}
    if gpu is not None:
        visible = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
        environment["CUDA_VISIBLE_DEVICES"] = visible[gpu].strip() if gpu < len(visible) and visible[0] else str(gpu)
    return environment


def private_memory(pid: int) -> int:
    """Return a process's memory in bytes, excluding memory-mapped files, which workers share; 0 if it has ended."""
    try:
        used = psutil.Process(pid).memory_info()
    except psutil.Error:
        return 0
    return int(used.rss - getattr(used, "shared", 0))


def too_much_memory(limit: float) -> str:
    """Return the reason why a worker above its limit was ended."""
    return f"its worker used more than {limit / 2**30:.1f} GiB of memory"


@dataclass(eq=False)
class Member:
    """A worker process of the crew.

    Attributes:
        process: The process. Its standard input closes when the coordinator ends.
        address: Its address for the scheduler, once it has registered.
        where: None: a job may be retried on this machine.
        age: Seconds since its start.
        networks: Digests of the networks that it has trained.
        trouble: The reason why the crew ended it.
        gpu: The number of its GPU; None without GPUs.
    """

    process: subprocess.Popen[bytes]
    gpu: int | None = None
    address: str | None = None
    where: str | None = None
    age: float = 0.0
    networks: set[str] = field(default_factory=set)
    trouble: str = DIED

    @property
    def alive(self) -> bool:
        """Whether the process is running or stopped, but has not ended."""
        return self.process.poll() is None

    def end(self) -> None:
        """End the process immediately, even if it is frozen."""
        self.process.kill()
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(5)
        if self.process.stdin is not None:
            self.process.stdin.close()


class Crew:
    """The worker processes of a scheduler on this machine."""

    shared = False
    """Nobody else uses these workers, so a job begins at once."""

    def __init__(
        self, client: Client, scheduler: str, folder: Path, count: int, memory_limit: float | None = None, gpus: int = 0
    ) -> None:
        self.client = client
        self.scheduler = scheduler
        self.folder = folder
        self.count = count
        self.memory_limit = memory_limit or MEMORY_LIMIT / count
        self.gpus = gpus
        self.members: list[Member] = []
        self.failed_starts = 0
        self.measured = 0.0  # seconds since the memory was looked at

    @property
    def ready(self) -> list[Member]:
        """The members that the scheduler can reach."""
        return [member for member in self.members if member.address is not None and member.alive]

    @property
    def complete(self) -> bool:
        """Whether all members are ready."""
        return len(self.ready) == self.count

    def tend(self, seconds: float) -> None:
        """Replace members that have ended, use too much memory or do not start. The last call was `seconds` ago.

        Raises:
            ExplorerError: Workers repeatedly end or hang when they are started.
        """
        self._register()
        self.measured += seconds
        measure = self.measured >= MEMORY_SECONDS
        if measure:
            self.measured = 0.0
        for member in list(self.members):
            member.age += seconds
            if measure and private_memory(member.process.pid) > self.memory_limit:
                member.trouble = too_much_memory(self.memory_limit)
            elif member.alive and (member.address is not None or member.age < START_SECONDS):
                continue
            if member.address is None:
                self._failed_start(member)
            member.end()
            self.members.remove(member)
        while len(self.members) < self.count:
            self.members.append(self._start())

    def listen(self, topic: str, hear: Callable[[str, float], None]) -> None:
        """Call `hear` with the key and the speed of each report to a topic."""
        self.client.subscribe_topic(topic, lambda event: hear(*event[1]))

    def submit(self, member: Any, call: Any, *arguments: Any, key: str) -> Future[Any]:  # noqa: ANN401 (any task)
        """Run a call on a member. If the member dies, no other worker takes over."""
        return self.client.submit(
            call, *arguments, key=key, pure=False, workers=[member.address], allow_other_workers=False
        )

    def recheck(self, member: Any, folder: Path) -> None:  # noqa: ANN401 (of this crew)
        """Do nothing: a member opens the data set for each network."""

    def close(self) -> None:
        """End all processes immediately."""
        for member in self.members:
            member.process.kill()
        for member in self.members:
            member.end()

    def _register(self) -> None:
        starting = {member.process.pid: member for member in self.members if member.address is None}
        if not starting:
            return
        try:
            known = self.client.scheduler_info(n_workers=-1)["workers"]
        except (OSError, TimeoutError, ValueError, KeyError) as error:  # it knows no workers while it reconnects
            raise silent_scheduler() from error
        for address, worker in known.items():
            if worker["name"] in starting:
                starting[worker["name"]].address = address
                self.failed_starts = 0

    def _start(self) -> Member:
        taken = Counter(member.gpu for member in self.members)
        gpu = min(range(self.gpus), key=lambda number: taken[number], default=None)
        command = [sys.executable, "-P", "-m", "explorer.training.worker", self.scheduler, str(self.folder)]
        # Ctrl-C in a terminal reaches every process of the command. Workers inherit the blocked signal, so only the
        # coordinator handles it.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            with self._log.open("ab") as log:
                process = subprocess.Popen(  # noqa: S603 (ours)
                    command, stdin=subprocess.PIPE, stdout=log, stderr=log, env=worker_environment(gpu)
                )
                return Member(process, gpu)
        except OSError as error:
            raise ExplorerError(f"workers cannot be started: {error.strerror or error}") from error
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    @property
    def _log(self) -> Path:
        return self.folder / "worker.log"

    def _failed_start(self, member: Member) -> None:
        self.failed_starts += 1
        if self.failed_starts < START_ATTEMPTS:
            return
        code = member.process.poll()
        said = self._log.read_text(errors="replace").split("\n")
        last = next((line.strip() for line in reversed(said) if line.strip()), "")
        how = "did not answer" if code is None else f"was ended by signal {-code}" if code < 0 else f"ended: {last}"
        raise ExplorerError(f"workers do not start: tried {START_ATTEMPTS} times, and the last one {how}")


def silent_scheduler() -> ExplorerError:
    """Return the error for a scheduler that does not respond."""
    return ExplorerError(
        "the Dask scheduler no longer responds; stored runs are kept, and the same command continues from there"
    )


def _folder() -> TemporaryDirectory[str]:
    try:
        return TemporaryDirectory(prefix="explorer-workers-", ignore_cleanup_errors=True)
    except OSError as error:
        raise ExplorerError(
            f"workers need a temporary folder: {error.strerror or error}; set TMPDIR to a folder that you can write to"
        ) from error


@contextmanager
def crew(count: int, memory_limit: float | None = None) -> Iterator[Crew]:
    """Start a scheduler in this process and yield a crew of `count` workers, started by the first `tend`.

    A worker may use `memory_limit` bytes; by default an equal share of the memory.
    """
    with (
        dask_defaults(SETTINGS),
        _folder() as folder,
        LocalCluster(
            n_workers=0,
            processes=True,
            # No dashboard, because it listens on all interfaces by default.
            dashboard_address="127.0.0.1:0",
            scheduler_kwargs={"dashboard": False},
            host="127.0.0.1",
            silence_logs=False,  # it would end before the last messages
        ) as cluster,
        Client(cluster) as client,
    ):
        members = Crew(client, cluster.scheduler_address, Path(folder), count, memory_limit, gpus())
        try:
            yield members
        finally:
            members.close()
