"""Errors that a user can mend: one line that states the rule, the value that broke it and the nearest valid choice."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class ExplorerError(Exception):
    """A mistake in what the user gave; the command line prints its message as one line and exits with code 2."""


class Infeasible(ExplorerError):  # noqa: N818 (the name of the outcome)
    """A design point that no network realises: a recorded outcome in a study, an error when asked for by hand."""


def unknown(kind: str, name: str, choices: Iterable[str]) -> ExplorerError:
    """Returns the error for a name that is none of `choices`, naming the nearest one or, failing that, all of them."""
    choices = sorted(choices)
    lowered = {choice.lower(): choice for choice in choices}
    near = get_close_matches(name.lower(), lowered, n=1, cutoff=0.5)
    hint = f"did you mean {lowered[near[0]]!r}?" if near else f"choose one of: {', '.join(choices)}"
    return ExplorerError(f"unknown {kind} {name!r}; {hint}")
