"""Error distribution function of a population: the share of its networks with an error of at most e.

It describes a design space by all its networks and not just the best one. See Radosavovic et al. 2020,
arXiv:2003.13678, equation 1; here, errors equal to e count too.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray


def edf(accuracies: NDArray[np.float64]) -> pd.DataFrame:
    """Return the steps of the error distribution function of accuracies (networks,), given as fractions or NaN.

    Columns: `error` (distinct values in ascending order) and `share`, the share of networks with at most this error.
    NaN is ignored.
    """
    errors = 1 - np.asarray(accuracies, dtype=float)
    errors = np.sort(errors[~np.isnan(errors)])
    distinct, counts = np.unique(errors, return_counts=True)
    return pd.DataFrame({"error": distinct, "share": counts.cumsum() / max(1, len(errors))})
