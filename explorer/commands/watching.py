"""Show the progress of sweeps: as a live line on a terminal, and as plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar

from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from explorer.commands.console import console, printable
from explorer.commands.interrupts import stopping_twice
from explorer.networks.quantities import counted
from explorer.sweeping.sweeping import Watcher
from explorer.training.limits import Speeds, duration

if TYPE_CHECKING:
    from explorer.storage.runs import Result
    from explorer.study.model import Study
    from explorer.training.engine import Outcome
    from explorer.training.run import Run

Trained = TypeVar("Trained")
WIDE = 120
"""Minimum width of a terminal with room for a bar beside the numbers."""


class Display(Watcher):
    """Shows the progress of a sweep: runs done, running and failed, the best accuracy and the time left.

    The text that was `said` already is not repeated.
    """

    def __init__(self, *, quiet: bool = False, said: str = "") -> None:
        self.said = said
        self.screen = console()
        self.screen.quiet = quiet
        self.speeds = Speeds()
        self.bar: Progress | None = None
        self.study = ""
        self.ahead: Sequence[Run] = ()
        self.workers = self.before = 0
        self.states: Counter[str] = Counter()  # of all runs that have ended, including stored ones
        self.best = self.effort_done = 0.0
        self.started = time.monotonic()
        self.training = self.asked = False

    def doing(self, what: str) -> None:
        """Print a step of the preparation before runs can start."""
        if what != self.said:
            self._say(what)
        if self.bar is not None:
            self.bar.start()

    def note(self, text: str) -> None:
        """Print the line."""
        self._say(text)

    def begin(self, study: Study, runs: Sequence[Run], stored: Sequence[Result], workers: int) -> None:
        """Start the display, given the runs to train, the stored results of other runs, and the number of workers."""
        self.started = time.monotonic()
        self.study, self.ahead, self.workers, self.before = study.name, runs, workers, len(stored)
        self.states = Counter(result.state for result in stored)
        self.best = max((result.accuracy or 0.0 for result in stored), default=0.0)
        before = f", {len(stored)} stored already" if stored else ""
        self._say(f"{study.name}: {len(runs)} runs to train{before}")
        self.training = bool(runs)
        if runs and self.screen.is_terminal and not self.screen.quiet:
            # On a narrow terminal, the numbers need the room.
            bar = [BarColumn()] if self.screen.width >= WIDE else []
            self.bar = Progress(TimeElapsedColumn(), *bar, TextColumn("{task.description}"), console=self.screen)
            self.bar.add_task(self._line(), total=self.before + len(runs), completed=self.before)

    def working(self, workers: int) -> None:
        """Show estimates for the number of runs that a cluster can train at the same time."""
        self.workers = max(1, workers)
        if self.bar is not None:
            self._update()

    def speed(self, run: Run, images_per_second: float) -> None:
        """Show the time left, estimated from the first batches."""
        first = not self.speeds.images
        self.speeds.note(run, images_per_second)
        if first and not self._ended_now:
            self.started = time.monotonic()  # excludes worker start-up
        if self.bar is not None:
            self._update()
        elif first and not self._ended_now:
            self._say(self._left())

    def ended(self, outcome: Outcome) -> None:
        """Count a run that has ended and has been stored."""
        self.best = max(self.best, outcome.row.get("accuracy") or 0.0)
        self.prepared(outcome)

    def prepared(self, outcome: Outcome) -> None:
        """Count a run that has trained weights, maybe on other data, so its accuracy is not compared."""
        self.effort_done += outcome.run.effort
        self.states[outcome.state] += 1
        if outcome.state != "done":
            which = f"network {outcome.run.network.digest[:12]}, seed {outcome.run.seed}"
            self._say(f"{outcome.state}: {which}: {outcome.row['reason']}", style="red")
        if self.bar is not None:
            self._update()
        else:
            self._say(self._line())

    def more(self, runs: Sequence[Run]) -> None:
        """Count further runs to train."""
        self.ahead = [*self.ahead, *runs]
        self._say(f"{counted(len(runs), 'more run')} where claims are undecided")
        if self.bar is not None:
            self.bar.update(self.bar.task_ids[0], total=self.before + len(self.ahead))

    def finished(self) -> None:
        """Remove the progress bar. From now on, Ctrl-C stops immediately."""
        self.training = False
        if self.bar is not None:
            self.bar.stop()

    def stopping(self) -> bool:
        """Whether the user has pressed Ctrl-C."""
        return self.asked

    def ask(self) -> bool:
        """Announce a stop after the runs in progress. Return False if nothing is training or on a second Ctrl-C."""
        if self.asked or not self.training:
            return False
        self.asked = True
        with suppress(RuntimeError):  # because the signal may arrive in the middle of a print
            print("explorer: stopping; press Ctrl-C again to stop now", file=sys.stderr)  # noqa: T201 (as errors)
        return True

    def stopped(self) -> str:
        """Return the message about finished runs after an interruption."""
        if not self.study:
            return "stopped before training"
        total = self.before + len(self.ahead)
        others = "".join(f", {count} {state}" for state, count in sorted(self.states.items()) if state != "done")
        return f"stopped; {self.states['done']} of {total} runs are done{others}; the same command continues from there"

    @property
    def _ended_now(self) -> int:
        return self.states.total() - self.before

    def _say(self, text: str, style: str | None = None) -> None:
        self.screen.print(printable(text), style=style)

    def _update(self) -> None:
        if self.bar is not None:
            self.bar.start()  # has no effect if the bar is already shown
            task = self.bar.task_ids[0]
            self.bar.update(task, completed=self.states.total(), description=self._line())

    def _line(self) -> str:
        trained = self.speeds.images or self._ended_now  # workers start before they train
        running = min(self.workers, len(self.ahead) - self._ended_now) if trained else 0
        done = f"{self.states['done']}/{self.before + len(self.ahead)} done"
        broken = self.states.total() - self.states["done"]
        failed = f", {broken} failed" if broken else ""
        best = f"best {self.best:.1%}" if self.best else "best -"
        return f"{done}, {running} running{failed}, {best}, {self._left()}"

    def _left(self) -> str:
        now = time.monotonic()
        if self.effort_done and self._ended_now >= min(self.workers, len(self.ahead)):
            remaining = sum(run.effort for run in self.ahead) - self.effort_done
            return f"{duration((now - self.started) / self.effort_done * remaining)} left"
        if not self.speeds.images:
            return "estimating the time"
        whole = self.speeds.seconds(self.ahead) / min(self.workers, len(self.ahead))
        return f"about {duration(max(1.0, whole - (now - self.started)))} left"


def watched(train: Callable[..., Trained], display: Display) -> Trained:
    """Call `train` with the display as its `watcher`, and return its result.

    The first Ctrl-C stops after the runs in progress. The message of
    a `KeyboardInterrupt` has the number of finished runs.
    """
    try:
        with stopping_twice(display.ask):
            return train(watcher=display)
    except KeyboardInterrupt as stop:
        raise KeyboardInterrupt(*stop.args or [display.stopped()]) from None
    finally:
        with suppress(OSError):  # the terminal may be closed
            display.finished()
