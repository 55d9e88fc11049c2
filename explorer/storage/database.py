"""The connection to a storage: its URL, transactions, errors in one line, and the lock that one writer holds."""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
import weakref
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from filelock import FileLock, Timeout
from sqlalchemy.engine import URL, make_url

from explorer.errors import ExplorerError
from explorer.storage.tables import REVISION, SCHEMA, metadata, revision, version

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
        """Connects to a storage, and brings older tables to the newest revision.

        With `create`, the storage may be new, and `writing` makes its tables. A file that cannot be written is read
        from a temporary copy.

        Raises:
            ExplorerError: If the storage cannot be opened, holds no tables of ours, or those of a newer version.
        """
        self.url = storage_url(storage)
        self.shown = self.url.render_as_string(hide_password=True) if "://" in str(storage) else str(storage)
        self.file = self._sqlite_file(create)
        self.read_only = self.file is not None and not create and not _writable(self.file)
        if self.file is not None and self.read_only:
            self.file = self._temporary_copy(self.file)
            self.url = self.url.set(database=str(self.file))
        try:
            self.engine = sa.create_engine(self.url, poolclass=sa.NullPool, **engine_options(self.url))
        except (sa.exc.SQLAlchemyError, ImportError) as error:
            raise self._refusal(error) from None
        if self.file is not None:
            sa.event.listen(self.engine, "connect", _prepare_sqlite)
            sa.event.listen(self.engine, "begin", _begin_sqlite)
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
        if create and not _writable(path):
            raise ExplorerError(f"storage {self.shown}: cannot be written: Permission denied")
        return path

    def _temporary_copy(self, path: Path) -> Path:
        folder = tempfile.mkdtemp(prefix="explorer-")
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        copy = Path(folder) / path.name
        # Without a write-ahead log beside it, nobody has the file open, and SQLite need not lock it.
        mode = "mode=ro" if Path(f"{path}-wal").exists() else "immutable=1"
        self._copy(f"{path.resolve().as_uri()}?{mode}", copy)
        return copy

    def _copy(self, source: str, copy: Path) -> None:
        try:
            with closing(sqlite3.connect(source, uri=True)) as opened, closing(sqlite3.connect(copy)) as target:
                opened.backup(target)
        except sqlite3.Error as error:
            raise self._refusal(error) from None

    def _check_revision(self, create: bool) -> None:
        found = self._revision()
        if found is None and not create:
            raise ExplorerError(f"storage {self.shown}: holds no studies; `explorer sweep` adds them")
        if found is not None and found > REVISION:
            raise ExplorerError(
                f"storage {self.shown}: a newer explorer wrote it: its tables are at {found}, and this one reads {REVISION}; "
                "update the explorer"
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
        """Brings the tables to the newest revision in one transaction; of a file, a copy stays until that is done."""
        from explorer.storage.migrations import upgrade

        with self._only_writer():
            copy = None
            if self.file is not None:
                copy = Path(f"{self.file}.before-{REVISION}")
                self._copy(self.file.resolve().as_uri(), copy)
            try:
                with self.engine.begin() as connection:
                    upgrade(connection)
            except Exception as error:
                reason = str(getattr(error, "orig", None) or error).splitlines()[0]
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
        except (sa.exc.SQLAlchemyError, ImportError) as error:
            raise self._refusal(error) from None

    def _refusal(self, error: Exception) -> ExplorerError:
        cause = getattr(error, "orig", None) or error
        return ExplorerError(f"storage {self.shown}: cannot be opened: {str(cause).splitlines()[0]}")

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


def _writable(path: Path) -> bool:
    """Whether a file, which may be new, can be written, with the files that SQLite and the lock put beside it."""
    return os.access(path.parent, os.W_OK) and (not path.exists() or os.access(path, os.W_OK))


def _prepare_sqlite(connection: Any, _: object) -> None:  # noqa: ANN401 (a DBAPI connection)
    """Write-ahead mode, in which readers and the one writer do not block each other; the file stays in it."""
    connection.isolation_level = None  # or the driver would begin no transaction before tables are made or altered
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")


def _begin_sqlite(connection: sa.Connection) -> None:
    connection.exec_driver_sql("BEGIN")
