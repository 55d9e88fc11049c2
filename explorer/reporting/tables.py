"""The tables of a report."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from markupsafe import Markup

from explorer.analysis import Findings, front_column, probability_column
from explorer.analysis.fronts import ON_FRONT, PROBABILITY
from explorer.networks.quantities import ACCURACY, QUANTITIES, Quantity
from explorer.reporting.words import missing, percent
from explorer.spaces.space import amount, label
from explorer.storage.record import NOT_NEEDED, StudyRecord
from explorer.study.model import Study
from explorer.training.recipe import Recipe

UNKNOWN = "\N{EN DASH}"
ACCURACY_PERCENT = f"{ACCURACY.noun}, {ACCURACY.unit.name}"
MOST_RUNS = 2_000  # number of rows that a page can show without becoming slow
KEY_CHARACTERS = 12


@dataclass(frozen=True)
class Table:
    """A table of text. `numbers` are the right-aligned columns, and `ids` the HTML identifiers of the rows."""

    caption: str
    columns: tuple[str, ...]
    numbers: frozenset[str]
    rows: list[list[str]]
    ids: list[str] | None = None

    @property
    def tags(self) -> list[tuple[Markup, Markup]]:
        """The HTML tags around each cell of a row, the first of which is a header."""
        first, *others = (Markup(' class="number"') if column in self.numbers else "" for column in self.columns)
        header = (Markup('<th scope="row"{}>').format(first), Markup("</th>"))
        return [header, *((Markup("<td{}>").format(kind), Markup("</td>")) for kind in others)]


def measured_points(findings: Findings, *, trial: bool = False) -> Table:
    """Return the points with their accuracies and main costs. Row identifiers are `point-NUMBER`.

    The table of a trial run has neither fronts nor standings. That of a search has the points at the top rung, those on
    the front of its objectives first, from the cheapest.
    """
    if findings.record.study.form.grows:
        return _finalists(findings, trial=trial)
    record, frame = findings.record, findings.table
    names, derived = _names(record), {name: name.replace("_", " ") for name in record.derived}
    costs = _shown_costs(findings)
    measures = record.study.form.measures
    fronts = [one for one in known_costs(frame) if (one.key in measures if measures else one.main) and not trial]
    all_done = set(frame["state"]) == {"done"}
    measured = (
        ACCURACY_PERCENT,
        *(quantity.heading for quantity in costs),
        *(f"front of {quantity.noun}" for quantity in fronts),
    )
    rows = [
        [
            *(cell(row[key]) for key in names),
            *(number(row[key], 0 if pd.api.types.is_integer(row[key]) else 2) for key in derived),
            number(row["accuracy"], 1, 100) if trial else _plus_minus(row),
            *amounts(row, costs),
            *(_on_front(row, quantity.key) for quantity in fronts),
            *([] if trial else [row["standing"] or UNKNOWN]),
            *([] if all_done else [outcome(row)]),
        ]
        for row in frame.to_dict(orient="records")
    ]
    caption = (
        "Accuracy: mean over the seeds \N{PLUS-MINUS SIGN} half the width of its 95 % interval. Front: probability of "
        "being on the front of accuracy and that cost, which is low for each of many nearly equal points. "
        "Standing: whether the point is separated from the best one."
    )
    last = (*(() if trial else ("standing",)), *(() if all_done else ("state",)))
    return Table(
        "" if trial else caption,
        (*names.values(), *derived.values(), *measured, *last),
        frozenset({*derived.values(), *measured}),
        rows,
        [f"point-{point}" for point in frame["point"]],
    )


def _finalists(findings: Findings, *, trial: bool) -> Table:
    """Return the points of a search at the top rung."""
    record, frame = findings.record, findings.table
    main = [QUANTITIES[cost] for cost in record.study.form.costs]
    costs = [*main, *(cost for cost in _shown_costs(findings) if cost not in main)]
    by_cost = [cost.key for cost in main] or ["accuracy"]
    top = frame[frame["accuracy"].notna()].sort_values([ON_FRONT, *by_cost], ascending=[False, *[True] * len(by_cost)])
    derived = {name: name.replace("_", " ") for name in record.derived}
    rows = [
        [
            str(row["point"]),
            *(cell(row[key]) for key in record.metaparameters),
            *(number(row[key], 0 if pd.api.types.is_integer(row[key]) else 2) for key in derived),
            number(row["accuracy"], 1, 100) if trial else _plus_minus(row),
            *amounts(row, costs),
            *([] if trial else [_on_joint_front(row), str(row["runs"])]),
        ]
        for row in top.to_dict(orient="records")
    ]
    numbers = (*derived.values(), ACCURACY_PERCENT, *(cost.heading for cost in costs))
    caption = (
        "Accuracy: mean over the seeds \N{PLUS-MINUS SIGN} half the width of its 95 % interval. Front: whether the "
        "point is on the front of all objectives; in brackets the probability of it, which is low for each of many "
        "nearly equal points."
    )
    return Table(
        "" if trial else caption,
        ("point", *record.metaparameters, *numbers, *(() if trial else ("front", "seeds"))),
        frozenset({"point", "seeds", *numbers}),
        rows,
        [f"point-{point}" for point in top["point"]],
    )


def _on_joint_front(row: Mapping[Any, Any]) -> str:
    on, share = "yes" if row[ON_FRONT] else UNKNOWN, row[PROBABILITY]
    return f"{on} ({100 * share:.0f} %)" if math.isfinite(share) else on


def further_amounts(findings: Findings) -> dict[str, list[str]]:
    """Return the values that the table of points omits, by heading: spread, seeds and other costs."""
    shown = {quantity.key for quantity in _shown_costs(findings)}
    measured = findings.measured
    others = [quantity for quantity in known_costs(measured) if quantity.key not in shown]
    return {
        "spread between seeds, points": [number(spread, 2, 100) for spread in measured["spread"]],
        "seeds done": [str(runs) for runs in measured["runs"]],
        **{quantity.heading: [amount_text(quantity, found) for found in measured[quantity.key]] for quantity in others},
    }


def _shown_costs(findings: Findings) -> list[Quantity]:
    """Return the costs in the table of points: the main costs and the cost on the study's axis."""
    against = findings.record.study.plot.against
    return [one for one in known_costs(findings.table) if one.main or one.key == against]


