"""Rounds of seeds: a study's points get further seeds until its claims are decided."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from explorer.analysis import Findings
from explorer.analysis.claims import undecided_points
from explorer.analysis.looks import FIRST_LOOK
from explorer.storage.ledger import Ledger
from explorer.study.model import Study
from explorer.training.engine import Jobs
from explorer.training.performing import Job
from explorer.training.run import Run


class Rounds(Jobs):
    """The runs of a study whose seeds are added until its claims are decided.

    The first round trains all points with two seeds. After each round the claims are judged, and the points that
    undecided ones compare get one more seed, up to the study's number. Runs are members of the stored study from the
    round that asks for them. A later command repeats the decisions from stored runs and so goes on where it was.
    """

    def __init__(self, ledger: Ledger, study: Study, runs: Mapping[tuple[int, int], Run]) -> None:
        super().__init__()
        self.ledger = ledger
        self.study = study
        self.runs = runs
        self.asked: dict[tuple[int, int], Run] = {}
        self.open: set[str] = set()  # keys of this round's runs that have not ended
        self._ask(place for place in runs if place[1] < FIRST_LOOK)

    @property
    def finished(self) -> bool:
        """Whether the claims are decided or their points have all their seeds."""
        return not self.open

    def ended(self, run: Run) -> list[Run]:
        """Note that a run has ended and is stored; after the last one of a round, return the runs of the next."""
        self.open.discard(run.key)
        if self.open:
            return []
        self._ask(self._next())
        return [run for job in self.waiting for run in job]

    def _ask(self, places: Iterable[tuple[int, int]]) -> None:
        """Ask for runs by (point, seed), and then for those of further rounds as long as all of them are stored."""
        while new := {place: self.runs[place] for place in places}:
            self.asked |= new
            self.ledger.studies.enlist(self.study, {place: run.key for place, run in new.items()})
            results = self.ledger.runs.results([run.key for run in new.values()])
            left = [run for run in new.values() if run.key not in results or not results[run.key].final]
            if left:
                self.open = {run.key for run in left}
                self.waiting.extend(jobs_in_order((run,) for run in left))
                return
            places = self._next()

    def _next(self) -> list[tuple[int, int]]:
        """Return the next seed of each point that an undecided claim compares."""
        seeds = Counter(point for point, _ in self.asked)
        points = undecided_points(Findings(self.ledger.studies.load(self.study.name)))
        return [(point, seeds[point]) for point in points if seeds[point] < self.study.seeds]


def jobs_in_order(jobs: Iterable[Job]) -> list[Job]:
    """Sort jobs seed by seed, which gives an interrupted study complete curves, and the most expensive ones first.

    All cores then finish at about the same time.
    """
    return sorted(jobs, key=lambda job: (job[0].seed, -job[-1].effort))
