"""The Optuna view of a search, with a value for each rung, which is read from the ledger.

Points that have reached the top rung are complete. While the search goes on, the others are running; once it stops,
they are pruned. Only points at the top rung are in `NAME: front`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import mean
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from explorer.networks.quantities import computed
from explorer.storage.ledger import Ledger
from explorer.storage.optuna_view import View
from explorer.storage.runs import Result
from explorer.study.model import Study
from explorer.study.plan import Point


class SearchView(View):
    """The Optuna studies that display a search."""

    def __init__(self, ledger: Ledger, study: Study) -> None:
        """Open or create the view; raise `NoView` if Optuna cannot use the storage."""
        super().__init__(ledger, study, ())
        self.ledger = ledger
        self.finished: set[int] = set()
        self.reported: dict[int, dict[int, float]] = {}

    def begin(self, points: Sequence[Point]) -> None:
        """Show the stored state of a search that goes on. Points that were shown as pruned are running again."""
        self._show(points, going_on=True, exactly=True)

    def update(self, points: Sequence[Point]) -> None:
        """Show what has been stored since; trials that are already complete remain as they are."""
        self._show(points, going_on=True, exactly=False)

    def end(self, points: Sequence[Point]) -> None:
        """Show exactly the stored state of a search that has stopped."""
        self._show(points, going_on=False, exactly=True)

    def _show(self, points: Sequence[Point], *, going_on: bool, exactly: bool) -> None:
        if not exactly:
            points = [point for point in points if point.number not in self.finished]
        results = self._results()
        trials = {
            point.number: self._search_trial(point, results.get(point.number, {}), going_on=going_on)
            for point in points
        }
        finished = {number: trial for number, trial in trials.items() if trial.state.is_finished()}
        running = {number: trial for number, trial in trials.items() if number not in finished}
        self.finished |= set(finished)
        if exactly:
            self.trials.sync(finished)
        if going_on:
            self.trials.show(running, {} if exactly else finished)
            self._report(running)
        fronts = {
            point.number: trial
            for point in points
            if (trial := self._with_costs(trials[point.number], point)) is not None
        }
        if exactly:
            self.front.sync(fronts)
        else:
            self.front.show({}, fronts)

    def _report(self, running: Mapping[int, FrozenTrial]) -> None:
        changed = {
            number: trial for number, trial in running.items() if self.reported.get(number) != trial.intermediate_values
        }
        self.trials.report(changed)
        self.reported |= {number: trial.intermediate_values for number, trial in changed.items()}

    def _results(self) -> dict[int, dict[int, list[Result]]]:
        """Return the final results of each point, by epochs."""
        members = self.ledger.searches.runs(self.study)
        stored = self.ledger.runs.results([run.key for run in members])
        found: dict[int, dict[int, list[Result]]] = {}
        for run in members:
            result = stored.get(run.key)
            if result is not None and result.final:
                found.setdefault(run.point, {}).setdefault(run.epochs, []).append(result)
        return found

    def _search_trial(self, point: Point, rungs: dict[int, list[Result]], *, going_on: bool) -> FrozenTrial:
        values = {
            epochs: mean(known)
            for epochs, results in rungs.items()
            if (known := [result.accuracy for result in results if result.accuracy is not None])
        }
        top = self.study.budget.epochs
        failed = any(result.accuracy is None for results in rungs.values() for result in results)
        if top in values:
            state = TrialState.COMPLETE
        elif failed:
            state = TrialState.FAIL
        elif going_on or not values:
            state = TrialState.RUNNING
        else:
            state = TrialState.PRUNED
        # Only those at the top rung count as the accuracy of the point.
        trial = self._trial(state, point, rungs.get(top, []))
        if state.is_finished() and top not in rungs:
            every = [result for results in rungs.values() for result in results]
            timed = self._trial(state, point, every)
            trial.datetime_start, trial.datetime_complete = timed.datetime_start, timed.datetime_complete
            reason = next((result.reason for result in every if result.reason), "")
            trial.user_attrs |= {"state": "failed", "reason": reason} if failed else {"state": "stopped"}
        if values:
            trial.user_attrs["rung"] = f"{max(values)} of {top} epochs"
        trial.intermediate_values = dict(sorted(values.items()))
        if state in {TrialState.COMPLETE, TrialState.PRUNED}:
            trial.values = [values[max(values)]]
        trial.system_attrs |= self._constraints(point)
        return trial

    def _constraints(self, point: Point) -> dict[str, Any]:
        """Return by how much a point exceeds each limit, as Optuna stores it and as older versions did."""
        if point.network is None or not self.study.constraints:
            return {}
        found: dict[str, float] = {}
        for key, limits in self.study.constraints.items():
            compute = computed().get(key)
            amount = float(compute(point.network) if compute else point.derived[key])
            if limits.max is not None:
                found[f"{key} at most {limits.max:,.10g}"] = amount - limits.max
            if limits.min is not None:
                found[f"{key} at least {limits.min:,.10g}"] = limits.min - amount
        named = {f"constraints:{name}": value for name, value in found.items()}
        return {"constraints": list(found.values())} | named
