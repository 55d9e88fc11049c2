"""Optuna's tables in a storage, and the Optuna studies in them that belong to the explorer.

The explorer marks its own Optuna studies and never changes or deletes others. Users can therefore keep their Optuna
studies and tables of other programs in the same database.
"""

# ruff: noqa: SLF001 (Optuna's storages take the private IDs of studies and trials)

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import count
from typing import TypeVar

import optuna
import sqlalchemy as sa
from optuna.exceptions import DuplicatedStudyError, StorageInternalError
from optuna.storages._rdb import models
from optuna.study import StudyDirection

from explorer.errors import ExplorerError
from explorer.storage.database import Database, engine_options
from explorer.storage.tables import foreign_table

MARK = "explorer_view"
"""User attribute of the explorer's Optuna studies with the name of the view. The study has that name if it was free."""

Done = TypeVar("Done")


class NoView(ExplorerError):  # noqa: N818 (a state in which sweeps continue)
    """Optuna cannot use this storage, or its tables there have a different version."""


class OptunaTables:
    """Optuna's tables. They are created if they don't exist."""

    def __init__(self, database: Database) -> None:
        """Open the tables; raise `NoView` if other programs use their names or Optuna's version differs."""
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.database = database
        url = database.url.render_as_string(hide_password=False)
        options = engine_options(database.url)

        def opened() -> optuna.storages.RDBStorage:
            with database.creating_tables():
                database.perform(self._refuse_foreign)
                return optuna.storages.RDBStorage(url, engine_kwargs=options)

        try:
            self.storage = self.call(opened)
        except RuntimeError as error:
            raise NoView(f"storage {database.shown}: Optuna cannot read it: {str(error).splitlines()[0]}") from None

    def _refuse_foreign(self, connection: sa.Connection) -> None:
        version = models.VersionInfoModel.__table__
        inspector = sa.inspect(connection)
        present = {*inspector.get_table_names(), *inspector.get_view_names()}
        if version.name in present:
            foreign = foreign_table(connection, [version])
        else:
            foreign = min(present & {*models.BaseModel.metadata.tables, "alembic_version"}, default=None)
        if foreign:
            raise NoView(f"storage {self.database.shown}: its table {foreign} does not belong to Optuna")

    def call(self, action: Callable[[], Done]) -> Done:
        """Call a function that uses the tables, like `Database.call`. It may be called repeatedly."""

        def plainly() -> Done:
            try:
                return action()
            except StorageInternalError as error:
                raise error.__cause__ or error from None

        return self.database.call(plainly)

    def find(self, view: str) -> str | None:
        """Return the name of the Optuna study marked as a view, or None."""
        names = [study.study_name for study in self.storage.get_all_studies() if study.user_attrs.get(MARK) == view]
        return min(names, default=None)

    def open(
        self, view: str, objectives: Mapping[str, str], is_earlier: Callable[[optuna.Study], bool]
    ) -> optuna.Study:
        """Return the Optuna study of a view. If necessary, create it under an unused name.

        Args:
            view: Name of the view.
            objectives: Direction of each objective, by name.
            is_earlier: Function that tells whether an unmarked study is a view from an earlier version.
        """
        taken = {study.study_name for study in self.storage.get_all_studies()}
        name = self.find(view)
        if name is None and view in taken and is_earlier(self._load(view)):
            name = view
        if name is None:
            return self._create(view, objectives, taken)
        opened = self._load(name)
        opened.set_user_attr(MARK, view)
        return opened

    def _create(self, view: str, objectives: Mapping[str, str], taken: set[str]) -> optuna.Study:
        directions = [StudyDirection[direction.upper()] for direction in objectives.values()]
        for name in filter(lambda name: name not in taken, names_of(view)):
            try:
                created = optuna.create_study(study_name=name, storage=self.storage, directions=directions)
            except DuplicatedStudyError:  # another program was faster
                continue
            created.set_user_attr(MARK, view)
            # Set the key directly, because `Study.set_metric_names` warns about being experimental.
            self.storage.set_study_system_attr(created._study_id, "study:metric_names", list(objectives))
            return created
        raise AssertionError("there is always another name")

    def _load(self, name: str) -> optuna.Study:
        return optuna.load_study(study_name=name, storage=self.storage)

    def load(self, view: str) -> optuna.Study | None:
        """Return the Optuna study of a view, or None if there is none."""
        name = self.find(view)
        return None if name is None else self._load(name)

    def delete(self, view: str) -> None:
        """Delete the Optuna study of a view, if there is one."""
        name = self.find(view)
        if name is not None:
            optuna.delete_study(study_name=name, storage=self.storage)

    def rename(self, view: str, new: str) -> None:
        """Rename a view and its Optuna study, if there is one."""
        found = self.load(view)
        if found is None:
            return
        taken = {study.study_name for study in self.storage.get_all_studies()}
        name = next(name for name in names_of(new) if name not in taken)
        table = models.StudyModel.__table__
        rename = sa.update(table).where(table.c.study_id == found._study_id).values(study_name=name)
        self.database.perform(lambda connection: connection.execute(rename))
        found.set_user_attr(MARK, new)

    def close(self) -> None:
        """Close the connection."""
        self.storage.remove_session()
        self.storage.engine.dispose()


def names_of(view: str) -> Iterator[str]:
    """Yield possible names for a view in order of preference."""
    yield view
    yield f"{view} (explorer)"
    for number in count(2):
        yield f"{view} (explorer {number})"
