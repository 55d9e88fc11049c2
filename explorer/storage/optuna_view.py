"""The Optuna view, which shows the points of a study as trials of two Optuna studies in the same database.

`NAME` has accuracy as its only objective, with a value for each epoch. `NAME: front` adds the costs as objectives to
get a Pareto front. It has no values per epoch, because Optuna does not support them with multiple objectives.

Finished trials cannot be changed. If one no longer agrees with the ledger, the whole view is replaced.
"""

# ruff: noqa: SLF001 (Optuna's storages take the private IDs of studies and trials)

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from statistics import fmean, stdev
from typing import Any

import optuna
import sqlalchemy as sa
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState

from explorer.errors import ExplorerError
from explorer.machine import collection_paused
from explorer.networks.quantities import QUANTITIES, main_amounts, main_costs
from explorer.spaces.space import label
from explorer.storage.database import Database, log
from explorer.storage.optuna_tables import MARK, OptunaTables
from explorer.storage.optuna_trials import (
    NewTrial,
    StoredTrial,
    add_trials,
    all_have,
    end_trials,
    pause_trials,
    read_trials,
    set_attribute,
    set_epochs,
    start_trials,
)
from explorer.storage.runs import Result
from explorer.study.coordinates import Choice
from explorer.study.model import Study
from explorer.study.plan import Point

LATE = {"interval"}
"""User attributes that are set only once all trials are finished."""

NOTE = "explorer:note"
"""System attribute with the last note that the explorer wrote, to detect whether a user has edited it."""

DASHBOARD_NOTE = "dashboard:note"
"""Start of the system attributes in which the dashboard stores a note on a study."""


def view_names(study: str) -> tuple[str, str]:
    """Return the names of the two views of a study."""
    return study, f"{study}: front"


class View:
    """The Optuna studies that display a study."""

    def __init__(self, database: Database, study: Study, points: Iterable[Point]) -> None:
        """Open or create the view; raise `NoView` if Optuna cannot use the storage."""
        self.tables = OptunaTables(database)
        self.study = study
        self.points = {point.number: point for point in points}
        self.distributions = _distributions(study)
        # Points that differ in how they are trained have the costs of few networks, and no front over these.
        main = [] if study.form.training else [cost.key for cost in main_costs()]
        self.costs = study.form.costs if study.form.grows else main
        directions = {key: "maximize" if QUANTITIES[key].more_is_better else "minimize" for key in self.costs}
        trials, front = view_names(study.name)
        try:
            self.trials = _Trials(self.tables, trials, {"accuracy": "maximize"}, self._is_earlier)
            self.front = _Trials(self.tables, front, {"accuracy": "maximize"} | directions)
        except BaseException:
            self.tables.close()
            raise

    @collection_paused()
    def sync(self, settled: Mapping[int, tuple[Point, Sequence[Result]]]) -> None:
        """Show exactly these points as finished, with the results of their runs. They are keyed by number."""
        self._show([(point, self._finished(point, results)) for point, results in settled.values()], exactly=True)

    def show(self, started: Iterable[Point], finished: Mapping[int, tuple[Point, Sequence[Result]]]) -> None:
        """Show points as running, once their first run has started, and points by number as finished."""
        running = [(point, self._trial(TrialState.RUNNING, point, [])) for point in started]
        self._show([*running, *((point, self._finished(point, results)) for point, results in finished.values())])

    def close(self) -> None:
        """Show running points as waiting, and close the connection."""
        with suppress(ExplorerError):
            self.trials.pause()
        self.tables.close()

    def _show(self, trials: Sequence[tuple[Point, NewTrial]], *, exactly: bool = False) -> None:
        """Show points as running or finished; with `exactly`, show no others as running or finished."""
        self.trials.show({point.number: trial for point, trial in trials}, exactly=exactly)
        fronts = {
            point.number: self._on_front(point, trial)
            for point, trial in trials
            if trial.state == TrialState.COMPLETE and point.network is not None and point.same_as is None
        }
        self.front.show(fronts, exactly=exactly)

    def _finished(self, point: Point, results: Sequence[Result]) -> NewTrial:
        done = [result for result in results if result.accuracy is not None]
        trial = self._trial(TrialState.COMPLETE if done else TrialState.FAIL, point, results)
        if done:
            trial.values = [trial.user_attrs["accuracy"]]
            epochs = zip(*(result.accuracies or () for result in done), strict=False)
            trial.intermediate_values = {epoch: fmean(values) for epoch, values in enumerate(epochs, start=1)}
        return trial

    def _on_front(self, point: Point, trial: NewTrial) -> NewTrial:
        """Return a trial with the costs of its point as additional objectives."""
        costs = [float(point.quantity(cost)) for cost in self.costs]
        return replace(trial, values=[*trial.values, *costs], intermediate_values={})

    def _trial(self, state: TrialState, point: Point, results: Sequence[Result]) -> NewTrial:
        accuracies = [result.accuracy for result in results if result.accuracy is not None]
        reason = next((result.reason for result in results if result.reason), point.reason)
        attributes: dict[str, Any] = {"point": point.number, "label": point.label, "state": point.state}
        if results:
            attributes["state"] = "done" if accuracies else "failed"
        if point.network is not None:
            attributes |= main_amounts(point.network) | {"network": point.network.digest[:12]} | point.derived
        if accuracies:
            attributes |= {"accuracy": fmean(accuracies), "seeds": len(accuracies)}
        if len(accuracies) > 1:
            attributes["spread"] = stdev(accuracies)
        if reason:
            attributes["reason"] = reason
        seconds = [result.seconds for result in results if result.seconds is not None]
        if seconds:
            attributes["training_seconds"] = round(sum(seconds), 1)
        started, ended = span(results) if state.is_finished() else (datetime.now(), None)  # noqa: DTZ005 (as in `span`)
        return NewTrial(
            state, self._params(point), self.distributions, attributes, datetime_start=started, datetime_complete=ended
        )

    def _params(self, point: Point) -> dict[str, Any]:
        return {
            key: label(point.metaparameters.get(key))
            if isinstance(distribution, CategoricalDistribution)
            else point.metaparameters[key]
            for key, distribution in self.distributions.items()
        }

    def _is_earlier(self, found: optuna.Study) -> bool:
        """Whether every trial shows a point of this study like earlier versions, which did not mark their studies."""
        trials = found.get_trials(deepcopy=False)
        named = found.metric_names == ["accuracy"] and not found.user_attrs
        return named and bool(trials) and all(map(self._is_point, trials))

    def _is_point(self, trial: FrozenTrial) -> bool:
        number = trial.user_attrs.get("point")
        point = self.points.get(number) if isinstance(number, int) else None
        if point is None or not trial.state.is_finished() or trial.system_attrs or trial.intermediate_values:
            return False
        known: dict[str, Any] = {"label": point.label}
        if point.network is not None:
            known |= main_amounts(point.network) | {"network": point.network.digest[:12]}
        return trial.params == self._params(point) and known.items() <= trial.user_attrs.items()


