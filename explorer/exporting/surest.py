"""Which validation images a run was most and least sure of."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from explorer.data import Dataset
from explorer.errors import ExplorerError
from explorer.storage.runs import StoredRun

ROWS = {"right": "right and most sure", "wrong": "wrong and most sure", "unsure": "least sure"}


def validation_places(dataset: Dataset, stored: StoredRun) -> NDArray[np.int64]:
    """Where in the data set the validation images of a run are, in the order of its `correct`.

    Raises `ExplorerError` where it was measured on other data, or does not say which images it got right.
    """
    if dataset.fingerprint != stored.data_fingerprint:
        raise ExplorerError(
            f"run {stored.key[:12]} was measured on data with the fingerprint {stored.data_fingerprint[:12]}, but {dataset.name} "
            f"has {dataset.fingerprint[:12]} now: its images are others"
        )
    if stored.correct is None or stored.top_probability is None:
        raise ExplorerError(f"run {stored.key[:12]}: which images it got right is not stored")
    return dataset.split().validation[: len(stored.correct)]


def surest(correct: NDArray[np.bool_], top_probability: NDArray[np.floating], count: int) -> pd.DataFrame:
    """At most `count` images of each kind of `ROWS`: what was right with the highest probability, wrong with the highest, any with the lowest.

    Columns: `row`, `place` (among the validation images), `right`, `probability` (a fraction). Of equal probabilities, which half
    precision makes frequent, the first images are taken.
    """
    places = np.arange(len(correct))
    probability = top_probability.astype(np.float64)
    falling, rising = np.argsort(-probability, kind="stable"), np.argsort(probability, kind="stable")
    chosen = {"right": falling[correct[falling]], "wrong": falling[~correct[falling]], "unsure": rising}
    frames = [
        pd.DataFrame(
            {
                "row": row,
                "place": places[order[:count]],
                "right": correct[order[:count]],
                "probability": probability[order[:count]],
            }
        )
        for row, order in chosen.items()
    ]
    return pd.concat(frames, ignore_index=True)
