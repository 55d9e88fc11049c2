"""A run, which trains one network with one seed and is identified by a permanent key."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from explorer.networks.identity import identity, key_of
from explorer.networks.network import Network
from explorer.training.recipe import Budget, Recipe
from explorer.training.treatments import Treatment


@dataclass(frozen=True)
class Numerics:
    """Software and hardware that affect results: version of the training code, torch version, device and dtype."""

    training_version: int
    torch: str
    device: str
    dtype: str


def effort(images: int, macs: int, activations: int) -> float:
    """Return the approximate duration of training on so many images, in the unit of `Run.effort`."""
    return images * (macs + 1_000 * activations)


@dataclass(frozen=True)
class Run:
    """A training run, finished or planned. Runs with the same key are the same run.

    `treatment` is None for a run that trains from scratch.
    """

    network: Network
    data_fingerprint: str
    recipe: Recipe
    budget: Budget
    seed: int
    numerics: Numerics
    treatment: Treatment | None = None

    @property
    def settings(self) -> dict[str, Any]:
        """Everything that determines the measurement, as plain data."""
        settings = {
            "network": self.network.digest,
            "data": self.data_fingerprint,
            "recipe": identity(self.recipe),
            "budget": identity(self.budget),
            "seed": self.seed,
            "numerics": identity(self.numerics),
        }
        return settings if self.treatment is None else settings | {"treatment": identity(self.treatment.settings)}

    def like(self, **changes: Any) -> Run:  # noqa: ANN401 (fields of any type)
        """Return the run with some fields changed."""
        return replace(self, **changes)

    @property
    def effort(self) -> float:
        """The approximate duration in arbitrary units. For small networks, memory traffic matters as well as MACs."""
        return effort(self.seen, self.network.cost.macs, self.network.cost.activations)

    @property
    def seen(self) -> int:
        """The number of images that the run itself trains on; one that stores a trained network trains on none."""
        return self.budget.seen if self.treatment is None or self.treatment.trains else 0

    @cached_property
    def key(self) -> str:
        """The SHA-256 (hex) of the settings."""
        return key_of(self.settings)
