"""Estimates of the time for runs, based on earlier runs, and the timeout for giving up on a run."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from statistics import median

from explorer.training.run import Run

LEAST_SECONDS = 600.0
"""Minimum timeout, unless the user sets one."""

GENEROUS = 20.0
"""Timeout as a multiple of the estimate."""


class Speeds:
    """The speeds of a sweep's runs, for estimating the time that other runs will take."""

    def __init__(self) -> None:
        self.efforts: dict[str, float] = {}  # effort per second, by run
        self.images: dict[str, float] = {}  # images per second, by run

    def note(self, run: Run, images_per_second: float) -> None:
        """Record the speed of a run, and replace any earlier value."""
        if 0 < images_per_second < math.inf:
            self.images[run.key] = images_per_second
            self.efforts[run.key] = images_per_second * run.effort / run.budget.seen

    def seconds(self, runs: Sequence[Run]) -> float:
        """Return the estimated seconds for the runs, one after another; NaN until a speed is known."""
        if not self.efforts:
            return math.nan
        return sum(run.effort for run in runs) / median(self.efforts.values())

    def exceeded(self, seconds: float, runs: Sequence[Run], run_timeout: float | None) -> bool:
        """Whether one worker has taken more time for the runs than it may."""
        # The comparison with the minimum comes first, because the estimate takes longer and is rarely needed.
        return seconds > (run_timeout or LEAST_SECONDS) and seconds > self.limit(runs, run_timeout)

    def limit(self, runs: Sequence[Run], run_timeout: float | None) -> float:
        """Return the seconds that one worker may take for the runs.

        Most of the cost of small networks is per image, so the limit depends on images as well as effort.
        """
        if run_timeout is not None:
            return run_timeout * len(runs)
        if not self.images:
            return LEAST_SECONDS
        by_images = sum(run.budget.seen for run in runs) / median(self.images.values())
        return max(LEAST_SECONDS, GENEROUS * self.seconds(runs), GENEROUS * by_images)


class Clock:
    """Measures seconds between calls, without the time when this process was stopped (Ctrl-Z, a sleeping laptop)."""

    def __init__(self) -> None:
        self.last = time.monotonic()

    def passed(self) -> float:
        """Return the seconds since the last call, at most two."""
        now = time.monotonic()
        seconds, self.last = min(2.0, now - self.last), now
        return seconds


def duration(seconds: float) -> str:
    """Format a time: `45 s`, `3 min 05 s`, `10 min`, `2 h 10 min`."""
    minutes, rest = divmod(round(seconds), 60)
    hours = minutes // 60
    if hours:
        return f"{hours} h {minutes % 60:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes and rest else f"{minutes} min" if minutes else f"{rest} s"
