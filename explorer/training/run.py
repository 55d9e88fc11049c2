"""A run, which trains one network with one seed and is identified by a permanent key."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from explorer.networks.identity import identity, key_of
from explorer.networks.network import Network
from explorer.training.recipe import Budget, Recipe


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
    """A training run, finished or planned. Runs with the same key are the same run."""

    network: Network
    data_fingerprint: str
    recipe: Recipe
    budget: Budget
    seed: int
    numerics: Numerics

    @property
    def settings(self) -> dict[str, Any]:
        """Everything that determines the measurement, as plain data."""
        return {
            "network": self.network.digest,
            "data": self.data_fingerprint,
            "recipe": identity(self.recipe),
            "budget": identity(self.budget),
            "seed": self.seed,
            "numerics": identity(self.numerics),
        }

    @property
    def effort(self) -> float:
        """The approximate duration in arbitrary units. For small networks, memory traffic matters as well as MACs."""
        return effort(self.budget.seen, self.network.cost.macs, self.network.cost.activations)

    @cached_property
    def key(self) -> str:
        """The SHA-256 (hex) of the settings."""
        return key_of(self.settings)
