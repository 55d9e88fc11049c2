"""The connection to a storage: URL, transactions, one-line errors, and waiting for an unreachable server."""

from __future__ import annotations

import logging
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.engine import URL, make_url

from explorer.errors import ExplorerError
from explorer.files import is_text, user_path
from explorer.storage import sqlite
from explorer.storage.lock import Busy, FileWriter, Holder, file_holder, file_lock
from explorer.storage.server_lock import ServerLock, creating_tables, run_number, server_holders
from explorer.storage.tables import REVISION, SCHEMA, foreign_table, metadata, revision, version

log = logging.getLogger("explorer")
Done = TypeVar("Done")

PATIENCE = 300
"""Seconds that a writer waits for an unreachable server."""
RECONNECTIONS = 20
"""Number of reconnections that a writer attempts for one transaction before it gives up."""
REFUSALS = (sa.exc.SQLAlchemyError, sqlite3.Error, ImportError)
OPTUNA_VERSION = "version_info"
"""A database with this table is recognised as Optuna's."""
MOST_NAMED = 5  # maximum number of tables that an error names
CHUNK = 500  # maximum number of values in one `IN (...)`, which databases limit


def storage_url(storage: str | Path) -> URL:
    """Return the database URL for a `--storage` value, which is a URL or the path of a SQLite file."""
    text = str(storage)
    if not is_text(text):
        raise ExplorerError(f"storage {text}: this path is not valid UTF-8; use another file name")
    try:
        return make_url(text) if "://" in text else URL.create("sqlite", database=str(user_path(text)))
    except sa.exc.ArgumentError:
        raise ExplorerError(
            f"storage {text!r}: not a database URL; write sqlite:///FILE or postgresql+psycopg://..."
        ) from None


def engine_options(url: URL) -> dict[str, Any]:
    """Return the engine options that the explorer and Optuna share.

    SQLite waits up to 30 s for another writer. Connections to a server are checked before reuse. They count as lost
    after two minutes of silence.
    """
    if url.get_backend_name() == "sqlite":
        return {"connect_args": {"timeout": 30}}
    libpq = {"connect_timeout": 15, "keepalives_idle": 60, "keepalives_interval": 15, "keepalives_count": 4}
    given = libpq if url.drivername in {"postgresql+psycopg", "postgresql+psycopg2", "postgresql"} else {}
    return {
        "pool_pre_ping": True,
        "connect_args": {key: value for key, value in given.items() if key not in url.query},
    }


