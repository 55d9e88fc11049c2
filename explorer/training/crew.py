"""The workers on this machine: single-threaded processes of a Dask cluster that are restarted whenever they end."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psutil

from explorer.errors import ExplorerError
from explorer.training.dask_import import MEMORY_LIMIT, Client, Future, LocalCluster, dask

START_SECONDS = 60.0
"""Time in which a process must start and reach the scheduler. Otherwise, it is replaced."""

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


@dataclass(eq=False)
class Member:
    """A worker process of the crew.

    Attributes:
        process: The process. Its standard input closes when the coordinator ends.
        address: Its address for the scheduler, once it has registered.
        age: Seconds since its start.
        networks: Digests of the networks that it has trained.
        trouble: The reason why the crew ended it.
    """

    process: subprocess.Popen[bytes]
    address: str | None = None
    age: float = 0.0
    networks: set[str] = field(default_factory=set)
    trouble: str = DIED

    @property
    def alive(self) -> bool:
        """Whether the process is running or stopped, but has not ended."""
        return self.process.poll() is None

    @property
    def memory(self) -> int:
        """The private memory of the process in bytes, without memory-mapped files, which workers share."""
        try:
            used = psutil.Process(self.process.pid).memory_info()
        except psutil.Error:
            return 0
        return int(used.rss - getattr(used, "shared", 0))

    def end(self) -> None:
        """End the process immediately, even if it is frozen."""
        self.process.kill()
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(5)
        if self.process.stdin is not None:
            self.process.stdin.close()


class Crew:
    """The worker processes of a scheduler on this machine."""

    def __init__(self, client: Client, scheduler: str, folder: Path, count: int) -> None:
        self.client = client
        self.scheduler = scheduler
        self.folder = folder
        self.count = count
        self.memory_limit = MEMORY_LIMIT / count
        self.members: list[Member] = []
        self.failed_starts = 0

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
        for member in list(self.members):
            member.age += seconds
            if member.memory > self.memory_limit:
                member.trouble = f"its worker used more than {self.memory_limit / 2**30:.1f} GiB of memory"
            elif member.alive and (member.address is not None or member.age < START_SECONDS):
                continue
            if member.address is None:
                self._failed_start(member)
            member.end()
            self.members.remove(member)
        while len(self.members) < self.count:
            self.members.append(self._start())

    def submit(self, member: Member, call: Any, *arguments: Any, key: str) -> Future[Any]:  # noqa: ANN401 (any task)
        """Run a call on a member. If the member dies, no other worker takes over."""
        return self.client.submit(
            call, *arguments, key=key, pure=False, workers=[member.address], allow_other_workers=False
        )

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
        except (OSError, TimeoutError, ValueError) as error:
            raise silent_scheduler() from error
        for address, worker in known.items():
            if worker["name"] in starting:
                starting[worker["name"]].address = address
                self.failed_starts = 0

    def _start(self) -> Member:
        path = os.pathsep.join(filter(None, [os.environ.get("PYTHONPATH"), *(entry or "." for entry in sys.path)]))
        environment = os.environ | ENVIRONMENT | {"PYTHONPATH": path}
        command = [sys.executable, "-P", "-m", "explorer.training.worker", self.scheduler, str(self.folder)]
        # Ctrl-C in a terminal reaches every process of the command. Workers inherit the blocked signal, so only the
        # coordinator handles it.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            with self._log.open("ab") as log:
                process = subprocess.Popen(  # noqa: S603 (ours)
                    command, stdin=subprocess.PIPE, stdout=log, stderr=log, env=environment
                )
                return Member(process)
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
def crew(count: int) -> Iterator[Crew]:
    """Start a scheduler in this process and yield a crew of `count` workers, started by the first `tend`."""
    # Dask's defaults, ignoring the user's configuration files.
    defaults = dask.config.merge(*dask.config.defaults)
    with (
        dask.config.set(defaults),
        dask.config.set(SETTINGS),
        _folder() as folder,
        LocalCluster(
            n_workers=0,
            processes=True,
            # No dashboard, because it listens on all interfaces by default.
            dashboard_address="127.0.0.1:0",
            scheduler_kwargs={"dashboard": False},
            host="127.0.0.1",
            silence_logs=logging.CRITICAL,
        ) as cluster,
        Client(cluster) as client,
    ):
        members = Crew(client, cluster.scheduler_address, Path(folder), count)
        try:
            yield members
        finally:
            members.close()
