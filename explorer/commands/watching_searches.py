"""Show the progress of a search: the front as it grows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.progress import Progress, TextColumn, TimeElapsedColumn

from explorer.commands.watching import Display
from explorer.searching.searching import FrontSoFar, SearchWatcher
from explorer.training.limits import duration

if TYPE_CHECKING:
    from explorer.searching.budget import SearchBudget
    from explorer.study.model import Study
    from explorer.training.engine import Outcome
    from explorer.training.run import Run


class SearchDisplay(Display, SearchWatcher):
    """Shows runs, the front, its hypervolume, the best accuracy and what is left of the budget."""

    budget: SearchBudget | None = None
    found = ""

    def search(self, study: Study, budget: SearchBudget, workers: int) -> None:
        """Start the display."""
        self.study, self.budget, self.workers, self.training = study.name, budget, workers, True
        before = f", going on from {budget.used_runs} runs" if budget.used_runs else ""
        self._say(f"{study.name}: {budget.text}{before}")
        if self.screen.is_terminal and not self.screen.quiet:
            self.bar = Progress(TimeElapsedColumn(), TextColumn("{task.description}"), console=self.screen)
            self.bar.add_task(self._line(), total=None)

    def speed(self, run: Run, images_per_second: float) -> None:
        """Do nothing: what is left of a search's budget is known."""

    def ended(self, outcome: Outcome) -> None:
        """Count a run, and say why one failed."""
        self.states[outcome.state] += 1
        if outcome.state != "done":
            self._say(f"{outcome.state}: {outcome.run.network.digest[:12]}: {outcome.row['reason']}", style="red")

    def front(self, found: FrontSoFar) -> None:
        """Show the front."""
        self.found = f", {found.text}"
        if self.bar is None:
            self._say(self._line())
        else:
            self.bar.update(self.bar.task_ids[0], description=self._line())

    def stopped(self) -> str:
        """Return the message about finished runs after an interruption."""
        if not self.study:
            return "stopped before training"
        done = self.states["done"]
        return (
            f"stopped; {done} more runs are done; the same command goes on, and `explorer report {self.study}` reports"
        )

    def _line(self) -> str:
        left = "" if self.budget is None else f", {self.budget.left_text(duration)}"
        return f"{0 if self.budget is None else self.budget.used_runs} runs{self.found}{left}"
