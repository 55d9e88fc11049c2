"""Stored studies, with their points and the keys of their runs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import pandas as pd
import sqlalchemy as sa

from explorer.data.class_counts import ClassCounts
from explorer.errors import ExplorerError, unknown
from explorer.networks.quantities import computed
from explorer.storage.database import Database
from explorer.storage.record import NOT_NEEDED, StudyRecord
from explorer.storage.tables import members, proposals, runs, sources, studies
from explorer.storage.tables import rungs as lower
from explorer.study.model import Study
from explorer.study.plan import Point, points_frame
from explorer.training.bits import unpack_correct

INPUTS = {"key", "network", "data_fingerprint", "settings", "seed"}
# Probabilities and classes take up a lot of space, and only image sheets need them. `explorer status` shows tracebacks.
LEFT_OUT = {"top_probability", "predicted", "traceback"}
OUTCOMES = [column for column in runs.columns if column.name not in INPUTS | LEFT_OUT]
RUNG_OUTCOMES = [
    runs.c[name]
    for name in ("state", "reason", "accuracy", "validation_images", "seconds", "peak_memory_bytes", "finished")
]
RUNG_COLUMNS = ["point", "seed", "epochs", "key", *(column.name for column in RUNG_OUTCOMES)]
RUN_COLUMNS = [column.name for column in OUTCOMES if column.name != "validation_images"]


@dataclass(frozen=True)
class Provenance:
    """The command, package versions and machine used for a study."""

    command: str
    versions: Mapping[str, str]
    machine: Mapping[str, str]
    classes: int
    image_size: int | None = None  # pixels
    class_counts: ClassCounts | None = None


@dataclass(frozen=True)
class Studies:
    """Studies by name."""

    database: Database

    def names(self) -> list[str]:
        """Return the names of all stored studies, sorted."""
        return [row["name"] for row in self.database.select(sa.select(studies.c.name).order_by(studies.c.name))]

    def claim(self, study: Study, data_fingerprint: str) -> Study:
        """Return the study with its own name, or with a suffix if another stored study has that name.

        Raises `ExplorerError` if another process is writing the study.
        """
        identity = study.digest + data_fingerprint
        suffix = hashlib.sha256(identity.encode()).hexdigest()[:6]
        for name in (study.name, f"{study.name}~{suffix}"):
            if self._may_have(name, identity):
                self.database.hold(name)
                if self._may_have(name, identity):  # no other process was faster
                    return study.model_copy(update={"name": name})
        raise ExplorerError(
            f"{study.name}: the storage already has different studies named {study.name} and {name}; rename the file"
        )

    def _may_have(self, name: str, identity: str) -> bool:
        columns = (studies.c.digest, studies.c.data_fingerprint)
        held = self.database.select(sa.select(*columns).where(studies.c.name == name))
        return not held or held[0]["digest"] + held[0]["data_fingerprint"] == identity

    def save(
        self,
        study: Study,
        data_fingerprint: str,
        points: list[Point],
        keys: Mapping[tuple[int, int], str],
        provenance: Provenance,
        started_from: Collection[str] = (),
    ) -> None:
        """Store a study with its points and run keys by (point, seed), and replace any study with the same name.

        `started_from` has the keys of the runs whose weights its runs start from.
        """
        row = study_row(study, data_fingerprint, points, provenance)
        member_rows = [
            {"study": study.name, "point": point, "seed": seed, "key": key} for (point, seed), key in keys.items()
        ]

        def store(connection: sa.Connection) -> None:
            for table in (members, sources):
                connection.execute(table.delete().where(table.c.study == study.name))
            connection.execute(studies.delete().where(studies.c.name == study.name))
            connection.execute(studies.insert().values(row))
            connection.execute(members.insert(), member_rows)
            if started_from:
                connection.execute(sources.insert(), [{"study": study.name, "key": key} for key in started_from])

        self.database.perform(store)

    def enlist(self, study: Study, keys: Mapping[tuple[int, int], str]) -> None:
        """Store further run keys of a study by (point, seed)."""
        rows = [{"study": study.name, "point": point, "seed": seed, "key": key} for (point, seed), key in keys.items()]
        self.database.replace(members, rows)

    def load(self, name: str) -> StudyRecord:
        """Return a stored study with its results; raise `ExplorerError` for an unknown name."""
        row = stored_study(self.database, name)
        statement = (
            sa.select(members.c.point, members.c.seed, members.c.key, *OUTCOMES)
            .outerjoin(runs, runs.c.key == members.c.key)
            .where(members.c.study == name)
            .order_by(members.c.point, members.c.seed)
        )
        found = [_run_row(run) for run in self.database.select(statement)]
        study, points = self._points(Study.model_validate_json(row["study"]), row["points"])
        if study.until_decided and found:
            found = _with_unasked(found, study)
        rungs = self._rungs(name)
        return StudyRecord(
            study=study,
            data_fingerprint=row["data_fingerprint"],
            command=row["command"],
            versions=row["versions"],
            machine=row["machine"],
            classes=row["classes"],
            class_counts=ClassCounts.read(row["class_counts"]) if row["class_counts"] else None,
            points=_stopped(points, rungs, {run["point"] for run in found}, study.budget.epochs),
            runs=pd.DataFrame(found, columns=["point", "seed", "key", *RUN_COLUMNS]),
            rungs=rungs,
            declined=row["declined"] or {},
        )

    def _points(self, study: Study, stored: list[dict[str, Any]]) -> tuple[Study, pd.DataFrame]:
        """Return the points as typed rows; a search first gets those that it has proposed."""
        rows = stored or _proposed(self.database, study.name)
        if study.form.grows:
            study = study.extended([{key: row[key] for key in study.varied} for row in rows])
        return study, _points(study, rows)

    def _rungs(self, name: str) -> pd.DataFrame:
        """Return the runs of a search at lower rungs, with their results."""
        statement = (
            sa.select(lower.c.point, lower.c.seed, lower.c.epochs, lower.c.key, *RUNG_OUTCOMES)
            .outerjoin(runs, runs.c.key == lower.c.key)
            .where(lower.c.study == name)
            .order_by(lower.c.point, lower.c.seed, lower.c.epochs)
        )
        found = [dict(row) | {"state": row["state"] or "missing"} for row in self.database.select(statement)]
        return pd.DataFrame(found, columns=RUNG_COLUMNS)

    def broken(self, name: str) -> tuple[Study, list[str]]:
        """Return a stored study and the keys of its failed and crashed runs."""
        study = Study.model_validate_json(stored_study(self.database, name)["study"])
        joined = sa.select(members.c.key).join(runs, runs.c.key == members.c.key)
        statement = joined.where(members.c.study == name, runs.c.state != "done")
        return study, [row["key"] for row in self.database.select(statement)]

    def progress(self) -> dict[str, tuple[int, int]]:
        """Return the number of finished runs and the number of all runs for each stored study, by name."""
        joined = studies.outerjoin(members, members.c.study == studies.c.name).outerjoin(
            runs, runs.c.key == members.c.key
        )
        done = sa.func.count().filter(runs.c.state == "done").label("done")
        counts = sa.select(studies.c.name, done, sa.func.count(members.c.key).label("all")).select_from(joined)
        rows = self.database.select(counts.group_by(studies.c.name).order_by(studies.c.name))
        return {row["name"]: (row["done"], row["all"]) for row in rows}

    def places(self, key: str) -> list[tuple[str, int, int]]:
        """Return (study, point, seed) for each study that a run belongs to."""
        columns = (members.c.study, members.c.point, members.c.seed)
        rows = self.database.select(sa.select(*columns).where(members.c.key == key).order_by(*columns))
        return [(row["study"], row["point"], row["seed"]) for row in rows]


def study_row(study: Study, data_fingerprint: str, points: list[Point], provenance: Provenance) -> dict[str, Any]:
    """Return the row of a study for the table of studies."""
    frame = points_frame(study, points, provenance.image_size) if points else pd.DataFrame()
    return {
        "name": study.name,
        "digest": study.digest,
        "data_fingerprint": data_fingerprint,
        "study": study.model_dump_json(),
        "command": provenance.command,
        "versions": dict(provenance.versions),
        "machine": dict(provenance.machine),
        "points": json.loads(frame.to_json(orient="records")),
        "classes": provenance.classes,
        "class_counts": provenance.class_counts and asdict(provenance.class_counts),
    }


def stored_study(database: Database, name: str) -> Mapping[Any, Any]:
    """Return the row of a study; for an unknown name, raise an `ExplorerError` that suggests the nearest one."""
    rows = database.select(sa.select(studies).where(studies.c.name == name))
    if not rows:
        raise unknown(f"study in {database.shown}", name, Studies(database).names())
    return rows[0]


def stored_points(database: Database, study: str) -> list[dict[str, Any]]:
    """Return the stored points of a study, or those that a search has proposed, in order."""
    return stored_study(database, study)["points"] or _proposed(database, study)


def _proposed(database: Database, study: str) -> list[dict[str, Any]]:
    found = sa.select(proposals.c.row).where(proposals.c.study == study).order_by(proposals.c.point)
    return [proposal["row"] for proposal in database.select(found)]


def _run_row(stored: Mapping[Any, Any]) -> dict[str, Any]:
    row = dict(stored)
    images = row.pop("validation_images")
    if images is not None:
        row["correct"] = unpack_correct(row["correct"], images)
    if row["state"] is None:
        return row | {"state": "missing", "reason": ""}
    return row | {"host": row["host"]["name"]}


def _with_unasked(found: list[dict[str, Any]], study: Study) -> list[dict[str, Any]]:
    """Add the runs that no round has asked for: not needed once those of all rounds have ended, else missing."""
    over = all(run["state"] in {"done", "failed"} for run in found)
    asked = {(run["point"], run["seed"]) for run in found}
    places = {(run["point"], seed) for run in found for seed in range(study.seeds)} - asked
    rest = {"state": NOT_NEEDED if over else "missing", "reason": ""}
    unasked = [dict.fromkeys(found[0]) | {"point": point, "seed": seed, "key": ""} | rest for point, seed in places]
    return sorted(found + unasked, key=lambda run: (run["point"], run["seed"]))


def _stopped(points: pd.DataFrame, rungs: pd.DataFrame, at_top: set[int], epochs: int) -> pd.DataFrame:
    """Mark the points of a search that have no run at the top rung as `stopped`, or as `failed` below it."""
    for number, tried in rungs.groupby("point"):
        if number in at_top:
            continue
        done = tried[tried["state"] == "done"]
        broken = tried[tried["state"].isin(["failed", "crashed"])]
        last = (
            f"{done['accuracy'].iloc[-1]:.1%} after {done['epochs'].iloc[-1]} of {epochs} epochs" if len(done) else ""
        )
        state, reason = ("failed", broken["reason"].iloc[-1]) if len(broken) else ("stopped", last)
        points.loc[points["point"] == number, ["state", "reason"]] = [state, reason]
    return points


def _points(study: Study, rows: list[dict[str, Any]]) -> pd.DataFrame:
    frame = pd.DataFrame(rows)
    # JSON has no tuples or nullable integers, so take the typed values from the study.
    grid = [point.metaparameters for point in study.design_points()]
    for key in study.varied:
        dtype = None if all(key in point for point in grid) else "object"  # otherwise pandas turns None into NaN
        frame[key] = pd.Series([point.get(key) for point in grid], index=frame.index, dtype=dtype)
    whole = ("same_as", "input_pixels", "final_pixels", "image_pixels", *computed())
    # Studies stored by earlier versions have fewer columns.
    for column, nothing in ({"series": ""} | dict.fromkeys(whole, pd.NA)).items():
        if column not in frame:
            frame[column] = nothing
    return frame.astype(dict.fromkeys(whole, "Int64"))
