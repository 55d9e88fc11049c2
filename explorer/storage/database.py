"""The connection to a storage: URL, transactions, one-line errors, and the writer's lock."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from filelock import FileLock, Timeout
from sqlalchemy.engine import URL, make_url

from explorer.errors import ExplorerError
from explorer.files import user_path
from explorer.storage import sqlite
from explorer.storage.tables import REVISION, SCHEMA, metadata, revision, version

ADVISORY_LOCK = 0x6578706C6F726572  # "explorer" in ASCII, unlikely to be the number of another program
REFUSALS = (sa.exc.SQLAlchemyError, sqlite3.Error, ImportError)
CHUNK = 500  # values in one `IN (...)`; databases limit their number


def storage_url(storage: str | Path) -> URL:
    """Return the database URL of a `--storage` value, which is a URL or the path of a SQLite file."""
    text = str(storage)
    try:
        return make_url(text) if "://" in text else URL.create("sqlite", database=str(user_path(text)))
    except sa.exc.ArgumentError:
        raise ExplorerError(
            f"storage {text!r}: not a database URL; write sqlite:///FILE or postgresql+psycopg://..."
        ) from None


def engine_options(url: URL) -> dict[str, Any]:
    """Return the options of every engine, ours and Optuna's: SQLite waits up to 30 s for another writer."""
    return {"connect_args": {"timeout": 30}} if url.get_backend_name() == "sqlite" else {}


class Database:
    """A database with the tables of `explorer.storage.tables`."""

    def __init__(self, storage: str | Path, *, create: bool = False) -> None:
        """Open a storage and migrate older tables; read a write-protected file from a temporary copy.

        Args:
            storage: SQLite file or database URL.
            create: Whether the storage may be new; `writing` then creates its tables.

        Raises:
            ExplorerError: If the storage cannot be opened, has no studies, or was written by a newer version.
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
            raise self._error(_first_line(error)) from None
        if self.file is not None:
            sqlite.set_up(self.engine)
        if self.file is None or self.file.exists():
            self._check_revision(create)

    def _sqlite_file(self, create: bool) -> Path | None:
        if self.url.get_backend_name() != "sqlite":
            return None
        if not self.url.database or self.url.database == ":memory:":
            raise self._error("in-memory databases are not supported; give a file")
        path = Path(self.url.database)
        if not path.parent.is_dir():
            raise self._error(f"the folder {path.parent} does not exist")
        if not create and not path.is_file():
            raise self._error("does not exist; create it with `explorer sweep`")
        if create and not sqlite.writable(path):
            raise self._error("cannot be written: Permission denied")
        return path

    def _check_revision(self, create: bool) -> None:
        found = self._revision()
        if found is None and not create:
            raise self._error("has no studies; add one with `explorer sweep`")
        if found is not None and found > REVISION:
            raise self._error(
                f"written by a newer explorer (revision {found}, this one reads {REVISION}); update the explorer"
            )
        if found is not None and found < REVISION:
            self._migrate()

    def _revision(self) -> str | None:
        """Return the revision of the tables: empty if older than revisions, None without tables."""
        with self.transaction() as connection:
            tables = sa.inspect(connection).get_table_names()
            if revision.name in tables:
                return connection.execute(sa.select(revision.c.version_num)).scalar_one_or_none()
            if version.name not in tables:
                return None
            schema = connection.execute(sa.select(version.c.schema)).scalar_one_or_none()
        return {None: None, 1: ""}.get(schema, f"schema {schema}")

    def _migrate(self) -> None:
        """Migrate the tables in one transaction; keep a copy of a file until that has succeeded."""
        from explorer.storage.migrations import upgrade

        with self._only_writer():
            copy = None if self.file is None else Path(f"{self.file}.before-{REVISION}")
            try:
                if self.file is not None and copy is not None:
                    sqlite.backup(self.file, copy)
                with self.engine.begin() as connection:
                    upgrade(connection)
            except Exception as error:
                kept = f"; {copy} is a copy" if copy else ""
                raise self._error(
                    f"cannot be migrated to revision {REVISION}: {_first_line(error)}; it is unchanged{kept}"
                ) from error
            if copy is not None:
                copy.unlink()

    @contextmanager
    def transaction(self) -> Iterator[sa.Connection]:
        """Open a connection and commit all its changes or none; database errors become `ExplorerError`."""
        try:
            with self.engine.begin() as connection:
                yield connection
        except REFUSALS as error:
            raise self._error(_first_line(error)) from None

    def select(self, statement: sa.Select[*tuple[Any, ...]]) -> list[sa.RowMapping]:
        """Return the rows of a statement."""
        with self.transaction() as connection:
            return list(connection.execute(statement).mappings())

    def select_in(
        self, statement: sa.Select[*tuple[Any, ...]], column: sa.Column[str], values: Sequence[str]
    ) -> list[sa.RowMapping]:
        """Return the rows of a statement whose column has one of the values."""
        chunks = (values[start : start + CHUNK] for start in range(0, len(values), CHUNK))
        return [row for chunk in chunks for row in self.select(statement.where(column.in_(chunk)))]

    def replace(self, table: sa.Table, rows: Sequence[Mapping[str, Any]]) -> None:
        """Store rows, replacing those with the same primary key."""
        with self.transaction() as connection:
            for row in rows:
                same = (column == row[column.name] for column in table.primary_key)
                connection.execute(table.delete().where(*same))
                connection.execute(table.insert().values(row))

    def _error(self, reason: str) -> ExplorerError:
        return ExplorerError(f"storage {self.shown}: {reason}")

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Hold the writer's lock, which ends with the process at the latest; create the tables of a new storage."""
        if self.read_only:
            raise self._error("cannot be written: Permission denied")
        with self._only_writer():
            if self._revision() is None:
                with self.transaction() as connection:
                    metadata.create_all(connection)
                    connection.execute(version.insert().values(schema=SCHEMA))
                    connection.execute(revision.insert().values(version_num=REVISION))
            yield

    @contextmanager
    def _only_writer(self) -> Iterator[None]:
        busy = self._error("another explorer command is writing to it; wait, or use another --storage")
        if self.file is not None:
            lock = FileLock(f"{self.file}.lock")
            try:
                lock.acquire(timeout=0)
            except Timeout:
                raise busy from None
            except OSError as error:
                raise self._error(f"cannot be written: {error.strerror}") from None
            try:
                yield
            finally:
                lock.release()
        elif self.url.get_backend_name() == "postgresql":
            # The server releases a session's lock when the connection ends, however that happens.
            with self.engine.connect() as connection:
                if not connection.execute(sa.select(sa.func.pg_try_advisory_lock(ADVISORY_LOCK))).scalar_one():
                    raise busy
                connection.commit()
                yield
        else:
            raise self._error("only SQLite and PostgreSQL are supported")


def _first_line(error: Exception) -> str:
    return (str(getattr(error, "orig", None) or error) or type(error).__name__).splitlines()[0]
