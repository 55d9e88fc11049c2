"""Read and write the trials of an Optuna study in bulk. Optuna's own functions take milliseconds for each trial."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from operator import itemgetter
from typing import Any

import sqlalchemy as sa
from optuna.distributions import BaseDistribution, distribution_to_json
from optuna.storages._rdb import models
from optuna.trial import TrialState

STUDIES = models.StudyModel.__table__
TRIALS = models.TrialModel.__table__
PARAMS = models.TrialParamModel.__table__
SYSTEM = models.TrialSystemAttributeModel.__table__
ATTRIBUTES = models.TrialUserAttributeModel.__table__
VALUES = models.TrialValueModel.__table__
EPOCHS = models.TrialIntermediateValueModel.__table__

Row = dict[str, Any]


@dataclass
class StoredTrial:
    """A stored trial: its state, the values of its objectives, its user attributes, and its values by epoch."""

    id: int
    state: TrialState
    values: list[float] = field(default_factory=list)
    attributes: dict[str, Any] = field(default_factory=dict)
    epochs: dict[int, float] = field(default_factory=dict)


@dataclass
class NewTrial:
    """A trial to store. Optuna's `FrozenTrial` takes a tenth of a millisecond to create."""

    state: TrialState
    params: dict[str, Any]
    distributions: Mapping[str, BaseDistribution]
    user_attrs: dict[str, Any]
    values: list[float] = field(default_factory=list)
    intermediate_values: dict[int, float] = field(default_factory=dict)
    system_attrs: dict[str, Any] = field(default_factory=dict)
    datetime_start: datetime | None = None  # local time, like all times in Optuna
    datetime_complete: datetime | None = None


def read_trials(connection: sa.Connection, study_id: int) -> list[StoredTrial]:
    """Return the trials of an Optuna study in order."""
    of_study = TRIALS.c.study_id == study_id
    chosen = sa.select(TRIALS.c.trial_id, TRIALS.c.state).where(of_study).order_by(TRIALS.c.trial_id)
    trials = {row.trial_id: StoredTrial(row.trial_id, row.state) for row in connection.execute(chosen)}

    def rows(table: sa.Table, key: str, value: str) -> Sequence[Any]:
        wanted = sa.select(table.c.trial_id, table.c[key], table.c[value]).join(TRIALS).where(of_study)
        return connection.execute(wanted).all()

    attributes = rows(ATTRIBUTES, "key", "value_json")
    known = json.loads(f"[{','.join(text for _, _, text in attributes)}]")  # much faster than one by one
    for (trial, name, _), value in zip(attributes, known, strict=True):
        trials[trial].attributes[name] = value
    for trial, _, value in sorted(rows(VALUES, "objective", "value"), key=itemgetter(1)):
        trials[trial].values.append(value)
    for trial, epoch, value in rows(EPOCHS, "step", "intermediate_value"):
        trials[trial].epochs[epoch] = value
    return list(trials.values())


def all_have(connection: sa.Connection, study_id: int, key: str) -> bool:
    """Return whether all trials of an Optuna study have this user attribute."""
    has = sa.exists().where(ATTRIBUTES.c.trial_id == TRIALS.c.trial_id, ATTRIBUTES.c.key == key)
    without = sa.select(TRIALS.c.trial_id).where(TRIALS.c.study_id == study_id, ~has).limit(1)
    return connection.execute(without).first() is None


def add_trials(connection: sa.Connection, study_id: int, trials: Sequence[NewTrial]) -> list[int]:
    """Add trials to an Optuna study and return their IDs."""
    if not trials:
        return []
    # Lock the study until the transaction ends, so that no other program adds trials with the same numbers.
    connection.execute(STUDIES.update().where(STUDIES.c.study_id == study_id).values(study_id=study_id))
    of_study = TRIALS.c.study_id == study_id
    first = connection.execute(sa.select(sa.func.count()).select_from(TRIALS).where(of_study)).scalar_one()
    rows = [
        {"study_id": study_id, "number": number, "datetime_start": _utc(trial.datetime_start), **_end(trial)}
        for number, trial in enumerate(trials, start=first)
    ]
    _execute(connection, TRIALS.insert(), rows)
    added = sa.select(TRIALS.c.trial_id).where(of_study, TRIALS.c.number >= first).order_by(TRIALS.c.number)
    ids = list(connection.execute(added).scalars())
    _insert(connection, dict(zip(ids, trials, strict=True)), [PARAMS, SYSTEM, ATTRIBUTES, VALUES, EPOCHS])
    return ids


