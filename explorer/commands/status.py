"""The command that shows the progress of stored studies, the reasons of failures, and who is writing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

from typer import Argument

from explorer.commands.console import Screen
from explorer.commands.settings import Json, Quiet, Storage

if TYPE_CHECKING:
    import pandas as pd

STATES = ("done", "failed", "crashed", "running", "missing")


def status(
    name: Annotated[str | None, Argument(help="Name of a stored study; by default, all studies.")] = None,
    storage: Storage = "explorer.db",
    as_json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Show the states of stored runs, failures, who is writing, and the time left, even during a sweep.

    With --json, failures include the traceback of an exception.
    """
    from explorer import status as read

    screen, found = Screen(quiet, as_json), read(name, storage=storage)
    studies = found.studies.to_dict(orient="records")
    numbers = [[f"{row[state]:,}" if row[state] else "-" for state in ("runs", *STATES)] for row in studies]
    rows = [(row["study"], *counts, _left(row) or "-") for row, counts in zip(studies, numbers, strict=True)]
    screen.table(("study", "runs", *STATES, "time left"), rows, right=len(STATES) + 2)
    for row in studies if quiet else ():
        screen.answer(_line(row))
    rungs = [
        (row["study"], *(f"{row[key]:,}" if row[key] else "-" for key in ("epochs", "runs", *STATES)))
        for row in found.rungs.to_dict(orient="records")
    ]
    if rungs:
        screen.table(("search", "epochs", "runs", *STATES), rungs, right=len(STATES) + 2)
    reasons = _reasons(found.failures)
    if reasons:
        screen.table(("study", "state", "reason", "runs"), reasons, right=1)
        screen.say(f"to train them again: explorer retry {name or 'STUDY'}")
    for writer in found.writers.to_dict(orient="records"):
        screen.answer(_writer(writer))
    if found.writers.empty:
        screen.say("no command is writing to the storage")
    screen.document(found.studies, rungs=found.rungs, failures=found.failures, writers=found.writers)
    return 0


def _left(row: Mapping[Any, Any]) -> str:
    import math

    from explorer.training.limits import duration

    return "" if math.isnan(row["seconds_left"]) else f"about {duration(row['seconds_left'])}"


def _line(row: Mapping[Any, Any]) -> str:
    others = "".join(f", {row[state]:,} {state}" for state in STATES[1:] if row[state])
    left = _left(row)
    return f"{row['study']}: {row['done']:,} of {row['runs']:,} runs done{others}" + (f", {left} left" if left else "")


def _reasons(failures: pd.DataFrame) -> list[tuple[str, str, str, str]]:
    """Return (study, state, reason, number of runs), starting with the most frequent."""
    counts = Counter(failures[["study", "state", "reason"]].itertuples(index=False, name=None))
    return [(*key, f"{number:,}") for key, number in counts.most_common()]


def _writer(writer: Mapping[Any, Any]) -> str:
    from explorer.training.limits import duration

    if writer["pid"] is None:
        return "another process is writing to the storage"
    age = "" if writer["seconds"] is None else f" for {duration(writer['seconds'])}"
    what = ", ".join(writer["studies"]) or "the storage"
    return f"process {writer['pid']} on {writer['host']} has been writing {what}{age}"
