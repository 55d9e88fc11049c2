"""How long a search goes on: until a time, a number of runs or a number of training images is spent."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

from explorer.errors import ExplorerError

DEFAULT_SECONDS = 1800.0


@dataclass
class SearchBudget:
    """The limits of a search, of which at least one is set; the first that is reached ends it.

    Attributes:
        seconds: Time of this call, from the start of training.
        runs: Runs that have ended, including those of earlier calls.
        images: Training images, including those of earlier calls.
    """

    seconds: float | None = None
    runs: int | None = None
    images: int | None = None
    started: float | None = None
    used_runs: int = 0
    used_images: int = 0
    images_now: int = 0
    began: float | None = None

    def __post_init__(self) -> None:
        """Raise `ExplorerError` for a limit that is not above 0."""
        for name in ("seconds", "runs", "images"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise ExplorerError(f"{name} = {value}: the budget of a search must be above 0")
        if self.seconds is self.runs is self.images is None:
            self.seconds = DEFAULT_SECONDS

    def start(self) -> None:
        """Start the clock."""
        self.started = time.monotonic()

    def take(self, images: int, *, earlier: bool = False) -> None:
        """Count a run that has begun, or that an earlier call has made."""
        self.used_runs += 1
        self.used_images += images
        if not earlier:
            self.images_now += images
            self.began = self.began or time.monotonic()

    @property
    def text(self) -> str:
        """The limits in a few words."""
        parts = [] if self.seconds is None else [f"for {self.seconds / 60:,.3g} min"]
        parts += [] if self.runs is None else [f"up to {self.runs:,} runs"]
        parts += [] if self.images is None else [f"up to {self.images:,} training images"]
        return ", ".join(parts)

    def left_text(self, duration: Callable[[float], str]) -> str:
        """Return what is left in a few words."""
        if self.seconds is not None:
            return f"{duration(max(0.0, self.seconds - self.elapsed))} left"
        return f"{min(self.spent, 1):.0%} of the budget"

    @property
    def elapsed(self) -> float:
        """Seconds since the start, 0 before it."""
        return 0.0 if self.started is None else time.monotonic() - self.started

    @property
    def spent(self) -> float:
        """The share that is spent, 1 or more if nothing is left."""
        shares = [
            0.0 if self.seconds is None else self.elapsed / self.seconds,
            0.0 if self.runs is None else self.used_runs / self.runs,
            0.0 if self.images is None else self.used_images / self.images,
        ]
        return max(shares)

    def images_left(self, workers: int) -> float:
        """Return the images that one worker can still train, as far as they are known or can be estimated."""
        left = math.inf if self.images is None else self.images - self.used_images
        training = 0.0 if self.began is None else time.monotonic() - self.began  # without the start of the workers
        if self.seconds is not None and training > 0.05 * self.seconds:
            left = min(left, self.images_now / training / workers * max(0.0, self.seconds - self.elapsed))
        return left
