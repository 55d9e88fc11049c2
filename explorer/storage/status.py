"""The status of stored studies: the progress of their runs, failures, who is writing, and the time left."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import sqlalchemy as sa

from explorer.storage.ledger import DEFAULT_STORAGE, Ledger
from explorer.storage.lock import Holder
from explorer.storage.studies import stored_study
from explorer.storage.tables import members, rungs, runs, studies
from explorer.training.run import effort

STATES = ("done", "failed", "crashed", "running", "missing")


@dataclass(frozen=True)
class Status:
    """The status of the studies in a storage.

    Attributes:
        studies: One row per study: `study`, the number of its `runs` and how many of them are `done`, `failed`,
            `crashed`, `running` and `missing`, and `seconds_left`, estimated from the runs that the command writing
            the study has finished (NaN if there is none, and for searches).
        rungs: The same numbers of runs for each rung of a search: `study`, `epochs`, `runs` and the states.
        failures: The failed and crashed runs: `study`, `point`, `seed`, `epochs`, `state`, `reason`, and `traceback`
            if an exception was raised.
        writers: The commands that are writing to the storage: `host`, `pid`, `since` (UTC, ISO 8601), `seconds` and
            `studies`; unknown values are None.
    """

    studies: pd.DataFrame
    rungs: pd.DataFrame
    failures: pd.DataFrame
    writers: pd.DataFrame


def status(study: str | None = None, *, storage: str | Path = DEFAULT_STORAGE) -> Status:
    """Return the status of one or all stored studies. This works even while a command is writing to the storage.

    Args:
        study: Name of a stored study; all studies if not given.
        storage: SQLite file or database URL.

    Raises:
        ExplorerError: The study is unknown, or the storage cannot be opened.
    """
    ledger = Ledger(storage)
    names = ledger.studies.names() if study is None else [stored_study(ledger, study)["name"]]
    holders, is_running = ledger.writers(names)
    found = _runs(ledger, names)
    for run in found if holders else ():
        if run["state"] in {"missing", "crashed"} and is_running(run["key"]):
            run["state"] = "running"
    searches = {run["study"] for run in found if not run["at_top"]}
    left = {
        name: math.nan if name in searches else _seconds_left(ledger, name, found, holder.since)
        for holder in holders
        for name in set(names) & set(holder.studies)
    }
    top = _counts([run for run in found if run["at_top"]], ["study"])
    return Status(
        studies=top.reindex(names, fill_value=0)
        .rename_axis("study")
        .reset_index()
        .assign(seconds_left=[left.get(name, math.nan) for name in names]),
        rungs=_counts([run for run in found if run["study"] in searches], ["study", "epochs"]).reset_index(),
        failures=_failures(ledger, found),
        writers=_writers(holders),
    )


def _runs(ledger: Ledger, names: Sequence[str]) -> list[dict[str, Any]]:
    """Return the runs of studies at all rungs: study, point, seed, epochs, at_top, key, state and finished."""
    described = ledger.select_in(sa.select(studies.c.name, studies.c.study), studies.c.name, names)
    epochs = {row["name"]: json.loads(row["study"])["budget"]["epochs"] for row in described}
    found = []
    for table in (members, rungs):
        columns = [column for column in table.columns if column.name != "key"]
        statement = sa.select(*columns, table.c.key, runs.c.state, runs.c.finished).select_from(
            table.outerjoin(runs, runs.c.key == table.c.key)
        )
        for row in ledger.select_in(statement, table.c.study, names):
            run = {"epochs": epochs[row["study"]], "at_top": table is members} | dict(row)
            found.append(run | {"state": row["state"] or "missing"})
    return sorted(found, key=lambda run: (run["study"], run["point"], run["seed"], run["epochs"]))


def _counts(found: Sequence[dict[str, Any]], by: list[str]) -> pd.DataFrame:
    """Return the number of runs in total and in each state, indexed by the given columns."""
    frame = pd.DataFrame(found, columns=[*by, "state"])
    states = pd.DataFrame({state: frame["state"].eq(state) for state in STATES})
    counts = states.groupby([frame[key] for key in by]).sum()
    counts.insert(0, "runs", counts.sum(axis=1))
    return counts


def _failures(ledger: Ledger, found: Sequence[dict[str, Any]]) -> pd.DataFrame:
    broken = [run for run in found if run["state"] in {"failed", "crashed"}]
    statement = sa.select(runs.c.key, runs.c.reason, runs.c.traceback)
    why = {row["key"]: dict(row) for row in ledger.select_in(statement, runs.c.key, [run["key"] for run in broken])}
    rows = [run | why[run["key"]] for run in broken if run["key"] in why]
    return pd.DataFrame(rows, columns=["study", "point", "seed", "epochs", "state", "reason", "traceback"])


def _writers(holders: Sequence[Holder]) -> pd.DataFrame:
    rows = [
        {
            "host": holder.host or None,
            "pid": holder.pid,
            "since": None if holder.since is None else holder.since.isoformat(timespec="seconds"),
            "seconds": holder.seconds,
            "studies": list(holder.studies),
        }
        for holder in holders
    ]
    return pd.DataFrame(rows, columns=["host", "pid", "since", "seconds", "studies"])


def _seconds_left(ledger: Ledger, study: str, found: Sequence[dict[str, Any]], since: datetime | None) -> float:
    """Estimate the seconds until a study's runs are done; NaN if no run has ended since its command began."""
    if since is None:
        return math.nan
    start = since.isoformat(timespec="seconds")
    points = stored_study(ledger, study)["points"]
    efforts = {row["point"]: effort(1, row["macs"], row["activations"]) for row in points if row["state"] == "planned"}
    done = ahead = 0.0
    for run in found:
        if run["study"] == study:
            if (run["finished"] or "") >= start:
                done += efforts[run["point"]]
            elif run["state"] not in {"done", "failed"}:
                ahead += efforts[run["point"]]
    return ahead * (datetime.now(UTC) - since).total_seconds() / done if done else math.nan
