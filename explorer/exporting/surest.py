"""Find the validation images that a run was most and least sure of."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from explorer.data import Dataset
from explorer.errors import ExplorerError
from explorer.storage.runs import StoredRun

ROWS = {"right": "right and most sure", "wrong": "wrong and most sure", "unsure": "least sure"}


def validation_places(dataset: Dataset, stored: StoredRun) -> NDArray[np.int64]:
    """Return the positions of a run's validation images in the data set, in the order of `stored.correct`.

    Raises `ExplorerError` if the run was measured on different data, or if its correct images are not stored.
    """
    if dataset.fingerprint != stored.data_fingerprint:
        raise ExplorerError(
            f"run {stored.key[:12]} was measured on data with the fingerprint {stored.data_fingerprint[:12]}, but "
            f"{dataset.name} now has {dataset.fingerprint[:12]}, so its images have changed"
        )
    if stored.correct is None or stored.top_probability is None:
        raise ExplorerError(f"run {stored.key[:12]}: the images it got right are not stored")
    return dataset.split().validation[: len(stored.correct)]


def surest(correct: NDArray[np.bool_], top_probability: NDArray[np.floating], count: int) -> pd.DataFrame:
    """Return up to `count` images for each of `ROWS`: the most probable right and wrong ones, and the least probable.

    Columns: `row`, `place` (position among the validation images), `right`, `probability` (a fraction). Ties are broken
    by the order of images. They are frequent, because probabilities are stored in half precision.
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
