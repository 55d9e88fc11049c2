"""Set up SQLite connections, and copy SQLite files."""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
import weakref
from contextlib import closing
from pathlib import Path
from typing import Any

import sqlalchemy as sa


def writable(path: Path) -> bool:
    """Return whether a new or existing file, its lock and SQLite's auxiliary files can be written."""
    file = path.resolve()
    return os.access(file.parent, os.W_OK) and (not file.exists() or os.access(file, os.W_OK))


def set_up(engine: sa.Engine) -> None:
    """Set up complete transactions, which can even alter tables."""
    sa.event.listen(engine, "connect", _on_connect)
    sa.event.listen(engine, "begin", _on_begin)


def write_ahead(path: Path) -> None:
    """Switch a file to write-ahead mode, in which readers and the writer do not block each other."""
    with closing(sqlite3.connect(path, timeout=30)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")


def backup(path: Path, copy: Path, query: str = "") -> None:
    """Copy a database that may be in use. `query` is the query part of its SQLite URI, such as `mode=ro`."""
    source = f"{path.resolve().as_uri()}?{query}"
    with closing(sqlite3.connect(source, uri=True)) as opened, closing(sqlite3.connect(copy)) as target:
        opened.backup(target)


def temporary_copy(path: Path, owner: object) -> Path:
    """Copy a write-protected file. The copy is deleted along with its owner."""
    folder = tempfile.mkdtemp(prefix="explorer-")
    weakref.finalize(owner, shutil.rmtree, folder, ignore_errors=True)
    path = path.resolve()
    copy = Path(folder) / path.name
    journals = [journal for journal in (Path(f"{path}-wal"), Path(f"{path}-journal")) if journal.exists()]
    try:
        # SQLite cannot lock the file. If there is no journal next to it, nobody is writing to it.
        backup(path, copy, "mode=ro" if journals else "immutable=1")
    except sqlite3.Error:
        # On read-only media, SQLite cannot apply the journal left by a crash, so copy both and apply it to the copy.
        copy.unlink(missing_ok=True)
        for file in (path, *journals):
            shutil.copyfile(file, copy.with_name(file.name))
    return copy


def _on_connect(connection: Any, _: object) -> None:  # noqa: ANN401 (a DBAPI connection)
    connection.isolation_level = None  # otherwise, the driver does not begin a transaction before altering tables
    connection.execute("PRAGMA synchronous=NORMAL")


def _on_begin(connection: sa.Connection) -> None:
    connection.exec_driver_sql("BEGIN")
