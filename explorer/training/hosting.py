"""What a cluster's Dask workers do: they train in child processes, so that we set the environment and the limits.

A Dask worker may be started in any way. Its children get the same environment as the workers of `crew.py`, they can be
ended at any time, and their deaths leave the Dask worker alone.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import cloudpickle

from explorer.data.dataset import is_intact, open_dataset
from explorer.errors import ExplorerError
from explorer.training.crew import DIED, START_SECONDS, private_memory, too_much_memory, worker_environment
from explorer.training.dask_import import MEMORY_LIMIT, Worker, get_worker
from explorer.training.software import Software

CHILDREN = "explorer-children"
"""Name of the children among a Dask worker's extensions."""

POLL_SECONDS = 0.2


class ChildLost(Exception):  # noqa: N818 (named after the outcome)
    """A child process ended, or was ended, before it had a result; the message is the reason."""


@dataclass(frozen=True)
class Place:
    """Where a job trains: one of the places of a coordinator on a worker.

    Attributes:
        coordinator: Identifies the coordinator; each has its own children.
        number: The number of the place on this worker; each has its own child.
        gpu: Number of its GPU among those visible to the worker.
        memory_limit: Bytes of private memory that a child may use.
    """

    coordinator: str
    number: int
    gpu: int | None = None
    memory_limit: float | None = None


@dataclass(frozen=True)
class Welcome:
    """What a worker is and has.

    Attributes:
        software: What its children compute with.
        threads: Tasks that it runs at the same time.
        memory: Bytes that it may use.
        gpus: GPUs that its children see.
        folder: The data set's folder there, or None if it does not have the data.
    """

    software: Software
    threads: int
    memory: int
    gpus: int
    folder: Path | None


@dataclass(eq=False)
class Child:
    """A process of this worker that trains for one place."""

    process: subprocess.Popen[bytes]
    connection: Connection
    software: Software | None = None
    gpus: int = 0

    @classmethod
    def start(cls, gpu: int | None) -> Child:
        """Start a process and wait until it has said what it computes with; raises `ChildLost`."""
        ours, theirs = Pipe()
        command = [sys.executable, "-P", "-m", "explorer.training.child", str(theirs.fileno())]
        with theirs:
            process = subprocess.Popen(  # noqa: S603 (ours)
                command, stdin=subprocess.PIPE, pass_fds=[theirs.fileno()], env=worker_environment(gpu)
            )
        child = cls(process, ours)
        if not ours.poll(START_SECONDS):
            child.end()
            raise ChildLost(f"its worker could not start a process within {START_SECONDS:.0f} s")
        try:
            child.software, child.gpus = child.receive()
        except ChildLost:
            child.end()
            raise ChildLost(f"a process on its worker ended at its start, with code {process.returncode}") from None
        return child

    def send(self, call: Callable[[], Any]) -> None:
        """Have it perform a call."""
        with suppress(OSError):  # it has ended, as `receive` will find
            self.connection.send_bytes(cloudpickle.dumps(call))

    def receive(self) -> tuple[Any, Any]:
        """Return its next message; raises `ChildLost` if it has ended."""
        try:
            message: tuple[Any, Any] = cloudpickle.loads(self.connection.recv_bytes())
        except (EOFError, OSError):
            raise ChildLost(DIED) from None
        return message

    def end(self) -> None:
        """End the process at once."""
        self.process.kill()
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(5)
        self.connection.close()
        if self.process.stdin is not None:
            self.process.stdin.close()


def welcome(place: Place, folder: Path, fingerprint: str) -> Welcome:
    """Start a child and return what this worker is and has; raises `ChildLost` if none starts."""
    worker = get_worker()
    child = _take(worker, place)
    _keep(worker, place, child)
    manager = worker.memory_manager
    assert child.software is not None  # the first thing that it said
    return Welcome(
        child.software,
        worker.state.nthreads,
        int(getattr(manager, "memory_limit", None) or MEMORY_LIMIT),
        child.gpus,
        next((path for path in (folder, _received(worker, folder.name)) if _holds(path, fingerprint)), None),
    )


