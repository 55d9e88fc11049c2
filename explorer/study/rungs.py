"""The rungs of a search, which are budgets that differ in epochs."""

from __future__ import annotations

from explorer.study.model import Study
from explorer.study.search import Search
from explorer.training.recipe import Budget

FACTOR = 4
"""Ratio of epochs between neighbouring rungs. With 2, the additional rungs cost more than they tell."""


def rung_budgets(study: Study) -> list[Budget]:
    """Return the budgets of a search's rungs, each with about `FACTOR` times the epochs of the one below."""
    assert isinstance(study.form, Search)
    rungs, top = study.form.search.rungs, study.budget.epochs
    epochs = sorted({max(1, round(top / FACTOR**below)) for below in range(rungs)})
    return [study.budget.model_copy(update={"epochs": one}) for one in epochs]


def rung_images(study: Study) -> list[int]:
    """Return the training images of each rung, going on from the one below."""
    rungs = rung_budgets(study)
    return [study.recipe.images_trained([one], below) for below, one in zip([None, *rungs], rungs, strict=False)]
