"""The tables of a report, as texts."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import pandas as pd

from explorer import analysis
from explorer.recipe import Recipe
from explorer.record import StudyRecord
from explorer.sentences import COSTS, missing
from explorer.space import amount, label
from explorer.study import Study

UNKNOWN = "\N{EN DASH}"


@dataclass(frozen=True)
class Table:
    """A table of texts: its caption, its columns, which of them are numbers, and its rows."""

    caption: str
    columns: tuple[str, ...]
    numbers: frozenset[str]
    rows: list[list[str]]


def measured_points(record: StudyRecord, summary: pd.DataFrame) -> Table:
    """The points with their accuracies and costs, from `analysis.points_table`."""
    measured = ("accuracy, %", "spread, points", "seeds done", "params", "FLOPs (multiply-adds)", "model size, MiB")
    names, derived = _names(record), {name: name.replace("_", " ") for name in record.derived}
    rows = []
    for _, row in summary.iterrows():
        fronts = [COSTS[cost] for cost, column in analysis.FRONTS.items() if row[column]]
        rows.append(
            [
                *(_cell(row[key]) for key in names),
                *(_quantity(row[key]) for key in derived),
                _plus_minus(row),
                number(row["spread"], 2, 100),
                str(row["runs"]),
                whole(row["params"]),
                whole(row["macs"]),
                number(row["model_bytes"], 2, 2**-20),
                ", ".join(fronts) or UNKNOWN,
                _outcome(row),
            ]
        )
    caption = "Accuracy: mean over the seeds and half the width of its 95 % interval. Spread: standard deviation between seeds."
    return Table(
        caption,
        (*names.values(), *derived.values(), *measured, "on the front of", "state"),
        frozenset({*derived.values(), *measured}),
        rows,
    )


def _names(record: StudyRecord) -> dict[str, str]:
    """The columns that tell points apart, each with what stands above it."""
    series = {"series": "series"} if (record.points["series"] != "").any() else {}
    shares = {"label": "shares, %"} if record.study.simplex else {}
    return series | shares | {key: key for key in record.metaparameters}


def dropped_points(record: StudyRecord, summary: pd.DataFrame) -> Table:
    """The points that were not trained, with the reasons."""
    names = _names(record)
    dropped = summary[summary["state"].isin(["infeasible", "over budget", "merged"])]
    rows = [
        [
            *(_cell(row[key]) for key in names),
            whole(row["params"]),
            whole(row["macs"]),
            str(row["state"]),
            str(row["reason"]),
        ]
        for _, row in dropped.iterrows()
    ]
    numbers = ("params", "FLOPs (multiply-adds)")
    return Table("", (*names.values(), *numbers, "state", "reason"), frozenset(numbers), rows)


def trained_runs(runs: pd.DataFrame) -> Table:
    """The runs, from `analysis.runs_table`."""
    numbers = ("seed", "accuracy, %", "seconds", "images/s", "peak memory, MiB")
    names = ("series", "point") if (runs["series"] != "").any() else ("point",)
    rows = [
        [
            *([_cell(row["series"])] if "series" in names else []),
            str(row["label"]),
            str(row["seed"]),
            number(row["accuracy"], 2, 100),
            number(row["seconds"], 1),
            number(row["images_per_second"], 0),
            number(row["peak_memory_bytes"], 0, 2**-20),
            _outcome(row),
        ]
        for _, row in runs.iterrows()
    ]
    return Table("", (*names, *numbers, "state"), frozenset(numbers), rows)


def how_measured(record: StudyRecord) -> dict[str, str]:
    """What decides the results, by name."""
    study = record.study
    images = analysis.validation_images(record)
    fixed = "; ".join(f"{key} = {label(value)}" for key, value in study.fixed.items())
    limits = "; ".join(
        f"{quantity} {word} {amount(limit)}"
        for quantity, range_ in study.constraints.items()
        for word, limit in (("at least", range_.min), ("at most", range_.max))
        if limit is not None
    )
    seconds = float(analysis.runs_table(record)["seconds"].sum())
    return {
        "Space": f"{study.space}, preset {study.preset}" + (f", with {fixed}" if fixed else ""),
        "Varied": _varied(study),
        "Limits": limits or "none",
        "Data": f"{study.data}, fingerprint {record.data_fingerprint[:16]}",
        "Budget": f"{study.budget.epochs} epochs of {study.budget.images:,} training images; measured on "
        + (f"{images:,} validation images" if images else f"at most {study.budget.validation:,} validation images"),
        "Seeds": str(study.seeds),
        "Recipe": recipe_text(study.recipe),
        "Accuracy": "Share of the validation images that the network gets right after the last epoch, not the best over epochs",
        "Training time": f"{seconds:,.0f} s, summed over the runs",
    }


def recipe_text(recipe: Recipe) -> str:
    """A recipe in words and numbers."""
    settings = "; ".join(f"{key} = {label(value)}" for key, value in recipe.model_dump().items())
    return (
        "SGD with Nesterov momentum; the rate warms up, stays constant and falls linearly to zero over the last share: "
        + settings
    )


def _varied(study: Study) -> str:
    """What differs between points, with its values; of a simplex, the product that is held."""
    held = []
    varied = {key: [value for value in values if value is not None] for key, values in study.varied.items()}
    if study.simplex:
        exponents = study.product_held.exponents
        product = " * ".join(f"{key}^{power}" if power > 1 else key for key, power in exponents.items())
        held = [f"{', '.join(exponents)}: {len(study.listed())} points with {product} = {study.simplex.ratio:g}"]
        varied = {key: values for key, values in varied.items() if key not in exponents}
    return "; ".join([*held, *(f"{key}: {', '.join(map(label, values))}" for key, values in varied.items())])


def _outcome(row: pd.Series[Any]) -> str:
    return f"{row['state']}: {row['reason']}" if row["reason"] else str(row["state"])


def _cell(value: object) -> str:
    """A metaparameter's value as `points_table` has it."""
    return UNKNOWN if missing(value) or value == "" else label(value)


def _quantity(value: Any) -> str:  # noqa: ANN401 (a number, or None, NaN or NA)
    """A derived quantity: whole numbers as such, others with two decimals."""
    return number(value, 0 if pd.api.types.is_integer(value) else 2)


def _plus_minus(row: pd.Series[Any]) -> str:
    accuracy, half = number(row["accuracy"], 1, 100), (row["high"] - row["low"]) / 2
    return accuracy if math.isnan(half) else f"{accuracy} \N{PLUS-MINUS SIGN} {100 * half:.1f}"


def whole(value: Any) -> str:  # noqa: ANN401 (a whole number or NA of a row)
    """A whole number with its thousands set apart."""
    return UNKNOWN if pd.isna(value) else f"{value:,}"


def number(value: Any, digits: int, factor: float = 1) -> str:  # noqa: ANN401 (a number, None, NaN or NA of a row)
    """A number times a factor, with so many decimals."""
    return UNKNOWN if pd.isna(value) else f"{float(value) * factor:,.{digits}f}"
