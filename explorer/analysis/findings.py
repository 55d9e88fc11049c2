"""All that is computed of one study, each thing once and only when it is asked for."""

from __future__ import annotations

from functools import cached_property

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from explorer.analysis.accuracies import Accuracies
from explorer.analysis.effort import Effort, effort
from explorer.analysis.fronts import (
    Hypervolume,
    front_column,
    front_probability,
    hypervolume,
    more_is_better,
    pareto_front,
    probability_column,
    reference,
)
from explorer.analysis.importance import importance
from explorer.analysis.latencies import StudyLatencies
from explorer.analysis.points import measured, points_table, ranked, runs_table
from explorer.analysis.standing import published_choices, standings
from explorer.analysis.surrogate import Surrogate
from explorer.networks.quantities import LATENCY, QUANTITIES
from explorer.storage.record import StudyRecord

DRAWS = 1000
"""Joint draws of all accuracies: a probability that they tell has a standard error of at most 1.6 %."""


class Findings:
    """What the stored rows of a study say; see `explorer.analysis` for each part."""

    def __init__(self, record: StudyRecord, latencies: pd.DataFrame | None = None) -> None:
        """Of a study's record, and of its networks' latencies as `ledger.latencies.of` gives them, where any were measured."""
        self.record = record
        self.latency = StudyLatencies.of(latencies)

    @cached_property
    def accuracies(self) -> Accuracies:
        """The accuracies with all that their uncertainty is made of."""
        return Accuracies.of(self.record)

    @property
    def figure(self) -> str:
        """The figure that shows the points first."""
        return self.record.study.form.figure

    @cached_property
    def points(self) -> pd.DataFrame:
        """`ranked`, and for each of `costs` whether a point is on its front, and with which probability (NaN where that is not known).

        Points that are merged into another, or not measured, are on no front.
        """
        frame = ranked(self.record, self.accuracies)
        if self.latency:
            frame[LATENCY.key] = frame["network"].map(self.latency.seconds).astype(float)
        own = frame["accuracy"].notna() & frame["same_as"].isna()
        for cost in self.costs:
            frame[front_column(cost)] = pareto_front(frame[own], cost).reindex(frame.index, fill_value=False)
            found = pd.Series(np.nan, index=frame.index)
            if self.draws is not None:
                found[own] = self._probability(cost, frame.loc[own, cost])
            frame[probability_column(cost)] = found
        return frame

    @property
    def costs(self) -> list[str]:
        """The costs that have fronts: the one that the study is drawn against, and those of the table that are known."""
        fronts = [cost for cost, quantity in QUANTITIES.items() if quantity.front]
        known = [cost for cost in fronts if self.record.points.get(cost, pd.Series()).notna().any()]
        known += [LATENCY.key] if self.latency else []
        return list(dict.fromkeys([self.record.study.plot.against, *known]))

    @cached_property
    def table(self) -> pd.DataFrame:
        """The points, as for files."""
        return points_table(self.points, self.record)

    @cached_property
    def measured(self) -> pd.DataFrame:
        """The points that have an accuracy, one row for each network."""
        return measured(self.points)

    @property
    def lines(self) -> pd.DataFrame:
        """The measured points of networks that belong to one series only, so that series can be compared by them."""
        points = self.points
        series = points.groupby(points["same_as"].fillna(points["point"]))["series"].nunique()
        return self.measured[(self.measured["point"].map(series) == 1).to_numpy(dtype=bool)]

    @cached_property
    def runs(self) -> pd.DataFrame:
        """The runs, as for files."""
        return runs_table(self.record)

    @cached_property
    def draws(self) -> NDArray[np.float32] | None:
        """What the accuracies of the measured points might be, (points, draws); see `Accuracies.draws`."""
        return self.accuracies.draws(DRAWS)

    @cached_property
    def effort(self) -> Effort | None:
        """What the runs took."""
        return effort(self.runs, self.record.points, self.record.study.budget)

    @cached_property
    def surrogate(self) -> Surrogate | None:
        """A smooth surrogate of the accuracy, where one can be fitted."""
        return Surrogate.fit(self.record, self.measured, self.accuracies)

    @cached_property
    def importance(self) -> pd.DataFrame | None:
        """The importance of the metaparameters; see `importance`. None where there is no surrogate or nothing to compare."""
        return importance(self.surrogate) if self.surrogate else None

    @cached_property
    def choices(self) -> pd.DataFrame:
        """What published networks chose for the metaparameters that vary here; see `published_choices`."""
        return published_choices(self.record)

    @cached_property
    def standings(self) -> pd.DataFrame | None:
        """The choices with their standing among priced designs of equal params; see `standings`."""
        return standings(self.record, self.surrogate, self.choices) if self.surrogate else None

    def series_of(self, point: int) -> list[str]:
        """The series that a network belongs to, by the number of its point: several, where others are merged into it."""
        points = self.record.points
        return list(dict.fromkeys(points.loc[(points["point"] == point) | (points["same_as"] == point), "series"]))

    def hypervolume(self, cost: str) -> Hypervolume | None:
        """What the front of a cost encloses; None where all points cost the same, more of it is better, or fewer than two are measured."""
        costs = self.costs_of(cost)
        known = np.isfinite(costs)
        found = reference(costs, self.record.classes) if len(costs) and not more_is_better(cost) else None
        draws = None if self.draws is None else self.draws[known]
        return hypervolume(cost, costs[known], self.accuracies.means[known], draws, found) if found else None

    def costs_of(self, cost: str) -> NDArray[np.float64]:
        """The costs of the measured points, in the order of `accuracies`, as far as they are known."""
        costs = self.points.set_index("point")[cost]
        return np.asarray(costs.loc[self.accuracies.points.tolist()], dtype=float)

    def _probability(self, cost: str, costs: pd.Series[float]) -> NDArray[np.float64]:
        """The probability of each measured point that it is on the front; NaN where its cost is not known."""
        amounts: NDArray[np.float64] = np.asarray(costs.to_numpy(dtype=float, na_value=np.nan), dtype=np.float64)
        known = np.isfinite(amounts)
        found = np.full(len(amounts), np.nan)
        if self.draws is not None and known.any():
            signed = -amounts if more_is_better(cost) else amounts
            found[known] = front_probability(signed[known], self.draws[known])
        return found
