"""Data frames for triangle and plane figures."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from explorer.analysis.points import ranked
from explorer.pricing.prices import price
from explorer.spaces.simplex import SHARE
from explorer.storage.record import StudyRecord

_FINE = 12  # steps between neighbouring values of a plane


def triangle(record: StudyRecord, points: pd.DataFrame | None = None) -> pd.DataFrame:
    """Add the share of each simplex factor, in [0, 1], to points (by default `ranked`). Columns: `share_depth` etc."""
    frame = ranked(record) if points is None else points
    return frame.assign(**record.study.form.columns(frame))


def share_columns(frame: pd.DataFrame) -> list[str]:
    """Return the names of the share columns of `triangle`, in factor order."""
    return [column for column in frame.columns if column.startswith(SHARE)]


def plane_params(record: StudyRecord) -> pd.DataFrame:
    """Price a fine grid over the two metaparameters of a plane, for drawing lines of equal params (Int64)."""
    study = record.study
    (across, up), axes = study.varied, [_between(values) for values in study.varied.values()]
    grid = dict(zip((across, up), (axis.ravel() for axis in np.meshgrid(*axes)), strict=True))
    alike: dict[str, Any] = study.fixed | {"classes": record.classes}
    frame = price(study.space, study.preset, grid, **alike)
    return frame[[across, up, "params"]]


def _between(values: Sequence[Any]) -> NDArray[Any]:
    lines = [np.linspace(low, high, _FINE + 1) for low, high in pairwise(sorted(values))]
    numbers = np.concatenate(lines)
    return np.unique(np.round(numbers).astype(np.int64) if all(isinstance(v, int) for v in values) else numbers)
