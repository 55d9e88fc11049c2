"""The stored certificates."""

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
        """Stores a certificate; it replaces the one of its name."""
        with self.database.transaction() as connection:
            connection.execute(certificates.delete().where(certificates.c.name == name))
            connection.execute(certificates.insert().values(name=name, certificate=certificate))

    def all(self) -> list[str]:
        """All certificates, in the order of their names."""
        with self.database.transaction() as connection:
            chosen = sa.select(certificates.c.certificate).order_by(certificates.c.name)
            return list(connection.execute(chosen).scalars())
