"""Which recipe ranks best for its time: short runs of a certificate's points in several recipes, against its long runs.

    python benchmarks/recipes.py --data cifar10 --data-dir DIR --storage explorer.db

Needs the stored runs of `explorer certify squeezenet --data cifar10`. Each recipe trains the same points with the same
seeds and is scored by its agreement (Kendall's tau) with the long runs of the other seeds. Intervals of differences
from the recipe in use are paired bootstraps over points. Seconds are those of the training runs alone.
"""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from explorer.analysis.ranks import Pairing
from explorer.certification.making import certificate_study
from explorer.certification.model import FACTORS
from explorer.certification.statistics import Scores, crossed_pairs, tau_difference
from explorer.data import Dataset, find_source
from explorer.storage.ledger import Ledger
from explorer.study.plan import plan
from explorer.sweeping.resources import Resources
from explorer.sweeping.sweeping import runs_of
from explorer.training.engine import execute
from explorer.training.recipe import Budget, Recipe
from explorer.training.run import Run

Settings = dict[str, Any]
RECIPES: dict[str, tuple[Settings, Settings]] = {  # changes of the recipe and of the budget
    "in use: constant rate, linear fall over the last quarter": ({}, {}),
    "linear fall after the warm-up": ({"decay_share": 1.0}, {}),
    "linear fall over the last half": ({"decay_share": 0.5}, {}),
    "no label smoothing": ({"label_smoothing": 0.0}, {}),
    "batches of 64, fewer images": ({"batch_size": 64, "learning_rate": 0.085}, {"images": 8_500}),
    "batches of 256, more images": ({"batch_size": 256, "learning_rate": 0.17}, {"images": 11_000}),
    "half the images, twice the epochs": ({}, {"images": 5_000, "epochs": 4}),
    "twice the images, one epoch": ({}, {"images": 20_000, "epochs": 1}),
    "warm-up over half as many images": ({"warmup_images": 2_000}, {}),
}


def measured(runs: Mapping[tuple[int, int], Run], ledger: Ledger, dataset: Dataset) -> tuple[Scores, float]:
    """Train missing runs; return accuracies by seed and point, and the mean seconds of a run."""
    known = ledger.runs.results([run.key for run in runs.values()])
    missing = [(run,) for run in runs.values() if run.key not in known]
    with ledger.writing():
        for outcome in execute(missing, dataset.folder, Resources().count()):
            ledger.runs.record(outcome.row)
    results = ledger.runs.results([run.key for run in runs.values()])
    seeds = sorted({seed for _, seed in runs})
    scores = {
        seed: np.array([results[run.key].accuracy for (_, other), run in runs.items() if other == seed], float)
        for seed in seeds
    }
    return scores, float(np.mean([result.seconds for result in results.values() if result.seconds]))


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--space", default="squeezenet")
    parser.add_argument("--data", default="cifar10")
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--storage", default="explorer.db")
    options = parser.parse_args()
    source = find_source(options.data, options.data_dir)
    dataset, ledger = source.prepare(), Ledger(options.storage)
    study = certificate_study(options.space, "cifar", options.data)
    points = plan(study, source.class_count)
    budget = study.budget.model_copy(update={"epochs": FACTORS[-1] * study.budget.epochs})
    long, _ = measured(
        runs_of(study.model_copy(update={"budget": budget}), points, dataset.fingerprint), ledger, dataset
    )
    print(f"n = {len(points)} points, {study.seeds} seeds, {options.data}")
    print("| recipe | images seen | seconds a run | Kendall's tau | difference from the one in use, 95 % interval |")
    print("|---|---|---|---|---|")
    in_use: Pairing = []
    for name, (recipe, changes) in RECIPES.items():
        changed = study.model_copy(
            update={
                "recipe": Recipe(**study.recipe.model_dump() | recipe),
                "budget": Budget(**study.budget.model_dump() | changes),
            }
        )
        short, seconds = measured(runs_of(changed, points, dataset.fingerprint), ledger, dataset)
        pairs = crossed_pairs(short, long)
        in_use = in_use or pairs
        found = tau_difference(pairs, in_use)
        tau = np.mean([stats.kendalltau(*pair).statistic for pair in pairs])
        seen = changed.budget.images * changed.budget.epochs
        difference = f"{found.low:+.3f} to {found.high:+.3f}" if in_use is not pairs else ""
        print(f"| {name} | {seen:,} | {seconds:.1f} | {tau:.3f} | {difference} |")


if __name__ == "__main__":
    main()
