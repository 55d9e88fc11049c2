"""The answer of a study in at most two sentences, and further findings.

A saving is claimed only if the loss is shown to be small. Points that are not separated are reported as not separated.
"""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

from explorer import analysis
from explorer.analysis import Findings
from explorer.analysis.claims import judge
from explorer.analysis.guessing import near_guessing
from explorer.networks.quantities import QUANTITIES, counted
from explorer.reporting.search import search_answer, search_counts
from explorer.reporting.words import SPACE, amount, costs_in_words, listed, percent, with_interval
from explorer.spaces.simplex import SHARE
from explorer.study.claims import MARGIN
from explorer.study.coordinates import is_ordered
from explorer.study.model import Study

MOST_NAMES = 4  # per sentence
MOST_GROUPS = 4  # groups of points at about equal cost, most expensive first
LEAST_SAVING = 0.01
LONGER = 4  # factor for the number of epochs to suggest when no network has learnt anything


def answer(findings: Findings) -> list[str]:  # noqa: PLR0911 (kinds of studies and of results)
    """Return at most two sentences: the best point, and how the others compare.

    The second sentence names a cheaper point that is shown to lose next to nothing, or the points not separated from
    the best, or it compares series at equal cost or the corners of a triangle. There is no best point in a trial run,
    or if no network has learnt anything. The answer of a search is its front.
    """
    measured, study = findings.measured, findings.record.study
    if measured.empty and not (study.form.grows and len(findings.record.rungs)):
        return ["No runs have finished yet."]
    if study.is_trial:
        passes = "one epoch" if study.budget.epochs == 1 else f"{study.budget.epochs} epochs"
        seeds = "one seed" if study.seeds == 1 else f"{study.seeds} seeds"
        said = f"Trial run: {seeds} and {passes} of {study.budget.images:,} images; its accuracies mean nothing."
        return [said, f"{search_counts(findings)}."] if study.form.grows else [said]
    if study.form.grows and (findings.learnt or measured.empty):
        return search_answer(findings)
    if study.claims and study.latency_claims == study.claims and (compared := _latency_answer(findings)):
        return compared
    best = measured.iloc[int(measured["accuracy"].argmax())]
    if not findings.learnt:
        return _nothing_learnt(findings, best)
    # At the start of a sentence, a series is capitalised, but a metaparameter keeps its spelling.
    name = _name(findings, best)
    name = f"{name[0].upper()}{name[1:]}" if best["series"] else name
    found = percent(best["accuracy"])
    if math.isfinite(best["low"]):
        found += f" (95 % interval {100 * best['low']:.1f} to {percent(best['high'])})"
    found += f", with {costs_in_words(best, study.form.measures)}."
    if len(measured) == 1:
        return [f"{name} is the only measured point: {found}"]
    first = f"{name} has the best accuracy of the {len(measured):,} measured points: {found}"
    return [first, _second(findings, best)]


def _latency_answer(findings: Findings) -> list[str]:
    """Compare the slowest network with the fastest one, for studies that only make claims about latency.

    Returns nothing if fewer than two networks have a latency.
    """
    if findings.latency is None:
        return []
    measured = findings.measured.assign(seconds=findings.measured["network"].map(findings.latency.seconds))
    known = measured.dropna(subset="seconds").sort_values("seconds")
    if len(known) < 2:  # noqa: PLR2004 (nothing to compare)
        return []
    fastest, slowest = known.iloc[0], known.iloc[-1]
    ratio = with_interval(findings.latency.ratio(slowest["network"], fastest["network"]))
    verdicts = [one.verdict for one in judge(findings)]
    first = (
        f"{slowest['label']} takes {ratio} times as long as the fastest, {_name(findings, fastest)}, at "
        f"{slowest['macs'] / fastest['macs']:.2f} times its FLOPs."
    )
    supported, refuted = (_are(verdicts.count(verdict)) for verdict in ("supported", "refuted"))
    second = (
        f"Of {counted(len(verdicts), 'claim')} about latency, {supported} supported and {refuted} refuted "
        f"({findings.latency.conditions})."
    )
    return [first, second]


