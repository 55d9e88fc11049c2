"""Set up connections to SQLite, and copy its files."""

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
    """Return whether a file (perhaps a new one), SQLite's files beside it and the lock can be written."""
    return os.access(path.parent, os.W_OK) and (not path.exists() or os.access(path, os.W_OK))


def set_up(engine: sa.Engine) -> None:
    """Set write-ahead mode, in which readers and the writer do not block each other, and full transactions."""
    sa.event.listen(engine, "connect", _on_connect)
    sa.event.listen(engine, "begin", _on_begin)


def backup(path: Path, copy: Path, query: str = "") -> None:
    """Copy a database that may be in use; `query` is the query of its SQLite URI, such as `mode=ro`."""
    source = f"{path.resolve().as_uri()}?{query}"
    with closing(sqlite3.connect(source, uri=True)) as opened, closing(sqlite3.connect(copy)) as target:
        opened.backup(target)


def temporary_copy(path: Path, owner: object) -> Path:
    """Copy a write-protected file; the copy is deleted with its owner."""
    folder = tempfile.mkdtemp(prefix="explorer-")
    weakref.finalize(owner, shutil.rmtree, folder, ignore_errors=True)
    copy = Path(folder) / path.name
    # SQLite cannot lock the file. Without a write-ahead log beside it, nobody is writing to it.
    backup(path, copy, "mode=ro" if Path(f"{path}-wal").exists() else "immutable=1")
    return copy


def _on_connect(connection: Any, _: object) -> None:  # noqa: ANN401 (a DBAPI connection)
    connection.isolation_level = None  # or the driver begins no transaction before tables are altered
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")


def _on_begin(connection: sa.Connection) -> None:
    connection.exec_driver_sql("BEGIN")
