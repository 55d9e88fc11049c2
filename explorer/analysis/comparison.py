"""Compare studies by the hypervolumes of their fronts over common budgets, leads at equal cost, and network rankings.

Accuracies on the same validation images are compared image by image, as within a study. If the images differ, only the
rankings of shared networks are compared, because one data set may simply be harder than another.

Budgets range from the lowest cost at which every study has a point to the cost of the most expensive point. At each
budget, each study is represented by its best measured point that costs no more.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from explorer.analysis.accuracies import Accuracies, Interval
from explorer.analysis.findings import DRAWS, Findings
from explorer.analysis.fronts import Hypervolume, Reference, areas, hypervolume, pareto_front, reflected
from explorer.analysis.ranks import FEWEST, rank_correlation

BUDGETS = 5
"""Number of costs at which studies are compared, evenly spaced on a logarithmic scale."""


@dataclass(frozen=True)
class Lead:
    """How much more accurate one study's best affordable points are than another's, averaged over the budgets."""

    first: str
    second: str
    difference: Interval


@dataclass(frozen=True)
class SharedNetworks:
    """Kendall's tau between two studies over the networks measured in both, and the number of those networks."""

    first: str
    second: str
    networks: int
    kendall: Interval


class Comparison:
    """Two or more studies compared over one cost. They have different names and at least one measured point each."""

    def __init__(self, studies: Sequence[Findings], cost: str) -> None:
        self.studies = list(studies)
        self.cost = cost
        self.names = [findings.record.study.name for findings in studies]

    @cached_property
    def tells_nothing(self) -> list[Findings]:
        """The studies with meaningless accuracies. If there are any, nothing is compared."""
        return [one for one in self.studies if one.tells_nothing]

    @cached_property
    def same_images(self) -> bool:
        """Whether all studies were measured on the same validation images."""
        return len({(one.record.data_fingerprint, one.accuracies.images) for one in self.studies}) == 1

    @cached_property
    def reference(self) -> Reference | None:
        """The common budgets, with accuracy counted from chance; None if there is only one cost."""
        smallest = max(float(one.costs_of(self.cost).min()) for one in self.studies)
        largest = max(float(one.costs_of(self.cost).max()) for one in self.studies)
        if smallest >= largest:
            return None
        return Reference(min(one.record.guess for one in self.studies), smallest, largest)

    @cached_property
    def joined(self) -> Accuracies:
        """The combined accuracies of all studies on the same images. Points with the same runs are merged."""
        parts = [one.accuracies.only(fresh) for one, (_, fresh) in zip(self.studies, self._places, strict=True)]
        return Accuracies.joined(parts)

    @cached_property
    def _places(self) -> list[tuple[NDArray[np.int64], NDArray[np.bool_]]]:
        """For each study, the indices of its points in `joined`, and a mask of points that no earlier study has."""
        numbers: dict[tuple[str, ...], int] = {}
        places = []
        for findings in self.studies:
            runs, before = findings.record.runs, len(numbers)
            keys = runs[runs["state"] == "done"].groupby("point")["key"].agg(sorted)
            rows = np.array([numbers.setdefault(tuple(key), len(numbers)) for key in keys], dtype=np.int64)
            places.append((rows, rows >= before))
        return places

    @cached_property
    def draws(self) -> list[NDArray[np.float32] | None]:
        """Draws of each study's accuracies, drawn jointly if the images are the same."""
        if not self.same_images:
            return [one.draws for one in self.studies]
        drawn = self.joined.draws(DRAWS)
        return [None if drawn is None else drawn[rows] for rows, _ in self._places]

    @property
    def confidence(self) -> float:
        """Confidence of the intervals: the highest of the studies'."""
        return max(one.accuracies.confidence for one in self.studies)

    @cached_property
    def hypervolumes(self) -> list[Hypervolume]:
        """The hypervolume of each study's front over the common budgets; empty without common budgets."""
        if self.reference is None or self.tells_nothing:
            return []
        return [
            hypervolume(one.costs_of(self.cost), one.accuracies.means, drawn, self.reference, self.confidence)
            for one, drawn in zip(self.studies, self.draws, strict=True)
        ]

    @cached_property
    def leads(self) -> list[Lead]:
        """The mean lead of each study over each later one. Empty if images differ or there are no common budgets."""
        if self.reference is None or not self.same_images or self.tells_nothing:
            return []
        found = []
        for one in range(len(self.studies)):
            for other in range(one + 1, len(self.studies)):
                estimate, drawn = self._mean(one) - self._mean(other), None
                if self.draws[one] is not None:
                    drawn = self._drawn(one) - self._drawn(other)
                lead = reflected(estimate, drawn, self.confidence).within(-1, 1)
                found.append(Lead(self.names[one], self.names[other], lead))
        return found

    @cached_property
    def at_budgets(self) -> pd.DataFrame:
        """The best affordable point of each study at each budget, one row per study and budget.

        Columns: `budget`, `study`, `label`, `cost`, `accuracy`, `low`, `high` (fractions), and `standing`: `best`, or
        `separated` or `not separated` from the best one, or empty if unknown.
        """
        rows: list[dict[str, object]] = []
        if self.reference is None:
            return pd.DataFrame(columns=["budget", "study", "label", "cost", "accuracy", "low", "high", "standing"])
        for budget in np.geomspace(self.reference.smallest, self.reference.largest, BUDGETS):
            # The tolerance includes points that cost exactly the budget.
            places = [self._affordable(findings, budget * (1 + 1e-9)) for findings in self.studies]
            best = max(range(len(places)), key=lambda number: self.studies[number].accuracies.means[places[number]])
            for number, (findings, place) in enumerate(zip(self.studies, places, strict=True)):
                point = findings.measured.iloc[place]
                row = {"budget": budget, "study": self.names[number], "label": point["label"], "cost": point[self.cost]}
                row |= {key: point[key] for key in ("accuracy", "low", "high")}
                rows.append(row | {"standing": self._standing(number, place, best, places[best])})
        return pd.DataFrame(rows)

    @cached_property
    def on_joint_front(self) -> pd.Series[int] | None:
        """The number of points on the joint front that belong to each study, by name; None if images differ."""
        if not self.same_images or self.tells_nothing:
            return None
        frames = [one.measured.assign(study=name) for one, name in zip(self.studies, self.names, strict=True)]
        together = pd.concat(frames, ignore_index=True)[["study", self.cost, "accuracy"]]
        counts = together[pareto_front(together, self.cost)]["study"].value_counts()
        return counts.reindex(self.names, fill_value=0)

    @cached_property
    def shared_networks(self) -> list[SharedNetworks]:
        """Rank correlations between pairs of studies that share at least five networks with separate runs."""
        found = []
        # Where points differ in how they are trained, a network is not one point.
        plain = [place for place, one in enumerate(self.studies) if not one.record.study.form.training]
        for one in plain:
            for other in (place for place in plain if place > one):
                together = self.common(one, other)
                if len(together) < FEWEST or together["first"].equals(together["second"]):
                    continue
                tau = rank_correlation(together["first"], together["second"]).kendall
                found.append(SharedNetworks(self.names[one], self.names[other], len(together), tau))
        return found

    def common(self, one: int, other: int) -> pd.DataFrame:
        """Return the networks shared by two studies, given by index, with accuracies `first` and `second`."""
        frames = [self.studies[number].measured.set_index("network")[["label", "accuracy"]] for number in (one, other)]
        together = frames[0].join(frames[1]["accuracy"].rename("second"), how="inner")
        return together.rename(columns={"accuracy": "first"}).reset_index(drop=True)

    def _mean(self, number: int) -> float:
        """Return the mean accuracy above chance of the best affordable points."""
        assert self.reference is not None
        findings = self.studies[number]
        means = findings.accuracies.means[:, None]
        return float(areas(findings.costs_of(self.cost), means, self.reference)[0]) / self.reference.doublings

    def _drawn(self, number: int) -> NDArray[np.float64]:
        drawn = self.draws[number]
        assert self.reference is not None
        assert drawn is not None
        return areas(self.studies[number].costs_of(self.cost), drawn, self.reference) / self.reference.doublings

    def _affordable(self, findings: Findings, budget: float) -> int:
        means = np.where(findings.costs_of(self.cost) <= budget, findings.accuracies.means, -math.inf)
        return int(means.argmax())

    def _standing(self, number: int, place: int, best: int, best_place: int) -> str:
        if not self.same_images or self.tells_nothing:
            return ""
        if number == best:
            return "best"
        if not self.joined.pooled.freedom:
            return ""
        one, other = int(self._places[best][0][best_place]), int(self._places[number][0][place])
        if one == other:
            return "best"
        found = self.joined.difference(one, other)
        if math.isnan(found.low):
            return ""
        return "separated" if found.separated else "not separated"
