"""Stored searches, which are studies with points that are proposed while they run and trained at several rungs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from explorer.storage.database import Database
from explorer.storage.studies import Provenance, study_row
from explorer.storage.tables import members, proposals, rungs, studies
from explorer.study.model import Study
from explorer.study.plan import Point, points_frame


@dataclass(frozen=True)
class RungRun:
    """A run of a search: its point, seed, number of epochs and key."""

    point: int
    seed: int
    epochs: int
    key: str


@dataclass(frozen=True)
class Searches:
    """Searches by name. Each proposal and each run is stored before training, so killing a search loses neither."""

    database: Database

    def open(self, study: Study, data_fingerprint: str, provenance: Provenance) -> None:
        """Store a search, or update the provenance of a stored one, which keeps its points and runs."""
        row = study_row(study, data_fingerprint, [], provenance)

        def store(connection: sa.Connection) -> None:
            same = studies.c.name == study.name
            if connection.execute(studies.update().where(same).values(row)).rowcount == 0:
                connection.execute(studies.insert().values(row))

        self.database.perform(store)

    def propose(self, study: Study, point: Point, image_size: int | None) -> None:
        """Store a proposed point."""
        (row,) = json.loads(points_frame(study, [point], image_size).to_json(orient="records"))
        self.database.replace(proposals, [{"study": study.name, "point": point.number, "row": row}])

    def enlist(self, study: Study, run: RungRun) -> None:
        """Store that a run belongs to a search. At the top rung it is a member, like the runs of any other study."""
        row: dict[str, Any] = {"study": study.name, "point": run.point, "seed": run.seed, "key": run.key}
        if run.epochs == study.budget.epochs:
            self.database.replace(members, [row])
        else:
            self.database.replace(rungs, [row | {"epochs": run.epochs}])

    def withdraw(self, study: Study, run: RungRun) -> None:
        """Remove a run from a search. The result stays stored."""
        table = members if run.epochs == study.budget.epochs else rungs
        same = (table.c.study == study.name, table.c.point == run.point, table.c.key == run.key)
        self.database.perform(lambda connection: connection.execute(table.delete().where(*same)))

    def decline(self, study: Study, counts: Mapping[str, int]) -> None:
        """Store how many proposals were not trained, by reason."""
        row = (
            studies.update()
            .where(studies.c.name == study.name)
            .values(declined={reason: count for reason, count in counts.items() if count})
        )
        self.database.perform(lambda connection: connection.execute(row))

    def declined(self, study: Study) -> dict[str, int]:
        """Return how many proposals were not trained, by reason."""
        rows = self.database.select(sa.select(studies.c.declined).where(studies.c.name == study.name))
        return dict(rows[0]["declined"] or {}) if rows else {}

    def runs(self, study: Study) -> list[RungRun]:
        """Return the runs at all rungs, in order of points, seeds and epochs."""
        columns = (rungs.c.point, rungs.c.seed, rungs.c.epochs, rungs.c.key)
        lower = self.database.select(sa.select(*columns).where(rungs.c.study == study.name))
        top = self.database.select(
            sa.select(members.c.point, members.c.seed, members.c.key).where(members.c.study == study.name)
        )
        found = [RungRun(**row) for row in lower] + [RungRun(epochs=study.budget.epochs, **row) for row in top]
        return sorted(found, key=lambda run: (run.point, run.seed, run.epochs))

    def proposed(self, study: Study) -> list[dict[str, Any]]:
        """Return the metaparameters of the proposed points, in order."""
        statement = sa.select(proposals.c.row).where(proposals.c.study == study.name).order_by(proposals.c.point)
        return [{key: row["row"][key] for key in study.varied} for row in self.database.select(statement)]
