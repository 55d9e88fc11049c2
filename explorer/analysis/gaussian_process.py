"""A smooth surface through noisy values, and how sure it is: a Gaussian process.

    value = level + surface(coordinates) + roughness + noise

- The **level** has a vague prior, ten times as wide as the values spread (Rasmussen and Williams, Gaussian Processes for Machine
  Learning, 2006, section 2.7).
- The **surface** has a Matern kernel of 5/2, twice differentiable, with a length for each coordinate (the same, equation 4.17).
  Lengths are from 0.2 to 10 times a coordinate's range: a surface that a few points cannot show is not fitted, and one may be flat.
- The **roughness** is what each point has of its own, as where filters are rounded. Without it, values that are not smooth would be
  taken for a surface that bends more than it does (Gramacy and Lee, Statistics and Computing 22, 2012, p. 713).
- The **noise** is independent between points, with variances that are given, and a part that all values share is given as well: it is no
  part of the fit, and makes the level less sure.

Variance, lengths and roughness are those of the highest marginal likelihood (equation 5.8), found from fixed starts; they are then
taken for known. So where the surface is hardly more than the noise, its intervals are a little too narrow: of 95 % ones, simulated
ones held 89 to 97 % (5 to 25 points; tests/test_surrogate.py).

All is computed on one thread: the same bytes whatever number of them a process has, and faster than on several while other work runs.
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
LEVEL = 10.0**2  # variances are in units of the values' own
VARIANCES = (1e-4, 1e3)
ROUGHNESS = (1e-6, 1.0)
_STARTS = 4  # beside the first one
_FEW = 100  # points; with more, the likelihood has one peak to speak of, and each start takes most of a second
_ROWS = 10_000  # places that are predicted at a time


@dataclass(frozen=True)
class GaussianProcess:
    """A fitted process: what it was fitted to, and its kernels.

    `places`, (points, coordinates); `targets`, (points,), the values, are `level` + `unit` times what the kernels are about. `surface` is the kernel of
    level and surface (scikit-learn's), and `noise` the variances of all else, (points,): roughness and noise. `shared` is the standard deviation of
    what all values share.
    """

    places: NDArray[np.float64]
    targets: NDArray[np.float64]
    level: float
    unit: float
    surface: Any
    noise: NDArray[np.float64]
    shared: float
    roughness: float
    """The standard deviation of what points have of their own, in units of the values."""

    @classmethod
    def fit(
        cls, places: NDArray[np.float64], values: NDArray[np.float64], noise: NDArray[np.float64], shared: float = 0.0
    ) -> GaussianProcess:
        """The process of the highest marginal likelihood, for values with a noise of the given variances, (points,) and of all together."""
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.gaussian_process import GaussianProcessRegressor
        from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

        level = float(values.mean())
        # With the noise, so that it stays in proportion where the values are all but equal.
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
            # A length at its bound is a coordinate that does not matter, and is welcome.
            warnings.simplefilter("ignore", ConvergenceWarning)
            fitted = regressor.fit(places, (values - level) / unit).kernel_
        rough = fitted.k2.noise_level
        shared_deviation, roughness = math.sqrt(shared), unit * math.sqrt(rough)
        return cls(places, values, level, unit, fitted.k1, noise / unit**2 + rough, shared_deviation, roughness)

    def predict(self, places: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Mean and standard deviation of level and surface at places, (places,) each (equations 2.25 and 2.26)."""
        with one_thread():
            parts = [self._predict(places[start : start + _ROWS]) for start in range(0, max(1, len(places)), _ROWS)]
        means, deviations = (np.concatenate(found) for found in zip(*parts, strict=True))
        return self.level + self.unit * means, np.hypot(self.unit * deviations, self.shared)

    def draws(self, places: NDArray[np.float64], count: int, seed: int = 0) -> NDArray[np.float64]:
        """What level and surface might be at places, drawn `count` times for all together, (places, count) (equation 2.24)."""
        generator = np.random.default_rng(seed)
        random, together = generator.standard_normal((len(places), count)), generator.standard_normal(count)
        with one_thread():
            means, solved = self._solved(places)
            drawn: NDArray[np.float64] = _root(self.surface(places) - solved.T @ solved) @ random + means[:, None]
        return self.level + self.unit * drawn + self.shared * together

    def leave_one_out(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Mean and standard deviation of each value, noise included, as the other points predict it, (points,) each.

        In closed form (equations 5.10 to 5.12); the kernels stay as they were fitted to all points.
        """
        with one_thread():
            inverse = linalg.cho_solve((self._root, True), np.eye(len(self.targets)))
            variances = 1 / np.diag(inverse)
            return self.targets - self.unit * self._weights * variances, self.unit * np.sqrt(variances)

    def _predict(self, places: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """`predict` in the units of the kernels."""
        means, solved = self._solved(places)
        variances = self.surface.diag(places) - np.einsum("ij,ij->j", solved, solved)
        return means, np.sqrt(variances.clip(0))

    def _solved(self, places: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Means at places, and what their prior covariance loses: that is the product of the second, (points, places), with itself."""
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
    """Linear algebra on one thread."""
    from threadpoolctl import threadpool_limits

    limits: AbstractContextManager[Any] = threadpool_limits(1, user_api="blas")
    return limits


def _root(covariance: NDArray[np.float64]) -> NDArray[np.float64]:
    """The lower Cholesky factor, of a matrix that rounding may have left not quite positive definite."""
    for exponent in range(-10, 0):
        try:
            return linalg.cholesky(covariance + 10.0**exponent * np.eye(len(covariance)), lower=True)
        except linalg.LinAlgError:
            continue
    raise linalg.LinAlgError("the covariance is not positive definite")
