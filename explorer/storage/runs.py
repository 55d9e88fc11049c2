"""The stored runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray

from explorer.storage.database import Database, rows_in
from explorer.storage.tables import runs
from explorer.training.bits import unpack


@dataclass(frozen=True)
class Result:
    """How a run ended: its state, the reason unless it is `done`, and its accuracy and duration if it is."""

    state: str
    reason: str
    accuracy: float | None
    seconds: float | None = None

    @property
    def final(self) -> bool:
        """Whether training the run again could tell nothing new; a crash is no result."""
        return self.state in {"done", "failed"}


@dataclass(frozen=True)
class StoredRun:
    """A run as it is stored: what it is a function of, how it ended and where; None for what is not known.

    `correct` (bool) and `top_probability` (float16) have one entry for each validation image.
    """

    key: str
    data_fingerprint: str
    settings: Mapping[str, Any]
    state: str
    reason: str
    accuracy: float | None
    correct: NDArray[np.bool_] | None
    top_probability: NDArray[np.float16] | None
    seconds: float | None
    host: Mapping[str, str]


@dataclass(frozen=True)
class Runs:
    """Runs by key, whichever studies they belong to."""

    database: Database

    def record(self, row: Mapping[str, Any]) -> None:
        """Stores a run; it replaces an earlier crash of the same run."""
        with self.database.transaction() as connection:
            connection.execute(runs.delete().where(runs.c.key == row["key"]))
            connection.execute(runs.insert().values(row))

    def results(self, keys: Sequence[str]) -> dict[str, Result]:
        """How the runs ended, by key; without those that are not stored."""
        chosen = sa.select(runs.c.key, runs.c.state, runs.c.reason, runs.c.accuracy, runs.c.seconds)
        with self.database.transaction() as connection:
            return {
                row["key"]: Result(row["state"], row["reason"], row["accuracy"], row["seconds"])
                for row in rows_in(connection, chosen, runs.c.key, keys)
            }

    def keys(self) -> list[str]:
        """The keys of all stored runs."""
        with self.database.transaction() as connection:
            return list(connection.execute(sa.select(runs.c.key).order_by(runs.c.key)).scalars())

    def find(self, key: str) -> StoredRun | None:
        """A run by its key, or None if it is not stored."""
        with self.database.transaction() as connection:
            row = connection.execute(sa.select(runs).where(runs.c.key == key)).mappings().first()
        if row is None:
            return None
        measured = unpacked(row)
        return StoredRun(**{field.name: measured[field.name] for field in fields(StoredRun)})


def unpacked(stored: Mapping[Any, Any]) -> dict[str, Any]:
    """A stored row with its bits as arrays."""
    row = dict(stored)
    count = row.pop("validation_images")
    return row if count is None else row | unpack(row["correct"], row["top_probability"], count)
