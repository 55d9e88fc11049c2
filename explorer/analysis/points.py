"""The points and the runs of a study as frames: what was measured of each, and how it stands to the best."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from explorer.analysis.accuracies import Accuracies, is_stored
from explorer.spaces.space import label
from explorer.storage.record import StudyRecord
from explorer.study.coordinates import is_ordered
from explorer.study.values import Value


def summarise(record: StudyRecord, accuracies: Accuracies | None = None) -> pd.DataFrame:
    """One row a point: the columns of `record.points`, and what its runs measured.

    Added are `runs` (how many are done), `accuracy` (mean over them, a fraction), `spread` (standard deviation between seeds, a
    fraction; NaN for fewer than two), `low` and `high` (95 % interval of the accuracy; NaN where nothing is known).
    The names of the varied metaparameters are in `attrs["metaparameters"]`, which selections of rows or columns keep.
    `state` becomes `done` (all seeds), `partly done`, `failed` (none done, and at least one failed or crashed) or stays `planned`
    (none tried), with the runs' reasons. A merged point shows the measurements of the point that it is merged into.
    """
    found = accuracies or Accuracies.of(record)
    intervals = found.intervals()
    summary = record.points.reset_index(drop=True)
    states = _states(record.runs)
    settled = [
        states.get(point, (state, reason)) if state == "planned" else (state, reason)
        for point, state, reason in zip(summary["point"], summary["state"], summary["reason"], strict=True)
    ]
    summary["state"], summary["reason"] = [state for state, _ in settled], [reason for _, reason in settled]
    measured = pd.DataFrame(
        {
            "runs": found.seeds,
            "accuracy": found.means,
            "spread": found.spreads,
            "low": intervals.low.clip(0, 1),
            "high": intervals.high.clip(0, 1),
        },
        index=found.points,
    ).reindex(summary["same_as"].fillna(summary["point"]).astype(int))
    measured = measured.fillna({"runs": 0}).astype({"runs": int}).reset_index(drop=True)
    frame = pd.concat([summary, measured], axis="columns")
    frame.attrs["metaparameters"] = record.metaparameters
    return frame


def measured(frame: pd.DataFrame) -> pd.DataFrame:
    """The points of `summarise` that have an accuracy; those merged into one network are one row with all their labels."""
    known = frame[frame["accuracy"].notna()]
    names = known.groupby(known["same_as"].fillna(known["point"]), sort=False)["label"].agg(list)
    own = known[known["same_as"].isna()].copy()
    own["label"] = [_joined(names[point]) for point in own["point"]]
    return own


def _joined(names: list[str]) -> str:
    return " = ".join(names) if len(names) <= 2 else f"{names[0]} and {len(names) - 1} more"  # noqa: PLR2004 (names that fit)


def ranked(record: StudyRecord, accuracies: Accuracies | None = None) -> pd.DataFrame:
    """`summarise` with the column `standing`: `best`, and `separated` or `not separated` from the best point.

    Empty where a point is not measured, and for all but the best where no point has two seeds, which alone tell points apart.
    """
    found = accuracies or Accuracies.of(record)
    summary = summarise(record, found)
    if not len(found.points):
        return summary.assign(standing="")
    best = int(found.points[found.means.argmax()])
    apart = found.differences(best)
    separated = np.where((apart.low > 0) | (apart.high < 0), "separated", "not separated")
    separated = np.where(np.isnan(apart.low), "", separated)
    standing = dict(
        zip(found.points.tolist(), separated if found.pooled.freedom else [""] * len(separated), strict=True)
    )
    standing[best] = "best"
    sources = summary["same_as"].fillna(summary["point"])
    return summary.assign(standing=[str(standing.get(source, "")) for source in sources])


def points_table(frame: pd.DataFrame, record: StudyRecord) -> pd.DataFrame:
    """A frame of points for files: metaparameters that are not plain numbers as text."""
    plain = {
        key: _plain(frame[key], [value for value in values if value is not None])
        for key, values in record.study.varied.items()
    }
    return frame.assign(**plain)


def runs_table(record: StudyRecord) -> pd.DataFrame:
    """The runs for files: without the bits of the images, and with the label and the series of their point."""
    table = record.runs.drop(columns=["correct", "top_probability"]).reset_index(drop=True)
    labels = dict(zip(record.points["point"], record.points["label"], strict=True))
    series = dict(zip(record.points["point"], record.points["series"], strict=True))
    table.insert(1, "label", table["point"].map(labels))
    table.insert(2, "series", table["point"].map(series))
    for column in ("accuracies", "train_losses"):
        table[column] = table[column].map(_floats)
    for column in ("accuracy", "seconds", "images_per_second"):
        table[column] = pd.to_numeric(table[column]).astype(float)
    table["peak_memory_bytes"] = pd.to_numeric(table["peak_memory_bytes"]).astype("Int64")
    return table


def _plain(column: pd.Series[Any], values: Sequence[Value]) -> pd.Series[Any]:
    """A metaparameter's column for files: numbers as such, all else as text, and empty where a point has no value of its own."""
    empty = column.isna()
    if is_ordered(values):
        numbers = pd.to_numeric(column)
        return numbers.astype("Int64") if empty.any() and all(isinstance(value, int) for value in values) else numbers
    if not empty.any() and all(isinstance(value, int | float) for value in values):
        return column
    texts = ["" if nothing else label(value) for value, nothing in zip(column, empty, strict=True)]
    return pd.Series(texts, index=column.index)


def _states(runs: pd.DataFrame) -> dict[int, tuple[str, str]]:
    """The state of each point that was to be trained, and the reason where it is not wholly done."""
    states = {}
    for point, rows in runs.groupby("point")[["state", "reason"]]:
        found, count = list(rows["state"]), len(rows)
        done, broken = found.count("done"), found.count("failed") + found.count("crashed")
        reasons = dict.fromkeys(
            str(reason) for state, reason in zip(found, rows["reason"], strict=True) if state in {"failed", "crashed"}
        )
        reason = f"{broken} of {count} runs failed: {'; '.join(reasons)}" if broken else ""
        if done == count:
            state, reason = "done", ""
        elif done:
            state, reason = "partly done", reason or f"{count - done} of {count} runs are missing"
        else:
            state = "failed" if broken else "planned"
        states[int(str(point))] = (state, reason)
    return states


def _floats(entries: Sequence[float] | None) -> list[float] | None:
    return [float(entry) for entry in entries] if is_stored(entries) else None
