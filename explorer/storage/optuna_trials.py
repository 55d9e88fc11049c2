"""Trials of an Optuna study, read and written many at a time; Optuna's own functions take milliseconds for each."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from optuna.distributions import distribution_to_json
from optuna.storages._rdb import models
from optuna.trial import FrozenTrial, TrialState

TRIALS = models.TrialModel.__table__
ATTRIBUTES = models.TrialUserAttributeModel.__table__
PARAMS = models.TrialParamModel.__table__
VALUES = models.TrialValueModel.__table__
EPOCHS = models.TrialIntermediateValueModel.__table__
SYSTEM = models.TrialSystemAttributeModel.__table__
CHUNK = 500  # values in one `IN (...)`, whose number databases limit


@dataclass
class StoredTrial:
    """What a trial shows: its state, the values of its objectives, its user attributes, and its values by epoch."""

    id: int
    state: TrialState
    values: list[float] = field(default_factory=list)
    attributes: dict[str, Any] = field(default_factory=dict)
    epochs: dict[int, float] = field(default_factory=dict)


def read_trials(connection: sa.Connection, study_id: int) -> list[StoredTrial]:
    """Return the trials of an Optuna study in order."""
    of_study = TRIALS.c.study_id == study_id
    chosen = sa.select(TRIALS.c.trial_id, TRIALS.c.state).where(of_study).order_by(TRIALS.c.trial_id)
    trials = {row.trial_id: StoredTrial(row.trial_id, row.state) for row in connection.execute(chosen)}

    def rows(table: sa.Table, *columns: str) -> Iterator[Any]:
        wanted = sa.select(table.c.trial_id, *(table.c[column] for column in columns))
        return iter(connection.execute(wanted.join(TRIALS, TRIALS.c.trial_id == table.c.trial_id).where(of_study)))

    for trial, key, value in rows(ATTRIBUTES, "key", "value_json"):
        trials[trial].attributes[key] = json.loads(value)
    for trial, _, value in sorted(rows(VALUES, "objective", "value"), key=lambda row: row[1]):
        trials[trial].values.append(value)
    for trial, epoch, value in rows(EPOCHS, "step", "intermediate_value"):
        trials[trial].epochs[epoch] = value
    return list(trials.values())


def lock_study(connection: sa.Connection, study_id: int) -> None:
    """Let no other program add trials to an Optuna study until the transaction ends."""
    table = models.StudyModel.__table__
    connection.execute(sa.update(table).where(table.c.study_id == study_id).values(study_id=study_id))


def add_trials(connection: sa.Connection, study_id: int, trials: Sequence[FrozenTrial]) -> list[int]:
    """Add trials to a locked study and return their IDs."""
    if not trials:
        return []
    of_study = TRIALS.c.study_id == study_id
    first = connection.execute(sa.select(sa.func.count()).select_from(TRIALS).where(of_study)).scalar_one()
    rows = [
        {"number": number, "study_id": study_id, "state": trial.state, **_times(trial)}
        for number, trial in enumerate(trials, start=first)
    ]
    connection.execute(TRIALS.insert(), rows)
    added = sa.select(TRIALS.c.trial_id).where(of_study, TRIALS.c.number >= first).order_by(TRIALS.c.number)
    ids = list(connection.execute(added).scalars())
    params = [
        {
            "trial_id": trial_id,
            "param_name": name,
            "param_value": trial.distributions[name].to_internal_repr(value),
            "distribution_json": distribution_to_json(trial.distributions[name]),
        }
        for trial_id, trial in zip(ids, trials, strict=True)
        for name, value in trial.params.items()
    ]
    _insert(connection, PARAMS, params)
    system = [
        _attribute(trial_id, *item)
        for trial_id, trial in zip(ids, trials, strict=True)
        for item in trial.system_attrs.items()
    ]
    _insert(connection, SYSTEM, system)
    _add_results(connection, dict(zip(ids, trials, strict=True)))
    return ids


def end_trials(connection: sa.Connection, trials: Mapping[int, FrozenTrial]) -> None:
    """End running or waiting trials, by ID, with these states, values and attributes."""
    for trial_id, trial in trials.items():
        times = {"datetime_complete": _times(trial)["datetime_complete"]}
        connection.execute(sa.update(TRIALS).where(TRIALS.c.trial_id == trial_id).values(state=trial.state, **times))
    keys = sorted({key for trial in trials.values() for key in trial.user_attrs})
    for ids in _chunks(trials):
        connection.execute(ATTRIBUTES.delete().where(ATTRIBUTES.c.trial_id.in_(ids), ATTRIBUTES.c.key.in_(keys)))
        connection.execute(EPOCHS.delete().where(EPOCHS.c.trial_id.in_(ids)))
    _add_results(connection, trials)


def set_epochs(connection: sa.Connection, epochs: Mapping[int, Mapping[int, float]]) -> None:
    """Set the values by epoch of unfinished trials, by ID."""
    for ids in _chunks(epochs):
        connection.execute(EPOCHS.delete().where(EPOCHS.c.trial_id.in_(ids)))
    _insert(connection, EPOCHS, [row for trial_id, values in epochs.items() for row in _epoch_rows(trial_id, values)])


def set_running(connection: sa.Connection, ids: Iterable[int]) -> None:
    """Start waiting trials, by ID."""
    running = {"state": TrialState.RUNNING, "datetime_start": datetime.now(UTC).replace(tzinfo=None)}
    for chunk in _chunks(ids):
        connection.execute(sa.update(TRIALS).where(TRIALS.c.trial_id.in_(chunk)).values(**running))


def pause_trials(connection: sa.Connection, study_id: int) -> None:
    """Let the running trials of an Optuna study wait."""
    running = (TRIALS.c.study_id == study_id, TRIALS.c.state == TrialState.RUNNING)
    connection.execute(sa.update(TRIALS).where(*running).values(state=TrialState.WAITING))


def set_attribute(connection: sa.Connection, attribute: str, values: Mapping[int, Any]) -> None:
    """Set a user attribute of trials, by ID, even of finished ones."""
    for ids in _chunks(values):
        connection.execute(ATTRIBUTES.delete().where(ATTRIBUTES.c.trial_id.in_(ids), ATTRIBUTES.c.key == attribute))
    _insert(connection, ATTRIBUTES, [_attribute(trial_id, attribute, value) for trial_id, value in values.items()])


def _add_results(connection: sa.Connection, trials: Mapping[int, FrozenTrial]) -> None:
    attributes = [
        _attribute(trial_id, *item) for trial_id, trial in trials.items() for item in trial.user_attrs.items()
    ]
    values = [
        {"trial_id": trial_id, "objective": objective, "value": stored, "value_type": kind}
        for trial_id, trial in trials.items()
        for objective, value in enumerate(trial.values or ())
        for stored, kind in [models.TrialValueModel.value_to_stored_repr(value)]
    ]
    epochs = [row for trial_id, trial in trials.items() for row in _epoch_rows(trial_id, trial.intermediate_values)]
    for table, rows in ((ATTRIBUTES, attributes), (VALUES, values), (EPOCHS, epochs)):
        _insert(connection, table, rows)


def _epoch_rows(trial_id: int, values: Mapping[int, float]) -> Iterator[dict[str, Any]]:
    for epoch, value in values.items():
        stored, kind = models.TrialIntermediateValueModel.intermediate_value_to_stored_repr(value)
        yield {"trial_id": trial_id, "step": epoch, "intermediate_value": stored, "intermediate_value_type": kind}


def _insert(connection: sa.Connection, table: sa.Table, rows: Sequence[Mapping[str, Any]]) -> None:
    if rows:
        connection.execute(table.insert(), rows)


def _attribute(trial_id: int, key: str, value: object) -> dict[str, Any]:
    return {"trial_id": trial_id, "key": key, "value_json": json.dumps(value)}


def _times(trial: FrozenTrial) -> dict[str, datetime | None]:
    """Return a trial's times in UTC without a time zone, as Optuna stores them."""
    return {
        name: None if time is None else time.astimezone(UTC).replace(tzinfo=None)
        for name, time in (("datetime_start", trial.datetime_start), ("datetime_complete", trial.datetime_complete))
    }


def _chunks(ids: Iterable[int]) -> Iterator[list[int]]:
    every = list(ids)
    return (every[start : start + CHUNK] for start in range(0, len(every), CHUNK))