class Database:
    """A database with the tables of `explorer.storage.tables`."""

    def __init__(self, storage: str | Path, *, create: bool = False) -> None:
        """Open a storage and migrate older tables. A write-protected file is read from a temporary copy.

        Args:
            storage: SQLite file or database URL.
            create: Whether the storage may be new. If it is, `writing` creates its tables.

        Raises:
            ExplorerError: The storage cannot be opened, has no studies, or was written by a newer version.
        """
        self.url = storage_url(storage)
        self.shown = self.url.render_as_string(hide_password=True) if "://" in str(storage) else str(storage)
        self._writer: FileWriter | ServerLock | None = None  # while this process writes
        self._given_up: ExplorerError | None = None  # after the lock was lost for good
        try:
            self.file = self.original = self._sqlite_file(create)
            self.read_only = self.file is not None and not create and not sqlite.writable(self.file)
            if self.file is not None and self.read_only:
                self.file = sqlite.temporary_copy(self.file, self)
                self.url = self.url.set(database=str(self.file))
            self.engine = sa.create_engine(self.url, poolclass=sa.NullPool, **engine_options(self.url))
        except REFUSALS as error:
            raise self.error(_first_line(error)) from None
        except OSError as error:
            raise self.error(f"cannot be read: {error.strerror or error}") from None
        if self.file is not None:
            sqlite.set_up(self.engine)
        if self.file is None or self.file.exists():
            self._check_revision(create)

    def _sqlite_file(self, create: bool) -> Path | None:
        if self.url.get_backend_name() != "sqlite":
            return None
        if not self.url.database or self.url.database == ":memory:":
            raise self.error("in-memory databases are not supported; give a file")
        path = Path(self.url.database)
        if path.is_dir():
            raise self.error(f"it is a folder; give a file in it, such as {path / 'explorer.db'}")
        if not path.parent.is_dir():
            raise self.error(f"the folder {path.parent} does not exist")
        if not create and not path.is_file():
            raise self.error("does not exist; create it with `explorer sweep`")
        if create and not sqlite.writable(path):
            raise self.error("cannot be written: Permission denied")
        return path

    def _check_revision(self, create: bool) -> None:
        found = self._revision()
        if found is None and not create:
            raise self.error("has no studies; add one with `explorer sweep`")
        if found is not None and found > REVISION:
            raise self.error(
                f"written by a newer explorer (revision {found}, this one reads {REVISION}); update the explorer"
            )
        if found is not None and found < REVISION:
            self._migrate()

    def _revision(self) -> str | None:
        """Return the revision of the tables: empty if they are older than revisions, None if there are no tables."""

        def read(connection: sa.Connection) -> str | None:
            tables = sa.inspect(connection).get_table_names()
            if not {revision.name, version.name} & set(tables):
                self._refuse_file_of_another_program(tables)
                return None
            self._refuse_foreign(connection, [revision, version])
            if revision.name in tables:
                return connection.execute(sa.select(revision.c.version_num)).scalar_one_or_none()
            schema = connection.execute(sa.select(version.c.schema)).scalar_one_or_none()
            return {None: None, 1: ""}.get(schema, f"schema {schema}")

        return self.perform(read)

    def _refuse_file_of_another_program(self, tables: Sequence[str]) -> None:
        """Raise `ExplorerError` for a SQLite file that only has tables of other programs. Servers may be shared."""
        known = any(name in metadata.tables or name == OPTUNA_VERSION for name in tables)
        if self.file is not None and tables and not known:
            named = ", ".join(sorted(tables)[:MOST_NAMED]) + (", ..." if tables[MOST_NAMED:] else "")
            plural = "s" if tables[1:] else ""
            raise self.error(f"is a database of another program (table{plural} {named}); name another file")

    def _refuse_foreign(self, connection: sa.Connection, tables: Sequence[sa.Table]) -> None:
        foreign = foreign_table(connection, tables)
        if foreign:
            raise self.error(f"its table {foreign} does not belong to the explorer; use another database")

    def _migrate(self) -> None:
        """Migrate the tables in one transaction, and keep a copy of a SQLite file until this has succeeded."""
        from explorer.storage.migrations import upgrade

        with self._writing(alone=True):
            copy = None if self.file is None else Path(f"{self.file}.before-{REVISION}")
            try:
                if self.file is not None and copy is not None:
                    sqlite.backup(self.file, copy)
                with self.engine.begin() as connection:
                    upgrade(connection)
                    self._refuse_foreign(connection, metadata.sorted_tables)
            except Exception as error:
                kept = f"; {copy} is a backup" if copy else ""
                raise self.error(
                    f"cannot be migrated to revision {REVISION}: {_first_line(error)}; it is unchanged{kept}"
                ) from error
            if copy is not None:
                copy.unlink()

    @property
    def _lock(self) -> ServerLock | None:
        """The locks on a server, held while this process writes to it."""
        return self._writer if isinstance(self._writer, ServerLock) else None

    def perform(self, work: Callable[[sa.Connection], Done]) -> Done:
        """Do some work atomically in one transaction and return its result."""

        def transaction() -> Done:
            if self._lock is not None:
                with self._lock.session.begin():
                    return work(self._lock.session)
            with self.engine.begin() as connection:
                return work(connection)

        return self.call(transaction)

    def call(self, action: Callable[[], Done]) -> Done:
        """Call a function that uses the database, and turn database errors into `ExplorerError`.

        While writing, a lost connection to a server is reopened and the action is repeated.
        """
        for _ in range(RECONNECTIONS):
            if self._given_up is not None:
                raise self._given_up
            try:
                if self._lock is not None:
                    self._lock.check()
                return action()
            except REFUSALS as error:
                if self._lock is None or not _is_lost(error):
                    raise self.error(_first_line(error)) from None
                self._given_up = self._reconnect(self._lock, error)
        raise self.error(f"the connection was lost {RECONNECTIONS} times")

    def _reconnect(self, lock: ServerLock, error: Exception) -> ExplorerError | None:
        """Wait for the server and retake the lock, or return an error if that fails."""
        log.warning("storage %s: connection lost; waiting up to %d minutes for the server", self.shown, PATIENCE // 60)
        deadline, pause = time.monotonic() + PATIENCE, 0.5
        while time.monotonic() < deadline:
            time.sleep(pause)
            pause = min(2 * pause, 10)
            try:
                lock.retake()
            except Busy as busy:
                return self.error(f"another explorer command took over while the connection was lost{_named(busy)}")
            except REFUSALS as refusal:
                error = refusal
            else:
                log.warning("storage %s: reconnected", self.shown)
                return None
        return self.error(
            f"no connection for {PATIENCE // 60} minutes: {_first_line(error)}; "
            "stored runs are kept, and the same command continues from there"
        )

    def select(self, statement: sa.Select[*tuple[Any, ...]]) -> list[sa.RowMapping]:
        """Return the rows that a statement selects."""
        return self.perform(lambda connection: [*connection.execute(statement).mappings().all()])

    def select_in(
        self, statement: sa.Select[*tuple[Any, ...]], column: sa.Column[str], values: Sequence[str]
    ) -> list[sa.RowMapping]:
        """Return the rows that a statement selects, if their column has one of the values."""
        chunks = (values[start : start + CHUNK] for start in range(0, len(values), CHUNK))
        return [row for chunk in chunks for row in self.select(statement.where(column.in_(chunk)))]

    def replace(self, table: sa.Table, rows: Sequence[Mapping[str, Any]]) -> None:
        """Store rows, and replace rows with the same primary key."""
        # The same statements for all rows and calls, so that SQLAlchemy compiles them once.
        same = table.delete().where(*(column == sa.bindparam(f"key_{column.name}") for column in table.primary_key))
        keys = [{f"key_{column.name}": row[column.name] for column in table.primary_key} for row in rows]

        def store(connection: sa.Connection) -> None:
            if rows:
                connection.execute(same, keys)
                connection.execute(table.insert(), list(rows))

        self.perform(store)

    def error(self, reason: str) -> ExplorerError:
        """Return an error that names the storage but hides its password."""
        return ExplorerError(f"storage {self.shown}: {reason}")

    @contextmanager
    def writing(self, *studies: str) -> Iterator[None]:
        """Hold the locks of a writer of these studies, and create the tables of a new storage.

        A SQLite file has one writer at a time. A server has several, of different studies. The locks never outlive the
        process.

        Raises:
            ExplorerError: Another process is writing to the SQLite file, or writes one of the studies.
        """
        if self.read_only:
            raise self.error("cannot be written: Permission denied")
        with self._writing():
            if self._revision() is None:
                self.call(self._create)
            if self.file is not None:
                file = self.file
                self.call(lambda: sqlite.write_ahead(file))
            for study in studies:
                self.hold(study)
            yield

    def hold(self, study: str) -> None:
        """Become the only writer of a study; raise `ExplorerError` if another process is writing it."""
        try:
            self.call(lambda: self._held.hold(study))
        except Busy as busy:
            raise self._busy(f"writing the study {study}", busy) from None

    def claim(self, keys: Sequence[str]) -> bool:
        """Become the only writer that trains these runs. Return False if another one is training any of them."""
        return self.call(lambda: self._held.claim(keys))

    def release(self, keys: Sequence[str]) -> None:
        """Release the claim on runs that have ended."""
        self.call(lambda: self._held.release(keys))

    def keep(self) -> None:
        """Keep the locks, and the note on who holds them. Call this regularly while waiting.

        A lost session on a server is noticed here.
        """
        if isinstance(self._writer, FileWriter):
            self._writer.keep()
        elif self._lock is not None and self._lock.is_due:
            self.call(lambda: None)

    def writers(self, studies: Sequence[str]) -> tuple[list[Holder], Callable[[str], bool]]:
        """Return the processes that are writing to the storage, and a function that tells if a run is being trained.

        Each process has those of the given studies that it writes. The function takes the key of a run.
        """
        if self.original is None:
            holders, numbers = self.perform(lambda connection: server_holders(connection, studies))
            return holders, lambda key: run_number(key) in numbers
        found = file_holder(self.original)
        if found is None:
            return [], lambda _: False
        holder, keys = found
        return [holder], keys.__contains__

    @property
    def has_other_writers(self) -> bool:
        """Whether other processes may be writing to the storage at the same time."""
        return self.file is None

    @property
    def _held(self) -> FileWriter | ServerLock:
        assert self._writer is not None
        return self._writer

    def _busy(self, what: str, busy: Busy) -> ExplorerError:
        return self.error(f"another explorer command is {what}{_named(busy)}; wait, or use another --storage")

    def creating_tables(self) -> AbstractContextManager[None]:
        """Return a context in which no other process creates tables."""
        return creating_tables(self.engine) if self.file is None else nullcontext()

    def _create(self) -> None:
        with self.creating_tables():
            if self._revision() is None:  # no other process was faster
                self.perform(self._create_tables)

    def _create_tables(self, connection: sa.Connection) -> None:
        self._refuse_foreign(connection, metadata.sorted_tables)
        metadata.create_all(connection)
        connection.execute(version.insert().values(schema=SCHEMA))
        connection.execute(revision.insert().values(version_num=REVISION))

    @contextmanager
    def _writing(self, *, alone: bool = False) -> Iterator[None]:
        """Take the lock of the storage; on a server, other writers are excluded only with `alone`."""
        with ExitStack() as held:
            try:
                if self.file is not None:
                    self._writer = held.enter_context(file_lock(self.file))
                elif self.url.get_backend_name() == "postgresql":
                    self._writer = server = self.call(lambda: ServerLock(self.engine, alone=alone))
                    held.callback(server.close)
                else:
                    raise self.error("only SQLite and PostgreSQL are supported")
            except Busy as busy:
                raise self._busy("writing to it", busy) from None
            except OSError as error:
                raise self.error(f"cannot be written: {error.strerror}") from None
            try:
                yield
            finally:
                self._writer = self._given_up = None


def _named(busy: Busy) -> str:
    return "" if busy.holder.pid is None else f" ({busy.holder})"


def _is_lost(error: Exception) -> bool:
    """Whether the error means that the connection to a server was lost or could not be opened."""
    if not isinstance(error, sa.exc.DBAPIError):
        return False
    state = getattr(error.orig, "sqlstate", None) or getattr(error.orig, "pgcode", None)
    unreachable = isinstance(error, sa.exc.OperationalError) and (state or "08").startswith(("08", "57P"))
    return error.connection_invalidated or unreachable


def _first_line(error: Exception) -> str:
    reason = (str(getattr(error, "orig", None) or error) or type(error).__name__).splitlines()[0]
    return f"{reason}; check for a full disk or a file size limit" if reason == "disk I/O error" else reason
