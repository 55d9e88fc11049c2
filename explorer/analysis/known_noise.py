"""A kernel for noise whose covariance is known; imports scikit-learn, so import it where it is used."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.gaussian_process.kernels import Kernel


class KnownNoise(Kernel):  # type: ignore[misc]  # scikit-learn has no types
    """The covariance, (points, points), of the noise of the points that a process is fitted to; 0 with all others.

    scikit-learn knows independent noise only (`alpha`). There is nothing here to fit.
    """

    def __init__(self, covariance: NDArray[np.float64]) -> None:
        self.covariance = covariance

    def __call__(self, X: Any, Y: Any = None, eval_gradient: bool = False) -> Any:  # noqa: ANN401, N803 (as scikit-learn has it)
        """The covariance of X with itself, or with Y, and its gradient, which has no entries."""
        found = self.covariance if Y is None else np.zeros((len(X), len(Y)))
        return (found, np.empty((*found.shape, 0))) if eval_gradient else found

    def diag(self, X: Any) -> NDArray[np.float64]:  # noqa: ANN401, ARG002, N803 (as scikit-learn has it)
        """The variances."""
        return np.diag(self.covariance).copy()

    def is_stationary(self) -> bool:
        """It goes by points, not by their distance."""
        return False
