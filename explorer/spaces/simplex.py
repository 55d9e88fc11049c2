"""Scaling factors with a fixed product: points with alpha * beta ** 2 * gamma ** 2 = 2, for example, form a triangle.

Each share of the ratio gives a factor ratio ** (share / exponent). The shares add up to 1, so the product of the
factors, each raised to its exponent, is the ratio.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from explorer.networks.arrays import Float

SHARE = "share_"
"""Prefix of share columns: `share_depth`."""


@dataclass(frozen=True)
class Simplex:
    """The factors, with their exponents in the product and what each one scales.

    All factors are raised to the power of the metaparameter named by `coefficient`.
    """

    exponents: Mapping[str, int]
    meanings: Mapping[str, str]
    coefficient: str

    @property
    def formula(self) -> str:
        """The product as text: `alpha * beta^2 * gamma^2`."""
        return " * ".join(f"{key}^{power}" if power > 1 else key for key, power in self.exponents.items())

    @staticmethod
    def total(ratio: float) -> str:
        """Return the ratio in words: `the doubling`, `the factor of 3`."""
        return "the doubling" if math.isclose(ratio, 2, rel_tol=1e-6) else f"the factor of {ratio:.3g}"

    @property
    def share_names(self) -> list[str]:
        """The share columns, in the order of the factors."""
        return [SHARE + self.meanings[key] for key in self.exponents]

    def product(self, factors: Mapping[str, Float]) -> Float:
        """Multiply the factors, each raised to its exponent."""
        return math.prod(factors[key] ** exponent for key, exponent in self.exponents.items())

    def lattice(self, steps: int) -> NDArray[np.float64]:
        """Return all shares that are multiples of 1 / `steps`, (points, factors): 21 for 3 factors and 5 steps."""
        count = len(self.exponents)
        # Stars and bars: the bars divide `steps` stars into one part for each factor.
        bars = np.array(list(combinations(range(steps + count - 1), count - 1)))
        ends = np.pad(bars, ((0, 0), (1, 1)), constant_values=((0, 0), (-1, steps + count - 1)))
        return (np.diff(ends, axis=1) - 1)[::-1] / steps

    def lattice_size(self, steps: int) -> int:
        """Count the lattice's points without building it."""
        return math.comb(steps + len(self.exponents) - 1, len(self.exponents) - 1)

    def draw(self, count: int, rng: np.random.Generator) -> NDArray[np.float64]:
        """Draw shares uniformly from the simplex, (count, factors)."""
        return rng.dirichlet(np.ones(len(self.exponents)), count)

    def factors(self, shares: NDArray[np.float64], ratio: float) -> dict[str, NDArray[np.float64]]:
        """Return the factors that have these shares of the ratio. `shares` is (points, factors)."""
        powers = zip(self.exponents.items(), shares.T, strict=True)
        return {key: ratio ** (column / power) for (key, power), column in powers}

    def shares(self, factors: Mapping[str, Float]) -> NDArray[np.float64]:
        """Return each factor's share of the logarithm of the product, (factors, ...), or NaN if the product is 1."""
        logs = np.array([exponent * np.log(factors[key]) for key, exponent in self.exponents.items()], dtype=float)
        with np.errstate(invalid="ignore"):
            shares: NDArray[np.float64] = logs / logs.sum(axis=0)
        return shares

    def share_columns(self, columns: Mapping[str, Any]) -> dict[str, Any]:
        """Return the shares of factors by `share_names`. Factors are numbers, or arrays with a value per point."""
        factors: dict[str, Any] = {key: np.asarray(columns[key], dtype=float) for key in self.exponents}
        return dict(zip(self.share_names, self.shares(factors), strict=True))
