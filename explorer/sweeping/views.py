"""The Optuna views of the studies in a sweep, which are kept up to date while it runs."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager

from explorer.storage.database import log
from explorer.storage.ledger import Ledger
from explorer.storage.optuna_tables import NoView
from explorer.storage.optuna_view import View
from explorer.storage.runs import Result
from explorer.study.model import Study
from explorer.study.plan import Point
from explorer.sweeping.settled import SettledPoints
from explorer.training.engine import Job, Outcome
from explorer.training.run import Run


class Views:
    """The Optuna views and their settled points."""

    def __init__(self, views: Sequence[tuple[View, SettledPoints]]) -> None:
        self.views = views

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
            yield cls(views)

    def started(self, job: Job) -> None:
        """Show the points of the runs in a job as running."""
        for view, settled in self.views:
            for run in job:
                for point in settled.points_of(run.key):
                    view.start(point)

    def ended(self, outcome: Outcome) -> None:
        """Show the points that a run settles as finished."""
        for view, settled in self.views:
            for point in settled.add(outcome):
                view.add(point, settled.results_of(point))

    def keep(self, keys: Collection[str]) -> None:
        """Show points as finished that need no other runs than these."""
        for view, settled in self.views:
            settled.keep(keys)
            view.sync(settled.so_far())
