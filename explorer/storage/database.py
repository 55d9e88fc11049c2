"""The connection to a storage: its URL, transactions, errors in one line, and the lock that one writer holds."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from filelock import FileLock, Timeout
from sqlalchemy.engine import URL, make_url

from explorer.errors import ExplorerError
from explorer.storage.tables import metadata, version

SCHEMA = 1
ADVISORY_LOCK = 0x6578706C6F726572  # "explorer" in ASCII, so that no other program uses the same number
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
        """Connects to a storage; with `create`, it may be new, and `writing` makes its tables.

        Raises `ExplorerError` if the storage cannot be opened or has another schema.
        """
        self.url = storage_url(storage)
        self.shown = self.url.render_as_string(hide_password=True) if "://" in str(storage) else str(storage)
        self.file = self._sqlite_file(create)
        try:
            self.engine = sa.create_engine(self.url, poolclass=sa.NullPool, **engine_options(self.url))
        except (sa.exc.SQLAlchemyError, ImportError) as error:
            raise self._refusal(error) from None
        if self.file is not None:
            sa.event.listen(self.engine, "connect", _prepare_sqlite)
        if self.file is None or self.file.exists():
            schema = self._schema()
            if schema is None and not create:
                raise ExplorerError(f"storage {self.shown}: holds no studies; `explorer sweep` adds them")
            if schema not in {None, SCHEMA}:
                raise ExplorerError(
                    f"storage {self.shown}: its schema is version {schema}; this explorer reads version {SCHEMA}"
                )

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
        if create and not os.access(path if path.exists() else path.parent, os.W_OK):
            raise ExplorerError(f"storage {self.shown}: cannot be written: Permission denied")
        return path

    @contextmanager
    def transaction(self) -> Iterator[sa.Connection]:
        """A connection whose changes are kept together or not at all; database errors become an `ExplorerError`."""
        try:
            with self.engine.begin() as connection:
                yield connection
        except (sa.exc.SQLAlchemyError, ImportError) as error:
            raise self._refusal(error) from None

    def _refusal(self, error: Exception) -> ExplorerError:
        cause = getattr(error, "orig", None) or error
        return ExplorerError(f"storage {self.shown}: cannot be opened: {str(cause).splitlines()[0]}")

    def _schema(self) -> int | None:
        """The version of the tables, or None where they are not there, or not completely."""
        with self.transaction() as connection:
            if not sa.inspect(connection).has_table(version.name):
                return None
            return connection.execute(sa.select(version.c.schema)).scalar_one_or_none()

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Holds the writer's lock, so that no second process writes to the storage; makes missing tables.

        The lock is freed when the process ends, however it ends.
        """
        with self._only_writer():
            new = self._schema() is None
            with self.transaction() as connection:
                metadata.create_all(connection)
                if new:
                    connection.execute(version.insert().values(schema=SCHEMA))
            yield

    @contextmanager
    def _only_writer(self) -> Iterator[None]:
        busy = ExplorerError(
            f"storage {self.shown}: another sweep is writing to it, or a latency or export command; wait, or use another --storage"
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


def _prepare_sqlite(connection: Any, _: object) -> None:  # noqa: ANN401 (a DBAPI connection)
    """Write-ahead mode, in which readers and the one writer do not block each other; the file stays in it."""
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")
