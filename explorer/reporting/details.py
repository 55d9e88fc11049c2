"""Details on what accuracy depends on: rank correlations, the surrogate, importance and published choices."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from explorer.analysis import Findings, Interval
from explorer.analysis.ranks import cost_ranks
from explorer.networks.quantities import QUANTITIES
from explorer.reporting.tables import ACCURACY_PERCENT, UNKNOWN, Table, amounts, cell, known_costs, number, whole
from explorer.reporting.words import SPACE, column_interval, with_interval


@dataclass(frozen=True)
class Details:
    """A sentence about the surrogate, and the tables by name."""

    surrogate: str
    tables: dict[str, Table]


def details(findings: Findings) -> Details:
    """Return the details of a study; empty if too few points are measured or accuracies cannot be compared."""
    if findings.tells_nothing:
        return Details("", {})
    found = {
        "Costs as rankers": _ranks(findings),
        "Importance": _importance(findings),
        "Published choices": _choices(findings),
    }
    tables = {name: table for name, table in found.items() if table}
    return Details(_surrogate(findings), tables)


def _surrogate(findings: Findings) -> str:
    if findings.surrogate is None:
        return ""
    quality, measured = findings.surrogate.quality(), findings.surrogate.measured
    fitted = f"all {measured}" if quality.points == measured else f"{quality.points:,} of the {measured:,}"
    explained = "" if math.isnan(quality.r_squared) else f" (R² {quality.r_squared:.2f})"
    return (
        f"The surrogate, a smooth model of accuracy, is a Gaussian process fitted to {fitted} measured points. When it "
        f"predicts each point from the others, {100 * quality.inside:.0f}{SPACE}% of them fall inside its "
        f"95{SPACE}% interval{explained}. The results below are only as good as that."
    )


def _ranks(findings: Findings) -> Table | None:
    frame = cost_ranks(findings.measured).dropna(subset="kendall")
    if frame.empty:
        return None
    rows = [
        [
            QUANTITIES[row["cost"]].noun,
            whole(row["n"]),
            column_interval(row, "kendall"),
            column_interval(row, "spearman"),
        ]
        for row in frame.to_dict(orient="records")
    ]
    caption = "How well each cost alone ranks the measured accuracies; in brackets 95 % intervals over points."
    columns = ("ranked by", "points", "Kendall's tau", "Spearman")
    return Table(caption, columns, frozenset(columns[1:]), rows)


def _importance(findings: Findings) -> Table | None:
    frame = findings.importance
    if frame is None:
        return None
    rows = [
        [row["metaparameter"], column_interval(row, "first"), column_interval(row, "total")]
        for row in frame.to_dict(orient="records")
    ]
    caption = (
        "Share of the surrogate's variance over the study's ranges (Sobol' indices) due to a metaparameter alone, and "
        "including its interactions with others."
    )
    return Table(caption, ("metaparameter", "alone", "in total"), frozenset({"alone", "in total"}), rows)


def _choices(findings: Findings) -> Table | None:
    """Return the published choices in the study's ranges, with their accuracies and percentiles if known."""
    ranked = findings.percentiles
    frame = findings.choices if ranked is None else ranked
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
            UNKNOWN if pd.isna(row["point"]) else number(accuracies.get(row["point"], math.nan), 1, 100),
            *([] if ranked is None else [_percentile(row)]),
            row["reason"] or row["note"],
        ]
        for row in frame.to_dict(orient="records")
    ]
    caption = "Values of published networks for the metaparameters that vary here, with this study's preset and data."
    if ranked is not None:
        caption += (
            " Percentile: share of designs with equal params (within 2 %), among a million drawn from the study's "
            "ranges, with a lower predicted accuracy."
        )
    percentile = () if ranked is None else ("percentile, %",)
    numbers = (*(quantity.heading for quantity in costs), ACCURACY_PERCENT, *percentile)
    names = [axis.title for axis in axes]
    return Table(caption, ("as in", *names, *numbers, "note"), frozenset({*names, *numbers}), rows)


def _percentile(row: Mapping[Any, Any]) -> str:
    if "below" not in row or math.isnan(row["below"]):
        return UNKNOWN
    found = Interval(row["below"], row["below_low"], row["below_high"])
    return f"{with_interval(found, '.0f', 100)} of {row['equal']:,}"
