"""Errors that a user can fix: one line with the rule, the value that broke it and the nearest valid choice."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches


class ExplorerError(Exception):
    """An error in the user's input; the command line prints its one-line message and exits with code 2."""


class ReportFailed(ExplorerError):  # noqa: N818 (named after the outcome)
    """The runs were trained and stored, but the report could not be written; the message says how to retry."""


class Infeasible(ExplorerError):  # noqa: N818 (named after the outcome)
    """No network exists for a design point: recorded as an outcome in a study, an error elsewhere."""


def unknown(kind: str, name: str, choices: Iterable[str], more: str = "") -> ExplorerError:
    """Return the error for a name not in `choices`, with the nearest choice or a list of all.

    A choice with the same text as the name is not suggested: its type differs, such as text instead of a number.
    """
    choices = sorted(choice for choice in choices if choice != name)
    near = _nearest(name, choices)
    others = f"choose one of: {', '.join(choices)}" if choices else "there are no choices"
    hint = others if near is None else f"did you mean {near!r}?"
    if more:
        hint += f" {more[:1].upper()}{more[1:]}" if hint.endswith("?") else f"; {more}"
    return ExplorerError(f"unknown {kind} {name!r}; {hint}")


def _nearest(name: str, choices: Sequence[str]) -> str | None:
    """Return the nearest choice: by value if all are numbers, else by spelling; None if none is near."""
    try:
        value = float(name)
        return min(choices, key=lambda choice: abs(float(choice) - value), default=None)
    except ValueError:
        lowered = {choice.lower(): choice for choice in choices}
        near = get_close_matches(name.lower(), lowered, n=1, cutoff=0.5)
        return lowered[near[0]] if near else None
