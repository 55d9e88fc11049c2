"""Errors that a user can fix. Each is one line with the rule, the value that broke it and the nearest valid choice."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches


class ExplorerError(Exception):
    """An error in the user's input. The command line prints its one-line message and exits with code 2."""


class ReportFailed(ExplorerError):  # noqa: N818 (named after the outcome)
    """The runs were trained and stored, but the report could not be written. The message says how to retry."""


class Infeasible(ExplorerError):  # noqa: N818 (named after the outcome)
    """There is no network for a design point. In a study, this is an outcome; elsewhere, it is an error."""


def unknown(kind: str, name: str, choices: Iterable[str], more: str = "") -> ExplorerError:
    """Return the error for a name that is not in `choices`, with the nearest choice or a list of all choices.

    A choice with the same text as the name is not suggested, because only its type differs (a number and text).
    """
    choices = sorted(choice for choice in choices if choice != name)
    near = _nearest(name, choices)
    others = f"choose one of: {', '.join(choices)}" if choices else "there are none yet"
    hint = others if near is None else f"did you mean {near!r}?"
    if more:
        hint += f" {more[:1].upper()}{more[1:]}" if hint.endswith("?") else f"; {more}"
    return ExplorerError(f"unknown {kind} {name!r}; {hint}")


def _nearest(name: str, choices: Sequence[str]) -> str | None:
    """Return the nearest choice, by value if all are numbers and otherwise by spelling; None if none is near."""
    try:
        value = float(name)
        return min(choices, key=lambda choice: abs(float(choice) - value), default=None)
    except ValueError:
        lowered = {choice.lower(): choice for choice in choices}
        near = get_close_matches(name.lower(), lowered, n=1, cutoff=0.5)
        return lowered[near[0]] if near else None
