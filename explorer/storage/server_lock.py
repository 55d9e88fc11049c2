"""Locks of writers on a PostgreSQL server: advisory locks, which the server releases when their session ends.

All writers share the lock of the database, which keeps others from migrating its tables. Each writer alone holds the
studies that it writes and the runs that it trains. In this way, writers of different studies share runs: each run is
trained by only one of them, and the runs of a writer that has ended are free again.
"""

from __future__ import annotations

import hashlib
import os
import platform
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC
from typing import Any

import sqlalchemy as sa

from explorer.storage.lock import Busy, Holder

DATABASE = 0x6578706C6F726572  # "explorer" in ASCII, unlikely to be another program's number
TABLES = DATABASE + 1
"""Held while tables are created."""
NAME = "explorer"
LONGEST_NAME = 63  # number of bytes that PostgreSQL keeps of an application's name

CHECK_SECONDS = 5.0
"""Seconds between checks of a writer's session while it waits for its workers."""
GRACE_SECONDS = 20.0
"""Seconds after a lost session before new runs are claimed, so that all writers can reclaim theirs first."""

_HELD = sa.text(
    "select (classid::bigint << 32) | objid::bigint as number, pid, application_name, backend_start"
    " from pg_locks join pg_stat_activity using (pid)"
    " where locktype = 'advisory' and granted and objsubid = 1"
    " and database = (select oid from pg_database where datname = current_database())"
)


class ServerLock:
    """The locks of a writer. It stores everything through their session, so nothing can be written without them."""

    def __init__(self, engine: sa.Engine, *, alone: bool = False) -> None:
        """Lock the database, with `alone` only for this writer; raise `Busy` or an SQLAlchemy error."""
        self.engine = engine
        self.alone = alone
        self.studies: list[str] = []
        self.runs: set[str] = set()
        self.backend = 0  # the server's process for the session
        self.checked = time.monotonic()
        self.resumed = -GRACE_SECONDS  # when the session was last replaced
        self.session = self._open()

    def check(self) -> None:
        """Raise an SQLAlchemy error if the session, and therefore the locks, have been lost."""
        with self.session.begin():
            self.session.execute(sa.select(1))
        self.checked = time.monotonic()

    @property
    def is_due(self) -> bool:
        """Whether it is time for another check."""
        return time.monotonic() > self.checked + CHECK_SECONDS

    def retake(self) -> None:
        """Take all locks in a new session after losing the old one; raise `Busy` if another process has taken one."""
        if not self.session.closed:  # by an attempt that failed
            self.session.invalidate()
            self.session.close()
        self.session = self._open()
        self.resumed = time.monotonic()

    def close(self) -> None:
        """Release all locks and end the session."""
        # The server also releases them when it notices the end of the session, but that may be after the next command.
        with suppress(sa.exc.SQLAlchemyError), self.session.begin():
            self.session.execute(sa.select(sa.func.pg_advisory_unlock_all()))
        self.session.close()

    def hold(self, study: str) -> None:
        """Lock a study; raise `Busy` if another process is writing it."""
        if study not in self.studies:
            with self.session.begin():
                self._lock(self.session, study_number(study))
            self.studies.append(study)

    def claim(self, keys: Sequence[str]) -> bool:
        """Lock either all of the runs or none. Return whether they are locked."""
        if time.monotonic() < self.resumed + GRACE_SECONDS:
            return False
        taken: list[str] = []
        with self.session.begin():
            for key in keys:
                if not _try(self.session, run_number(key)):
                    self._unlock(taken)
                    return False
                taken.append(key)
        self.runs.update(keys)
        return True

    def release(self, keys: Sequence[str]) -> None:
        """Unlock runs."""
        with self.session.begin():
            self._unlock(keys)
        self.runs.difference_update(keys)

    def _unlock(self, keys: Sequence[str]) -> None:
        for key in keys:
            self.session.execute(sa.select(sa.func.pg_advisory_unlock(run_number(key))))

    def _open(self) -> sa.Connection:
        session = self.engine.connect()
        name = f"{NAME} {os.getpid()} {platform.node()}"[:LONGEST_NAME]
        try:
            with session.begin():
                session.execute(sa.select(sa.func.set_config("application_name", name, False)))
                self._lock(session, DATABASE, shared=not self.alone)
                for study in self.studies:
                    self._lock(session, study_number(study))
                for key in self.runs:  # whoever took one over trains it too; the results are the same
                    _try(session, run_number(key))
                self.backend = session.execute(sa.select(sa.func.pg_backend_pid())).scalar_one()
        except BaseException:
            session.close()
            raise
        return session

    def _lock(self, session: sa.Connection, number: int, *, shared: bool = False) -> None:
        if _try(session, number, shared=shared):
            return
        holders = [row for row in session.execute(_HELD) if row.number == number]
        if self.backend not in {row.pid for row in holders}:
            raise Busy(_holder(holders[0]) if holders else None)
        # The server has not yet noticed that the old session was lost.
        session.execute(sa.select(sa.func.pg_terminate_backend(self.backend)))
        session.execute(sa.text("set local lock_timeout = '10s'"))
        session.execute(sa.select(sa.func.pg_advisory_lock(number)))


@contextmanager
def creating_tables(engine: sa.Engine) -> Iterator[None]:
    """Wait until no other process creates tables on the server, and keep others from doing so."""
    with engine.connect() as session, session.begin():
        session.execute(sa.select(sa.func.pg_advisory_xact_lock(TABLES)))
        yield


def server_holders(connection: sa.Connection, studies: Sequence[str]) -> tuple[list[Holder], set[int]]:
    """Return the writers on a server with the given studies that each holds, and the numbers of all locks."""
    rows = connection.execute(_HELD).all()
    names = {study_number(study): study for study in studies}
    held: dict[int, list[str]] = {}
    for row in rows:
        if row.number in names:
            held.setdefault(row.pid, []).append(names[row.number])
    holders = [_holder(row, held.get(row.pid, ())) for row in rows if row.number == DATABASE]
    return holders, {row.number for row in rows}


def study_number(name: str) -> int:
    """The number of the lock of a study."""
    return _number(f"explorer study {name}")


def run_number(key: str) -> int:
    """The number of the lock of a run."""
    return _number(f"explorer run {key}")


def _number(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], signed=True)


def _holder(row: sa.Row[Any], studies: Sequence[str] = ()) -> Holder:
    """Return the holder that a session names. Earlier versions do not name theirs."""
    name, pid, host = [*row.application_name.split(" ", 2), "", ""][:3]
    if name != NAME or not pid.isdecimal():
        return Holder(studies=tuple(sorted(studies)))
    since = row.backend_start and row.backend_start.astimezone(UTC)  # hidden from users without permission
    return Holder(host, int(pid), since, tuple(sorted(studies)))


def _try(session: sa.Connection, number: int, *, shared: bool = False) -> bool:
    lock = sa.func.pg_try_advisory_lock_shared if shared else sa.func.pg_try_advisory_lock
    return bool(session.execute(sa.select(lock(number))).scalar_one())
