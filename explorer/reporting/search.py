"""What the report of a search says and shows besides that of other studies."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import Any

import pandas as pd

from explorer.analysis import Findings
from explorer.analysis.fronts import ON_FRONT
from explorer.analysis.search_history import rung_accuracies
from explorer.drawing import search_plots
from explorer.drawing.figures import Panel, panel
from explorer.networks.quantities import ACCURACY, QUANTITIES, counted
from explorer.reporting.tables import MOST_RUNS, Table, amounts, cell, number, whole
from explorer.reporting.words import SPACE, amount, costs_in_words, listed, percent
from explorer.study.rungs import rung_budgets

RECENT = 0.25
"""Share of the training images whose part in the front is stated."""


@dataclass(frozen=True)
class SearchCourse:
    """The course of a search: two figures, what they tell, and what was not trained to the top."""

    panels: list[Panel]
    method: list[str]
    declined: Table | None
    stopped: Table | None


def search_course(findings: Findings) -> SearchCourse | None:
    """Return the course of a search; None for other studies."""
    if not findings.record.study.form.grows:
        return None
    # Without a front, the first figure shows the rungs.
    panels = [] if findings.measured.empty else [_growth(findings), rungs_figure(findings)]
    return SearchCourse(panels, _method(findings), _declined(findings), _stopped(findings))


def search_answer(findings: Findings) -> list[str]:
    """Return the size of the front and the most accurate point, or what to do if no point has reached the top rung."""
    measured, study = findings.measured, findings.record.study
    counts = search_counts(findings)
    if measured.empty:
        return [
            f"{counts} yet, so there is no front.",
            "The same command with more `--time`, `--runs` or `--images` goes on from here.",
        ]
    on = int(measured[ON_FRONT].sum())
    costs = list(study.form.costs)
    objectives = listed([ACCURACY.noun, *(QUANTITIES[cost].noun for cost in costs)])
    best = measured.iloc[int(measured["accuracy"].argmax())]
    point = int(best["point"])
    name = study.named(point) if findings.verified.unchanged else str(best["label"])
    found = percent(best["accuracy"])
    if math.isfinite(best["low"]):
        found += f" (95 % interval {100 * best['low']:.1f} to {percent(best['high'])})"
    price = listed([amount(cost, best[cost]) for cost in costs]) or costs_in_words(best)
    within = " within the limits" if study.constraints else ""
    these = "all of these are" if on == len(measured) > 1 else f"{on:,} of these {'is' if on == 1 else 'are'}"
    return [
        f"{counts}, and {these} on the front of {objectives}; accuracies at lower rungs do not count.",
        f"The most accurate point{within} is {point} ({name}): {found}, with {price}.",
    ]


def search_counts(findings: Findings) -> str:
    """Return how many points were proposed and reached the top rung, as the start of a sentence."""
    budget, top, proposed = findings.record.study.budget, len(findings.measured), len(findings.record.points)
    rung = f"the top rung ({counted(budget.epochs, 'epoch')} of {budget.images:,} images)"
    if not top:
        were = "point was" if proposed == 1 else "points were"
        return f"{proposed:,} {were} proposed, but none has reached {rung}"
    return f"Of {counted(proposed, 'proposed point')}, {top:,} reached {rung}"


def _growth(findings: Findings) -> Panel:
    frame = findings.growth
    caption = (
        "Hypervolume of the front of the top rung, measured from the accuracy of guessing and the largest costs of all "
        "points."
    )
    images, last = int(frame["images"].iloc[-1]), float(frame["volume"].iloc[-1])
    if last > 0:
        before = frame.loc[frame["images"] <= (1 - RECENT) * images, "volume"].iloc[-1]
        caption += f" The last {100 * RECENT:.0f}{SPACE}% of {images:,} training images added "
        caption += f"{percent(max(0.0, 1 - before / last))} of it."
    return panel("front_over_time", "The front over time", caption, partial(search_plots.growth, frame))


def rungs_figure(findings: Findings) -> Panel:
    """Draw the accuracies at each rung."""
    study = findings.record.study
    caption = (
        f"Accuracy of the first seed after each rung's epochs of {study.budget.images:,} images; a line is a point. "
        "Blue: reached the top. Grey: stopped. Only compare accuracies within a rung."
    )
    draw = partial(search_plots.rungs, rung_accuracies(findings.ended), last=study.budget.epochs)
    return panel("rungs", "Rungs", caption, draw)


def _method(findings: Findings) -> list[str]:
    """Say by which rule points are promoted, and what the intervals allow for."""
    study = findings.record.study
    rungs = [budget.epochs for budget in rung_budgets(study)]
    rule = (
        f"Points train for {listed([str(one) for one in rungs], 'or')} epochs of {study.budget.images:,} images. These "
        "are the rungs, and each goes on from the one below. The next run goes to the point, new or waiting at a rung, "
        "that would add most hypervolume to the front for each image that it still needs, at its exact costs and an "
        "optimistic forecast of its accuracy at the top. Points that would add nothing stay at their rung."
    )
    top = (
        "Only runs at the top rung make up the front, have intervals and are compared. Runs at lower rungs only change "
        "forecasts."
    )
    said = [rule, top]
    if study.seeds > 1:
        said.append(
            f"Points whose place on the front is undecided get further seeds, up to {study.seeds} in all. Their "
            "intervals allow for this."
        )
    return said


def _declined(findings: Findings) -> Table | None:
    """Count the proposals that were not trained, by reason."""
    declined = sorted(findings.record.declined.items(), key=lambda item: -item[1])
    rows = [[reason, f"{count:,}"] for reason, count in declined if count]
    caption = "Proposals are priced before training. The same design may be proposed more than once."
    return Table(caption, ("not trained because it is", "proposals"), frozenset({"proposals"}), rows) if rows else None


def _stopped(findings: Findings) -> Table | None:
    """List the points that did not reach the top rung, with the last rung they finished."""
    record, points = findings.record, findings.points
    below = points[points["accuracy"].isna()]
    if below.empty:
        return None
    done = record.rungs[record.rungs["state"] == "done"]
    last = done.sort_values("epochs").groupby("point").last()
    costs = [QUANTITIES[cost] for cost in record.study.form.costs]
    rows = [
        [
            str(row["point"]),
            *(cell(row[key]) for key in record.metaparameters),
            *amounts(row, costs),
            *_reached(last, int(row["point"])),
            f"{row['state']}: {row['reason']}" if row["state"] == "failed" else str(row["state"]),
        ]
        for row in below.tail(MOST_RUNS).to_dict(orient="records")
    ]
    numbers = ("point", *(cost.heading for cost in costs), "epochs", "accuracy there, %")
    columns = ("point", *record.metaparameters, *numbers[1:], "state")
    left_out = len(below) - len(rows)
    caption = "Accuracies after different numbers of epochs cannot be compared." + (
        f" {left_out:,} more are only in points.csv." if left_out else ""
    )
    return Table(caption, columns, frozenset(numbers), rows)


def _reached(last: pd.DataFrame, point: int) -> list[str]:
    if point not in last.index:
        return [whole(pd.NA), whole(pd.NA)]
    row: dict[Any, Any] = last.loc[point].to_dict()
    return [whole(row["epochs"]), number(row["accuracy"], 1, 100)]
