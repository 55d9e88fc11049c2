"""Progress: a live line on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from explorer.commands.console import console, say

if TYPE_CHECKING:
    from explorer.storage.runs import Result
    from explorer.study.model import Study
    from explorer.training.engine import Outcome
    from explorer.training.run import Run

Trained = TypeVar("Trained")


class Display:
    """A sweep's watcher that shows runs done, running and failed, the best accuracy and the time left."""

    bar: Progress | None = None

    def note(self, text: str) -> None:
        """Print the line."""
        console().print(text)

    def begin(self, study: Study, runs: Sequence[Run], stored: Sequence[Result], workers: int) -> None:
        """Start with the runs to train, the stored results of the other runs, and the number of workers."""
        self.screen, self.started = console(), time.monotonic()
        self.ahead, self.workers, self.before = runs, workers, len(stored)
        self.ended_now, self.effort_done = 0, 0.0
        self.failed = sum(result.state != "done" for result in stored)
        self.best = max((result.accuracy or 0.0 for result in stored), default=0.0)
        before = f", {len(stored)} stored already" if stored else ""
        self.screen.print(f"{study.name}: {len(runs)} runs to train{before}")
        if runs and self.screen.is_terminal:
            columns = (BarColumn(), TextColumn("{task.description}, elapsed"), TimeElapsedColumn())
            self.bar = Progress(*columns, console=self.screen)
            self.bar.add_task(self._line(), total=self.before + len(runs), completed=self.before)
            self.bar.start()

    def ended(self, outcome: Outcome) -> None:
        """Count a run that has ended and is stored."""
        self.ended_now += 1
        self.effort_done += outcome.run.effort
        self.best = max(self.best, outcome.row.get("accuracy") or 0.0)
        if outcome.state != "done":
            self.failed += 1
            which = f"network {outcome.run.network.digest[:12]}, seed {outcome.run.seed}"
            self.screen.print(f"{outcome.state}: {which}: {outcome.row['reason']}", style="red")
        if self.bar is not None:
            self.bar.update(self.bar.task_ids[0], completed=self.before + self.ended_now, description=self._line())
        else:
            self.screen.print(self._line())

    def _line(self) -> str:
        running = min(self.workers, len(self.ahead) - self.ended_now)
        done = f"{self.before + self.ended_now - self.failed}/{self.before + len(self.ahead)} done"
        best = f"best {self.best:.1%}" if self.best else "best -"
        return f"{done}, {running} running, {self.failed} failed, {best}, {self._left()}"

    def _left(self) -> str:
        if self.ended_now < self.workers and self.ended_now < len(self.ahead):
            return "time left -"  # the first runs include the start of the workers
        elapsed = time.monotonic() - self.started
        remaining = sum(run.effort for run in self.ahead) - self.effort_done
        return f"{duration(elapsed / self.effort_done * remaining)} left"


def watched(train: Callable[..., Trained]) -> Trained:
    """Call `train` with a `watcher` that shows its progress, and return its result."""
    display = Display()
    try:
        return train(watcher=display)
    except KeyboardInterrupt:
        say("stopped; every finished run is stored, and the same command continues from there")
        raise
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
    minutes, rest = divmod(round(seconds), 60)
    hours = minutes // 60
    return f"{hours} h {minutes % 60:02d} min" if hours else f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
