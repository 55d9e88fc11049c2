"""The connection to a storage: its URL, transactions, errors in one line, and the lock that one writer holds."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from filelock import FileLock, Timeout
from sqlalchemy.engine import URL, make_url

from explorer.errors import ExplorerError
from explorer.storage import sqlite
from explorer.storage.tables import REVISION, SCHEMA, metadata, revision, version

ADVISORY_LOCK = 0x6578706C6F726572  # "explorer" in ASCII, so that no other program uses the same number
REFUSALS = (sa.exc.SQLAlchemyError, sqlite3.Error, ImportError)
CHUNK = 500  # values in one `IN (...)`


def storage_url(storage: str | Path) -> URL:
    """The database URL of a `--storage` value: either a URL, or the path of a SQLite file."""
    text = str(storage)
    try:
        return make_url(text) if "://" in text else URL.create("sqlite", database=text)
    except sa.exc.ArgumentError:
        raise ExplorerError(
            f"storage {text!r}: not a database URL, such as sqlite:///FILE or postgresql+psycopg://..."
        ) from None


def engine_options(url: URL) -> dict[str, Any]:
    """Options for every engine on the storage, ours and Optuna's: SQLite waits up to 30 s for another's write."""
    return {"connect_args": {"timeout": 30}} if url.get_backend_name() == "sqlite" else {}


class Database:
    """A database that holds, or will hold, the tables of `explorer.storage.tables`."""

    def __init__(self, storage: str | Path, *, create: bool = False) -> None:
        """Connects to a storage, and brings older tables to the newest revision.

        With `create`, the storage may be new, and `writing` makes its tables. A file that cannot be written is read
        from a temporary copy.

        Raises:
            ExplorerError: If the storage cannot be opened, holds no tables of ours, or those of a newer version.
        """
        self.url = storage_url(storage)
        self.shown = self.url.render_as_string(hide_password=True) if "://" in str(storage) else str(storage)
        self.file = self._sqlite_file(create)
        self.read_only = self.file is not None and not create and not sqlite.writable(self.file)
        try:
            if self.file is not None and self.read_only:
                self.file = sqlite.temporary_copy(self.file, self)
                self.url = self.url.set(database=str(self.file))
            self.engine = sa.create_engine(self.url, poolclass=sa.NullPool, **engine_options(self.url))
        except REFUSALS as error:
            raise self._refusal(error) from None
        if self.file is not None:
            sqlite.set_up(self.engine)
        if self.file is None or self.file.exists():
            self._check_revision(create)

    def _sqlite_file(self, create: bool) -> Path | None:
        if self.url.get_backend_name() != "sqlite":
            return None
        if not self.url.database or self.url.database == ":memory:":
            raise ExplorerError(f"storage {self.shown}: names no file; in-memory databases are not supported")
        path = Path(self.url.database)
        if not path.parent.is_dir():
            raise ExplorerError(f"storage {self.shown}: the folder {path.parent} does not exist")
        if not create and not path.is_file():
            raise ExplorerError(f"storage {self.shown}: there is no such file; `explorer sweep` makes it")
        if create and not sqlite.writable(path):
            raise ExplorerError(f"storage {self.shown}: cannot be written: Permission denied")
        return path

    def _check_revision(self, create: bool) -> None:
        found = self._revision()
        if found is None and not create:
            raise ExplorerError(f"storage {self.shown}: holds no studies; `explorer sweep` adds them")
        if found is not None and found > REVISION:
            raise ExplorerError(
                f"storage {self.shown}: a newer explorer wrote it: its tables are at {found}, and this one reads "
                f"{REVISION}; update the explorer"
            )
        if found is not None and found < REVISION:
            self._migrate()

    def _revision(self) -> str | None:
        """The revision of the tables, empty from before there were revisions; None where there are no tables."""
        with self.transaction() as connection:
            tables = sa.inspect(connection).get_table_names()
            if revision.name in tables:
                return connection.execute(sa.select(revision.c.version_num)).scalar_one_or_none()
            if version.name not in tables:
                return None
            schema = connection.execute(sa.select(version.c.schema)).scalar_one_or_none()
        return {None: None, 1: ""}.get(schema, f"schema {schema}")

    def _migrate(self) -> None:
        """Brings the tables to the newest revision in one transaction; a file has a copy beside it meanwhile."""
        from explorer.storage.migrations import upgrade

        with self._only_writer():
            copy = None if self.file is None else Path(f"{self.file}.before-{REVISION}")
            try:
                if self.file is not None and copy is not None:
                    sqlite.backup(self.file, copy)
                with self.engine.begin() as connection:
                    upgrade(connection)
            except Exception as error:
                reason = _first_line(error)
                kept = f", and {copy} is a copy of it" if copy else ""
                raise ExplorerError(
                    f"storage {self.shown}: cannot be brought to revision {REVISION}: {reason}; it is as before{kept}"
                ) from error
            if copy is not None:
                copy.unlink()

    @contextmanager
    def transaction(self) -> Iterator[sa.Connection]:
        """A connection whose changes are kept together or not at all; database errors become an `ExplorerError`."""
        try:
            with self.engine.begin() as connection:
                yield connection
        except REFUSALS as error:
            raise self._refusal(error) from None

    def _refusal(self, error: Exception) -> ExplorerError:
        return ExplorerError(f"storage {self.shown}: cannot be opened: {_first_line(error)}")

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Holds the writer's lock, so that no second process writes to the storage; makes the tables of a new one.

        The lock is freed when the process ends, however it ends.
        """
        if self.read_only:
            raise ExplorerError(f"storage {self.shown}: cannot be written: Permission denied")
        with self._only_writer():
            if self._revision() is None:
                with self.transaction() as connection:
                    metadata.create_all(connection)
                    connection.execute(version.insert().values(schema=SCHEMA))
                    connection.execute(revision.insert().values(version_num=REVISION))
            yield

    @contextmanager
    def _only_writer(self) -> Iterator[None]:
        busy = ExplorerError(
            f"storage {self.shown}: another sweep is writing to it, or a latency or export command; wait, or use "
            "another --storage"
        )
        if self.file is not None:
            lock = FileLock(f"{self.file}.lock")
            try:
                lock.acquire(timeout=0)
            except Timeout:
                raise busy from None
            except OSError as error:
                raise ExplorerError(f"storage {self.shown}: cannot be written: {error.strerror}") from None
            try:
                yield
            finally:
                lock.release()
        elif self.url.get_backend_name() == "postgresql":
            # A lock of the session: the server frees it when the connection ends, however that happens.
            with self.engine.connect() as connection:
                if not connection.execute(sa.select(sa.func.pg_try_advisory_lock(ADVISORY_LOCK))).scalar_one():
                    raise busy
                connection.commit()
                yield
        else:
            raise ExplorerError(f"storage {self.shown}: only SQLite and PostgreSQL are supported")


def rows_in(
    connection: sa.Connection, statement: sa.Select[Any], column: sa.Column[str], values: Sequence[str]
) -> Iterator[sa.RowMapping]:
    """Rows of a statement whose column has one of the values; asks in chunks, as a database limits their number."""
    for start in range(0, len(values), CHUNK):
        yield from connection.execute(statement.where(column.in_(values[start : start + CHUNK]))).mappings()


def _first_line(error: Exception) -> str:
    return (str(getattr(error, "orig", None) or error) or type(error).__name__).splitlines()[0]
