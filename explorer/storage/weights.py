"""Stored weights, from which other runs start."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import sqlalchemy as sa

from explorer.storage.database import Database
from explorer.storage.tables import weights


@dataclass(frozen=True)
class Weights:
    """Trained weights as safetensors files, by the key of their run or the SHA-256 of their file."""

    database: Database

    def record(self, key: str, content: bytes) -> None:
        """Store weights."""
        self.database.replace(weights, [{"key": key, "content": content}])

    def stored(self, keys: Collection[str]) -> set[str]:
        """Return those of the keys whose weights are stored."""
        found = self.database.select_in(sa.select(weights.c.key), weights.c.key, sorted(keys))
        return {row["key"] for row in found}

    def find(self, key: str) -> bytes | None:
        """Return the weights stored under a key, or None."""
        rows = self.database.select(sa.select(weights.c.content).where(weights.c.key == key))
        return bytes(rows[0]["content"]) if rows else None
