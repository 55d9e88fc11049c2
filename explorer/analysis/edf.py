"""The error distribution function of a population: which share of its networks has an error of at most e, for every e.

It describes a design space by all its networks, not by the best one (Radosavovic and others, 2020, arXiv:2003.13678, equation 1, which
counts errors below e; here those of e itself are counted too, as usual for distribution functions).
"""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from explorer.analysis.accuracies import CONFIDENCE
from explorer.storage.record import StudyRecord


def edf(accuracies: NDArray[np.float64], *, sample: bool = False) -> pd.DataFrame:
    """The steps of the error distribution function of accuracies, (networks,), fractions; NaN are left out.

    Columns: `error` (each distinct one, rising), `share` (of networks with at most this error), and `low` and `high`: the ends of a band that
    holds the whole function of the population with 95 %, the share +- sqrt(log(2 / 0.05) / 2 n) within [0, 1] (Dvoretzky, Kiefer
    and Wolfowitz with the constant of Massart, Annals of Probability 18, 1990, p. 1269). They are NaN unless the networks are a
    random `sample` of the population, drawn independently: see `is_sample`. The band is about measured errors, noise included.
    """
    errors = 1 - np.asarray(accuracies, dtype=float)
    errors = np.sort(errors[~np.isnan(errors)])
    distinct, counts = np.unique(errors, return_counts=True)
    shares = counts.cumsum() / max(1, len(errors))
    half = math.sqrt(math.log(2 / (1 - CONFIDENCE)) / (2 * max(1, len(errors)))) if sample else math.nan
    band = {"low": (shares - half).clip(0, 1), "high": (shares + half).clip(0, 1)}
    return pd.DataFrame({"error": distinct, "share": shares, **band})


def is_sample(record: StudyRecord, frame: pd.DataFrame) -> bool:
    """Whether the points of `explorer.analysis.summarise` are a random sample of the networks that the study could have drawn.

    They are where the study draws them and all that were to be trained have an accuracy. Points that are merged into another were drawn as
    well, and count: so give `edf` all rows, not only those of `explorer.analysis.measured`.
    """
    wanted = ~frame["state"].isin(["infeasible", "over budget"])
    return record.study.form.is_sample and bool(wanted.any()) and bool(frame.loc[wanted, "accuracy"].notna().all())