class _Trials:
    """An Optuna study with a trial for each displayed point."""

    def __init__(
        self,
        tables: OptunaTables,
        view: str,
        objectives: Mapping[str, str],
        is_earlier: Callable[[optuna.Study], bool] = lambda _: False,
    ) -> None:
        self.tables = tables
        self.view = view
        self.open = partial(tables.open, view, objectives, is_earlier)
        self.shown: dict[Any, StoredTrial] | None = None  # by point, once read
        self.study = tables.call(self._opened)

    def _opened(self) -> optuna.Study:
        opened = self.open()
        study_id = opened._study_id
        if not self.tables.database.perform(lambda connection: all_have(connection, study_id, "point")):
            # A user has added trials, so the study is now theirs.
            opened.set_user_attr(MARK, "")
            opened = self.open()
        if opened.study_name != self.view:
            message = "storage %s: the Optuna study %r does not belong to the explorer; its view is %r"
            log.warning(message, self.tables.database.shown, self.view, opened.study_name)
        return opened

    def show(self, wanted: Mapping[int, NewTrial], *, exactly: bool) -> None:
        """Show points as running or finished, keyed by number. Those that are already finished remain as they are.

        With `exactly`, the view is replaced if it shows other points as finished or other results, and other running
        points wait.
        """
        self.tables.call(lambda: self._show(wanted, exactly=exactly))

    def _show(self, wanted: Mapping[int, NewTrial], *, exactly: bool) -> None:
        if exactly:
            self._pause()
        shown = self.shown
        if shown is None:
            trials = self._read(self.study)
            shown = {trial.attributes.get("point"): trial for trial in trials}
            twice = len(shown) < len(trials)
            if exactly and (twice or not all(_agree(trial, wanted.get(number)) for number, trial in shown.items())):
                self._replace()
                shown = {}
        new = {number: trial for number, trial in wanted.items() if number not in shown}
        known = [(shown[number], trial) for number, trial in wanted.items() if number in shown]
        changed = [(before, trial) for before, trial in known if not before.state.is_finished()]
        ended = {before.id: trial for before, trial in changed if trial.state.is_finished()}
        running = [(before, trial) for before, trial in changed if not trial.state.is_finished()]
        waiting = [before.id for before, _ in running if before.state == TrialState.WAITING]
        reported = {before.id: trial for before, trial in running if before.epochs != trial.intermediate_values}

        def store(connection: sa.Connection) -> list[int]:
            start_trials(connection, waiting)
            set_epochs(connection, reported)
            end_trials(connection, ended)
            return add_trials(connection, self.study._study_id, list(new.values()))

        self.shown = None  # unknown if the connection is lost now
        ids = self.tables.database.perform(store) if new or ended or waiting or reported else []
        for before, trial in changed:
            before.state, before.epochs = trial.state, trial.intermediate_values
        for id_, (number, trial) in zip(ids, new.items(), strict=True):
            shown[number] = StoredTrial(id_, trial.state, epochs=trial.intermediate_values)
        self.shown = shown

    def _replace(self) -> None:
        """Start the Optuna study anew, and keep what has been noted about it."""
        storage = self.tables.storage
        noted = storage.get_study_system_attrs(self.study._study_id)
        self.tables.delete(self.view)
        self.study = self.open()
        for key, value in noted.items():
            if key == NOTE or key.startswith(DASHBOARD_NOTE):
                storage.set_study_system_attr(self.study._study_id, key, value)

    def pause(self) -> None:
        """Show running points as waiting."""
        self.tables.call(self._pause)

    def _pause(self) -> None:
        self.shown = None
        study_id = self.study._study_id
        self.tables.database.perform(lambda connection: pause_trials(connection, study_id))

    def _read(self, opened: optuna.Study) -> list[StoredTrial]:
        return self.tables.database.perform(lambda connection: read_trials(connection, opened._study_id))


