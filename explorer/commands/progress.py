"""Progress: a live line on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from explorer.commands.console import console

if TYPE_CHECKING:
    from explorer.storage.runs import Result
    from explorer.study.model import Study
    from explorer.training.engine import Outcome
    from explorer.training.run import Run

Trained = TypeVar("Trained")


class Display:
    """A sweep's watcher that shows runs done, running and failed, the best accuracy and the time left."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.workers = 0
        self.ahead: Sequence[Run] = ()
        self.total = self.before = self.ended_now = self.failed = 0
        self.best = 0.0
        self.started = time.monotonic()
        self.effort_done = 0.0
        self.bar: Progress | None = None

    def begin(self, study: Study, runs: Sequence[Run], stored: Sequence[Result], workers: int) -> None:
        """Start with the runs to train, the stored results of the other runs, and the number of workers."""
        self.workers = workers
        self.ahead, self.before, self.total = runs, len(stored), len(stored) + len(runs)
        self.failed = sum(result.state != "done" for result in stored)
        self.best = max((result.accuracy or 0.0 for result in stored), default=0.0)
        self.started = time.monotonic()
        before = f", {len(stored)} stored already" if stored else ""
        self.console.print(f"{study.name}: {len(runs)} runs to train{before}", highlight=False)
        if runs and self.console.is_terminal:
            columns = (BarColumn(), TextColumn("{task.description}, elapsed"), TimeElapsedColumn())
            self.bar = Progress(*columns, console=self.console)
            self.bar.add_task(self._line(), total=self.total, completed=self.before)
            self.bar.start()

    def ended(self, outcome: Outcome) -> None:
        """Count a run that has ended and is stored."""
        self.ended_now += 1
        self.effort_done += outcome.run.effort
        self.failed += outcome.state != "done"
        self.best = max(self.best, outcome.row.get("accuracy") or 0.0)
        if outcome.state != "done":
            self.console.print(
                f"{outcome.state}: network {outcome.run.network.digest[:12]}, seed {outcome.run.seed}: "
                f"{outcome.row['reason']}",
                style="red",
                highlight=False,
            )
        if self.bar is not None:
            self.bar.update(self.bar.task_ids[0], completed=self.before + self.ended_now, description=self._line())
        else:
            self.console.print(self._line(), highlight=False)

    def _line(self) -> str:
        running = min(self.workers, len(self.ahead) - self.ended_now)
        done = self.before + self.ended_now - self.failed
        best = f"best {self.best:.1%}" if self.best else "best -"
        return f"{done}/{self.total} done, {running} running, {self.failed} failed, {best}, {self._left()}"

    def _left(self) -> str:
        if self.ended_now < self.workers and self.ended_now < len(self.ahead):
            return "time left -"  # the first runs include the start of the workers
        elapsed = time.monotonic() - self.started
        remaining = sum(run.effort for run in self.ahead) - self.effort_done
        return f"{duration(elapsed / self.effort_done * remaining)} left"


def watched(console: Console, train: Callable[[Display], Trained]) -> Trained | None:
    """Return what `train` returns, showing its progress; None if Ctrl-C stopped it."""
    display = Display(console)
    try:
        return train(display)
    except KeyboardInterrupt:
        console.print(
            "stopped; every finished run is stored, and the same command continues from there", highlight=False
        )
        return None
    finally:
        if display.bar is not None:
            display.bar.stop()


@contextmanager
def counting(title: str, least: int = 1) -> Iterator[Callable[[int, int], None]]:
    """A progress bar, shown on a terminal for totals of `least` or more; call what it yields with (done, total)."""
    screen = console()
    with Progress(console=screen, transient=True, disable=not screen.is_terminal) as progress:
        task = progress.add_task(title, visible=False)
        yield lambda done, total: progress.update(task, completed=done, total=total, visible=total >= least)


def duration(seconds: float) -> str:
    """Format a time: `45 s`, `3 min 05 s`, `2 h 10 min`."""
    whole = round(seconds)
    if whole < 60:  # noqa: PLR2004 (seconds in a minute)
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:  # noqa: PLR2004 (minutes in an hour)
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"
