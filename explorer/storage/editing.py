"""Delete and rename stored studies."""

from __future__ import annotations

import json
import re
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from operator import eq, ne
from pathlib import Path

import sqlalchemy as sa

from explorer.errors import ExplorerError
from explorer.storage.database import CHUNK
from explorer.storage.ledger import DEFAULT_STORAGE, Ledger
from explorer.storage.optuna_tables import NoView, OptunaTables
from explorer.storage.optuna_view import view_names
from explorer.storage.studies import stored_study
from explorer.storage.tables import members, proposals, rungs, runs, sources, studies, tests, weights
from explorer.study.files import builtin_studies

NAME = re.compile(r"\w([\w .@~+=-]*[\w@~+=-])?")
MOST_CHARACTERS = 100


@dataclass(frozen=True)
class DeletedStudy:
    """The result of deleting a study: what was deleted and what was kept.

    Attributes:
        study: Name of the deleted study.
        deleted_runs: Number of runs that were deleted.
        kept_runs: Number of the study's stored runs that were kept.
        shared_runs: Number of kept runs that other studies share.
    """

    study: str
    deleted_runs: int
    kept_runs: int
    shared_runs: int


def delete_study(study: str, *, runs: bool = False, storage: str | Path = DEFAULT_STORAGE) -> DeletedStudy:
    """Delete a stored study and its Optuna view.

    Its runs stay in the storage for later sweeps, unless `runs` is given. Reports, test accuracies, latencies and
    certificates are kept.

    Args:
        study: Name of a stored study.
        runs: Whether to delete the runs too, except runs that other studies share.
        storage: SQLite file or database URL.

    Raises:
        ExplorerError: The study is unknown, or another process is writing to the storage.
    """
    ledger = Ledger(storage)
    stored_study(ledger, study)
    with ledger.writing(study):
        tables = _optuna(ledger)
        if tables is not None:
            with closing(tables):
                for view in view_names(study):
                    tables.call(partial(tables.delete, view))
        return ledger.perform(lambda connection: _delete(connection, study, runs))


def rename_study(study: str, new: str, *, storage: str | Path = DEFAULT_STORAGE) -> None:
    """Rename a stored study and its Optuna view. Existing reports keep the old name.

    Args:
        study: Name of a stored study.
        new: A name that no stored study uses.
        storage: SQLite file or database URL.

    Raises:
        ExplorerError: The study is unknown, the new name is taken or invalid, or another process is writing to
            the storage.
    """
    if not NAME.fullmatch(new) or len(new) > MOST_CHARACTERS:
        raise ExplorerError(
            f"{new!r}: a study's name has 1 to {MOST_CHARACTERS} letters, digits, spaces and . _ - @ ~ + =, and starts "
            f"with a letter or digit, such as {_valid(new)!r}"
        )
    ledger = Ledger(storage)
    stored_study(ledger, study)
    with ledger.writing(study, new):
        if new in ledger.studies.names():
            raise ExplorerError(f"{new!r}: the storage already has a study with this name; choose another name")
        if new in builtin_studies():
            raise ExplorerError(f"{new!r}: a built-in study has this name; choose another name")
        ledger.perform(lambda connection: _rename(connection, study, new))
        tables = _optuna(ledger)
        if tables is not None:
            with closing(tables):
                for view, renamed in zip(view_names(study), view_names(new), strict=True):
                    tables.call(partial(tables.rename, view, renamed))


def _optuna(ledger: Ledger) -> OptunaTables | None:
    """Open Optuna's tables, or return None if there is no view."""
    try:
        return OptunaTables(ledger)
    except NoView:
        return None


def _delete(connection: sa.Connection, study: str, with_runs: bool) -> DeletedStudy:
    own, others = (
        sa.union(
            *(sa.select(table.c.key).where(condition(table.c.study, study)) for table in (members, rungs, sources))
        )
        for condition in (eq, ne)
    )
    mine = sa.select(runs.c.key).where(runs.c.key.in_(own))
    stored = set(connection.execute(mine).scalars())
    shared = set(connection.execute(mine.where(runs.c.key.in_(others))).scalars())
    alone = sorted(stored - shared) if with_runs else []
    for start in range(0, len(alone), CHUNK):
        connection.execute(runs.delete().where(runs.c.key.in_(alone[start : start + CHUNK])))
    if with_runs:
        connection.execute(weights.delete().where(weights.c.key.in_(own), weights.c.key.not_in(others)))
    for table in (members, rungs, proposals, sources):
        connection.execute(table.delete().where(table.c.study == study))
    connection.execute(studies.delete().where(studies.c.name == study))
    return DeletedStudy(study, len(alone), len(stored) - len(alone), len(shared))


def _rename(connection: sa.Connection, study: str, new: str) -> None:
    row = dict(connection.execute(sa.select(studies).where(studies.c.name == study)).mappings().one())
    renamed = json.loads(row["study"]) | {"name": new}
    row |= {"name": new, "study": json.dumps(renamed)}
    connection.execute(studies.insert().values(row))
    for table in (members, rungs, proposals, sources, tests):
        connection.execute(table.update().where(table.c.study == study).values(study=new))
    connection.execute(studies.delete().where(studies.c.name == study))


def _valid(name: str) -> str:
    """Return the nearest valid name."""
    return re.sub(r"[^\w .@~+=-]+", "_", name).strip(" ._-@~+=")[:MOST_CHARACTERS] or "my_study"
