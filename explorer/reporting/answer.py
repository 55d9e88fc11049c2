"""The answer of a study: two sentences made of its statistics, and what else the numbers say."""

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
MOST_GROUPS = 4  # of near-equal cost, the costliest


def answer(findings: Findings) -> list[str]:
    """What the numbers say in at most two sentences: the best point, and what is not separated from it.

    Of a curve that is where it levels off, of series how they compare at equal costs, of a triangle how its corners do.
    """
    measured = findings.measured
    if measured.empty:
        return ["No run is done yet, so there is no answer."]
    best = measured.iloc[int(measured["accuracy"].argmax())]
    name = _named(findings, best)
    # The name of a series begins a sentence; that of a metaparameter stays as it is written.
    name = f"{name[0].upper()}{name[1:]}" if best["series"] else name
    if len(measured) == 1:
        text = f"{name} is the only measured point: {percent(best['accuracy'])}"
    else:
        text = f"{name} has the best accuracy of the {len(measured):,} measured points: {percent(best['accuracy'])}"
    if math.isfinite(best["low"]):
        text += f" (95 % interval {100 * best['low']:.1f} to {percent(best['high'])})"
    text = f"{text}, with {costs_in_words(best)}."
    return [text, *([] if len(measured) == 1 else [_second(findings, best)])]


def more(findings: Findings) -> list[str]:
    """What else there is to say: how the series compare at other costs, and which point is the least accurate."""
    measured = findings.measured
    if len(measured) < 2 or not findings.accuracies.pooled.freedom:  # noqa: PLR2004 (one point has no rival)
        return []
    worst = measured.iloc[int(measured["accuracy"].argmin())]
    said = [sentence for sentence in _at_equal_cost(findings).values() if sentence not in answer(findings)]
    name = _named(findings, worst)
    return [
        *said,
        (f"The least accurate is {name}: {percent(worst['accuracy'])}, with {costs_in_words(worst)}."),
    ]


def _second(findings: Findings, best: pd.Series[Any]) -> str:
    """The second sentence of the answer."""
    measured = findings.measured
    if not findings.accuracies.pooled.freedom:
        return "One seed: spread between seeds unknown, so the points are not told apart."
    if findings.figure == "series":
        compared = _at_equal_cost(findings)
        if compared:
            own = [sentence for points, sentence in compared.items() if int(best["point"]) in points]
            return own[0] if own else list(compared.values())[-1]
    rivals = measured[measured["standing"] == "not separated"]
    if rivals.empty:
        return f"It is separated from {'the other point' if len(measured) == 2 else 'every other point'}."  # noqa: PLR2004
    if findings.figure == "triangle":
        return _corners(findings, len(rivals))
    return _rivals(findings, best, rivals)


def _rivals(findings: Findings, best: pd.Series[Any], rivals: pd.DataFrame) -> str:
    """Which points are not separated from the best one, and which of these is the cheapest."""
    against = findings.record.study.plot.against
    level = _level(findings)
    if level is not None:
        key = findings.record.metaparameters[0]
        rivals = rivals[rivals[key].astype(float).between(level.first, level.last)]
    who = (_plateau(findings, level) if level else "") or (
        _counted(findings, len(rivals))
        if len(rivals) > MOST_NAMES
        else f"Not separated from it: {'; '.join(rivals['label'])}"
    )
    cheapest = rivals.iloc[int(rivals[against].astype(float).argmin())]
    saved = 1 - float(cheapest[against]) / float(best[against])
    if saved < 0.005:  # noqa: PLR2004 (half a percent is not worth a clause)
        return f"{who}; none of these saves any {QUANTITIES[against].noun}."
    which = cheapest["label"] if len(rivals) == 1 else f"of these, {cheapest['label']}"
    return f"{who}; {which} saves {100 * saved:.0f}{SPACE}% of the {QUANTITIES[against].noun} ({percent(cheapest['accuracy'])})."


def _counted(findings: Findings, rivals: int) -> str:
    are = "is" if rivals == 1 else "are"
    return f"{rivals:,} of the {len(findings.measured) - 1:,} other points {are} not separated from it"


def _level(findings: Findings) -> Plateau | None:
    """Of a curve over a metaparameter that is a number, where it is level around its best point, where that is more than this point."""
    keys = findings.record.metaparameters
    if len(keys) != 1 or not analysis.is_ordered(findings.measured[keys[0]]):
        return None
    found = plateau(findings.measured, keys[0])
    return None if found is None or found.is_single else found


def _plateau(findings: Findings, found: Plateau) -> str:
    """The values that the best one is not separated from."""
    if found.is_all:
        return f"No value of {findings.record.metaparameters[0]} is separated from it"
    if found.to_last:
        return f"{label(found.first)} and above are not separated from it"
    if found.from_first:
        return f"{label(found.last)} and below are not separated from it"
    return f"{label(found.first)} to {label(found.last)} are not separated from it"


def _corners(findings: Findings, rivals: int) -> str:
    """Of a triangle, how many points are not separated from the best one, and whether its corners are, which give all to one factor."""
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
    """For each group of points of near-equal cost, a sentence: which is best, and which are separated from it. Only series have such."""
    if findings.figure != "series":
        return {}
    against = findings.record.study.plot.against
    groups = [group for group in analysis.near_in_cost(findings.lines, against) if len(set(group["series"])) > 1]
    return {frozenset(map(int, group["point"])): _best_of(findings, group, against) for group in groups[-MOST_GROUPS:]}


def _best_of(findings: Findings, group: pd.DataFrame, against: str) -> str:
    twice = group["series"].duplicated(keep=False)
    group = group.assign(name=group["series"].where(~twice, group["series"] + " at " + group["label"]))
    best, *others = (row for _, row in group.sort_values("accuracy", ascending=False, kind="stable").iterrows())
    names: dict[bool, list[str]] = {True: [], False: []}
    for other in others:
        apart = findings.accuracies.difference(best["point"], other["point"]).separated
        names[apart].append(other["name"])
    parts = [
        f"{word} from {listed(names[key])}"
        for key, word in ((True, "separated"), (False, "not separated"))
        if names[key]
    ]
    costs = amount(against, group[against].min(), group[against].max())
    return f"At {costs}, {best['name']} is best ({percent(best['accuracy'])}), {' and '.join(parts)}."


def _named(findings: Findings, row: pd.Series[Any]) -> str:
    """A point in a sentence: by its series, or as the form of the study names it."""
    if row["series"]:
        return _named_in_series(findings, row)
    return findings.record.study.named(int(row["point"])) if findings.verified.unchanged else str(row["label"])


def _named_in_series(findings: Findings, row: pd.Series[Any]) -> str:
    sharing = findings.series_of(int(row["point"]))
    if len(sharing) > 1:
        return (
            f"the network that {len(sharing)} series share ({row['label'].partition(' = ')[0].partition(' and ')[0]})"
        )
    return str(row["series"] if row["series"] == row["label"] else f"{row['series']} at {row['label']}")