def known_costs(frame: pd.DataFrame) -> list[Quantity]:
    """Return the costs that are known for at least one point."""
    costs = [one for one in QUANTITIES.values() if one.key != ACCURACY.key]
    return [one for one in costs if one.key in frame and frame[one.key].notna().any()]


def _on_front(row: Mapping[Any, Any], cost: str) -> str:
    """Return the probability of being on a front or, if that is unknown, whether the measured point is on it."""
    share = row[probability_column(cost)]
    if math.isfinite(share):
        return f"{100 * share:.0f} %"
    return "yes" if row[front_column(cost)] else UNKNOWN


def _names(record: StudyRecord) -> dict[str, str]:
    """Return the columns that identify points, and their headings."""
    series = {"series": "series"} if (record.points["series"] != "").any() else {}
    title = record.study.form.label_title
    labels = {"label": title} if title else {}
    return series | labels | {key: key for key in record.metaparameters}


def trained_runs(runs: pd.DataFrame, *, search: bool = False) -> Table:
    """Return the runs of `analysis.runs_table`, or only the unfinished ones if there are more than `MOST_RUNS`.

    Those of a search have the numbers of their points.
    """
    files = [QUANTITIES["file_bytes"]] if runs["file_bytes"].notna().any() else []
    sizes = [one.heading for one in files]
    numbers = ("seed", ACCURACY_PERCENT, "seconds", "images/s", "peak memory, MiB", *sizes)
    names = ("series", "point") if (runs["series"] != "").any() else ("point",)
    shown = runs if len(runs) <= MOST_RUNS else runs[~runs["state"].isin(["done", NOT_NEEDED])]
    rows = [
        [
            *([cell(row["series"])] if "series" in names else []),
            str(row["point"] if search else row["label"]),
            str(row["seed"]),
            number(row["accuracy"], 2, 100),
            number(row["seconds"], 1),
            number(row["images_per_second"], 0),
            number(row["peak_memory_bytes"], 0, 2**-20),
            *amounts(row, files),
            str(row["key"])[:KEY_CHARACTERS],
            outcome(row),
        ]
        for row in shown.to_dict(orient="records")
    ]
    left_out = len(runs) - len(shown)
    caption = f"{left_out:,} finished runs are only in runs.csv." if left_out else ""
    if search:
        caption = f"Runs at the top rung; rungs.csv has those at all rungs. {caption}".strip()
    return Table(caption, (*names, *numbers, "run", "state"), frozenset(numbers), rows)


