"""The stored latencies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
import sqlalchemy as sa

from explorer.storage.database import Database, rows_in
from explorer.storage.studies import stored_study
from explorer.storage.tables import latencies


@dataclass(frozen=True)
class Latencies:
    """Latencies by network, machine, batch and threads, whichever studies train the network."""

    database: Database

    def record(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Stores measured latencies; they replace earlier ones of the same network, machine, batch and threads."""
        key = [column.name for column in latencies.primary_key]
        with self.database.transaction() as connection:
            for row in rows:
                connection.execute(latencies.delete().where(*(latencies.c[name] == row[name] for name in key)))
                connection.execute(latencies.insert().values(row))

    def of(self, study: str, **where: str | int) -> pd.DataFrame:
        """Measured latencies of a study's networks, one row for each network, machine, batch and number of threads.

        Columns: `network` (digest, as in `StudyRecord.points`), `processor`, `torch` (version) and `dtype`, which
        together are the machine, `batch` (images), `threads`, `median_seconds`, `lower_seconds` and `upper_seconds`
        (median and quartiles of the time of a batch), `repeats`, `load` (load average for each core before the
        measuring began; NaN where the system tells none), `finished` (UTC, ISO 8601). `where` keeps the rows with
        these values. Empty if nothing was measured; an unknown study is an error that names the nearest.
        """
        columns = [column.name for column in latencies.columns]
        chosen = sa.select(latencies).filter_by(**where)
        with self.database.transaction() as connection:
            points = stored_study(connection, study, self.database.shown)["points"]
            networks = sorted({point["network"] for point in points if point["network"]})
            found: list[Any] = list(rows_in(connection, chosen, latencies.c.network, networks))
        return pd.DataFrame(found, columns=columns).sort_values(columns[:6], ignore_index=True)
