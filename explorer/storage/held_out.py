"""Stored test accuracies. Each run is tested only once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd
import sqlalchemy as sa

from explorer.storage.database import Database
from explorer.storage.studies import stored_study
from explorer.storage.tables import members, tests


@dataclass(frozen=True)
class HeldOutTests:
    """Test accuracies by run key."""

    database: Database

    def record(self, row: Mapping[str, Any]) -> None:
        """Store a test with `key`, `study`, `point`, `seed`, `accuracy`, `images` and `finished`.

        Raises:
            ExplorerError: The run has already been tested.
        """
        self.database.perform(lambda connection: connection.execute(tests.insert().values(row)))

    def find(self, key: str) -> Mapping[str, Any] | None:
        """Return a run's recorded test result, or None if it has not been tested."""
        rows = self.database.select(sa.select(tests).where(tests.c.key == key))
        return dict(rows[0]) if rows else None

    def of(self, study: str) -> pd.DataFrame:
        """Return the tested runs of a study, sorted by point and seed; raise `ExplorerError` for an unknown study.

        Columns: `key`, `point` and `seed` (in this study, even if the run was exported from another one), `accuracy`
        (a fraction), `images` and `finished` (UTC, ISO 8601).
        """
        own = (members.c.key, members.c.point, members.c.seed)
        columns = (*own, tests.c.accuracy, tests.c.images, tests.c.finished)
        stored_study(self.database, study)
        statement = sa.select(*columns).join(tests, tests.c.key == members.c.key)
        found = self.database.select(statement.where(members.c.study == study).order_by(*own[1:]))
        return pd.DataFrame(found, columns=[column.name for column in columns])