def _are(count: int) -> str:
    return f"{count} is" if count == 1 else f"{count} are"


def more(findings: Findings) -> list[str]:
    """Return sentences on how the series compare at other costs and on points near guessing."""
    measured, guess = findings.measured, findings.record.guess
    if len(measured) < 2 or findings.tells_nothing:  # noqa: PLR2004 (nothing to compare)
        return []
    said = []
    near = measured[~measured["point"].isin(findings.learnt)]
    if len(near):
        names = f": {'; '.join(near['label'])}" if len(near) <= MOST_NAMES else ""
        are = "is" if len(near) == 1 else "are"
        said.append(
            f"{len(near):,} of the {len(measured):,} measured points {are} not clearly better than guessing "
            f"({percent(guess)}){names}."
        )
    if not findings.accuracies.pooled.freedom:
        return said
    already = answer(findings)
    return [*(sentence for sentence in _at_equal_cost(findings).values() if sentence not in already), *said]


def _nothing_learnt(findings: Findings, best: pd.Series[Any]) -> list[str]:
    """Report that no network is better than guessing, and suggest a remedy."""
    guess, study = findings.record.guess, findings.record.study
    found = percent(best["accuracy"])
    if math.isfinite(best["low"]):
        found += f" ({100 * best['low']:.1f} to {percent(best['high'])})"
    beside = (
        f"the best, {_name(findings, best)}, has {found}, and always naming the largest class has {percent(guess)}."
    )
    if best["accuracy"] <= near_guessing(guess):
        return [f"No network has learnt anything yet: {beside}", f"Train longer: {_longer(study)}."]
    images = counted(findings.accuracies.images, "validation image")
    return [
        f"No network is clearly better than guessing: {beside}",
        f"More than {images}, more seeds or longer runs would tell: `--seeds`, {_longer(study)}.",
    ]


def _longer(study: Study) -> str:
    if study.is_quick:
        return "drop `--quick`"
    if study.form.own_budget:
        return f"larger numbers in {listed(list(study.form.own_budget.values()))}"
    epochs = longer_epochs(study)
    return f"`--budget {study.budget.images}x{epochs}`" if study.form.grows else f"`--epochs {epochs}`"


def longer_epochs(study: Study) -> int:
    """Return the number of epochs for clearly longer runs, with a warm-up of at most half of the images."""
    return max(LONGER * study.budget.epochs, study.recipe.least_epochs(study.budget))


def _second(findings: Findings, best: pd.Series[Any]) -> str:
    measured = findings.measured
    if not findings.accuracies.pooled.freedom:
        return "With one seed, the spread between seeds is unknown, so no points are separated."
    if compared := _at_equal_cost(findings):
        own = [sentence for points, sentence in compared.items() if int(best["point"]) in points]
        return own[0] if own else list(compared.values())[-1]
    rivals = measured[measured["standing"] == "not separated"]
    # The points of a triangle are meant to have the same cost.
    saving = "" if findings.figure == "triangle" else _saving(findings, best)
    if saving:
        return saving
    if rivals.empty:
        return f"It is separated from {'the' if len(measured) == 2 else 'every'} other point."  # noqa: PLR2004
    if findings.figure == "triangle":
        return _corners(findings, rivals)
    return f"The runs cannot tell it from {_counted(findings, rivals)}{_cheapest(findings, best, rivals)}."


def _cheapest(findings: Findings, best: pd.Series[Any], rivals: pd.DataFrame) -> str:
    """If the study varies only one number, name the cheapest of the best point and those not separated from it."""
    against, varied = findings.record.study.plot.against, list(findings.record.study.varied.values())
    if len(varied) != 1 or not is_ordered([value for value in varied[0] if value is not None]):
        return ""
    cheapest = rivals.iloc[int(rivals[against].astype(float).argmin())]
    if len(rivals) == 1 or float(cheapest[against]) >= float(best[against]):
        return ""
    return f"; {cheapest['label']} is the cheapest of these"


