"""A progress bar for sweeps from Python, in terminals and notebooks."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Self, TypeVar

from tqdm.auto import tqdm

from explorer.storage.runs import Result
from explorer.study.model import Study
from explorer.sweeping.sweeping import Watcher
from explorer.training.engine import Outcome
from explorer.training.run import Run

Followed = TypeVar("Followed", bound=Watcher)


class Bar(Watcher):
    """A bar that counts finished runs."""

    def __init__(self) -> None:
        self._bar: tqdm[Any] | None = None

    @classmethod
    @contextmanager
    def following(cls, watcher: Followed | None, progress: bool | None) -> Iterator[Followed | Self | None]:
        """Yield the watcher if given, or a bar if `progress` is set. By default, terminals and notebooks get one."""
        if watcher is not None or not (is_seen() if progress is None else progress):
            yield watcher
            return
        bar = cls()
        try:
            yield bar
        finally:
            bar.finished()

    def note(self, text: str) -> None:
        """Write the line above the bar."""
        tqdm.write(text, file=sys.stderr)

    def begin(self, study: Study, runs: Sequence[Run], stored: Sequence[Result], workers: int) -> None:  # noqa: ARG002
        """Show the bar."""
        total = len(runs) + len(stored)
        self._bar = tqdm(total=total, initial=len(stored), desc=study.name, unit="run")

    def ended(self, outcome: Outcome) -> None:  # noqa: ARG002
        """Count a run."""
        if self._bar is not None:
            self._bar.update()

    def prepared(self, outcome: Outcome) -> None:
        """Count a run that has trained weights."""
        self.ended(outcome)

    def more(self, runs: Sequence[Run]) -> None:
        """Expect further runs."""
        if self._bar is not None:
            self._bar.total = (self._bar.total or 0) + len(runs)
            self._bar.refresh()

    def finished(self) -> None:
        """Close the bar."""
        if self._bar is not None:
            self._bar.close()


def is_seen() -> bool:
    """Whether a progress bar would be visible, which is true in a terminal or notebook."""
    return sys.stderr.isatty() or "ipykernel" in sys.modules
