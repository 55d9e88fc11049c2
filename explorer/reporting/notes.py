"""What a report says in sentences beside its answer: how far it has come, how sure it is, what it cost, what the claims came to."""

from __future__ import annotations

import math

import pandas as pd

from explorer.analysis import Findings, Interval
from explorer.analysis.claims import Judged
from explorer.analysis.effort import Effort
from explorer.networks.quantities import QUANTITIES
from explorer.reporting.words import SPACE, amount, percent
from explorer.storage.record import StudyRecord

MOST_NAMES = 8  # in a sentence


def progress(record: StudyRecord) -> tuple[bool, str]:
    """Whether all runs are done, and a sentence that counts them."""
    counts = record.runs["state"].value_counts()
    done, total = int(counts.get("done", 0)), len(record.runs)
    if done == total:
        return True, f"All {total:,} runs are done."
    others = ", ".join(f"{counts[state]} {state}" for state in ("failed", "crashed", "missing") if counts.get(state))
    return False, f"This is a partial result: {done:,} of {total:,} runs are done ({others})."


def interval_note(findings: Findings) -> str:
    """How the intervals come about, with the numbers behind them."""
    seeds, images = findings.accuracies.pooled, findings.accuracies.images
    if not images:
        return ""
    start = f"The intervals are 95 % intervals. The {images:,} validation images are a sample"
    if not seeds.freedom:
        return f"{start}, and that is all that the intervals account for. One seed: spread between seeds unknown."
    return (
        f"{start}, and so are the seeds: the accuracy of one network has a standard deviation of {100 * seeds.deviation:.2f} points "
        f"between seeds, pooled over the points ({seeds.freedom} degrees of freedom). The interval combines both, with Student's t. "
        "All points were measured on the same images, so two points are compared image by image; where the interval of their "
        "difference holds 0 they are not separated. Whether their own intervals overlap does not tell. The comparisons "
        "are not adjusted for their number, and the best of several points looks a little better than it is."
    )


def space_note(record: StudyRecord) -> str:
    """What the space says of the trained points together, from the quantities that it derives."""
    space = record.study.design_space
    derived = record.points.loc[record.points["state"] == "planned", record.derived].astype(float).dropna()
    if derived.empty or len(record.derived) < len(space.derived):
        return ""
    return space.population_note({name: derived[name].to_numpy() for name in record.derived})


def enlarged_note(record: StudyRecord) -> str:
    """Which points see images that are only enlarged, as their input is larger than the images of the data."""
    points = record.points[record.points["state"].isin(["planned", "merged"])]
    larger = points[(points["input_pixels"] > points["image_pixels"]).fillna(value=False)]
    if larger.empty:
        return ""
    names = [f"{row['label']} ({row['input_pixels']} pixels)" for _, row in larger.iterrows()]
    listed = "; ".join(names[:MOST_NAMES]) + (f"; and {len(names) - MOST_NAMES} more" if names[MOST_NAMES:] else "")
    size = larger["image_pixels"].iloc[0]
    return f"The images have {size} pixels. They are only enlarged, and show no more, at: {listed}."


def changed_note(findings: Findings) -> str:
    """What is left out because today's code makes other networks; empty if it does not."""
    return findings.verified.note(
        "their layers, the standings of published choices and lines of equal params are left out"
    )


def evidence(judged: Judged, findings: Findings) -> str:
    """What a verdict rests on: the comparisons with their intervals, in points of accuracy."""
    if judged.correlation is not None:
        tau = judged.correlation
        if math.isnan(tau.estimate):
            return "Too few points are measured to rank them."
        ends = "" if math.isnan(tau.low) else f" (95 % interval {tau.low:.2f} to {tau.high:.2f})"
        return f"Kendall's tau over {len(findings.measured)} points is {tau.estimate:.2f}{ends}."
    names = findings.points.set_index("point")["label"]
    missing = f"Not measured: {'; '.join(names[point] for point in judged.missing)}." if judged.missing else ""
    if not judged.comparisons:
        return missing or "This study has no points that could be compared for it."
    said = [f"{names[one.first]} less {names[one.second]}: {points_of(one.difference)}" for one in judged.comparisons]
    shown = said[:MOST_NAMES] + ([f"and {len(said) - MOST_NAMES} more"] if len(said) > MOST_NAMES else [])
    margin = judged.comparisons[0].margin
    points = "point" if math.isclose(margin, 0.01) else "points"
    start = f"A gain of up to {100 * margin:g} {points} counts as none. " if margin else ""
    return f"{start}{'; '.join(shown)}. {missing}".strip()


def points_of(found: Interval) -> str:
    """A difference of accuracies in points, with its interval: `+1.3 points (+0.2 to +2.4)`."""
    if math.isnan(found.low):
        return (
            f"{100 * found.estimate:+.1f} points (interval not known)" if math.isfinite(found.estimate) else "not known"
        )
    return f"{100 * found.estimate:+.1f} points ({100 * found.low:+.1f} to {100 * found.high:+.1f})"


def cost_note(effort: Effort | None) -> str:
    """What the runs took, in a sentence."""
    if effort is None:
        return "No run is done yet."
    return (
        f"{effort.runs:,} runs took {effort.core_seconds:,.0f} core-seconds; at least one was going on for {effort.busy_seconds:,.0f} seconds by "
        f"the clock, from {effort.first:%Y-%m-%d %H:%M} to {effort.last:%Y-%m-%d %H:%M} UTC. Training took {effort.macs:.2g} multiply-adds, forward and "
        f"backward, and a worker at most {effort.peak_memory_bytes / 2**20:,.0f} MiB of memory."
    )


def volume_notes(findings: Findings) -> list[str]:
    """What the fronts enclose, a sentence for each cost."""
    said = []
    for cost in (cost for cost in findings.costs if QUANTITIES[cost].figure):
        found = findings.hypervolume(cost)
        if found is None:
            continue
        area, mean, reference = found.area, found.mean_accuracy, found.reference
        said.append(
            f"The front of {QUANTITIES[cost].noun} encloses a hypervolume of {with_ends(area, 100)} points of accuracy times doublings, from the reference "
            f"point of {percent(reference.accuracy)} (guessing) and {amount(cost, reference.largest)}: over all budgets from "
            f"{amount(cost, reference.smallest)} up, the best affordable point has {with_ends(mean, 100)}{SPACE}% on average."
        )
    return said


def tested_note(findings: Findings, tests: pd.DataFrame | None) -> str:
    """Whether the test set was read for a point of the study, and what it said."""
    if tests is None or tests.empty:
        return "The test set was not read."
    names = findings.points.set_index("point")["label"]
    read = [
        f"{names[row['point']]} (seed {row['seed']}): {percent(row['accuracy'])} of {row['images']:,} test images"
        for row in tests.to_dict(orient="records")
    ]
    return f"The test set was read once for each point that was exported: {'; '.join(read)}."


def with_ends(found: Interval, factor: float) -> str:
    """An estimate times a factor, with its interval in brackets: `48.1 (46.9 to 49.2)`."""
    text = f"{factor * found.estimate:.1f}"
    return text if math.isnan(found.low) else f"{text} ({factor * found.low:.1f} to {factor * found.high:.1f})"
