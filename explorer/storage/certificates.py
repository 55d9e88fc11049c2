"""Stored certificates."""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa

from explorer.storage.database import Database
from explorer.storage.tables import certificates


@dataclass(frozen=True)
class Certificates:
    """Certificates as JSON, by name."""

    database: Database

    def save(self, name: str, certificate: str) -> None:
        """Store a certificate, and replace any certificate with the same name."""
        self.database.replace(certificates, [{"name": name, "certificate": certificate}])

    def all(self) -> list[str]:
        """Return all certificates, ordered by name."""
        rows = self.database.select(sa.select(certificates).order_by(certificates.c.name))
        return [row["certificate"] for row in rows]
