"""Prepare a study and its data for sweeps, certificates and dry runs, before any training."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from explorer.data import Dataset, Source, find_source
from explorer.data.class_counts import ClassCounts
from explorer.errors import ExplorerError
from explorer.machine import collection_paused
from explorer.study.model import Study
from explorer.study.plan import Point, plan
from explorer.training.recipe import Recipe


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
        recipe: The recipe before it was fitted.
        origin: The data that the networks are trained on first, if the study has them start from other data.
    """

    study: Study
    points: list[Point]
    source: Source
    dataset: Dataset
    images: tuple[int, int]
    counts: ClassCounts
    notes: tuple[str, ...]
    recipe: Recipe
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
    if origin is not None:
        _check_apart(dataset, origin)
    split = dataset.split()
    images = (len(split.train), len(split.validation))
    fitted = study.fitted(*images)
    counts = ClassCounts.of(dataset, fitted.budget.images, fitted.budget.validation)
    notes = (*dataset.notes, *counts.warnings, *filter(None, [_budget_note(study, fitted)]))
    return PreparedStudy(fitted, points, source, dataset, images, counts, notes, study.recipe, origin)


def _check_apart(dataset: Dataset, origin: Dataset) -> None:
    """Raise `ExplorerError` if networks would be measured on images that they were trained on first."""

    def digests(data: Dataset, places: NDArray[np.int64]) -> set[bytes]:
        return {hashlib.sha256(image.tobytes()).digest() for image in data.images[places]}

    seen = digests(dataset, dataset.split().validation) & digests(origin, origin.split().train)
    if seen:
        raise ExplorerError(
            f"{dataset.name}: {len(seen):,} of its validation images are training images of {origin.name}, where the "
            "networks are trained first; choose data without common images, such as cifar10:0-4 and cifar10:5-9"
        )


def reject_search(study: Study) -> None:
    """Raise `ExplorerError` for a search, which finds its points while it runs."""
    if study.form.grows:
        raise ExplorerError(f"{study.name}: is a search; use `explorer search {study.name}`")


def _budget_note(asked: Study, fitted: Study) -> str:
    budget, recipe = fitted.budget, fitted.recipe
    if fitted.form.budget_note:  # budgets differ between points
        return ""
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
