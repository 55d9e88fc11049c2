"""Stored runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray

from explorer.machine import collection_paused
from explorer.storage.database import CHUNK, Database
from explorer.storage.tables import runs, weights
from explorer.training.bits import unpack, unpack_classes


@dataclass(frozen=True)
class Result:
    """The result of a run: accuracy (final and per epoch) and duration if it is `done`, otherwise the reason."""

    state: str
    reason: str
    accuracy: float | None
    seconds: float | None = None
    accuracies: Sequence[float] | None = None
    finished: str | None = None  # UTC, ISO 8601

    @property
    def final(self) -> bool:
        """Whether the result is final. Crashed runs are repeated."""
        return self.state in {"done", "failed"}


@dataclass(frozen=True)
class StoredRun:
    """The inputs and the outcome of a stored run. Unknown values are None.

    `correct` (bool), `top_probability` (float16) and `predicted` (the top class) have one entry per validation image.
    """

    key: str
    data_fingerprint: str
    settings: Mapping[str, Any]
    state: str
    reason: str
    accuracy: float | None
    correct: NDArray[np.bool_] | None
    top_probability: NDArray[np.float16] | None
    predicted: NDArray[np.int64] | None
    seconds: float | None
    host: Mapping[str, str]


@dataclass(frozen=True)
class Runs:
    """Runs by key. All studies share them."""

    database: Database

    def record(self, *rows: Mapping[str, Any]) -> None:
        """Store runs together, with their weights where rows have `weights`, and replace earlier crashes of them."""
        # Weights come first: without them, a stored run cannot be started from, but without the run, nothing is lost.
        kept = [{"key": row["key"], "content": row["weights"]} for row in rows if "weights" in row]
        self.database.replace(weights, kept)
        # All rows of one statement need the same columns, and failed runs have fewer.
        self.database.replace(runs, [{column.name: row.get(column.name) for column in runs.columns} for row in rows])

    def delete(self, keys: Sequence[str]) -> None:
        """Delete runs, so that they are trained again."""

        def remove(connection: sa.Connection) -> None:
            for start in range(0, len(keys), CHUNK):
                connection.execute(runs.delete().where(runs.c.key.in_(keys[start : start + CHUNK])))

        self.database.perform(remove)

    @collection_paused()
    def results(self, keys: Sequence[str]) -> dict[str, Result]:
        """Return the results of those runs that are stored, by key."""
        chosen = sa.select(runs.c.key, *(runs.c[field.name] for field in fields(Result)))
        found = map(dict, self.database.select_in(chosen, runs.c.key, keys))
        return {row.pop("key"): Result(**row) for row in found}

    def keys(self) -> list[str]:
        """Return the keys of all stored runs, sorted."""
        return [row["key"] for row in self.database.select(sa.select(runs.c.key).order_by(runs.c.key))]

    def find(self, key: str) -> StoredRun | None:
        """Return a run, or None if it is not stored."""
        rows = self.database.select(sa.select(runs).where(runs.c.key == key))
        if not rows:
            return None
        row = unpacked(rows[0])
        if row["predicted"] is not None:
            row["predicted"] = None if row["correct"] is None else unpack_classes(row["predicted"], len(row["correct"]))
        return StoredRun(**{field.name: row[field.name] for field in fields(StoredRun)})


def unpacked(stored: Mapping[Any, Any]) -> dict[str, Any]:
    """Return a stored row with its bits unpacked into arrays."""
    row = dict(stored)
    count = row.pop("validation_images")
    return row if count is None else row | unpack(row["correct"], row["top_probability"], count)