def start_trials(connection: sa.Connection, ids: Iterable[int]) -> None:
    """Set waiting trials, by ID, to running."""
    started = {"state": TrialState.RUNNING, "datetime_start": _utc(datetime.now(UTC))}
    _update(connection, dict.fromkeys(ids, started))


def pause_trials(connection: sa.Connection, study_id: int) -> None:
    """Set the running trials of an Optuna study to waiting."""
    running = (TRIALS.c.study_id == study_id, TRIALS.c.state == TrialState.RUNNING)
    connection.execute(TRIALS.update().where(*running).values(state=TrialState.WAITING))


def end_trials(connection: sa.Connection, trials: Mapping[int, NewTrial]) -> None:
    """End running or waiting trials, by ID, with these states, values and attributes."""
    _update(connection, {trial_id: _end(trial) for trial_id, trial in trials.items()})
    replaced = [{"trial_id": trial_id, "key": key} for trial_id, trial in trials.items() for key in trial.user_attrs]
    _delete(connection, ATTRIBUTES, replaced)
    _insert(connection, trials, [ATTRIBUTES, VALUES])
    set_epochs(connection, trials)


def set_epochs(connection: sa.Connection, trials: Mapping[int, NewTrial]) -> None:
    """Set the values by epoch of unfinished trials, by ID."""
    _delete(connection, EPOCHS, [{"trial_id": trial_id} for trial_id in trials])
    _insert(connection, trials, [EPOCHS])


def set_attribute(connection: sa.Connection, key: str, values: Mapping[int, Any]) -> None:
    """Set a user attribute of trials, by ID. They may be finished, which Optuna's own functions do not allow."""
    _delete(connection, ATTRIBUTES, [{"trial_id": trial_id, "key": key} for trial_id in values])
    rows = [{"trial_id": trial_id, "key": key, "value_json": json.dumps(value)} for trial_id, value in values.items()]
    _execute(connection, ATTRIBUTES.insert(), rows)


def _execute(connection: sa.Connection, statement: sa.Executable, rows: Sequence[Row]) -> None:
    if rows:  # without parameters, the statement would be executed once
        connection.execute(statement, rows)


def _update(connection: sa.Connection, rows: Mapping[int, Row]) -> None:
    same = TRIALS.c.trial_id == sa.bindparam("id")
    _execute(connection, TRIALS.update().where(same), [{"id": trial_id, **row} for trial_id, row in rows.items()])


def _delete(connection: sa.Connection, table: sa.Table, rows: Sequence[Row]) -> None:
    same = (table.c[name] == sa.bindparam(name) for name in (rows[0] if rows else ()))
    _execute(connection, table.delete().where(*same), rows)


def _insert(connection: sa.Connection, trials: Mapping[int, NewTrial], tables: Sequence[sa.Table]) -> None:
    rows: dict[sa.Table, list[Row]] = {table: [] for table in tables}
    for trial_id, trial in trials.items():
        for table, row in _parts(trial):
            if table in rows:
                rows[table].append({"trial_id": trial_id, **row})
    for table in tables:
        _execute(connection, table.insert(), rows[table])


def _parts(trial: NewTrial) -> Iterator[tuple[sa.Table, Row]]:
    for name, value in trial.params.items():
        distribution = trial.distributions[name]
        internal, text = distribution.to_internal_repr(value), distribution_to_json(distribution)
        yield PARAMS, {"param_name": name, "param_value": internal, "distribution_json": text}
    for table, attributes in ((SYSTEM, trial.system_attrs), (ATTRIBUTES, trial.user_attrs)):
        for key, value in attributes.items():
            yield table, {"key": key, "value_json": json.dumps(value)}
    for objective, value in enumerate(trial.values):
        stored, kind = models.TrialValueModel.value_to_stored_repr(value)
        yield VALUES, {"objective": objective, "value": stored, "value_type": kind}
    for epoch, value in trial.intermediate_values.items():
        number, type_ = models.TrialIntermediateValueModel.intermediate_value_to_stored_repr(value)
        yield EPOCHS, {"step": epoch, "intermediate_value": number, "intermediate_value_type": type_}


def _end(trial: NewTrial) -> Row:
    return {"state": trial.state, "datetime_complete": _utc(trial.datetime_complete)}


def _utc(time: datetime | None) -> datetime | None:
    """Return a time in UTC without a time zone, as Optuna stores it."""
    return None if time is None else time.astimezone(UTC).replace(tzinfo=None)
