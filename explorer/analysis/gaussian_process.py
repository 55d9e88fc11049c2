"""A smooth surface through noisy values, with its uncertainty: value = level + surface + roughness + noise.

- The level has a vague prior, ten times as wide as the spread of the values.
- The surface has a Matern 5/2 kernel with a length scale for each coordinate, from 0.2 to 10 times its range. A few
  points cannot resolve shorter lengths, and a surface with longer ones is flat.
- The roughness is independent for each point, for example because filters are rounded. Without it, the surface would
  bend too much.
- The noise has given variances. One part is independent for each point, and another is shared by all values.

The variance, lengths and roughness that maximise the marginal likelihood are treated as known. The equations are from
Rasmussen and Williams, Gaussian Processes for Machine Learning, 2006. Caveats and simulated coverage are in
docs/methodology.md. Everything runs on one thread, so results do not depend on the number of threads. This is also
faster under load.
"""

from __future__ import annotations

import math
import warnings
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

LENGTHS = (0.2, 10.0)
LEVEL = 10.0**2  # variances are in units of the variance of the values
VARIANCES = (1e-4, 1e3)
ROUGHNESS = (1e-6, 1.0)
_STARTS = 4  # number of additional starts
_FEW = 100  # with more points, the likelihood has one clear peak and each start takes almost a second
_ROWS = 10_000  # places predicted at a time


@dataclass(frozen=True)
class GaussianProcess:
    """A fitted process with its data and kernels.

    `places` is (points, coordinates), and `targets` (points,) are the values. The kernels describe (`targets` -
    `level`) / `unit`. `surface` is scikit-learn's kernel for level and surface. `noise` (points,) holds the variances
    of roughness plus noise. `shared` is the standard deviation of the noise shared by all values.
    """

    places: NDArray[np.float64]
    targets: NDArray[np.float64]
    level: float
    unit: float
    surface: Any
    noise: NDArray[np.float64]
    shared: float
    roughness: float
    """Standard deviation of the roughness, in units of the values."""

    @classmethod
    def fit(
        cls, places: NDArray[np.float64], values: NDArray[np.float64], noise: NDArray[np.float64], shared: float = 0.0
    ) -> GaussianProcess:
        """Maximise the marginal likelihood. `noise` (points,) and `shared` are variances."""
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.gaussian_process import GaussianProcessRegressor
        from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

        level = float(values.mean())
        # Include the noise to keep the scale sensible when the values are nearly equal.
        unit = math.sqrt(values.var() + noise.mean()) or 1.0
        shape = Matern(np.ones(places.shape[1]), LENGTHS, nu=2.5)
        surface = ConstantKernel(LEVEL, "fixed") + ConstantKernel(1.0, VARIANCES) * shape
        regressor = GaussianProcessRegressor(
            surface + WhiteKernel(1e-2, ROUGHNESS),
            alpha=noise / unit**2,
            n_restarts_optimizer=_STARTS if len(values) <= _FEW else 1,
            random_state=0,
        )
        with one_thread(), warnings.catch_warnings():
            # A length at its bound is fine: it means that the coordinate does not matter.
            warnings.simplefilter("ignore", ConvergenceWarning)
            fitted = regressor.fit(places, (values - level) / unit).kernel_
        rough = fitted.k2.noise_level
        shared_deviation, roughness = math.sqrt(shared), unit * math.sqrt(rough)
        return cls(places, values, level, unit, fitted.k1, noise / unit**2 + rough, shared_deviation, roughness)

    def predict(self, places: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the mean and standard deviation of level plus surface, (places,) each (equations 2.25 and 2.26)."""
        with one_thread():
            parts = [self._predict(places[start : start + _ROWS]) for start in range(0, max(1, len(places)), _ROWS)]
        means, deviations = (np.concatenate(found) for found in zip(*parts, strict=True))
        return self.level + self.unit * means, np.hypot(self.unit * deviations, self.shared)

    def draws(self, places: NDArray[np.float64], count: int, seed: int = 0) -> NDArray[np.float64]:
        """Draw level plus surface for all places jointly, `count` times, (places, count) (equation 2.24)."""
        generator = np.random.default_rng(seed)
        random, together = generator.standard_normal((len(places), count)), generator.standard_normal(count)
        with one_thread():
            means, solved = self._solved(places)
            drawn: NDArray[np.float64] = _root(self.surface(places) - solved.T @ solved) @ random + means[:, None]
        return self.level + self.unit * drawn + self.shared * together

    def leave_one_out(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Predict each value, including noise, from the others. Return means and standard deviations, (points,) each.

        Uses the closed form (equations 5.10 to 5.12), with the kernels fitted to all points.
        """
        with one_thread():
            inverse = linalg.cho_solve((self._root, True), np.eye(len(self.targets)))
            variances = 1 / np.diag(inverse)
            return self.targets - self.unit * self._weights * variances, self.unit * np.sqrt(variances)

    def _predict(self, places: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        means, solved = self._solved(places)
        variances = self.surface.diag(places) - np.einsum("ij,ij->j", solved, solved)
        return means, np.sqrt(variances.clip(0))

    def _solved(self, places: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the means and a factor (points, places); its square is subtracted from the prior covariance."""
        across = self.surface(self.places, places)
        return across.T @ self._weights, linalg.solve_triangular(self._root, across, lower=True)

    @cached_property
    def _root(self) -> NDArray[np.float64]:
        return linalg.cholesky(self.surface(self.places) + np.diag(self.noise), lower=True)

    @cached_property
    def _weights(self) -> NDArray[np.float64]:
        weights: NDArray[np.float64] = linalg.cho_solve((self._root, True), (self.targets - self.level) / self.unit)
        return weights


def one_thread() -> AbstractContextManager[Any]:
    """Run linear algebra on one thread."""
    from threadpoolctl import threadpool_limits

    limits: AbstractContextManager[Any] = threadpool_limits(1, user_api="blas")
    return limits


def _root(covariance: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the lower Cholesky factor. Adds jitter if rounding has left the matrix not quite positive definite."""
    for exponent in range(-10, 0):
        try:
            return linalg.cholesky(covariance + 10.0**exponent * np.eye(len(covariance)), lower=True)
        except linalg.LinAlgError:
            continue
    raise linalg.LinAlgError("the covariance is not positive definite")
