"""A certificate of how well short runs rank a space's networks. Its evidence is runs at growing budgets."""

from __future__ import annotations

from collections import Counter
from importlib import resources

from pydantic import BaseModel, ConfigDict, Field

from explorer.storage.record import StudyRecord
from explorer.study.values import Value
from explorer.training.recipe import Budget, Recipe

FACTORS = (1, 2, 4, 8)
"""Budgets of a certificate as multiples of the certified one. The largest serves as the ground truth."""
DEFAULT_POINTS = 32
ENOUGH_POINTS = 24
"""Minimum number of points that a certificate needs for reports to use it."""
COSTS = ("params", "macs")
"""Costs of a point that a certificate stores."""
ZERO_COST = "synflow"
"""The score of untrained networks, which older certificates lack."""


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class CertifiedPoint(_Model):
    """A design point: its metaparameters, also as text, its costs, and the synaptic flow of its untrained network."""

    label: str
    params: int
    macs: int
    synflow: float | None = None
    metaparameters: dict[str, Value] = Field(default_factory=dict)

    @property
    def values(self) -> dict[str, Value]:
        """The metaparameters. Older certificates have only numbers in the label: `base_e 39 pct3x3 0.852663`."""
        words = self.label.split()
        pairs = zip(words[::2], words[1::2], strict=False)
        return self.metaparameters or {key: number for key, text in pairs if (number := _number(text)) is not None}


class CertifiedRun(_Model):
    """A finished run: its point, seed and budget factor, and its accuracy and loss after each epoch."""

    point: int
    seed: int
    factor: int
    accuracies: tuple[float, ...]
    train_losses: tuple[float, ...]


class Pairs(_Model):
    """How a smaller budget separates the pairs of points that are separated at the largest budget.

    Of `total` pairs, `same` are separated the same way and `opposite` the other way. Multiply-adds order `by_macs` of
    them the same way.
    """

    factor: int
    total: int
    same: int
    opposite: int
    by_macs: int


class Certificate(_Model):
    """All measurements for a space, data set, recipe and budget. The statistics can be recomputed from them."""

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
    """Runs that failed or crashed."""

    @property
    def complete(self) -> list[int]:
        """The points with only finished runs. Other points are ignored."""
        runs = Counter(run.point for run in self.runs)
        return [point for point in range(len(self.points)) if runs[point] == self.seeds * len(FACTORS)]

    @property
    def is_enough(self) -> bool:
        """Whether the certificate has enough points for reports to use it."""
        return len(self.complete) >= ENOUGH_POINTS

    def factor_of(self, record: StudyRecord) -> int | None:
        """Return a study's budget as a multiple (1, 2 or 4) of the certified one, or None if they do not match.

        The study must have the same space, preset, data and recipe. `coverage.gaps` returns values not covered.
        """
        study = record.study
        same = (self.space, self.preset, self.recipe) == (study.space, study.preset, study.recipe)
        if not (same and self.is_enough and self.data_fingerprint == record.data_fingerprint):
            return None
        return {self.budget.times(factor): factor for factor in FACTORS[:-1]}.get(study.budget)


def shipped_certificates() -> list[Certificate]:
    """Return the certificates shipped with the package."""
    files = sorted(resources.files("explorer.certification").iterdir(), key=lambda file: file.name)
    return [Certificate.model_validate_json(file.read_text("utf-8")) for file in files if file.name.endswith(".json")]


def _number(text: str) -> int | float | None:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return None
