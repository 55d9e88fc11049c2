"""The course of a search: its runs at all rungs in the order in which they ended, and how its front grew with them."""

from __future__ import annotations

import moocore
import numpy as np
import pandas as pd

from explorer.analysis.fronts import scaled
from explorer.storage.record import StudyRecord

BEYOND = 0.1
"""Doublings between the largest cost of any point and the reference of hypervolumes, so that this point counts too."""
MOST_STEPS = 400  # hypervolumes along a search
ENDED = {"done", "failed", "crashed"}

_COLUMNS = ["point", "seed", "epochs", "state", "reason", "accuracy", "seconds", "peak_memory_bytes", "finished"]


def search_runs(record: StudyRecord) -> pd.DataFrame:
    """Return the runs of a search that have ended, at all rungs, in the order in which they ended.

    Columns are `point`, `seed`, `epochs`, `state`, `reason`, `accuracy`, `seconds`, `peak_memory_bytes`, `finished`,
    and `images`: the training images that the run took, going on from the rung below. `seconds` are an estimate of the
    time that these images took, because stored times cover the whole run.
    """
    study = record.study
    top = record.runs.assign(epochs=study.budget.epochs)
    ended = [
        row
        for frame in (record.rungs, top)
        for row in frame[_COLUMNS].to_dict(orient="records")
        if row["state"] in ENDED
    ]
    # Rungs are read from the runs, because a stored search may have other rungs than today's default.
    epochs = sorted({row["epochs"] for row in ended})
    budgets = [study.budget.model_copy(update={"epochs": each}) for each in epochs]
    whole = {budget.epochs: study.recipe.images_trained([budget]) for budget in budgets}
    takes = {
        budget.epochs: study.recipe.images_trained([budget], below)
        for below, budget in zip([None, *budgets], budgets, strict=False)
    }
    rows = [
        row | {"images": (whole if row["seed"] else takes)[row["epochs"]], "whole": whole[row["epochs"]]}
        for row in ended
    ]
    frame = pd.DataFrame(rows, columns=[*_COLUMNS, "images", "whole"])
    frame["seconds"] = pd.to_numeric(frame["seconds"]).astype(float) * frame["images"] / frame["whole"]
    frame["peak_memory_bytes"] = pd.to_numeric(frame["peak_memory_bytes"]).astype("Int64")
    ordered = frame.drop(columns="whole").sort_values(["finished", "point", "epochs", "seed"], kind="stable")
    return ordered.reset_index(drop=True)


def front_growth(record: StudyRecord, ended: pd.DataFrame) -> pd.DataFrame:
    """Return how the front of the top rung grew: `images` trained so far, `finalists` and the hypervolume as `volume`.

    The hypervolume is in accuracy times doublings of each cost. Its reference is the accuracy of guessing and the
    largest costs of any point. There is a row for each run that ended at the top, or `MOST_STEPS` of them, after one
    for the start, and one for the last run of all.

    Args:
        record: The search.
        ended: Its runs, from `search_runs`.
    """
    images = ended["images"].cumsum().tolist()
    at_top = (ended["epochs"] == record.study.budget.epochs) & (ended["state"] == "done")
    places = np.flatnonzero(at_top)
    steps = np.unique(np.linspace(0, max(0, len(places) - 1), MOST_STEPS).round().astype(int))
    kept = set(places[steps[: len(places)]].tolist())
    costs = record.study.form.costs
    points = record.points.dropna(subset=[*costs])
    row_of = {point: row for row, point in enumerate(points["point"])}
    columns = [scaled(points[cost].to_numpy(dtype=float), cost) for cost in costs]
    front = np.column_stack([np.zeros(len(points)), *columns])  # minus the accuracy, 0 below the top
    corner = [-record.guess, *(column.max() + BEYOND for column in columns)]
    seeds: dict[int, list[float]] = {}
    rows: list[tuple[int, int, float]] = [(0, 0, 0.0)]
    for place in places.tolist():
        point = int(ended["point"].iloc[place])
        seeds.setdefault(point, []).append(float(ended["accuracy"].iloc[place]))
        front[row_of[point], 0] = -np.mean(seeds[point])
        if place in kept:
            rows.append((images[place], len(seeds), float(moocore.hypervolume(front, ref=corner))))
    if images:
        rows.append((images[-1], *rows[-1][1:]))
    return pd.DataFrame(rows, columns=["images", "finalists", "volume"])


def rung_accuracies(ended: pd.DataFrame) -> pd.DataFrame:
    """Return the accuracy of the first seed of each point at each rung: `point`, `epochs`, `accuracy`.

    `ended` are the runs of `search_runs`.
    """
    done = ended[(ended["state"] == "done") & (ended["seed"] == 0)]
    chosen = done[["point", "epochs", "accuracy"]].sort_values(["point", "epochs"])
    return chosen.astype({"accuracy": float}).reset_index(drop=True)
