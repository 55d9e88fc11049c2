"""The stored test accuracies: what models said of the test images, which each run reads once."""

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
    """Test accuracies by the key of the run."""

    database: Database

    def record(self, row: Mapping[str, Any]) -> None:
        """Stores a test: `key`, `study`, `point`, `seed`, `accuracy`, `images`, `finished`; a run has only one."""
        with self.database.transaction() as connection:
            connection.execute(tests.insert().values(row))

    def find(self, key: str) -> Mapping[str, Any] | None:
        """The test of a run as it was recorded, or None if its model has not read the test images."""
        with self.database.transaction() as connection:
            row = connection.execute(sa.select(tests).where(tests.c.key == key)).mappings().first()
            return None if row is None else dict(row)

    def of(self, study: str) -> pd.DataFrame:
        """The runs of a study whose models have read the test images, by point and seed.

        Columns: `key`, `point` and `seed` (as in this study, whichever it was exported from), `accuracy` (a fraction),
        `images`, `finished` (UTC, ISO 8601). Empty if there are none; an unknown study is an error that names the
        nearest.
        """
        own = (members.c.key, members.c.point, members.c.seed)
        columns = (*own, tests.c.accuracy, tests.c.images, tests.c.finished)
        with self.database.transaction() as connection:
            stored_study(connection, study, self.database.shown)
            statement = sa.select(*columns).join(tests, tests.c.key == members.c.key)
            chosen = statement.where(members.c.study == study).order_by(members.c.point, members.c.seed)
            found: list[Any] = list(connection.execute(chosen).mappings())
        return pd.DataFrame(found, columns=[column.name for column in columns])
