"""Progress of searches run from Python, in terminals and notebooks."""

from __future__ import annotations

from tqdm.auto import tqdm

from explorer.searching.budget import SearchBudget
from explorer.searching.searching import FrontSoFar, SearchWatcher
from explorer.study.model import Study
from explorer.sweeping.bar import Bar


class SearchBar(Bar, SearchWatcher):
    """A count of finished runs with the state of the front."""

    def search(self, study: Study, budget: SearchBudget, workers: int) -> None:  # noqa: ARG002
        """Show the bar."""
        self._bar = tqdm(total=budget.runs, initial=budget.used_runs, desc=study.name, unit="run")

    def front(self, found: FrontSoFar) -> None:
        """Show the front beside the bar."""
        if self._bar is not None:
            self._bar.set_postfix_str(found.text)
