"""Judge a study's claims by its measurements: supported, refuted or undecided, with the deciding comparisons.

A claim is supported if every pair of points is separated in the claimed direction. This needs no adjustment for
multiple tests (docs/methodology.md). A claim is refuted if any pair is separated in the opposite direction. Otherwise,
it is undecided. Trial runs cannot decide a claim about accuracy, and neither can pairs in which both points have learnt
nothing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import singledispatch
from typing import Any, Literal

import numpy as np
import pandas as pd

from explorer.analysis.accuracies import Interval
from explorer.analysis.findings import Findings
from explorer.analysis.fronts import near_in_cost
from explorer.analysis.ranks import rank_correlation
from explorer.study.claims import (
    LATENCY_MARGIN,
    Above,
    BestAtEqualCost,
    Claim,
    Falls,
    LevelsOff,
    NoWorse,
    RisesWith,
    Selector,
    Slower,
)

Verdict = Literal["supported", "refuted", "undecided"]


@dataclass(frozen=True)
class PointComparison:
    """The difference between two points, by number. `first` is claimed to be better, or at most `margin` worse."""

    first: int
    second: int
    difference: Interval
    margin: float = 0.0
    learnt: bool = True
    """Whether at least one of the points has learnt anything."""

    @property
    def verdict(self) -> Verdict:
        """Supported if the interval lies above `-margin`, refuted if it lies below, undecided otherwise."""
        if not self.learnt:
            return "undecided"
        if self.difference.low > -self.margin:
            return "supported"
        return "refuted" if self.difference.high < -self.margin else "undecided"


@dataclass(frozen=True)
class LatencyComparison:
    """How many times as long the point `first`, which is claimed to be slower, takes as the point `second`."""

    first: int
    second: int
    ratio: Interval

    @property
    def verdict(self) -> Verdict:
        """Supported or refuted if the interval lies beyond the margin, and undecided otherwise."""
        if self.ratio.low > 1 + LATENCY_MARGIN:
            return "supported"
        return "refuted" if self.ratio.high < 1 / (1 + LATENCY_MARGIN) else "undecided"


@dataclass(frozen=True)
class Judged:
    """A claim with its verdict and the evidence: comparisons of points, or Kendall's tau for a claim about order."""

    claim: Claim
    verdict: Verdict
    comparisons: tuple[PointComparison, ...] = ()
    latencies: tuple[LatencyComparison, ...] = ()
    correlation: Interval | None = None
    missing: tuple[int, ...] = ()
    """Numbers of the points that the claim needs but that have not been measured."""
    reason: str = ""
    """The reason why the study cannot decide anything, or empty."""


def judge(findings: Findings) -> list[Judged]:
    """Return the claims of a study with their verdicts, in file order."""
    reason = undecidable(findings)
    judged = [_judge(claim, findings) for claim in findings.record.study.claims]
    if not reason:
        return judged
    # Latencies do not depend on training.
    return [
        one if isinstance(one.claim, Slower) else replace(one, verdict="undecided", reason=reason) for one in judged
    ]


def undecidable(findings: Findings) -> str:
    """Return the reason why none of a study's claims about accuracy can be decided, or an empty string."""
    if findings.record.study.is_trial:
        return "Trial runs cannot decide claims."
    if not findings.measured.empty and not findings.learnt:
        return "No network has learnt anything yet."
    return ""


def undecided_points(findings: Findings) -> list[int]:
    """Return the numbers of the measured points that undecided claims compare, whose further seeds may decide them."""
    points: set[int] = set()
    for one in judge(findings):
        if one.verdict == "undecided" and one.correlation is not None:
            points |= set(findings.accuracies.points.tolist())
        elif one.verdict == "undecided":
            open_ = [comparison for comparison in one.comparisons if comparison.verdict == "undecided"]
            points |= {point for comparison in open_ for point in (comparison.first, comparison.second)}
    return sorted(points)


@singledispatch
def _judge(claim: Claim, findings: Findings) -> Judged:  # noqa: ARG001 (registered forms use it)
    raise TypeError(f"{type(claim).__name__} is not a form of claim")


@_judge.register
def _above(claim: Above, findings: Findings) -> Judged:
    return _pairwise(claim, findings, claim.higher, claim.lower)