def annotate(database: Database, study: str, report: str, note: str, intervals: Mapping[int, str]) -> None:
    """Add the path of a study's report, a note, and intervals by point to its view.

    Without a view, this does nothing. If a user has edited the note, it is kept.
    """
    with closing(OptunaTables(database)) as tables:
        for name in view_names(study):
            tables.call(partial(_annotate, tables, name, report, note, intervals))


def _annotate(tables: OptunaTables, view: str, report: str, note: str, intervals: Mapping[int, str]) -> None:
    from optuna_dashboard import get_note, save_note

    found = tables.load(view)
    if found is None:
        return
    ours = tables.storage.get_study_system_attrs(found._study_id).get(NOTE, "")
    if get_note(found) == ours != note:
        save_note(found, note)
        tables.storage.set_study_system_attr(found._study_id, NOTE, note)
    found.set_user_attr("report", report)
    stored = tables.database.perform(lambda connection: read_trials(connection, found._study_id))
    trials = {trial.attributes.get("point"): trial for trial in stored}
    late = {trials[point].id: text for point, text in intervals.items() if point in trials}
    tables.database.perform(lambda connection: set_attribute(connection, "interval", late))


def _distributions(study: Study) -> dict[str, BaseDistribution]:
    """Return the distribution of each metaparameter: over its range in a search, else over its values."""
    if not study.form.grows:
        return {key: _distribution(values) for key, values in study.varied.items()}
    return {
        axis.name: CategoricalDistribution(list(map(label, axis.values)))
        if isinstance(axis, Choice)
        else _distribution([int(end) if axis.whole else float(end) for end in (axis.low, axis.high)])
        for axis in study.form.axes
    }


def _distribution(values: Sequence[Any]) -> BaseDistribution:
    numbers = [value for value in values if isinstance(value, int | float) and not isinstance(value, bool)]
    if len(numbers) < len(values):
        return CategoricalDistribution([label(value) for value in values])
    if all(isinstance(value, int) for value in numbers):
        return IntDistribution(int(min(numbers)), int(max(numbers)))
    return FloatDistribution(min(numbers), max(numbers))


def span(results: Sequence[Result]) -> tuple[datetime, datetime]:
    """Return the start of the first run and the end of the last one, in local time like all times in Optuna."""
    ends = [(datetime.fromisoformat(result.finished), result.seconds) for result in results if result.finished]
    if not ends:
        return datetime.now(), datetime.now()  # noqa: DTZ005 (Optuna's times have no time zone)
    first = min(end - timedelta(seconds=seconds or 0) for end, seconds in ends)
    first, last = (time.astimezone().replace(tzinfo=None) for time in (first, max(end for end, _ in ends)))
    return first, last


def _agree(shown: StoredTrial, wanted: NewTrial | None) -> bool:
    """Whether a trial matches `wanted`; an unfinished one can still become so."""
    if wanted is None or not shown.state.is_finished():
        return not shown.state.is_finished()
    attributes = {key: value for key, value in shown.attributes.items() if key not in LATE}
    found = (shown.state, shown.values, attributes, shown.epochs)
    return found == (wanted.state, wanted.values, wanted.user_attrs, wanted.intermediate_values)
