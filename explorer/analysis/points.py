"""The points and runs of a study as data frames: measurements, states, and comparisons with the best point."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from explorer.analysis.accuracies import Accuracies, is_stored
from explorer.analysis.guessing import tells_nothing
from explorer.spaces.space import label
from explorer.storage.record import StudyRecord
from explorer.study.coordinates import is_ordered
from explorer.study.values import Value


def summarise(record: StudyRecord, accuracies: Accuracies | None = None) -> pd.DataFrame:
    """Return one row for each point, with the columns of `record.points` and the measurements of its runs.

    Added columns: `runs` (number of finished runs), `accuracy` (their mean, as a fraction), `spread` (standard
    deviation between seeds; NaN for fewer than two), `low` and `high` (95 % interval of the accuracy; NaN if unknown).
    `state` becomes `done` (all seeds), `partly done` or `failed` (none done, at least one failed or crashed), with the
    reason, or stays `planned`. A merged point has the measurements of the point it is merged into.
    `attrs["metaparameters"]` lists the varied metaparameters. Pandas keeps it when rows or columns are selected.
    """
    found = accuracies or Accuracies.of(record)
    intervals = found.intervals()
    summary = record.points.reset_index(drop=True)
    states = _states(record.needed)
    summary["state"], summary["reason"] = zip(
        *(
            states.get(point, (state, reason)) if state == "planned" else (state, reason)
            for point, state, reason in zip(summary["point"], summary["state"], summary["reason"], strict=True)
        ),
        strict=True,
    )
    measured = pd.DataFrame(
        {
            "runs": found.seeds,
            "accuracy": found.means,
            "spread": found.spreads,
            "low": intervals.low,
            "high": intervals.high,
        },
        index=found.points,
    ).reindex(_sources(summary).astype(int))
    measured = measured.fillna({"runs": 0}).astype({"runs": int}).reset_index(drop=True)
    frame = pd.concat([summary, measured], axis="columns")
    frame.attrs["metaparameters"] = record.metaparameters
    return frame


def measured(frame: pd.DataFrame) -> pd.DataFrame:
    """Keep the points of `summarise` with an accuracy. Each network has one row, with the labels of all its points."""
    known = frame[frame["accuracy"].notna()]
    shared = known[_sources(known).duplicated(keep=False)]
    names = shared.groupby(_sources(shared), sort=False)["label"].agg(list).map(_joined).to_dict()
    own = known[known["same_as"].isna()].copy()
    own["label"] = [names.get(point, label) for point, label in zip(own["point"], own["label"], strict=True)]
    return own


def _sources(frame: pd.DataFrame) -> pd.Series[Any]:
    """Return the points that hold the runs of these points. They differ only for merged points."""
    return frame["same_as"].fillna(frame["point"])


def _joined(names: list[str]) -> str:
    return " = ".join(names) if len(names) <= 2 else f"{names[0]} and {len(names) - 1} more"  # noqa: PLR2004


def ranked(record: StudyRecord, accuracies: Accuracies | None = None) -> pd.DataFrame:
    """Return `summarise` plus a column `standing`: `best`, or `separated` or `not separated` from the best point.

    It is empty for points without measurements. If no point has two seeds, it is empty for all points but the best. In
    a trial run, or if no point has learnt anything (`guessing.tells_nothing`), it is empty for all points.
    """
    found = accuracies or Accuracies.of(record)
    summary = summarise(record, found)
    if not len(found.points) or tells_nothing(record, found):
        return summary.assign(standing="")
    best = int(found.points[found.means.argmax()])
    apart = found.differences(best)
    unknown = np.isnan(apart.low) | (found.pooled.freedom == 0)
    separated = (apart.low > 0) | (apart.high < 0)
    standing = np.select([found.points == best, unknown, separated], ["best", "", "separated"], "not separated")
    by_point = dict(zip(found.points.tolist(), standing.tolist(), strict=True))
    return summary.assign(standing=[by_point.get(source, "") for source in _sources(summary)])


def points_table(frame: pd.DataFrame, record: StudyRecord) -> pd.DataFrame:
    """Prepare points for saving. Metaparameters that are not plain numbers become text."""
    plain = {
        key: _plain(frame[key], [value for value in values if value is not None])
        for key, values in record.study.varied.items()
    }
    return frame.assign(**plain)


def runs_table(record: StudyRecord) -> pd.DataFrame:
    """Prepare runs for saving: drop per-image results, and add the label and series of the point."""
    table = record.runs.drop(columns="correct").reset_index(drop=True)
    points = record.points.set_index("point")
    for place, column in enumerate(("label", "series"), start=1):
        table.insert(place, column, table["point"].map(points[column]))
    for column in ("accuracies", "train_losses"):
        table[column] = table[column].map(_floats)
    for column in ("accuracy", "seconds", "images_per_second"):
        table[column] = pd.to_numeric(table[column]).astype(float)
    for column in ("peak_memory_bytes", "file_bytes"):
        table[column] = pd.to_numeric(table[column]).astype("Int64")
    return table


def _plain(column: pd.Series[Any], values: Sequence[Value]) -> pd.Series[Any]:
    empty = column.isna()
    if is_ordered(values):
        numbers = pd.to_numeric(column)
        return numbers.astype("Int64") if empty.any() and all(isinstance(value, int) for value in values) else numbers
    if not empty.any() and all(isinstance(value, int | float) for value in values):
        return column
    texts = ["" if nothing else label(value) for value, nothing in zip(column, empty, strict=True)]
    return pd.Series(texts, index=column.index)


def _states(runs: pd.DataFrame) -> dict[int, tuple[str, str]]:
    """Return the state of each point that has runs, and the reason if not all of them are done."""
    states = dict.fromkeys(runs["point"].tolist(), ("done", ""))
    unfinished = runs.loc[runs["state"] != "done", "point"]
    for point, rows in runs[runs["point"].isin(unfinished)].groupby("point")[["state", "reason"]]:
        found, count = list(rows["state"]), len(rows)
        done = found.count("done")
        broken = [str(why) for state, why in zip(found, rows["reason"], strict=True) if state in {"failed", "crashed"}]
        reason = f"{len(broken)} of {count} runs failed: {'; '.join(dict.fromkeys(broken))}" if broken else ""
        if done:
            reason = reason or f"{count - done} of {count} runs are missing"
        state = "partly done" if done else "failed" if broken else "planned"
        states[int(str(point))] = (state, reason)
    return states


def _floats(entries: Sequence[float] | None) -> list[float] | None:
    return [float(entry) for entry in entries] if is_stored(entries) else None
