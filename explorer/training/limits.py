"""How long runs take, from those seen so far, and the time after which one is given up."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from statistics import median

from explorer.training.run import Run

LEAST_SECONDS = 600.0
"""No run is given up earlier, unless the user says so."""

GENEROUS = 20.0
"""Times the estimate that a run may take."""


class Speeds:
    """The speeds of runs of a sweep: an estimate of how long others take."""

    def __init__(self) -> None:
        self.efforts: dict[str, float] = {}  # effort a second, by run
        self.images: dict[str, float] = {}  # images a second, by run

    def note(self, run: Run, images_per_second: float) -> None:
        """Note the speed of a run, which replaces what it was before."""
        if 0 < images_per_second < math.inf:
            self.images[run.key] = images_per_second
            self.efforts[run.key] = images_per_second * run.effort / _images(run)

    def seconds(self, runs: Sequence[Run]) -> float:
        """Return about how long the runs take one after the other; NaN before any speed is known."""
        if not self.efforts:
            return math.nan
        return sum(run.effort for run in runs) / median(self.efforts.values())

    def limit(self, runs: Sequence[Run], run_timeout: float | None) -> float:
        """Return the seconds that one worker may take for the runs.

        Costs of small networks are mostly per image, so the limit follows images as well as effort.
        """
        if run_timeout is not None:
            return run_timeout * len(runs)
        if not self.images:
            return LEAST_SECONDS
        by_images = sum(_images(run) for run in runs) / median(self.images.values())
        return max(LEAST_SECONDS, GENEROUS * self.seconds(runs), GENEROUS * by_images)


class Clock:
    """Seconds between calls, leaving out the time in which this process was stopped (Ctrl-Z, a sleeping laptop)."""

    def __init__(self) -> None:
        self.last = time.monotonic()

    def passed(self) -> float:
        """Return the seconds since the last call, at most two."""
        now = time.monotonic()
        seconds, self.last = min(2.0, now - self.last), now
        return seconds


def _images(run: Run) -> int:
    return run.budget.images * run.budget.epochs


def duration(seconds: float) -> str:
    """Format a time: `45 s`, `3 min 05 s`, `10 min`, `2 h 10 min`."""
    minutes, rest = divmod(round(seconds), 60)
    hours = minutes // 60
    if hours:
        return f"{hours} h {minutes % 60:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes and rest else f"{minutes} min" if minutes else f"{rest} s"
