"""How many runs `sweep --until-decided` saves on the study `squeeze_ratio`, at which verdicts.

Simulates runs from the committed report on CIFAR-10 (`reports/examples/squeeze_ratio@cifar10`): its accuracies are
taken as true, and seeds and images vary as its intervals say. Nothing is trained. Each repetition judges the claims
with a fixed number of seeds for every point, and stops the same runs by the rounds of `--until-decided`. A few minutes.

    python benchmarks/until_decided.py
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import norm

from explorer.analysis import Findings
from explorer.analysis.claims import judge, undecided_points
from explorer.analysis.looks import FIRST_LOOK
from explorer.storage.record import StudyRecord
from explorer.study.files import load_study
from explorer.study.plan import plan, points_frame

REPORT = Path(__file__).parents[1] / "reports" / "examples" / "squeeze_ratio@cifar10"
REPETITIONS = 30
SEEDS = (3, 6)
"""Seeds of each point, and the most with `--until-decided`."""
IMAGES = 5_000
SHARED, OWN, PAIR = 0.35, 0.15, 0.5
"""Shares of the variance behind a result: the image for all points, the image for one point, and chance.

Images then explain as much of an accuracy and of a difference as in the report: 0.4 and 0.3 points of standard error.
"""


def simulated(seed: int) -> StudyRecord:
    """Return the study with simulated runs of each point, as many as the most seeds."""
    random = np.random.default_rng(seed)
    table = pd.read_csv(REPORT / "points.csv")
    accuracies = table["accuracy"].to_numpy()
    spread = np.sqrt((table["spread"] ** 2).mean())
    noise = (accuracies * (1 - accuracies)).mean() * (1 - SHARED - OWN) / IMAGES  # of a run's images and chance
    luck = np.sqrt(spread**2 - noise) / norm.pdf(norm.ppf(accuracies.mean()))
    common = random.normal(0, np.sqrt(SHARED), IMAGES)
    runs = []
    for point, accuracy in enumerate(accuracies):
        images = common + random.normal(0, np.sqrt(OWN), IMAGES)
        for run in range(max(SEEDS)):
            ability = norm.ppf(accuracy) * np.sqrt(1 + luck**2) + random.normal(0, luck)
            correct = ability + images + random.normal(0, np.sqrt(PAIR), IMAGES) > 0
            own = {"point": point, "seed": run, "key": f"{point}-{run}", "state": "done", "reason": ""}
            runs.append(own | {"correct": correct, "accuracy": float(correct.mean()), "seconds": 1.0})
    study = load_study("squeeze_ratio")
    points = points_frame(study, plan(study, classes=10))
    return StudyRecord(study, "f" * 64, "", {}, {}, 10, points, pd.DataFrame(runs))


def verdicts(record: StudyRecord) -> tuple[str, ...]:
    """Return the verdicts on the claims."""
    return tuple(one.verdict for one in judge(Findings(record)))


def stopped(record: StudyRecord, most: int) -> StudyRecord:
    """Return the runs that the rounds of `--until-decided` need, with at most this number of seeds."""
    study = record.study.model_copy(update={"seeds": most, "until_decided": True})
    seeds = dict.fromkeys(record.points["point"], FIRST_LOOK)
    while True:
        needed = record.runs[record.runs["seed"] < record.runs["point"].map(seeds)]
        found = replace(record, study=study, runs=needed)
        further = [point for point in undecided_points(Findings(found)) if seeds[point] < most]
        if not further:
            return found
        seeds |= {point: seeds[point] + 1 for point in further}


def main() -> None:
    """Print the runs and verdicts of all repetitions."""
    records = [simulated(seed) for seed in range(REPETITIONS)]
    for most in SEEDS:
        fixed = [replace(record, runs=record.runs[record.runs["seed"] < most]) for record in records]
        known = list(map(verdicts, fixed))
        found = [stopped(record, most) for record in records]
        said = list(map(verdicts, found))
        runs = np.array([len(record.runs) for record in found])
        saved = 1 - runs / len(fixed[0].runs)
        equal = np.array([one == other for one, other in zip(said, known, strict=True)])
        pairs = [pair for one, other in zip(known, said, strict=True) for pair in zip(one, other, strict=True)]
        more = sum(one == "undecided" and other != "undecided" for one, other in pairs)
        fewer = sum(one != "undecided" and other == "undecided" for one, other in pairs)
        reversed_ = sum({one, other} == {"supported", "refuted"} for one, other in pairs)
        needed = f"{runs.mean():.1f} ({runs.min()} to {runs.max()}) of {len(fixed[0].runs)}"
        print(f"{REPETITIONS} repetitions with up to {most} seeds: {needed} runs needed, {saved.mean():.0%} saved")
        print(f"  the same verdicts as with {most} seeds in {equal.sum()}, which saves {saved[equal].mean():.0%}")
        print(f"  of {len(pairs)} verdicts, {more} more decided, {fewer} fewer, {reversed_} reversed")
        for kind, count in Counter(known).most_common():
            print(f"  with {most} seeds, {count} times: {', '.join(kind)}")


if __name__ == "__main__":
    main()
