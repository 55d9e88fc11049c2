"""The sentences of a report other than its answer: progress, uncertainty, cost and the evidence for claims."""

from __future__ import annotations

import math
from collections import Counter

import pandas as pd

from explorer.analysis import CONFIDENCE, Findings, Interval
from explorer.analysis.claims import Judged, judge
from explorer.analysis.effort import Effort
from explorer.networks.network import FEWEST_PIXELS, SMALL_MAPS
from explorer.networks.quantities import QUANTITIES, counted
from explorer.reporting.words import SPACE, amount, percent, with_interval
from explorer.storage.record import NOT_NEEDED, StudyRecord
from explorer.study.claims import LATENCY_MARGIN, NoWorse, Slower
from explorer.training.limits import duration

MOST_NAMES = 8  # per sentence


def progress(record: StudyRecord) -> tuple[bool, str]:
    """Return whether all runs are done, and a sentence with their number."""
    states = [*record.needed["state"], *record.rungs.get("state", ())]
    counts, total = Counter(states), len(states)
    done = counts["done"]
    if done == total:
        needed = "runs" if len(record.needed) == len(record.runs) else "runs that were needed"
        return True, f"All {total:,} {needed} are done."
    others = ", ".join(f"{counts[state]} {state}" for state in ("failed", "crashed", "missing") if counts.get(state))
    return False, f"This is a partial result: {done:,} of {total:,} runs are done ({others})."


def rounds_note(findings: Findings) -> str:
    """Report which seeds were added until claims were decided, and what this saved; empty for other studies."""
    record, study = findings.record, findings.record.study
    if not study.until_decided:
        return ""
    verdicts = [one.verdict for one in judge(findings) if not isinstance(one.claim, Slower)]
    decided = len(verdicts) - verdicts.count("undecided")
    seconds = findings.runs.groupby("point")["seconds"].mean()
    spared = findings.runs.loc[findings.runs["state"] == NOT_NEEDED, "point"]
    time = duration(float(spared.map(seconds).sum()))
    saved = f" (saving about {time} of training on one core)" if len(spared) else ""
    more = "" if decided == len(verdicts) else " A larger number of seeds may decide the rest (`--seeds`)."
    return (
        f"Seeds were added where claims were undecided: {decided} of {counted(len(verdicts), 'claim')} decided with "
        f"{len(record.needed):,} of {len(record.runs):,} runs{saved}.{more} Intervals allow for stopping at any round."
    )


def interval_note(findings: Findings) -> str:
    """Explain the uncertainty that the intervals account for; empty without measurements."""
    seeds, images = findings.accuracies.pooled, findings.accuracies.images
    if not images:
        return ""
    start = f"The 95 % intervals account for the sample of {images:,} validation images"
    if not seeds.freedom:
        return f"{start} only: with one seed, the spread between seeds is unknown."
    return (
        f"{start} and for the spread between seeds: the standard deviation of a network's accuracy between seeds is "
        f"{100 * seeds.deviation:.2f} points, pooled over the points ({seeds.freedom} degrees of freedom). "
        "Points are compared image by image, and two points are not separated if the interval of their difference "
        "contains 0, whether or not their own intervals overlap. Comparisons are not adjusted for their number, and "
        "the best of several points looks slightly better than it is." + _looks_note(findings)
    )


def _looks_note(findings: Findings) -> str:
    if findings.accuracies.confidence <= CONFIDENCE:
        return ""
    return (
        " Points got further seeds depending on results, so each interval is computed at "
        f"{100 * findings.accuracies.confidence:.1f} %: those after every round of seeds then hold together with 95 %, "
        "and each is valid wherever the study stops (repeated confidence intervals)."
    )


def frozen_note(findings: Findings) -> str:
    """Report how much less time runs with frozen blocks take; empty for other studies."""
    study, measured = findings.record.study, findings.measured
    over, time = study.form.over, "train_seconds"
    if not over or time not in study.form.measures or findings.tells_nothing:
        return ""
    said = []
    for series, line in measured[measured[time] > 0].groupby("series", sort=False):
        least, most = (line.iloc[place] for place in (line[over].argmin(), line[over].argmax()))
        if most[over] > least[over]:
            said.append(
                f"with {most[over]} frozen blocks, training takes {most[time] / least[time]:.2f} times as long as with "
                f"{least[over]} ({series})"
            )
    if not said:
        return ""
    recipe = study.recipe
    every = "in every epoch" if recipe.augments or recipe.ema else "once per image where their outputs fit in memory"
    return (
        f"Time saved: {_first(said)}. Frozen blocks ran {every}. Times leave out the first training, and depend on "
        "what else the machine did."
    )


def space_note(record: StudyRecord) -> str:
    """Return the space's note on all trained points together; empty if it has none."""
    space = record.study.design_space
    derived = record.points.loc[record.points["state"] == "planned", record.derived].astype(float).dropna()
    if derived.empty or len(record.derived) < len(space.derived):
        return ""
    return space.population_note({name: derived[name].to_numpy() for name in record.derived})


def enlarged_note(record: StudyRecord) -> str:
    """Name the points with an input larger than the images of the data set; empty if there are none."""
    points = record.points[record.points["state"].isin(["planned", "merged"])]
    larger = points[(points["input_pixels"] > points["image_pixels"]).fillna(value=False)]
    if larger.empty:
        return ""
    names = [f"{row['label']} ({row['input_pixels']} pixels)" for _, row in larger.iterrows()]
    size = larger["image_pixels"].iloc[0]
    return f"Images are {size} pixels wide; these points merely upscale them: {_first(names)}."


