"""Share runs with other commands that write to the same server. Only one of them trains each run."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import asdict

from explorer.storage.ledger import Ledger
from explorer.training.engine import Jobs, Outcome
from explorer.training.performing import Job

POLL_SECONDS = 2.0
"""Seconds between checks of the runs that other commands are training."""


class SharedJobs(Jobs):
    """Jobs that start only after this command has claimed their runs for itself.

    Runs that another command is training come last. By then, it has stored them, or it has ended without them.
    """

    def __init__(self, jobs: Jobs, ledger: Ledger, stored: Callable[[Outcome], None]) -> None:
        """Share jobs. `stored` is called with each run that another command has finished."""
        super().__init__()
        self.jobs = jobs
        self.ledger = ledger
        self.stored = stored
        self.others: deque[Job] = deque()  # jobs with runs that other commands are training
        self.looked = 0.0

    @property
    def finished(self) -> bool:
        """Whether there will be no more jobs."""
        return self.jobs.finished and not self.others

    def take(self) -> Job | None:
        """Return the next job that nobody else has begun, or None."""
        while job := self.jobs.take():
            if claimed := self._claim(job):
                return claimed
        if time.monotonic() < self.looked + POLL_SECONDS:
            return None
        for _ in range(len(self.others)):
            if claimed := self._claim(self.others.popleft()):
                return claimed
        self.looked = time.monotonic()
        return None

    def tend(self) -> None:
        """Keep the claims."""
        self.ledger.keep()
        self.jobs.tend()

    def store(self, outcomes: Sequence[Outcome]) -> None:
        """Store runs and give up the claims on them."""
        self.ledger.runs.record(*(outcome.row for outcome in outcomes))
        self.ledger.release([outcome.run.key for outcome in outcomes])

    def _claim(self, job: Job) -> Job:
        """Claim the runs of a job. Return the runs left to train, or none if another command trains any of them."""
        keys = [run.key for run in job]
        if not self.ledger.claim(keys):
            self.others.append(job)
            return ()
        if not self.ledger.has_other_writers:
            return job
        results = {key: result for key, result in self.ledger.runs.results(keys).items() if result.final}
        for run in job:
            if run.key in results:
                self.ledger.release([run.key])
                self.stored(Outcome(run, asdict(results[run.key])))
        return tuple(run for run in job if run.key not in results)
