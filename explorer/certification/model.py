"""A certificate: how far short runs of a space can be trusted, as what a set of points measured at growing budgets."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from importlib import resources

from pydantic import BaseModel, ConfigDict

from explorer.storage.record import StudyRecord
from explorer.training.recipe import Budget, Recipe

FACTORS = (1, 2, 4, 8)
"""Budgets of a certificate, in multiples of the one that it is about; the last one stands for the truth."""
ENOUGH_POINTS = 32
"""Points that a certificate needs; with fewer it is a trial, and studies do not go by it."""


COSTS = ("params", "macs")
"""What a certificate stores of a point's costs."""


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class CertifiedPoint(_Model):
    """A design point, by its metaparameters as text, and what it costs."""

    label: str
    params: int
    macs: int


class CertifiedRun(_Model):
    """A done run: the number of its point, its seed, the factor of its budget, and what it measured after each epoch."""

    point: int
    seed: int
    factor: int
    accuracies: tuple[float, ...]
    train_losses: tuple[float, ...]


class Pairs(_Model):
    """The pairs of points that are separated at the largest budget: how many, and what a smaller budget says of them.

    It separates `same` of them the same way and `opposite` the other way; multiply-adds alone order `by_macs` the same way.
    """

    factor: int
    total: int
    same: int
    opposite: int
    by_macs: int


class Certificate(_Model):
    """What was measured of a space, data set, recipe and budget, in full, so that its statistics can be made again."""

    name: str
    space: str
    preset: str
    data: str
    data_fingerprint: str
    recipe: Recipe
    budget: Budget
    validation_images: int
    seeds: int
    command: str
    versions: dict[str, str]
    machine: dict[str, str]
    points: tuple[CertifiedPoint, ...]
    runs: tuple[CertifiedRun, ...]
    pairs: tuple[Pairs, ...]
    unfinished: int
    """Runs that are not done: failed or crashed."""

    @property
    def complete(self) -> list[int]:
        """The points all of whose runs are done; the others say nothing."""
        runs = Counter(run.point for run in self.runs)
        return [point for point in range(len(self.points)) if runs[point] == self.seeds * len(FACTORS)]

    @property
    def is_enough(self) -> bool:
        """Whether it has as many points as studies ask for."""
        return len(self.complete) >= ENOUGH_POINTS

    def factor_of(self, record: StudyRecord) -> int | None:
        """How many times its budget a study has, 1, 2 or 4, which its points were measured at as well; None where it does not cover the study.

        It covers studies of the same space around the same preset, data and recipe.
        """
        study = record.study
        covers = (
            self.is_enough
            and (self.space, self.preset) == (study.space, study.preset)
            and self.data_fingerprint == record.data_fingerprint
            and self.recipe == study.recipe
        )
        budgets = {self.budget.times(factor): factor for factor in FACTORS[:-1]}
        return budgets.get(study.budget) if covers else None


def find_certificate(record: StudyRecord, stored: Iterable[Certificate]) -> Certificate | None:
    """The certificate that covers a study: one of those stored with it, or of those that come with the explorer; best of its own budget."""
    found = [(factor, one) for one in (*stored, *shipped_certificates()) if (factor := one.factor_of(record))]
    return min(found, key=lambda pair: pair[0])[1] if found else None


def shipped_certificates() -> list[Certificate]:
    """The certificates that come with the explorer."""
    files = sorted(resources.files("explorer.certification").iterdir(), key=lambda file: file.name)
    return [Certificate.model_validate_json(file.read_text("utf-8")) for file in files if file.name.endswith(".json")]
