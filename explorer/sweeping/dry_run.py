"""Dry runs: what a sweep would train, and how long that takes."""

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
from explorer.sweeping.preparation import prepare_study
from explorer.sweeping.sweeping import runs_of, worker_count
from explorer.training.estimate import estimate_seconds


@dataclass(frozen=True)
class DryRun:
    """What a sweep would train if no run were stored.

    Attributes:
        study: The study, fitted to its data.
        points: One row for each point, as in `StudyRecord.points`.
        states: Number of points by state.
        networks: Number of distinct networks.
        runs: Number of runs.
        macs: Multiply-adds of all training, forward and backward.
        workers: Number of processes that would train.
        seconds: About how long they would take; NaN if a network could not be trained to time it.
        images: Number of images that the data have for training and for validation.
        counts: Images of each class that runs train on and are measured on.
        notes: What to know about the data and the budget, a line each.
        factors: Multiples of the budget that each point and seed is trained at.
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


def dry_run(
    study: Study | str | Path,
    *,
    data_dir: str | Path | None = None,
    workers: int | None = None,
    factors: Sequence[int] = (1,),
) -> DryRun:
    """Plan a study without training it: prepare its data as a sweep does, and time some of its networks.

    Args:
        study: A study, the name of a built-in one, or a file.
        data_dir: Folder with the files of CIFAR-10.
        workers: Processes that would train; one per core if not given.
        factors: Multiples of the budget, with increasing numbers of epochs; each run is trained at all of them, and
            shares its trunk between them.

    Raises:
        ExplorerError: As for a sweep, before it trains.
    """
    chosen = study if isinstance(study, Study) else load_study(study)
    ready = prepare_study(chosen, data_dir)
    chosen, points = ready.study, ready.points
    *shorter, longest = factors
    lengthened = chosen.model_copy(update={"budget": chosen.budget.times(longest)})
    runs = list(runs_of(lengthened, points, data_fingerprint="").values())
    # A shorter budget adds the epochs of its own decay to the trunk of the longest.
    work = 1 + chosen.recipe.decay_share * sum(shorter) / longest
    images = lengthened.budget.seen
    processes = worker_count(workers)
    return DryRun(
        study=chosen,
        points=points_frame(chosen, points),
        states=dict(Counter(point.state for point in points)),
        networks=len({point.network.digest for point in points if point.network}),
        runs=len(runs) * len(factors),
        macs=round(3 * images * work * sum(run.network.cost.macs for run in runs)),
        workers=processes,
        seconds=work * estimate_seconds(runs, processes),
        images=ready.images,
        counts=ready.counts,
        notes=ready.notes,
        factors=tuple(factors),
    )
