"""The writer's lock of a SQLite file. Only one explorer command at a time can write to the file.

The lock never outlives its process. The lock file names its holder, so other commands can tell who is writing.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import platform
import socket
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, Timeout

from explorer.training.limits import duration

PROBE_SECONDS = 0.3  # time to outlast commands that check whether the lock is held


@dataclass(frozen=True)
class Holder:
    """A process that is writing to a storage.

    Attributes:
        host: Its host; empty if unknown.
        pid: Its process ID; None if unknown.
        since: The time when it began to write (UTC).
        studies: The studies that it writes.
    """

    host: str = ""
    pid: int | None = None
    since: datetime | None = None
    studies: tuple[str, ...] = ()

    @property
    def seconds(self) -> float | None:
        """The number of seconds since it began to write."""
        return None if self.since is None else max(0.0, (datetime.now(UTC) - self.since).total_seconds())

    def __str__(self) -> str:
        if self.pid is None:
            return "an unknown process"
        age = "" if self.seconds is None else f", for {duration(self.seconds)}"
        return f"process {self.pid} on {self.host}{age}"


class Busy(Exception):  # noqa: N818 (a state that callers turn into an error)
    """Another process holds the lock."""

    def __init__(self, holder: Holder | None = None) -> None:
        super().__init__()
        self.holder = holder or Holder()


class FileWriter:
    """The process that holds the lock of a SQLite file. The lock file has a note about it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.since = datetime.now(UTC)
        self.studies: list[str] = []
        self.runs: set[str] = set()
        self.changed = True  # since the note was written
        self.keep()

    def hold(self, study: str) -> None:
        """Note a study that is being written."""
        if study not in self.studies:
            self.studies.append(study)
            self.changed = True
            self.keep()

    def claim(self, keys: Sequence[str]) -> bool:
        """Add runs that are being trained. Nobody else can train them, so this returns True."""
        self.runs.update(keys)
        self.changed = True
        return True

    def release(self, keys: Sequence[str]) -> None:
        """Remove runs that have ended."""
        self.runs.difference_update(keys)
        self.changed = True

    def keep(self) -> None:
        """Bring the note up to date."""
        if not self.changed:
            return
        self.changed = False
        # In place, because a new file with this name would be a different lock.
        note = {"host": platform.node(), "pid": os.getpid(), "since": self.since.isoformat(timespec="seconds")}
        line = json.dumps(note | {"studies": self.studies, "runs": sorted(self.runs)}).encode() + b"\n"
        with suppress(OSError), self.path.open("r+b", buffering=0) as file:  # without a note, the lock still holds
            file.write(line)
            file.truncate()


@contextmanager
def file_lock(file: Path) -> Iterator[FileWriter]:
    """Hold the lock of a SQLite file. Create the file if it does not exist, and remove it if it stays empty.

    Raises:
        Busy: Another process holds the lock.
        OSError: The file or its lock cannot be written.
    """
    path = _lock_path(file)
    lock = FileLock(path)
    try:
        lock.acquire(timeout=PROBE_SECONDS)
    except Timeout:
        raise Busy(_noted(path)[0]) from None
    is_new = not file.exists()
    try:
        with _name_in_kernel(file):
            yield FileWriter(path)
    finally:
        with suppress(OSError):
            if is_new and not file.stat().st_size:
                file.unlink()
        lock.release()


def file_holder(file: Path) -> tuple[Holder, frozenset[str]] | None:
    """Return who is writing to a SQLite file and the keys of the runs in progress, or None if nobody is."""
    path = _lock_path(file)
    try:
        with path.open("rb") as opened:
            fcntl.flock(opened, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _noted(path)
    except OSError:  # there is no lock file, or the file system has no locks
        return None
    return None


def _lock_path(file: Path) -> Path:
    return Path(f"{file.resolve()}.lock")


def _noted(path: Path) -> tuple[Holder, frozenset[str]]:
    try:
        note = json.loads(path.read_bytes().split(b"\n")[0])
        since = datetime.fromisoformat(note["since"])
        return Holder(note["host"], note["pid"], since, tuple(note["studies"])), frozenset(note["runs"])
    except (OSError, ValueError, KeyError, TypeError):
        return Holder(), frozenset()


@contextmanager
def _name_in_kernel(file: Path) -> Iterator[None]:
    """Bind an abstract socket named after the file (Linux only). Unlike a lock file, it cannot be removed."""
    if sys.platform != "linux":
        yield
        return
    if not file.exists():
        file.touch()
    status = file.stat()
    with socket.socket(socket.AF_UNIX) as name:
        try:
            name.bind(f"\0explorer storage {status.st_dev} {status.st_ino}")
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise Busy(_noted(_lock_path(file))[0]) from None
            raise
        yield
