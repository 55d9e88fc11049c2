"""A run: one training of one network with one seed, and the key that names it for ever."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from explorer.networks.network import Network
from explorer.training.identity import identity, key_of
from explorer.training.recipe import Budget, Recipe


@dataclass(frozen=True)
class Numerics:
    """What beside its settings decides a run's result: training code's version, torch, kind of device, arithmetic."""

    training_version: int
    torch: str
    device: str
    dtype: str


@dataclass(frozen=True)
class Run:
    """A training that may be done, is being done or was done; two runs with one key are the same run."""

    network: Network
    data_fingerprint: str
    recipe: Recipe
    budget: Budget
    seed: int
    numerics: Numerics

    @property
    def settings(self) -> dict[str, Any]:
        """Everything that the measurement is a function of, as plain data."""
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
        """About how long the run takes, in units of its own: for small networks, memory traffic counts beside MACs."""
        cost = self.network.cost
        return self.budget.images * self.budget.epochs * (cost.macs + 1_000 * cost.activations)

    @cached_property
    def key(self) -> str:
        """SHA-256, in hexadecimal, of the settings."""
        return key_of(self.settings)
