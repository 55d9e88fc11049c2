"""What the measurements say of a study's claims: supported, refuted or undecided, with the comparisons that decide.

A claim about several pairs of points is supported where every pair is separated the claimed way. So no adjustment for their number is
due: each is tested at 5 %, and all must hold (the intersection-union test: Berger, Technometrics 24, 1982, p. 295). One pair that is
separated the other way refutes it. All else is undecided, as is a claim about points that are not measured.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import singledispatch
from typing import Any, Literal

import numpy as np
import pandas as pd

from explorer.analysis.accuracies import Interval
from explorer.analysis.findings import Findings
from explorer.analysis.fronts import near_in_cost
from explorer.analysis.ranks import cost_ranks
from explorer.study.claims import Above, BestAtEqualCost, Claim, Falls, LevelsOff, RisesWith

Verdict = Literal["supported", "refuted", "undecided"]


@dataclass(frozen=True)
class PointComparison:
    """Two points by number, `first` claimed to be the more accurate one, and by how much it is; `margin` is what it may fall short by."""

    first: int
    second: int
    difference: Interval
    margin: float = 0.0

    @property
    def verdict(self) -> Verdict:
        """Supported where the interval is above minus the margin, refuted where it is below."""
        if self.difference.low > -self.margin:
            return "supported"
        return "refuted" if self.difference.high < -self.margin else "undecided"


@dataclass(frozen=True)
class Judged:
    """A claim with its verdict and what that rests on: comparisons of points, or Kendall's tau where the claim is about an order."""

    claim: Claim
    verdict: Verdict
    comparisons: tuple[PointComparison, ...] = ()
    correlation: Interval | None = None
    missing: tuple[int, ...] = ()
    """Points that the claim speaks of and that are not measured, by number."""


def judge(findings: Findings) -> list[Judged]:
    """The claims of a study with their verdicts, in the order of its file."""
    return [_judge(claim, findings) for claim in findings.record.study.claims]


@singledispatch
def _judge(claim: Claim, findings: Findings) -> Judged:  # noqa: ARG001 (the forms use it)
    raise TypeError(f"{type(claim).__name__} is no form of a claim")


@_judge.register
def _above(claim: Above, findings: Findings) -> Judged:
    higher = _selected(findings, claim.higher)
    lower = [_selected(findings, selector) for selector in claim.lower]
    pairs = [(one, other) for one in higher for points in lower for other in points]
    return _decided(claim, findings, pairs, whole=bool(higher) and all(lower))


@_judge.register
def _falls(claim: Falls, findings: Findings) -> Judged:
    values = _along(findings, claim.over, claim.where)
    smaller = [point for value, point in values if value < claim.below]
    at = [point for value, point in values if math.isclose(value, claim.below)]
    return _decided(claim, findings, [(here, point) for here in at for point in smaller])


@_judge.register
def _levels_off(claim: LevelsOff, findings: Findings) -> Judged:
    values = _along(findings, claim.over, claim.where)
    larger = [point for value, point in values if value > claim.at and not math.isclose(value, claim.at)]
    at = [point for value, point in values if math.isclose(value, claim.at)]
    return _decided(claim, findings, [(here, point) for here in at for point in larger], claim.margin)


@_judge.register
def _best_at_equal_cost(claim: BestAtEqualCost, findings: Findings) -> Judged:
    pairs = []
    for group in near_in_cost(findings.lines, claim.cost):
        own, others = group[group["series"] == claim.series], group[group["series"] != claim.series]
        pairs += [(int(one), int(other)) for one in own["point"] for other in others["point"]]
    return _decided(claim, findings, pairs)


@_judge.register
def _rises_with(claim: RisesWith, findings: Findings) -> Judged:
    row = cost_ranks(findings.measured, [claim.cost]).iloc[0]
    found = Interval(float(row["kendall"]), float(row["kendall_low"]), float(row["kendall_high"]))
    verdict: Verdict = "supported" if found.low > 0 else "refuted" if found.high < 0 else "undecided"
    return Judged(claim, verdict, correlation=found)


def _decided(
    claim: Claim, findings: Findings, pairs: Sequence[tuple[int, int]], margin: float = 0.0, *, whole: bool = True
) -> Judged:
    """`whole` is False where the study lacks points that the claim speaks of; a network is not compared with itself."""
    pairs = [(one, other) for one, other in pairs if one != other]
    measured = set(findings.accuracies.points.tolist())
    comparisons = tuple(
        PointComparison(one, other, findings.accuracies.difference(one, other), margin)
        for one, other in pairs
        if {one, other} <= measured
    )
    missing = tuple(sorted({point for pair in pairs for point in pair} - measured))
    verdicts = {comparison.verdict for comparison in comparisons}
    supported = whole and not missing and verdicts == {"supported"}
    verdict: Verdict = "refuted" if "refuted" in verdicts else "supported" if supported else "undecided"
    return Judged(claim, verdict, comparisons, missing=missing)


def _selected(findings: Findings, selector: Mapping[str, Any]) -> list[int]:
    """The points that a selector names, measured or not; a merged point counts as the one that it is merged into."""
    return list(dict.fromkeys(_sources(_matching(findings.points, selector))))


def _along(findings: Findings, over: str, where: Mapping[str, Any]) -> list[tuple[float, int]]:
    """The points of a line through the grid, measured or not: the value of the metaparameter and the point, rising."""
    if over not in findings.points:  # a study that was thinned may vary it no more
        return []
    line = _matching(findings.points[findings.points[over].notna()], where)
    return sorted(zip(line[over].astype(float), _sources(line), strict=True))


def _matching(frame: pd.DataFrame, values: Mapping[str, Any]) -> pd.DataFrame:
    """The rows that have these values."""
    rows = frame.to_dict(orient="records")
    return frame[np.array([all(row.get(key) == value for key, value in values.items()) for row in rows], dtype=bool)]


def _sources(frame: pd.DataFrame) -> list[int]:
    return [int(point) for point in frame["same_as"].fillna(frame["point"])]