def _saving(findings: Findings, best: pd.Series[Any]) -> str:
    """Name the cheapest point that is shown to lose at most the margin; empty if none saves anything."""
    against, measured = findings.record.study.plot.against, findings.measured
    saved = 1 - measured[against].astype(float) / float(best[against])
    loses_little = findings.accuracies.differences(int(best["point"])).low > -MARGIN
    near = measured["point"].isin(findings.accuracies.points[loses_little])
    saving = saved[near & (saved >= LEAST_SAVING)].sort_values(ascending=False, kind="stable")
    if saving.empty:
        return ""
    return (
        f"{measured.loc[saving.index[0], 'label']} saves {100 * saving.iloc[0]:.0f}{SPACE}% of the "
        f"{QUANTITIES[against].noun} and loses at most {100 * MARGIN:g} point (95{SPACE}%)."
    )


def _counted(findings: Findings, rivals: pd.DataFrame) -> str:
    others = len(findings.measured) - 1
    if len(rivals) <= MOST_NAMES:
        return listed(rivals["label"].tolist(), "or")
    return (
        f"any of the {others:,} other points" if len(rivals) == others else f"{len(rivals):,} of the {others:,} others"
    )


def _corners(findings: Findings, rivals: pd.DataFrame) -> str:
    """Compare the best point of a triangle with its corners, each of which gives everything to one factor."""
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
    said = f"The runs cannot tell it from {_counted(findings, rivals)}"
    return f"{said}; of the corners, {' and '.join(parts)}." if parts else f"{said}."


def _at_equal_cost(findings: Findings) -> dict[frozenset[int], str]:
    """Compare the series in each group of points with about equal cost; empty for studies without series."""
    if findings.figure != "series" or findings.record.study.form.measures:
        return {}
    against = findings.record.study.plot.against
    groups = [group for group in analysis.near_in_cost(findings.lines, against) if len(set(group["series"])) > 1]
    return {frozenset(map(int, group["point"])): _best_of(findings, group, against) for group in groups[-MOST_GROUPS:]}


def _best_of(findings: Findings, group: pd.DataFrame, against: str) -> str:
    twice = group["series"].duplicated(keep=False)
    group = group.assign(name=group["series"].where(~twice, group["series"] + " at " + group["label"]))
    best, *others = (row for _, row in group.sort_values("accuracy", ascending=False, kind="stable").iterrows())
    apart: list[str] = []
    near: list[str] = []
    for other in others:
        separated = findings.accuracies.difference(best["point"], other["point"]).separated
        (apart if separated else near).append(other["name"])
    parts = [f"separated from {listed(apart)}"] if apart else []
    parts += [f"but the runs cannot tell it from {listed(near, 'or')}"] if near else []
    costs = amount(against, group[against].min(), group[against].max())
    found = f"{best['name']} has the best accuracy ({percent(best['accuracy'])})"
    if not set(group["point"]) & findings.learnt:
        return f"At {costs}, no point is clearly better than guessing."
    return f"At {costs}, {found}, {', '.join(parts)}."


def _name(findings: Findings, row: pd.Series[Any]) -> str:
    """Name a point by its series, or the way the study's form names it."""
    series, text = str(row["series"]), str(row["label"])
    if not series or findings.record.study.form.training:
        return findings.record.study.named(int(row["point"])) if findings.verified.unchanged else text
    sharing = findings.series_of(int(row["point"]))
    if len(sharing) > 1:
        return f"the network that {len(sharing)} series share ({text.partition(' = ')[0].partition(' and ')[0]})"
    return series if series == text else f"{series} at {text}"
