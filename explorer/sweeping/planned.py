"""The runs of a study, and the runs that train the weights they start from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from explorer.errors import ExplorerError
from explorer.study.form import PlannedRun
from explorer.study.model import Study
from explorer.study.plan import Point
from explorer.training.recipe import Recipe
from explorer.training.run import Run

if TYPE_CHECKING:
    from explorer.data import Dataset


def planned_runs(
    study: Study,
    points: Sequence[Point],
    data_fingerprint: str,
    recipe: Recipe | None = None,
    origin: Dataset | None = None,
) -> dict[tuple[int, int], PlannedRun]:
    """Return the runs of a study by (point, seed).

    Args:
        study: The study, fitted to its data.
        points: Its points.
        data_fingerprint: The fingerprint of its data.
        recipe: Its recipe before it was fitted; by default, that of the study.
        origin: The data set of `Form.source_data`.
    """
    from explorer.training.trainer import numerics

    using, found = numerics(), {}
    fresh = {"recipe": recipe or study.recipe} | ({"data_fingerprint": origin.fingerprint} if origin else {})
    for point in points:
        if point.state != "planned" or point.network is None:
            continue
        first = point.network
        if origin is not None:
            first = study.point(point.metaparameters, classes=len(origin.classes)).expand()
        for seed in range(study.seeds):
            run = Run(point.network, data_fingerprint, study.recipe, study.budget, seed, using)
            planned = PlannedRun(run)
            if study.form.training:
                planned = study.form.planned(run, point.metaparameters, run.like(network=first, **fresh))
            found[point.number, seed] = planned
    return found


def sources_of(planned: Mapping[tuple[int, int], PlannedRun]) -> dict[str, Run]:
    """Return the runs that train weights, by key."""
    return {one.source.key: one.source for one in planned.values() if one.source}


def check_images(planned: Mapping[tuple[int, int], PlannedRun], dataset: Dataset, origin: Dataset | None) -> None:
    """Raise `ExplorerError` if a run needs more training images than its data set has."""
    for data, what in ((dataset, "a run"), (origin, "the first training")):
        if data is None:
            continue
        runs = (run for one in planned.values() for run in (one.run, one.source) if run)
        needed = max((run.budget.images for run in runs if run.data_fingerprint == data.fingerprint), default=0)
        available = len(data.split().train)
        if needed > available:
            raise ExplorerError(
                f"{data.name}: has {available:,} training images, but {what} needs {needed:,}; give at most "
                f"{available:,}, {available // len(data.classes):,} per class"
            )