def perform_in_child(place: Place, topic: str, fresh: bool, key: str, call: Callable[[], Any]) -> Any:  # noqa: ANN401
    """Perform a call in this place's child, a new one if it should be fresh, and return its result.

    Reports to the topic when it begins, and how fast the child is, as (coordinator, key, speed).

    Raises:
        ChildLost: The child died, or was ended because it used too much memory.
    """
    worker = get_worker()
    task = worker.get_current_task()
    child = _take(worker, place, fresh=fresh)
    worker.log_event(topic, (place.coordinator, key, 0.0))
    try:
        child.send(call)
        while True:
            if child.connection.poll(POLL_SECONDS):
                kind, value = child.receive()
                if kind != "speed":
                    break
                worker.log_event(topic, (place.coordinator, *value))
            elif place.memory_limit is not None and private_memory(child.process.pid) > place.memory_limit:
                raise ChildLost(too_much_memory(place.memory_limit))  # noqa: TRY301 (ends the child, as all errors do)
            elif not _wanted(worker, str(task)):
                raise ChildLost("no longer wanted")  # noqa: TRY301 (as above)
    except BaseException:
        child.end()
        raise
    _keep(worker, place, child)
    if kind == "error":
        raise value
    return value


def _wanted(worker: Worker, task: str) -> bool:
    """Whether the coordinator still waits for a task: it may cancel it, or may have been killed."""
    known = worker.state.tasks.get(task)
    return known is not None and known.state in {"executing", "long-running"}


def dismiss(coordinator: str) -> None:
    """End a coordinator's idle children."""
    children = _children(get_worker())
    for key in [key for key in children if key[0] == coordinator]:
        if child := children.pop(key, None):
            child.end()


def receive(folder: str, coordinator: str, name: str, start: int, content: bytes) -> None:
    """Write a part of a file of a data set."""
    file = _arriving(get_worker(), folder, coordinator) / name
    file.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(file, os.O_CREAT | os.O_WRONLY, 0o600)  # parts may arrive in any order
    with open(descriptor, "wb") as opened:  # noqa: PTH123 (a descriptor)
        opened.seek(start)
        opened.write(content)


def received(folder: str, coordinator: str, fingerprint: str) -> Path | None:
    """Check a data set that has arrived and return its folder, or None if it is damaged."""
    worker = get_worker()
    arriving, final = _arriving(worker, folder, coordinator), _received(worker, folder)
    try:
        if not _holds(arriving, fingerprint):
            return None
        if not _holds(final, fingerprint):
            shutil.rmtree(final, ignore_errors=True)
            with suppress(OSError):  # another coordinator has sent the same
                arriving.rename(final)
        return final
    finally:
        shutil.rmtree(arriving.parent, ignore_errors=True)


def _children(worker: Worker) -> dict[tuple[str, int], Child]:
    children: dict[tuple[str, int], Child] = vars(worker).setdefault(CHILDREN, {})
    return children


def _take(worker: Worker, place: Place, *, fresh: bool = False) -> Child:
    child = _children(worker).pop((place.coordinator, place.number), None)
    if child is not None and (fresh or child.process.poll() is not None):
        child.end()
        child = None
    return child or Child.start(place.gpu)


def _keep(worker: Worker, place: Place, child: Child) -> None:
    if _children(worker).setdefault((place.coordinator, place.number), child) is not child:
        child.end()


def _holds(folder: Path, fingerprint: str) -> bool:
    try:
        dataset = open_dataset(folder)
    except ExplorerError:
        return False
    return dataset.fingerprint == fingerprint and is_intact(dataset)


def _received(worker: Worker, folder: str) -> Path:
    return Path(worker.local_directory) / "explorer-data" / folder


def _arriving(worker: Worker, folder: str, coordinator: str) -> Path:
    return Path(worker.local_directory) / "explorer-data" / f"arriving-{coordinator}" / folder