def small_maps_note(record: StudyRecord) -> str:
    """Name the points whose last feature maps have a single pixel; empty if there are none."""
    points = record.points[record.points["state"].isin(["planned", "merged"])]
    single = points.loc[(points["final_pixels"] < FEWEST_PIXELS).fillna(value=False), "label"]
    return f"{SMALL_MAPS}: {_first(list(single))}." if len(single) else ""


def changed_note(findings: Findings) -> str:
    """List what is left out because the current code builds different networks; empty if it does not."""
    return findings.verified.note(
        "their layers, the percentiles of published choices and lines of equal params are left out"
    )


def verdict(judged: Judged, findings: Findings) -> str:
    """Return a verdict with the budget that it holds for: `refuted at 20,000 images`."""
    if isinstance(judged.claim, Slower):
        return f"{judged.verdict} by latency"
    if findings.record.study.form.budget_note:
        return f"{judged.verdict} for the images that these points saw"
    return f"{judged.verdict} at {findings.record.study.budget.seen:,} images"


def evidence(judged: Judged, findings: Findings) -> str:
    """Return the comparisons behind a verdict, in points of accuracy or as ratios of latencies, with intervals."""
    if judged.reason:
        return judged.reason
    if judged.correlation is not None:
        if math.isnan(judged.correlation.estimate):
            return "Too few points are measured to rank them."
        return f"Kendall's tau over {len(findings.measured)} points: {with_interval(judged.correlation)}."
    names = findings.points.set_index("point")["label"]
    missing = f"Not measured: {'; '.join(names[point] for point in judged.missing)}." if judged.missing else ""
    if judged.latencies and findings.latency:
        ratios = [
            f"{names[one.first]} takes {with_interval(one.ratio, '.2f')} times as long as {names[one.second]}"
            for one in judged.latencies
        ]
        start = f"Differences of up to {100 * LATENCY_MARGIN:g}{SPACE}% count as none."
        return f"{start} {_first(ratios)} ({findings.latency.conditions}). {missing}".strip()
    if not judged.comparisons:
        return missing or "This study has no points to compare for this claim."
    shown = [
        f"{names[one.first]} minus {names[one.second]}: {points_of(one.difference)}"
        + ("" if one.learnt else " (both near guessing)")
        for one in judged.comparisons
    ]
    margin = judged.comparisons[0].margin
    points = "point" if math.isclose(margin, 0.01) else "points"
    change = "loss" if isinstance(judged.claim, NoWorse) else "gain"
    start = f"A {change} of up to {100 * margin:g} {points} counts as none. " if margin else ""
    return f"{start}{_first(shown)}. {missing}".strip()


def _first(names: list[str]) -> str:
    return "; ".join(names[:MOST_NAMES] + ([f"and {len(names) - MOST_NAMES} more"] if names[MOST_NAMES:] else []))


def points_of(found: Interval) -> str:
    """Write a difference in accuracy: `+1.3 (+0.2 to +2.4) points`."""
    return f"{with_interval(found, '+.1f', 100)} points" if math.isfinite(found.estimate) else "unknown"


def cost_note(effort: Effort | None) -> str:
    """Report the time, compute and memory that the runs took."""
    if effort is None:
        return "No runs have finished yet."
    return (
        f"{effort.runs:,} runs took {effort.core_seconds:,.0f} core-seconds, in {effort.busy_seconds:,.0f} seconds of "
        f"wall time (pauses excluded) from {effort.first:%Y-%m-%d %H:%M} to {effort.last:%Y-%m-%d %H:%M} UTC. "
        f"Training took {effort.macs:.2g} multiply-adds (forward and backward); a worker used up to "
        f"{effort.peak_memory_bytes / 2**20:,.0f} MiB of memory."
    )


def start_cost_note(record: StudyRecord) -> str:
    """Tell that the cost leaves out the training of the weights that runs start from; empty for other studies."""
    return "The training of the weights that runs start from is not included." if record.study.form.start_note else ""


def volume_notes(findings: Findings) -> list[str]:
    """Report the hypervolume of the front of each main cost; empty if accuracies cannot be compared."""
    said: list[str] = []
    if findings.tells_nothing:
        return said
    for cost in (cost for cost in findings.costs if QUANTITIES[cost].main):
        found = findings.hypervolume(cost)
        if found is None:
            continue
        said.append(
            f"The front of {QUANTITIES[cost].noun} has a hypervolume of {with_interval(found.area, '.1f', 100)} points "
            f"of accuracy times doublings of the cost, measured from {percent(found.reference.accuracy)} (chance) and "
            f"{amount(cost, found.reference.largest)}. Averaged over budgets from "
            f"{amount(cost, found.reference.smallest)} up, the best affordable point has an accuracy of "
            f"{with_interval(found.mean_accuracy, '.1f', 100)}{SPACE}%."
        )
    return said


def tested_note(findings: Findings, tests: pd.DataFrame | None) -> str:
    """Report the test accuracies of exported points."""
    if tests is None or tests.empty:
        return "The test set was not read."
    names = findings.points.set_index("point")["label"]
    read = [
        f"{names[row['point']]} (seed {row['seed']}): {percent(row['accuracy'])} of {row['images']:,} test images"
        for row in tests.to_dict(orient="records")
    ]
    return f"The test set was read once for each exported point: {'; '.join(read)}."
