"""The writer's lock: only one explorer command at a time can write to a storage. It never outlives its process."""

from __future__ import annotations

import errno
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import sqlalchemy as sa
from filelock import FileLock, Timeout

ADVISORY_LOCK = 0x6578706C6F726572  # "explorer" in ASCII, unlikely to be another program's number

_HOLDER = sa.text(
    "select pid from pg_locks where locktype = 'advisory' and granted and objsubid = 1"
    " and (classid::bigint << 32) | objid::bigint = :key"
    " and database = (select oid from pg_database where datname = current_database())"
)


class Busy(Exception):  # noqa: N818 (a state that callers turn into an error)
    """Another process holds the lock."""


@contextmanager
def file_lock(file: Path) -> Iterator[None]:
    """Hold the lock of a SQLite file. Create the file if it does not exist, and remove it if it stays empty.

    Raises:
        Busy: Another process holds the lock.
        OSError: The file or its lock cannot be written.
    """
    lock = FileLock(f"{file}.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise Busy from None
    is_new = not file.exists()
    try:
        with _name_in_kernel(file):
            yield
    finally:
        with suppress(OSError):
            if is_new and not file.stat().st_size:
                file.unlink()
        lock.release()


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
                raise Busy from None
            raise
        yield


class ServerLock:
    """The lock of a PostgreSQL database. It is an advisory lock, which the server releases when its session ends.

    The writer stores everything through that session, so nothing can be written without the lock.
    """

    def __init__(self, engine: sa.Engine) -> None:
        """Take the lock; raise `Busy` or an SQLAlchemy error."""
        self.engine = engine
        self.backend = 0  # the server's process for the session
        self.session = self._take()

    def check(self) -> None:
        """Raise an SQLAlchemy error if the session, and therefore the lock, has been lost."""
        with self.session.begin():
            self.session.execute(sa.select(1))

    def retake(self) -> None:
        """Take the lock in a new session after losing the old one; raise `Busy` if another process has taken it."""
        self.session.invalidate()
        self.session.close()
        self.session = self._take()

    def _take(self) -> sa.Connection:
        session = self.engine.connect()
        try:
            with session.begin():
                self._lock(session)
                self.backend = session.execute(sa.select(sa.func.pg_backend_pid())).scalar_one()
        except BaseException:
            session.close()
            raise
        return session

    def _lock(self, session: sa.Connection) -> None:
        if session.execute(sa.select(sa.func.pg_try_advisory_lock(ADVISORY_LOCK))).scalar_one():
            return
        if session.execute(_HOLDER, {"key": ADVISORY_LOCK}).scalar() != self.backend:
            raise Busy
        # The server has not yet noticed that the old session was lost.
        session.execute(sa.select(sa.func.pg_terminate_backend(self.backend)))
        session.execute(sa.text("set local lock_timeout = '10s'"))
        session.execute(sa.select(sa.func.pg_advisory_lock(ADVISORY_LOCK)))
