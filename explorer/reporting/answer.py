"""The answer of a study in two sentences, and what else its numbers say."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

from explorer import analysis
from explorer.analysis import Findings
from explorer.analysis.plateau import Plateau, plateau
from explorer.networks.quantities import QUANTITIES
from explorer.reporting.words import SPACE, amount, costs_in_words, listed, percent
from explorer.spaces.simplex import SHARE
from explorer.spaces.space import label

MOST_NAMES = 4  # in a sentence
MOST_GROUPS = 4  # of points of about equal cost; the most expensive ones are compared


def answer(findings: Findings) -> list[str]:
    """Return at most two sentences: the best point, and which points are not separated from it.

    The second one says where a curve levels off, which series is best at equal cost, or how the corners of a triangle
    compare.
    """
    measured = findings.measured
    if measured.empty:
        return ["No runs have finished yet."]
    if findings.record.study.is_trial:
        images = findings.record.study.budget.images
        return [f"Trial run: one seed and one epoch of {images:,} images; its accuracies mean nothing."]
    best = measured.iloc[int(measured["accuracy"].argmax())]
    name = _name(findings, best)
    # A series is capitalised at the start of a sentence; a metaparameter keeps its spelling.
    name = f"{name[0].upper()}{name[1:]}" if best["series"] else name
    found = percent(best["accuracy"])
    if math.isfinite(best["low"]):
        found += f" (95 % interval {100 * best['low']:.1f} to {percent(best['high'])})"
    found += f", with {costs_in_words(best)}."
    if len(measured) == 1:
        return [f"{name} is the only measured point: {found}"]
    first = f"{name} has the best accuracy of the {len(measured):,} measured points: {found}"
    return [first, _second(findings, best)]


def more(findings: Findings) -> list[str]:
    """Return how the series compare at other costs, and the least accurate point."""
    measured = findings.measured
    if len(measured) < 2 or not findings.accuracies.pooled.freedom:  # noqa: PLR2004 (nothing to compare)
        return []
    worst, said = measured.iloc[int(measured["accuracy"].argmin())], answer(findings)
    return [
        *(sentence for sentence in _at_equal_cost(findings).values() if sentence not in said),
        f"The least accurate is {_name(findings, worst)}: {percent(worst['accuracy'])}, with {costs_in_words(worst)}.",
    ]


def _second(findings: Findings, best: pd.Series[Any]) -> str:
    measured = findings.measured
    if not findings.accuracies.pooled.freedom:
        return "With one seed, the spread between seeds is unknown, so no points are separated."
    if compared := _at_equal_cost(findings):
        own = [sentence for points, sentence in compared.items() if int(best["point"]) in points]
        return own[0] if own else list(compared.values())[-1]
    rivals = measured[measured["standing"] == "not separated"]
    if rivals.empty:
        return f"It is separated from {'the' if len(measured) == 2 else 'every'} other point."  # noqa: PLR2004
    if findings.figure == "triangle":
        return _corners(findings, len(rivals))
    return _rivals(findings, best, rivals)


def _rivals(findings: Findings, best: pd.Series[Any], rivals: pd.DataFrame) -> str:
    """Say which points are not separated from the best one, and how much the cheapest of them saves."""
    against = findings.record.study.plot.against
    level = _level(findings)
    if level:
        key = findings.record.metaparameters[0]
        rivals = rivals[rivals[key].astype(float).between(level.first, level.last)]
        who = f"{_values(level, key)} separated from it"
    elif len(rivals) > MOST_NAMES:
        who = _counted(findings, len(rivals))
    else:
        who = f"Not separated from it: {'; '.join(rivals['label'])}"
    cheapest = rivals.iloc[int(rivals[against].astype(float).argmin())]
    saved = 1 - float(cheapest[against]) / float(best[against])
    noun = QUANTITIES[against].noun
    saves = f"saves {100 * saved:.0f}{SPACE}% of the {noun} ({percent(cheapest['accuracy'])})"
    if saved < 0.005:  # noqa: PLR2004 (not worth a clause)
        return f"{who}; none of these saves any {noun}."
    if len(rivals) == 1:
        return f"{cheapest['label']} is not separated from it and {saves}."
    return f"{who}; of these, {cheapest['label']} {saves}."


def _counted(findings: Findings, rivals: int) -> str:
    are = "is" if rivals == 1 else "are"
    return f"{rivals:,} of the {len(findings.measured) - 1:,} other points {are} not separated from it"


def _level(findings: Findings) -> Plateau | None:
    """Return the plateau of a curve over one numeric metaparameter, if it has more than one value."""
    keys = findings.record.metaparameters
    if len(keys) != 1 or not analysis.is_ordered(findings.measured[keys[0]]):
        return None
    found = plateau(findings.measured, keys[0])
    return None if found is None or found.is_single else found


def _values(found: Plateau, key: str) -> str:
    if found.is_all:
        return f"No value of {key} is"
    if found.to_last:
        return f"{label(found.first)} and above are not"
    if found.from_first:
        return f"{label(found.last)} and below are not"
    return f"{label(found.first)} to {label(found.last)} are not"


def _corners(findings: Findings, rivals: int) -> str:
    """Compare the corners of a triangle, where one factor gets everything, with its best point."""
    frame = analysis.triangle(findings.record, findings.points)
    groups: dict[str, list[str]] = {"separated": [], "not separated": []}
    for column in analysis.share_columns(frame):
        corner = frame[(frame[column] > 1 - 1e-9) & frame["standing"].isin(groups)]
        for standing in corner["standing"]:
            groups[standing].append(f"{column.removeprefix(SHARE)} only")
    parts = [
        f"{listed(names)} {'is' if len(names) == 1 else 'are'} {standing}"
        for standing, names in groups.items()
        if names
    ]
    who = _counted(findings, rivals)
    return f"{who}; of the corners, {' and '.join(parts)}." if parts else f"{who}."


def _at_equal_cost(findings: Findings) -> dict[frozenset[int], str]:
    """Compare the series within each group of points of about equal cost; empty for studies without series."""
    if findings.figure != "series":
        return {}
    against = findings.record.study.plot.against
    groups = [group for group in analysis.near_in_cost(findings.lines, against) if len(set(group["series"])) > 1]
    return {frozenset(map(int, group["point"])): _best_of(findings, group, against) for group in groups[-MOST_GROUPS:]}


def _best_of(findings: Findings, group: pd.DataFrame, against: str) -> str:
    twice = group["series"].duplicated(keep=False)
    group = group.assign(name=group["series"].where(~twice, group["series"] + " at " + group["label"]))
    best, *others = (row for _, row in group.sort_values("accuracy", ascending=False, kind="stable").iterrows())
    names: dict[str, list[str]] = {"separated": [], "not separated": []}
    for other in others:
        apart = findings.accuracies.difference(best["point"], other["point"]).separated
        names["separated" if apart else "not separated"].append(other["name"])
    parts = [f"{standing} from {listed(found)}" for standing, found in names.items() if found]
    costs = amount(against, group[against].min(), group[against].max())
    return f"At {costs}, {best['name']} is best ({percent(best['accuracy'])}), {' and '.join(parts)}."


def _name(findings: Findings, row: pd.Series[Any]) -> str:
    """Name a point by its series, or as the form of the study does."""
    series, text = str(row["series"]), str(row["label"])
    if not series:
        return findings.record.study.named(int(row["point"])) if findings.verified.unchanged else text
    sharing = findings.series_of(int(row["point"]))
    if len(sharing) > 1:
        return f"the network that {len(sharing)} series share ({text.partition(' = ')[0].partition(' and ')[0]})"
    return series if series == text else f"{series} at {text}"
