"""All results of one study, each computed once and only when needed."""

from __future__ import annotations

from functools import cached_property

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from explorer.analysis.accuracies import Accuracies
from explorer.analysis.choices import percentiles, published_choices
from explorer.analysis.effort import Effort, effort
from explorer.analysis.fronts import (
    ON_FRONT,
    PROBABILITY,
    Hypervolume,
    front_column,
    front_probability,
    hypervolume,
    more_is_better,
    pareto_front,
    probability_column,
    reference,
)
from explorer.analysis.guessing import learnt, tells_nothing
from explorer.analysis.importance import importance
from explorer.analysis.latencies import StudyLatencies
from explorer.analysis.points import measured, points_table, ranked, runs_table
from explorer.analysis.search_history import front_growth, search_runs
from explorer.analysis.surrogate import Surrogate
from explorer.analysis.verified import VerifiedNetworks, verified_networks
from explorer.networks.quantities import LATENCY, QUANTITIES
from explorer.storage.record import StudyRecord

DRAWS = 1000
"""Number of joint draws of all accuracies. Probabilities from them have a standard error of at most 1.6 %."""


class Findings:
    """The analysis of a study's record and, if measured, the latencies of its networks (`ledger.latencies.of`)."""

    def __init__(self, record: StudyRecord, latencies: pd.DataFrame | None = None) -> None:
        self.record = record
        self.latency = StudyLatencies.of(latencies)

    @cached_property
    def accuracies(self) -> Accuracies:
        """The accuracies with their uncertainty."""
        return Accuracies.of(self.record)

    @property
    def figure(self) -> str:
        """The main figure of the study."""
        return self.record.study.form.figure

    @cached_property
    def points(self) -> pd.DataFrame:
        """`ranked`, with front membership and front probability (NaN if unknown) for each of `costs`.

        Merged points and points without measurements are not on any front. A search also has `ON_FRONT` and
        `PROBABILITY`, the same for all its objectives together, and `attrs`: the numbers of the points on its `front`,
        cheapest first, and of the `best` point, the most accurate one.
        """
        frame = ranked(self.record, self.accuracies)
        if self.latency:
            frame[LATENCY.key] = frame["network"].map(self.latency.seconds).astype(float)
        for key in self.record.study.form.measures:
            frame[key] = self._measured_in_runs(QUANTITIES[key].run_column, frame)
        own = frame["accuracy"].notna() & frame["same_as"].isna()
        form = self.record.study.form
        fronts = [([cost], front_column(cost), probability_column(cost)) for cost in self.costs]
        fronts += [([*form.costs], ON_FRONT, PROBABILITY)] if form.grows else []
        for costs, front, probability in fronts:
            frame[front] = pareto_front(frame[own], *costs).reindex(frame.index, fill_value=False)
            found = pd.Series(np.nan, index=frame.index)
            known = own & frame[costs].notna().all(axis=1)
            if self.draws is not None and known.any() and costs:
                amounts = frame.loc[known, costs].to_numpy(dtype=float)
                drawn = self.draws[known[own].to_numpy()]
                found[known] = front_probability(amounts, drawn, maximise=[*map(more_is_better, costs)])
            frame[probability] = found
        if form.grows:
            on_front = frame[frame[ON_FRONT]].sort_values([*form.costs, "accuracy"], kind="stable")
            frame.attrs["front"] = on_front["point"].tolist()
            frame.attrs["best"] = int(frame["point"].iloc[int(np.nanargmax(frame["accuracy"]))]) if own.any() else None
        return frame

    @property
    def costs(self) -> list[str]:
        """The costs with fronts: the cost that the study is plotted against, and all other known costs."""
        if self.record.study.form.measures:
            return [*self.record.study.form.measures]
        fronts = [cost for cost, quantity in QUANTITIES.items() if quantity.front]
        known = [cost for cost in fronts if self.record.points.get(cost, pd.Series()).notna().any()]
        known += [LATENCY.key] if self.latency else []
        return list(dict.fromkeys([self.record.study.plot.against, *known]))

    def _images_seen(self) -> list[int]:
        """Return the number of images that each run of the study trained on."""
        study, classes = self.record.study, self.record.classes
        seen = [study.form.seen(point.metaparameters, study.budget, classes) for point in study.design_points()]
        return [seen[int(point)] for point in self.runs["point"]]

    def _measured_in_runs(self, column: str, frame: pd.DataFrame) -> pd.Series[float]:
        """Return the mean over the seeds of each point, NaN if it has no runs."""
        runs = self.record.runs[self.record.runs["state"] == "done"]
        means = pd.to_numeric(runs[column]).groupby(runs["point"]).mean()
        return frame["same_as"].fillna(frame["point"]).map(means).astype(float)

    @cached_property
    def table(self) -> pd.DataFrame:
        """The points as saved to files."""
        return points_table(self.points, self.record)

    @cached_property
    def measured(self) -> pd.DataFrame:
        """The points with an accuracy, one row for each network."""
        return measured(self.points)

    @cached_property
    def foremost(self) -> list[int]:
        """Numbers of the measured points: first those on a front, then the others, from the most accurate down."""
        on_front = np.any([self.measured[front_column(cost)] for cost in self.costs], axis=0)
        order = np.lexsort((-self.measured["accuracy"].to_numpy(dtype=float), ~on_front))
        return self.measured["point"].iloc[order].tolist()

    @cached_property
    def verified(self) -> VerifiedNetworks:
        """The networks of the measured points that have not changed."""
        return verified_networks(self.record, self.foremost)

    @cached_property
    def learnt(self) -> frozenset[int]:
        """Numbers of the points that are shown to be better than guessing."""
        return frozenset(self.accuracies.points[learnt(self.accuracies, self.record.guess)].tolist())

    @property
    def tells_nothing(self) -> bool:
        """Whether accuracies are meaningless, because this is a trial run or no point has learnt anything.

        Reports then omit savings, standings, fronts and other statistics.
        """
        return tells_nothing(self.record, self.accuracies)

    @property
    def lines(self) -> pd.DataFrame:
        """The measured points that belong to only one series, for comparing series."""
        points = self.points
        series = points.groupby(points["same_as"].fillna(points["point"]))["series"].nunique()
        return self.measured[(self.measured["point"].map(series) == 1).to_numpy(dtype=bool)]

    @cached_property
    def runs(self) -> pd.DataFrame:
        """The runs as saved to files."""
        return runs_table(self.record)

    @cached_property
    def ended(self) -> pd.DataFrame:
        """The ended runs of a search at all rungs (`search_runs`)."""
        return search_runs(self.record)

    @cached_property
    def growth(self) -> pd.DataFrame:
        """How the front of a search grew (`front_growth`)."""
        return front_growth(self.record, self.ended)

    @cached_property
    def draws(self) -> NDArray[np.float32] | None:
        """Joint draws of the accuracies of the measured points, (points, draws)."""
        return self.accuracies.draws(DRAWS)

    @cached_property
    def effort(self) -> Effort | None:
        """Time and computation spent on the runs."""
        study = self.record.study
        runs = self.ended if study.form.grows else self.runs.assign(images=self._images_seen())
        return effort(runs, self.record.points)

    @cached_property
    def surrogate(self) -> Surrogate | None:
        """The smooth surrogate of accuracy, or None if it cannot be fitted."""
        return Surrogate.fit(self.record, self.measured, self.accuracies)

    @cached_property
    def importance(self) -> pd.DataFrame | None:
        """The importance of the metaparameters; None without a surrogate or anything to compare."""
        return importance(self.surrogate) if self.surrogate else None

    @cached_property
    def choices(self) -> pd.DataFrame:
        """The choices of published networks for the varied metaparameters.

        They are empty if the code has changed, because costs may then differ from those of the trained networks.
        """
        return published_choices(self.record, None if self.verified.unchanged else ())

    @cached_property
    def percentiles(self) -> pd.DataFrame | None:
        """`choices` and their percentiles among designs with equal params; None without a surrogate."""
        return percentiles(self.record, self.surrogate, self.choices) if self.surrogate else None

    def series_of(self, point: int) -> list[str]:
        """Return the series of a point and of the points merged into it."""
        points = self.record.points
        return list(dict.fromkeys(points.loc[(points["point"] == point) | (points["same_as"] == point), "series"]))

    def hypervolume(self, cost: str) -> Hypervolume | None:
        """Return the hypervolume of a front; None if there are fewer than two costs, or if higher costs are better."""
        costs = self.costs_of(cost)
        known = np.isfinite(costs)
        found = None if more_is_better(cost) else reference(costs, self.record.guess)
        draws = None if self.draws is None else self.draws[known]
        means, confidence = self.accuracies.means[known], self.accuracies.confidence
        return hypervolume(costs[known], means, draws, found, confidence) if found else None

    def costs_of(self, cost: str) -> NDArray[np.float64]:
        """Return the costs of the measured points in the order of `accuracies`, (points,); NaN if unknown."""
        costs = self.points.set_index("point")[cost]
        return np.asarray(costs.loc[self.accuracies.points.tolist()], dtype=float)
