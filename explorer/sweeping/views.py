"""The Optuna views of the studies in a sweep, which are kept up to date while it runs."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress

from explorer.errors import ExplorerError
from explorer.storage.database import log
from explorer.storage.ledger import Ledger
from explorer.storage.optuna_tables import NoView
from explorer.storage.optuna_view import View
from explorer.storage.runs import Result
from explorer.study.model import Study
from explorer.study.plan import Point
from explorer.sweeping.settled import SettledPoints
from explorer.training.engine import Outcome
from explorer.training.performing import Job
from explorer.training.run import Run

SHARE = 0.1
"""Share of the time that may be spent on views while a sweep runs; beyond it, changes wait and are stored together."""


class Views:
    """Optuna views with their settled points.

    What they show is also in the ledger, so nothing is lost if the process ends while changes wait.
    """

    def __init__(self, views: Sequence[tuple[View, SettledPoints]]) -> None:
        self.views = views
        self.started_keys: list[str] = []  # first runs of jobs, not shown yet
        self.ended_keys: list[str] = []
        self.due = 0.0

    @classmethod
    @contextmanager
    def open(
        cls,
        ledger: Ledger,
        enlisted: Sequence[tuple[Study, Mapping[tuple[int, int], Run]]],
        points: Sequence[Point],
        results: dict[str, Result],
    ) -> Iterator[Views]:
        """Open a view of each study with its stored results, or no views if Optuna cannot use the storage."""
        views: list[tuple[View, SettledPoints]] = []
        with ExitStack() as opened:
            try:
                for study, runs in enlisted:
                    view = opened.enter_context(closing(View(ledger, study, points)))
                    views.append((view, SettledPoints(points, runs, results)))
            except NoView as error:
                log.warning("%s; the sweep continues without the Optuna view", error)
            for view, settled in views:
                view.sync(settled.so_far())
            shown = cls(views)
            try:
                yield shown
            finally:
                with suppress(ExplorerError):
                    shown.show()

    def started(self, job: Job) -> None:
        """Show the points of a job's runs as running."""
        self.started_keys += [run.key for run in job]
        self._show_if_due()

    def ended(self, outcome: Outcome) -> None:
        """Show the points that a run settles as finished."""
        for _, settled in self.views:
            settled.add(outcome)
        self.ended_keys.append(outcome.run.key)
        self._show_if_due()

    def show(self) -> None:
        """Store all changes that wait."""
        started, ended = self.started_keys, self.ended_keys
        self.started_keys, self.ended_keys = [], []
        for view, settled in self.views:
            view.show(
                [point for key in started for point in settled.points_of(key)],
                {
                    point.number: (point, settled.results_of(point))
                    for key in ended
                    for point in settled.points_of(key)
                    if settled.is_settled(point)
                },
            )

    def keep(self, keys: Collection[str]) -> None:
        """Show points as finished that need no other runs than these."""
        self.show()
        for view, settled in self.views:
            settled.keep(keys)
            view.sync(settled.so_far())

    def _show_if_due(self) -> None:
        begun = time.monotonic()
        if begun >= self.due:
            self.show()
            ended = time.monotonic()
            self.due = ended + (ended - begun) * (1 / SHARE - 1)
