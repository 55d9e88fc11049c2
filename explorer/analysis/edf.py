"""The error distribution function of a population: the share of its networks with an error of at most e.

It describes a design space by all its networks instead of the best one (Radosavovic et al. 2020, arXiv:2003.13678,
equation 1; errors equal to e are counted too).
"""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from explorer.analysis.accuracies import CONFIDENCE
from explorer.storage.record import StudyRecord


def edf(accuracies: NDArray[np.float64], *, sample: bool = False) -> pd.DataFrame:
    """Return the steps of the error distribution function of accuracies (networks,), fractions; NaN are left out.

    Columns: `error` (distinct, rising), `share` of networks with at most this error, and `low` and `high`, the ends of
    a 95 % band for the whole function of the population (Dvoretzky, Kiefer, Wolfowitz and Massart). They are NaN unless
    the networks are an independent random `sample` of the population (see `is_sample`).
    """
    errors = 1 - np.asarray(accuracies, dtype=float)
    errors = np.sort(errors[~np.isnan(errors)])
    distinct, counts = np.unique(errors, return_counts=True)
    shares = counts.cumsum() / max(1, len(errors))
    half = math.sqrt(math.log(2 / (1 - CONFIDENCE)) / (2 * max(1, len(errors)))) if sample else math.nan
    band = {"low": (shares - half).clip(0, 1), "high": (shares + half).clip(0, 1)}
    return pd.DataFrame({"error": distinct, "share": shares, **band})


def is_sample(record: StudyRecord, frame: pd.DataFrame) -> bool:
    """Return whether the points of `explorer.analysis.summarise` are a random sample of the networks the study could
    draw.

    The study must draw points, and all to be trained need an accuracy. Merged points were drawn too, so pass all rows.
    """
    wanted = ~frame["state"].isin(["infeasible", "over budget"])
    return record.study.form.is_sample and bool(wanted.any()) and bool(frame.loc[wanted, "accuracy"].notna().all())
