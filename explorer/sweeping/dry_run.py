"""Dry runs, which show what a sweep would train and how long it would take."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from explorer.data.class_counts import ClassCounts
from explorer.study.files import load_study
from explorer.study.model import Study
from explorer.study.plan import points_frame
from explorer.sweeping.planned import check_images, planned_runs, sources_of
from explorer.sweeping.preparation import prepare_study, reject_search
from explorer.sweeping.resources import HERE, Resources
from explorer.training.estimate import estimate_seconds


@dataclass(frozen=True)
class DryRun:
    """The training that a sweep would do if no runs were stored.

    Attributes:
        study: The study, fitted to its data.
        points: One row for each point, in the form of `StudyRecord.points`.
        states: Number of points by state.
        networks: Number of distinct networks.
        runs: Number of runs.
        sources: Number of further runs that train the weights which runs start from.
        macs: Multiply-adds of the whole training, forward and backward.
        workers: Number of processes that would train.
        seconds: Estimated duration; NaN if a network could not be trained for timing.
        images: Number of training images and of validation images in the data.
        counts: Number of images per class in training and validation.
        notes: Notes on the data and the budget, one line each.
        factors: Multiples of the budget at which each point and seed is trained.
    """

    study: Study
    points: pd.DataFrame
    states: dict[str, int]
    networks: int
    runs: int
    macs: int
    workers: int
    seconds: float
    images: tuple[int, int]
    counts: ClassCounts
    notes: tuple[str, ...]
    factors: tuple[int, ...] = (1,)
    sources: int = 0


def dry_run(
    study: Study | str | Path,
    *,
    data_dir: str | Path | None = None,
    resources: Resources = HERE,
    factors: Sequence[int] = (1,),
) -> DryRun:
    """Plan a study without training it: prepare its data like a sweep, and time some of its networks.

    Args:
        study: A study, the name of a built-in study, or a study file.
        data_dir: Folder with the CIFAR-10 files.
        resources: What would train.
        factors: Increasing multiples of the budget's epochs. Each network trains at every multiple, with one trunk.

    Raises:
        ExplorerError: For the same reasons as a sweep before training.
    """
    chosen = study if isinstance(study, Study) else load_study(study)
    processes = resources.count()
    reject_search(chosen)
    ready = prepare_study(chosen, data_dir)
    chosen, points = ready.study, ready.points
    *shorter, longest = factors
    lengthened = chosen.model_copy(update={"budget": chosen.budget.times(longest)})
    planned = planned_runs(lengthened, points, ready.dataset.fingerprint, ready.recipe, ready.origin)
    check_images(planned, ready.dataset, ready.origin)
    sources = list(sources_of(planned).values())
    runs = [one.run for one in planned.values()]
    # A shorter budget adds only its own decay epochs to the trunk of the longest budget.
    work = 1 + chosen.recipe.decay_share * sum(shorter) / longest
    trained = [*sources, *runs]
    return DryRun(
        study=chosen,
        points=points_frame(chosen, points),
        states=dict(Counter(point.state for point in points)),
        networks=len({point.network.digest for point in points if point.network}),
        runs=len(runs) * len(factors),
        sources=len(sources),
        macs=round(3 * work * sum(run.seen * run.network.cost.macs for run in trained)),
        workers=processes,
        seconds=work * estimate_seconds(trained, processes),
        images=ready.images,
        counts=ready.counts,
        notes=ready.notes,
        factors=tuple(factors),
    )
