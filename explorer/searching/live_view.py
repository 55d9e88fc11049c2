"""The Optuna view of a search, which is brought up to date while the search runs."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress

from explorer.errors import ExplorerError
from explorer.searching.policy import Progress
from explorer.storage.database import log
from explorer.storage.ledger import Ledger
from explorer.storage.optuna_tables import NoView
from explorer.storage.search_view import SearchView
from explorer.study.model import Study
from explorer.sweeping.views import SHARE


class LiveView:
    """The view, if Optuna can use the storage.

    All that it shows is also in the ledger, so nothing is lost if the process ends while changes wait.
    """

    def __init__(self, view: SearchView | None, progress: Sequence[Progress]) -> None:
        self.view = view
        self.progress = progress
        self.due = 0.0

    @classmethod
    @contextmanager
    def open(cls, ledger: Ledger, study: Study, progress: Sequence[Progress]) -> Iterator[LiveView]:
        """Open the view and show the stored state; when this ends, show the points below the top rung as pruned.

        Args:
            ledger: The storage.
            study: The search.
            progress: Its points, which grow while it runs.
        """
        try:
            view = SearchView(ledger, study)
        except NoView as error:
            log.warning("%s; the search continues without the Optuna view", error)
            yield cls(None, progress)
            return
        with closing(view):
            view.begin([at.point for at in progress])
            shown = cls(view, progress)
            try:
                yield shown
            finally:
                with suppress(ExplorerError):
                    view.end([at.point for at in progress])

    def update(self) -> None:
        """Show what has changed, if this does not take too much of the time."""
        begun = time.monotonic()
        if self.view is not None and begun >= self.due:
            self.view.update([at.point for at in self.progress])
            ended = time.monotonic()
            self.due = ended + (ended - begun) * (1 / SHARE - 1)