@_judge.register
def _no_worse(claim: NoWorse, findings: Findings) -> Judged:
    return _pairwise(claim, findings, claim.points, claim.than, claim.margin)


def _pairwise(
    claim: Claim, findings: Findings, better: Selector, others: Sequence[Selector], margin: float = 0.0
) -> Judged:
    """Compare each point that one selector matches with each point that the others match."""
    higher = _selected(findings, better)
    lower = [_selected(findings, selector) for selector in others]
    pairs = [(one, other) for one in higher for points in lower for other in points]
    return _decided(claim, findings, pairs, margin, whole=bool(higher) and all(lower))


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
    measured = findings.measured
    found = rank_correlation(measured[claim.cost], measured["accuracy"], findings.accuracies.confidence).kendall
    verdict: Verdict = "supported" if found.low > 0 else "refuted" if found.high < 0 else "undecided"
    return Judged(claim, verdict, correlation=found)


@_judge.register
def _slower(claim: Slower, findings: Findings) -> Judged:
    slower = _selected(findings, claim.slower)
    selected = [_selected(findings, selector) for selector in claim.faster]
    faster = [point for points in selected for point in points]
    if findings.latency is None:
        reason = f"No latency was measured: `python -m explorer latency {findings.record.study.name}` measures them."
        return Judged(claim, "undecided", missing=tuple(sorted({*slower, *faster})), reason=reason)
    latency, networks = findings.latency, findings.record.points.set_index("point")["network"]
    known = set(latency.halves.dropna().index)
    missing = tuple(point for point in sorted({*slower, *faster}) if networks[point] not in known)
    compared = tuple(
        LatencyComparison(one, other, latency.ratio(networks[one], networks[other]))
        for one in slower
        for other in faster
        if one != other and not {one, other} & {*missing}
    )
    whole = bool(slower) and all(selected) and not missing
    return Judged(claim, _verdict(compared, whole=whole), latencies=compared, missing=missing)


def _verdict(compared: Sequence[PointComparison] | Sequence[LatencyComparison], *, whole: bool) -> Verdict:
    """Refuted by any comparison, and supported by all of them if the study has all points that the claim needs."""
    verdicts = {one.verdict for one in compared}
    if "refuted" in verdicts:
        return "refuted"
    return "supported" if whole and verdicts == {"supported"} else "undecided"


def _decided(
    claim: Claim, findings: Findings, pairs: Sequence[tuple[int, int]], margin: float = 0.0, *, whole: bool = True
) -> Judged:
    """Compare pairs of different points. `whole` is False if the study lacks points that the claim needs."""
    pairs = [(one, other) for one, other in pairs if one != other]
    measured = set(findings.accuracies.points.tolist())
    comparisons = tuple(
        PointComparison(
            one,
            other,
            findings.accuracies.difference(one, other),
            margin,
            learnt=bool({one, other} & findings.learnt),
        )
        for one, other in pairs
        if {one, other} <= measured
    )
    missing = tuple(sorted({point for pair in pairs for point in pair} - measured))
    return Judged(claim, _verdict(comparisons, whole=whole and not missing), comparisons, missing=missing)


def _selected(findings: Findings, selector: Mapping[str, Any]) -> list[int]:
    """Return the points that a selector matches, whether measured or not. Merged points become their target."""
    return list(dict.fromkeys(_sources(_matching(findings.points, selector))))


def _along(findings: Findings, over: str, where: Mapping[str, Any]) -> list[tuple[float, int]]:
    """Return (metaparameter value, point) along a line through the grid, in ascending order, measured or not."""
    if over not in findings.points:  # a thinned study may no longer vary it
        return []
    line = _matching(findings.points[findings.points[over].notna()], where)
    return sorted(zip(line[over].astype(float), _sources(line), strict=True))


def _matching(frame: pd.DataFrame, values: Mapping[str, Any]) -> pd.DataFrame:
    rows = frame.to_dict(orient="records")
    return frame[np.array([all(row.get(key) == value for key, value in values.items()) for row in rows], dtype=bool)]


def _sources(frame: pd.DataFrame) -> list[int]:
    return [int(point) for point in frame["same_as"].fillna(frame["point"])]
