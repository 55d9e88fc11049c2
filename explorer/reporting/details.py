"""What accuracy depends on, beyond the points themselves: rank correlations, the surrogate, importance, published choices."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from explorer.analysis import Findings
from explorer.analysis.ranks import cost_ranks
from explorer.drawing.figures import Panel
from explorer.networks.quantities import QUANTITIES
from explorer.reporting.tables import ACCURACY_PERCENT, UNKNOWN, Table, amounts, cell, known_costs, number, whole
from explorer.reporting.words import SPACE, with_interval

PANELS = ("surrogate", "importance", "parallel", "edf")


@dataclass(frozen=True)
class Details:
    """Sentences, tables by their name, and figures."""

    sentences: list[str]
    tables: dict[str, Table]
    panels: list[Panel]


def details(findings: Findings, panels: Mapping[str, Panel]) -> Details:
    """What there is to say of a study; empty where too few points are measured."""
    found = {
        "Costs as rankers": _ranks(findings),
        "Importance": _importance(findings),
        "Published choices": _choices(findings),
    }
    tables = {name: table for name, table in found.items() if table}
    return Details(_surrogate(findings), tables, [panels[name] for name in PANELS if name in panels])


def _surrogate(findings: Findings) -> list[str]:
    """How good the surrogate is, as all that rests on it is no better."""
    if findings.surrogate is None:
        return []
    quality, surrogate = findings.surrogate.quality(), findings.surrogate
    fitted = (
        f"{quality.points:,} of the {surrogate.measured:,}"
        if quality.points < surrogate.measured
        else f"all {quality.points}"
    )
    explained = "" if math.isnan(quality.r_squared) else f" (R² {quality.r_squared:.2f})"
    said = (
        f"A Gaussian process, fitted to {fitted} measured points, is the smooth surrogate of the accuracy. Predicting each point from the "
        f"others, it has {100 * quality.inside:.0f}{SPACE}% of them inside its 95{SPACE}% interval{explained}; what follows from it is no surer than that."
    )
    return [said]


def _ranks(findings: Findings) -> Table | None:
    """How well each cost alone orders the accuracies."""
    frame = cost_ranks(findings.measured).dropna(subset="kendall")
    if frame.empty:
        return None
    rows = [
        [QUANTITIES[row["cost"]].noun, whole(row["n"]), with_interval(row, "kendall"), with_interval(row, "spearman")]
        for row in frame.to_dict(orient="records")
    ]
    caption = "How well a cost alone orders the measured accuracies; in brackets 95 % intervals for so many points."
    columns = ("ranked by", "points", "Kendall's tau", "Spearman")
    return Table(caption, columns, frozenset(columns[1:]), rows)


def _importance(findings: Findings) -> Table | None:
    frame = findings.importance
    if frame is None:
        return None
    rows = [
        [row["metaparameter"], with_interval(row, "first"), with_interval(row, "total")]
        for row in frame.to_dict(orient="records")
    ]
    caption = (
        "Shares of the variance of the surrogate over the study's ranges (Sobol' indices): that a metaparameter makes alone, and with what "
        "it makes together with others."
    )
    return Table(caption, ("metaparameter", "alone", "in all"), frozenset({"alone", "in all"}), rows)


def _choices(findings: Findings) -> Table | None:
    """The published choices that lie inside the study: what is measured of them, and where they stand among designs of equal params."""
    standings = findings.standings
    frame = findings.choices if standings is None else standings
    # A choice that was left out says why; one that nobody could have made here says nothing.
    if frame.empty or (frame["reason"] != "").all():
        return None
    accuracies = findings.points.set_index("point")["accuracy"]
    costs = [one for one in known_costs(frame) if one.main]
    axes = findings.record.study.form.axes
    rows = [
        [
            row["name"],
            *(cell(row[axis.name]) for axis in axes),
            *amounts(row, costs),
            number(accuracies.get(row["point"], math.nan), 1, 100) if not pd.isna(row["point"]) else UNKNOWN,
            *([] if standings is None else [_standing(row)]),
            row["reason"] or row["note"],
        ]
        for row in frame.to_dict(orient="records")
    ]
    caption = (
        "What published networks chose for the metaparameters that vary here, moved into this study's preset and data."
    )
    if standings is not None:
        caption += (
            " Percentile: the share of designs of equal params (within 2 %), of a million that were drawn from the study's ranges and priced, whose "
            "predicted accuracy is lower."
        )
    percentile = () if standings is None else ("percentile, %",)
    numbers = (*(quantity.heading for quantity in costs), ACCURACY_PERCENT, *percentile)
    names = [axis.title for axis in axes]
    return Table(caption, ("as in", *names, *numbers, "note"), frozenset({*names, *numbers}), rows)


def _standing(row: Mapping[Any, Any]) -> str:
    if "below" not in row or math.isnan(row["below"]):
        return UNKNOWN
    return (
        f"{100 * row['below']:.0f} ({100 * row['below_low']:.0f} to {100 * row['below_high']:.0f}) of {row['equal']:,}"
    )