def how_measured(findings: Findings) -> dict[str, str]:
    """Return the settings that determine the results."""
    record, study, images = findings.record, findings.record.study, findings.accuracies.images
    found, counts = findings.latency, record.class_counts
    fixed = "; ".join(f"{key} = {label(value)}" for key, value in study.fixed.items())
    limits = "; ".join(
        f"{quantity} {word} {amount(limit)}"
        for quantity, range_ in study.constraints.items()
        for word, limit in (("at least", range_.min), ("at most", range_.max))
        if limit is not None
    )
    return {
        "Space": f"{study.space}, preset {study.preset}" + (f", with {fixed}" if fixed else ""),
        "Varied": study.form.summary,
        "Limits": limits or "none",
        "Data": f"{study.data}, fingerprint {record.data_fingerprint[:16]}",
        "Classes": "; ".join([counts.text, *counts.warnings]) if counts else f"{record.classes} classes",
        "Guessing": f"always naming the largest class is right for {percent(record.guess)} of the validation images"
        + ("" if counts else ", if all classes are the same size"),
        **({"Start": study.form.start_note} if study.form.start_note else {}),
        "Budget": (study.form.budget_note and f"{study.form.budget_note}; if not varied, ")
        + f"{study.budget.epochs} epochs of {study.budget.images:,} training images; measured on "
        + (f"{images:,} validation images" if images else f"at most {study.budget.validation:,} validation images"),
        "Seeds": _seeds(study),
        "Recipe": recipe_text(study.recipe),
        "Accuracy": "share of validation images classified correctly after the last epoch (not the best epoch)",
        "Latency": f"median time of {found.conditions}" if found else "not measured; `explorer latency` measures it",
    }


def _seeds(study: Study) -> str:
    if study.form.grows and study.seeds > 1:
        return f"1 to {study.seeds}, as the front needed"
    return f"2 to {study.seeds}, as claims needed" if study.until_decided else str(study.seeds)


def recipe_text(recipe: Recipe) -> str:
    """Describe a recipe in words and numbers."""
    settings = "; ".join(f"{key} = {label(value)}" for key, value in recipe.model_dump().items())
    optimiser = {"sgd": "SGD with Nesterov momentum", "adamw": "AdamW"}[recipe.optimiser]
    return f"{optimiser}; linear warm-up, constant learning rate, linear decay to zero: {settings}"


def outcome(row: Mapping[Any, Any]) -> str:
    """Return the state of a point or run, with its reason."""
    return f"{row['state']}: {row['reason']}" if row["reason"] else str(row["state"])


def cell(value: object) -> str:
    """Write a metaparameter's value."""
    return UNKNOWN if missing(value) or value == "" else label(value)


def _plus_minus(row: Mapping[Any, Any]) -> str:
    accuracy, half = number(row["accuracy"], 1, 100), (row["high"] - row["low"]) / 2
    return accuracy if math.isnan(half) else f"{accuracy} \N{PLUS-MINUS SIGN} {100 * half:.1f}"


def amounts(row: Mapping[Any, Any], quantities: Sequence[Quantity]) -> list[str]:
    """Write a point's amounts of the given quantities."""
    return [amount_text(one, row[one.key]) for one in quantities]


def amount_text(quantity: Quantity, value: Any) -> str:  # noqa: ANN401 (a number, NaN or NA of a row)
    """Write an amount of a quantity."""
    return UNKNOWN if pd.isna(value) else quantity.text(value)


def whole(value: Any) -> str:  # noqa: ANN401 (a whole number or NA of a row)
    """Write a whole number with thousands separators."""
    return UNKNOWN if pd.isna(value) else f"{value:,}"


def number(value: Any, digits: int, factor: float = 1) -> str:  # noqa: ANN401 (a number, None, NaN or NA of a row)
    """Write a number times a factor, to the given number of decimals."""
    return UNKNOWN if pd.isna(value) else f"{float(value) * factor:,.{digits}f}"
