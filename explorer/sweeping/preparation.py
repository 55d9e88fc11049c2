"""Prepare a study and its data for sweeps, certificates and dry runs, before any training."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from explorer.data import Dataset, Source, find_source
from explorer.data.class_counts import ClassCounts
from explorer.errors import ExplorerError
from explorer.machine import collection_paused
from explorer.study.model import Study
from explorer.study.plan import Point, plan


@dataclass(frozen=True)
class PreparedStudy:
    """A study fitted to its data.

    Attributes:
        study: The study, fitted to the number of training images.
        points: The planned points.
        source: The source of the data.
        dataset: The data, checked against its fingerprint.
        images: Number of training images and of validation images in the data.
        counts: Number of images per class in training and validation.
        notes: Notes on the data and the budget, one line each.
        origin: The data that the networks are trained on first, if the study has them start from other data.
    """

    study: Study
    points: list[Point]
    source: Source
    dataset: Dataset
    images: tuple[int, int]
    counts: ClassCounts
    notes: tuple[str, ...]
    origin: Dataset | None = None


@collection_paused()
def prepare_study(study: Study, data_dir: str | Path | None = None) -> PreparedStudy:
    """Prepare the data of a study, and fit the budget and recipe to it.

    Raises:
        ExplorerError: The data set is unknown or cannot be read, or no point can be trained.
    """
    study.form.check_installed()
    first = study.form.source_data
    source = find_source(study.data, data_dir, beside=first)
    points = plan(study, source.class_count)
    dataset = source.prepare()
    origin = find_source(first, data_dir, beside=study.data).prepare() if first else None
    split = dataset.split()
    images = (len(split.train), len(split.validation))
    fitted = study.fitted(*images)
    counts = ClassCounts.of(dataset, fitted.budget.images, fitted.budget.validation)
    notes = (*dataset.notes, *counts.warnings, *filter(None, [_budget_note(study, fitted)]))
    return PreparedStudy(fitted, points, source, dataset, images, counts, notes, origin)


def reject_search(study: Study) -> None:
    """Raise `ExplorerError` for a search, which finds its points while it runs."""
    if study.form.grows:
        raise ExplorerError(f"{study.name}: is a search; use `explorer search {study.name}`")


def _budget_note(asked: Study, fitted: Study) -> str:
    budget, recipe = fitted.budget, fitted.recipe
    if fitted is not asked:
        times = "once" if budget.epochs == 1 else f"{budget.epochs:,} times"
        return (
            f"{budget.images:,} training images, fewer than the {asked.budget.images:,} of the budget, so each is seen "
            f"{times}, in batches of {recipe.batch_size} at a learning rate of {recipe.learning_rate:g}"
        )
    if recipe.warms_up_too_long(budget) and not fitted.is_trial:
        return (
            f"the learning rate rises over the first {recipe.warmup_images:,} images, but a run sees only "
            f"{budget.seen:,}; give more epochs or images, or a smaller warmup_images in [recipe]"
        )
    return ""
