"""Stored latencies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
import sqlalchemy as sa

from explorer.storage.database import Database
from explorer.storage.studies import stored_points
from explorer.storage.tables import latencies


@dataclass(frozen=True)
class Latencies:
    """Latencies by network, machine, batch and threads. All studies share them."""

    database: Database

    def record(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Store latencies, and replace those with the same network, machine, batch and threads."""
        self.database.replace(latencies, rows)

    def of(self, study: str, **where: str | int) -> pd.DataFrame:
        """Return the latencies of a study's networks that match `where`; raise `ExplorerError` for an unknown study.

        Columns: `network` (the digest in `StudyRecord.points`), the machine as `processor`, `torch` (version) and
        `dtype`, `batch` (images), `threads`, `median_seconds`, `lower_seconds` and `upper_seconds` (median and
        quartiles of the time per batch over rounds), `repeats` (rounds), `load` (share of cores in use before the
        measurement), `finished` (UTC, ISO 8601).
        """
        points = stored_points(self.database, study)
        networks = sorted({point["network"] for point in points if point["network"]})
        chosen = sa.select(latencies).filter_by(**where)
        found = self.database.select_in(chosen, latencies.c.network, networks)
        columns = [column.name for column in latencies.columns]
        return pd.DataFrame(found, columns=columns).sort_values(columns[:6], ignore_index=True)
