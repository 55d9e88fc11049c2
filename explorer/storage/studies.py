"""The stored studies: their points, and the keys of their runs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd
import sqlalchemy as sa

from explorer.errors import ExplorerError, unknown
from explorer.networks.quantities import computed
from explorer.storage.database import Database
from explorer.storage.record import StudyRecord
from explorer.storage.runs import unpacked
from explorer.storage.tables import members, runs, studies
from explorer.study.model import Study
from explorer.study.plan import Point, points_frame

RUN_COLUMNS = (
    "state",
    "reason",
    "accuracy",
    "accuracies",
    "train_losses",
    "correct",
    "top_probability",
    "seconds",
    "images_per_second",
    "peak_memory_bytes",
    "finished",
    "host",
)


@dataclass(frozen=True)
class Provenance:
    """How a study came to be: the command, the versions of what computed it, and the machine."""

    command: str
    versions: Mapping[str, str]
    machine: Mapping[str, str]
    classes: int  # of the data
    image_size: int | None = None  # of the data, in pixels


@dataclass(frozen=True)
class Studies:
    """Studies by name, each with its points and the keys of its runs."""

    database: Database

    def names(self) -> list[str]:
        """The names of all stored studies."""
        with self.database.transaction() as connection:
            return _names(connection)

    def claim(self, study: Study, data_fingerprint: str) -> Study:
        """The study under a name that no other stored study has: its own, or its own with a suffix."""
        identity = (study.digest, data_fingerprint)
        with self.database.transaction() as connection:
            for name in (study.name, f"{study.name}~{_short(*identity)}"):
                held = connection.execute(
                    sa.select(studies.c.digest, studies.c.data_fingerprint).where(studies.c.name == name)
                ).first()
                if held is None or tuple(held) == identity:
                    return study.model_copy(update={"name": name})
        raise ExplorerError(
            f"{study.name}: the storage holds other studies under this name and {name}; rename the file"
        )

    def save(
        self,
        study: Study,
        data_fingerprint: str,
        points: list[Point],
        keys: Mapping[tuple[int, int], str],
        provenance: Provenance,
    ) -> None:
        """Stores a study with its points and the keys of its runs by (point, seed); replaces the study of its name."""
        row = {
            "name": study.name,
            "digest": study.digest,
            "data_fingerprint": data_fingerprint,
            "study": study.model_dump_json(),
            "command": provenance.command,
            "versions": dict(provenance.versions),
            "machine": dict(provenance.machine),
            "points": json.loads(points_frame(study, points, provenance.image_size).to_json(orient="records")),
            "classes": provenance.classes,
        }
        member_rows = [
            {"study": study.name, "point": point, "seed": seed, "key": key} for (point, seed), key in keys.items()
        ]
        with self.database.transaction() as connection:
            connection.execute(members.delete().where(members.c.study == study.name))
            connection.execute(studies.delete().where(studies.c.name == study.name))
            connection.execute(studies.insert().values(row))
            connection.execute(members.insert(), member_rows)

    def load(self, name: str) -> StudyRecord:
        """All that is stored of a study; an unknown name is an error that names the nearest."""
        with self.database.transaction() as connection:
            row = stored_study(connection, name, self.database.shown)
            chosen = [runs.c[column] for column in (*RUN_COLUMNS, "validation_images")]
            statement = (
                sa.select(members.c.point, members.c.seed, members.c.key, *chosen)
                .outerjoin(runs, runs.c.key == members.c.key)
                .where(members.c.study == name)
                .order_by(members.c.point, members.c.seed)
            )
            found = [_run_row(run) for run in connection.execute(statement).mappings()]
        study = Study.model_validate_json(row["study"])
        return StudyRecord(
            study=study,
            data_fingerprint=row["data_fingerprint"],
            command=row["command"],
            versions=row["versions"],
            machine=row["machine"],
            classes=row["classes"],
            points=_points(study, row["points"]),
            runs=pd.DataFrame(found, columns=["point", "seed", "key", *RUN_COLUMNS]),
        )

    def progress(self, name: str) -> tuple[int, int]:
        """How many of a study's runs are done, and how many it has."""
        done = sa.func.sum(sa.case((runs.c.state == "done", 1), else_=0))
        statement = sa.select(done, sa.func.count()).select_from(members.outerjoin(runs, runs.c.key == members.c.key))
        with self.database.transaction() as connection:
            found, total = connection.execute(statement.where(members.c.study == name)).one()
        return int(found or 0), int(total)

    def places(self, key: str) -> list[tuple[str, int, int]]:
        """The studies that a run belongs to, by name, each with the number of its point and the seed."""
        columns = (members.c.study, members.c.point, members.c.seed)
        with self.database.transaction() as connection:
            found = connection.execute(sa.select(*columns).where(members.c.key == key).order_by(*columns))
            return [(row.study, row.point, row.seed) for row in found]


def stored_study(connection: sa.Connection, name: str, storage: str) -> Mapping[Any, Any]:
    """The row of a study; an unknown name is an error that names the nearest in the storage."""
    row = connection.execute(sa.select(studies).where(studies.c.name == name)).mappings().first()
    if row is None:
        raise unknown(f"study in {storage}", name, _names(connection))
    return row


def _names(connection: sa.Connection) -> list[str]:
    return list(connection.execute(sa.select(studies.c.name).order_by(studies.c.name)).scalars())


def _run_row(stored: Mapping[Any, Any]) -> dict[str, Any]:
    row = unpacked(stored)
    if row["state"] is None:
        return row | {"state": "missing", "reason": ""}
    return row | {"host": row["host"]["name"]}


def _points(study: Study, rows: list[dict[str, Any]]) -> pd.DataFrame:
    frame = pd.DataFrame(rows)
    # JSON has neither tuples nor whole numbers that may be missing; the study's own values are the typed ones.
    grid = [point.metaparameters for point in study.design_points()]
    for key in study.varied:
        frame[key] = pd.Series([point.get(key) for point in grid], index=frame.index, dtype=_dtype(grid, key))
    whole = ("same_as", "input_pixels", "image_pixels", *computed())  # whole numbers or NA
    # Studies that an earlier version stored have fewer columns.
    for column, nothing in ({"series": ""} | dict.fromkeys(whole, pd.NA)).items():
        if column not in frame:
            frame[column] = nothing
    return frame.astype(dict.fromkeys(whole, "Int64"))


def _dtype(grid: list[dict[str, Any]], key: str) -> str | None:
    """Left to pandas, None among numbers would become NaN."""
    return None if all(key in point for point in grid) else "object"


def _short(*identity: str) -> str:
    return hashlib.sha256("".join(identity).encode()).hexdigest()[:6]
