"""The Optuna view of a search, which is read from the ledger and has a value for each rung.

Points that have reached the top rung are complete. While the search goes on, the others are running; once it stops,
they are pruned. Only points at the top rung are in `NAME: front`.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean
from typing import Any

from optuna.trial import TrialState

from explorer.storage.ledger import Ledger
from explorer.storage.optuna_trials import NewTrial
from explorer.storage.optuna_view import View, span
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

    def begin(self, points: Sequence[Point]) -> None:
        """Show the stored state of a search that goes on. Points that were shown as pruned are running again."""
        self._show(self._trials(points, going_on=True), exactly=True)

    def update(self, points: Sequence[Point]) -> None:
        """Show what has been stored since. Points that are already finished remain as they are."""
        self._show(self._trials([point for point in points if point.number not in self.finished], going_on=True))

    def end(self, points: Sequence[Point]) -> None:
        """Show exactly the stored state of a search that has stopped."""
        self._show(self._trials(points, going_on=False), exactly=True)

    def _trials(self, points: Sequence[Point], *, going_on: bool) -> list[tuple[Point, NewTrial]]:
        """Return the points with their trials: running, or finished and not to be shown again by `update`."""
        numbers = {point.number for point in points}
        runs = [run for run in self.ledger.searches.runs(self.study) if run.point in numbers]
        stored = self.ledger.runs.results([run.key for run in runs])
        results: dict[int, dict[int, list[Result]]] = {number: {} for number in numbers}
        for run in runs:
            if run.key in stored and stored[run.key].final:
                results[run.point].setdefault(run.epochs, []).append(stored[run.key])
        trials = [(point, self._search_trial(point, results[point.number], going_on=going_on)) for point in points]
        finished = {point.number for point, trial in trials if trial.state.is_finished()}
        self.finished |= finished
        return [(point, trial) for point, trial in trials if going_on or point.number in finished]

    def _search_trial(self, point: Point, rungs: dict[int, list[Result]], *, going_on: bool) -> NewTrial:
        values = {
            epochs: fmean(known)
            for epochs, results in sorted(rungs.items())
            if (known := [result.accuracy for result in results if result.accuracy is not None])
        }
        top = self.study.budget.epochs
        every = [result for results in rungs.values() for result in results]
        failed = any(result.accuracy is None for result in every)
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
            trial.datetime_start, trial.datetime_complete = span(every)
            reason = next((result.reason for result in every if result.reason), "")
            trial.user_attrs |= {"state": "failed", "reason": reason} if failed else {"state": "stopped"}
        if values:
            trial.user_attrs["rung"] = f"{max(values)} of {top} epochs"
        trial.intermediate_values = values
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
            amount = float(point.quantity(key))
            if limits.max is not None:
                found[f"{key} at most {limits.max:,.10g}"] = amount - limits.max
            if limits.min is not None:
                found[f"{key} at least {limits.min:,.10g}"] = limits.min - amount
        named = {f"constraints:{name}": value for name, value in found.items()}
        return {"constraints": list(found.values())} | named
