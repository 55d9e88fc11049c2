"""Estimate the time for a study by timing a few training steps of some of its networks on workers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from explorer.data import Dataset
from explorer.data.dataset import SIZE
from explorer.training.engine import execute
from explorer.training.performing import Job, Rows
from explorer.training.run import Run, effort

TIMED_NETWORKS = 4
TIMED_SECONDS = 1.0
START_SECONDS = 3.0  # time to start the cluster and import torch in its workers
EVALUATION_SHARE = 1 / 4  # time to evaluate an image relative to training on it: 0.21 to 0.25 in bfloat16 on a CPU


def estimate_seconds(runs: Sequence[Run], workers: int) -> float:
    """Return the estimated seconds for all runs, or NaN if a network could not be trained.

    At most four networks are timed, from the cheapest to the most expensive.
    """
    by_effort = sorted({run.network.digest: run for run in runs}.values(), key=_effort_per_image)
    places = np.linspace(0, len(by_effort) - 1, min(TIMED_NETWORKS, len(by_effort))).round().astype(int)
    timed = [by_effort[place] for place in places]
    found = {
        outcome.run.key: outcome.row["images_per_second"]
        for outcome in execute([(run,) for run in timed], Path(), workers, call=_time)
        if outcome.state == "done"
    }
    if len(found) < len(timed):
        return math.nan
    per_image = np.interp(
        [_effort_per_image(run) for run in runs],
        [_effort_per_image(run) for run in timed],
        [1 / found[run.key] for run in timed],
    )
    seconds = per_image @ np.array([_images(run) for run in runs])
    return START_SECONDS + float(seconds) / min(workers, len(runs))


def _effort_per_image(run: Run) -> float:
    return effort(1, run.network.cost.macs, run.network.cost.activations)


def _images(run: Run) -> float:
    """The number of training images plus evaluated images, weighted by their cost."""
    from explorer.training.trainer import GLANCE

    budget = run.budget
    evaluated = (budget.epochs - 1) * min(GLANCE, budget.validation) + budget.validation
    return run.seen + EVALUATION_SHARE * evaluated


def _time(job: Job, _: Path) -> Rows:
    """Time the training of a run on random images in a worker, after one warm-up step."""
    import torch

    from explorer.training.trainer import measure

    (run,) = job
    torch.set_num_threads(1)
    classes = run.network.trace.output.channels
    batch = run.recipe.batch_size
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (12 * batch, SIZE, SIZE, 3), dtype=np.uint8)
    labels = rng.integers(0, classes, len(images))
    noise = Dataset("noise", tuple(map(str, range(classes))), images, labels, "", Path())

    # Steps are as fast at any rate, and at a small one no network diverges on noise.
    recipe = run.recipe.model_copy(update={"learning_rate": 1e-6})

    def speed(steps: int) -> float:
        budget = run.budget.model_copy(update={"images": steps * batch, "epochs": 1, "validation": 1})
        return measure(run.network, noise, recipe, budget, seed=0, using=run.numerics).images_per_second

    warm = speed(1)
    return [{"state": "done", "images_per_second": speed(max(1, min(8, int(TIMED_SECONDS * warm / batch))))}]
