"""Find a point or a run of a study from the user's input."""

from __future__ import annotations

import re
from difflib import get_close_matches

from explorer.analysis import measured, summarise
from explorer.errors import ExplorerError
from explorer.storage.ledger import Ledger
from explorer.storage.record import StudyRecord

SHORTEST_KEY = 6
"""Minimum length of the prefix of a key."""


def best_point(record: StudyRecord) -> int:
    """Return the number of the most accurate point; raise `ExplorerError` if no runs have finished."""
    known = measured(summarise(record))
    if known.empty:
        raise ExplorerError(f"{record.study.name}: no runs have finished; train them with `explorer sweep`")
    return int(known["point"].iloc[known["accuracy"].argmax()])


def find_point(record: StudyRecord, text: str) -> int:
    """Return the number of a point, given as `3`, `point3`, or its label in tables and figures.

    For a merged point, return the point that it was merged into. Raises `ExplorerError` unless exactly one matches.
    """
    points = record.points
    sources = points["same_as"].fillna(points["point"]).astype(int).tolist()
    by_number = dict(zip(map(str, points["point"]), sources, strict=True))
    plain = re.fullmatch(r"point(\d+)", text)
    if plain and plain[1] in by_number:
        return by_number[plain[1]]
    labels = [*zip(points["label"], sources, strict=True)]
    in_series = zip(points["series"], labels, strict=True)
    labels += [(f"{series}: {label}", source) for series, (label, source) in in_series if series]
    # Points with the same network share a label in figures.
    known = measured(summarise(record))
    labels += [*zip(known["label"], known["point"].astype(int), strict=True)]
    found = {source for label, source in labels if label == text} | ({by_number[text]} if text in by_number else set())
    if len(found) > 1:
        names = ", ".join(f"point{number}" for number in sorted(found))
        raise ExplorerError(f"point {text!r} of {record.study.name} matches {names}; give one of these")
    if not found:
        raise _unknown_point(record, text, [label for label, _ in labels if label])
    return found.pop()


def _unknown_point(record: StudyRecord, text: str, labels: list[str]) -> ExplorerError:
    last = record.points["point"].max()
    near = get_close_matches(text, labels, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}?" if near else f"give a number from 0 to {last}"
    hint += "" if near or not labels else f", or a label such as {labels[0]!r}"
    return ExplorerError(f"unknown point of {record.study.name} {text!r}; {hint}")


def called(record: StudyRecord, number: int) -> str:
    """Return the number and label of a point: `point 3 (0.25)`."""
    return point_name(number, dict(zip(record.points["point"], record.points["label"], strict=True))[number])


def point_name(number: int, label: str) -> str:
    """Format a number and a label, which may be empty: `point 3 (0.25)`."""
    return f"point {number} ({label})" if label else f"point {number}"


def find_run(record: StudyRecord, number: int, seed: int) -> str:
    """Return the key of a finished run; raise `ExplorerError` with the reason if it has not finished."""
    named = f"{record.study.name}, {called(record, number)}"
    point = record.points.set_index("point").loc[number]
    if point["state"] != "planned":
        raise ExplorerError(f"{named} was not trained: it is {point['state']}: {point['reason']}")
    runs = record.runs[record.runs["point"] == number].set_index("seed")
    if seed not in runs.index:
        raise ExplorerError(f"{named} has no seed {seed}; the study has {_listed(runs.index.tolist())}")
    run = runs.loc[seed]
    if run["state"] != "done":
        done = runs.index[runs["state"] == "done"].tolist()
        why = f"{run['state']}: {run['reason']}" if run["reason"] else str(run["state"])
        others = f"finished: {_listed(done)}" if done else "no other seed has finished either"
        raise ExplorerError(f"{named}, seed {seed} has not finished ({why}); {others}")
    return str(run["key"])


def find_stored_run(ledger: Ledger, text: str) -> tuple[StudyRecord, int, int]:
    """Return the study, point number and seed of a finished run.

    The run is given by its key, a prefix of the key, STUDY:POINT[:SEED], or STUDY for its most accurate point. The
    default seed is 0. If several studies share the run, return the first one by name. Raises `ExplorerError` unless
    exactly one run matches.
    """
    name, colon, rest = text.partition(":")
    if text in ledger.studies.names():
        record = ledger.studies.load(text)
        number = best_point(record)
        find_run(record, number, 0)
        return record, number, 0
    if not colon:
        return _by_key(ledger, text)
    record = ledger.studies.load(name)
    seed = 0
    try:
        number = find_point(record, rest)
    except ExplorerError:
        # A label may contain a colon, so try the whole text as a point first.
        point, colon, last = rest.rpartition(":")
        if not colon or not last.isdecimal():
            raise
        number, seed = find_point(record, point), int(last)
    find_run(record, number, seed)
    return record, number, seed


def _by_key(ledger: Ledger, text: str) -> tuple[StudyRecord, int, int]:
    beginning = text.lower()
    if len(beginning) < SHORTEST_KEY or not re.fullmatch(r"[0-9a-f]+", beginning):
        near = get_close_matches(text, ledger.studies.names(), n=1, cutoff=0.5)
        hint = f"; did you mean the study {near[0]!r}?" if near else ""
        raise ExplorerError(
            f"run {text!r}: give the first {SHORTEST_KEY} or more hexadecimal digits of its key, or "
            f"STUDY[:POINT[:SEED]]{hint}"
        )
    keys = ledger.runs.keys()
    found = [key for key in keys if key.startswith(beginning)]
    if not found:
        near = get_close_matches(beginning, {key[: len(beginning)] for key in keys}, n=1, cutoff=0.75)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ExplorerError(f"unknown run {text!r}: no key in {ledger.shown} starts with it{hint}")
    if len(found) > 1:
        shown = ", ".join(key[: len(beginning) + 4] for key in found[:3])
        raise ExplorerError(f"run {text!r}: {len(found)} keys start with it ({shown}); give more characters")
    places = ledger.studies.places(found[0])
    if not places:
        raise ExplorerError(f"run {text!r}: is not a point of a stored study, and only studies record the data set")
    name, number, seed = places[0]
    record = ledger.studies.load(name)
    find_run(record, number, seed)
    return record, number, seed


def _listed(seeds: list[int]) -> str:
    return f"seed{'s' * (len(seeds) > 1)} {', '.join(map(str, seeds))}"
