"""Run a search: propose, train and promote on all workers until the budget is spent."""

from __future__ import annotations

import math
from collections import deque
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import moocore
import numpy as np

from explorer.data import find_source
from explorer.errors import ExplorerError
from explorer.networks.quantities import counted
from explorer.searching.budget import SearchBudget
from explorer.searching.designs import SpaceDesigns
from explorer.searching.live_view import LiveView
from explorer.searching.policy import Policy, Step
from explorer.searching.samplers import Sampler
from explorer.storage.ledger import DEFAULT_STORAGE, Ledger
from explorer.storage.record import StudyRecord
from explorer.storage.searches import RungRun
from explorer.study.model import Study
from explorer.study.rungs import rung_budgets, rung_images
from explorer.study.search import Search
from explorer.sweeping.preparation import PreparedStudy, prepare_study
from explorer.sweeping.provenance import provenance
from explorer.sweeping.resources import HERE, Resources
from explorer.sweeping.sharing import SharedJobs
from explorer.sweeping.sweeping import Watcher
from explorer.training.engine import Jobs, Outcome, execute
from explorer.training.estimate import estimate_seconds
from explorer.training.performing import Job, perform_with_trunks
from explorer.training.run import Numerics, Run

BRIEF = 600.0
"""Time limits below this are compared with the estimated time of one point."""
HOPELESS = 10
"""Number of failed runs after which a search in which no run has finished gives up."""


@dataclass(frozen=True)
class FrontSoFar:
    """The state of a search for its progress line. The hypervolume is in accuracy times doublings of each cost."""

    proposed: int
    finalists: int
    front: int
    best: float
    volume: float

    @property
    def text(self) -> str:
        """A short description of the front."""
        if not self.finalists:
            return f"{self.proposed} points, none at the top rung yet"
        return f"{self.front} of {self.finalists} on the front, hypervolume {self.volume:.2f}, best {self.best:.1%}"


class SearchWatcher(Watcher):
    """Follows the progress of a search."""

    def search(self, study: Study, budget: SearchBudget, workers: int) -> None:
        """Note that training starts."""

    def front(self, found: FrontSoFar) -> None:
        """Note the front after a run has ended."""


def run_search(
    study: Study,
    budget: SearchBudget,
    *,
    storage: str | Path = DEFAULT_STORAGE,
    data_dir: str | Path | None = None,
    resources: Resources = HERE,
    command: str = "",
    watcher: SearchWatcher | None = None,
) -> StudyRecord:
    """Search until the budget is spent, store each proposal and run, and return the study's record.

    A stored search with the same name and settings is continued. Stored runs of any study are reused.

    Raises:
        ExplorerError: As for `run_studies`; also if no design is within the limits, or the budget is too small for one
            point to reach the top rung.
        KeyboardInterrupt: The watcher asked to stop.
    """
    following = SearchWatcher() if watcher is None else watcher
    ledger = Ledger(storage, create=True)
    find_source(study.data, data_dir)  # reject unknown data before any message
    following.doing(f"preparing {study.data} data")
    ready = prepare_study(study, data_dir)
    processes = resources.count()
    for note in ready.notes:
        following.note(note)
    with ledger.writing():
        named = ledger.studies.claim(ready.study, ready.dataset.fingerprint)
        if named.name != study.name:
            following.note(f"another study named {study.name} is stored; this one is {named.name}")
        jobs = _SearchJobs(named, ready, budget, ledger, processes)
        if jobs.outdated:
            following.note(
                f"{named.name}: {counted(jobs.outdated, 'stored run')} had different versions of torch or the training "
                "code; results are not mixed, so their points are trained again"
            )
        if budget.spent >= 1:
            following.note(f"{named.name}: its budget is spent: {jobs.used}; give a larger one to go on")
            return ledger.studies.load(named.name)
        _check_budget(jobs, budget)
        ledger.searches.open(named, ready.dataset.fingerprint, provenance(command, ready.dataset, named.budget))
        following.search(named, budget, processes)
        budget.start()
        outcomes = execute(
            SharedJobs(jobs, ledger, jobs.ended),
            ready.dataset.folder,
            **resources.options(processes),
            prepare=ready.source.prepare,
            watcher=following,
            call=perform_with_trunks,
        )
        with LiveView.open(ledger, named, jobs.policy.points) as view, closing(outcomes):
            for outcome in outcomes:
                jobs.ended(outcome)
                view.update()
                following.ended(outcome)
                following.front(jobs.front())
        ledger.searches.decline(named, jobs.policy.declined)
        following.finished()
        if following.stopping():
            raise KeyboardInterrupt
        if budget.spent < 1:
            following.note(f"{named.name}: {jobs.rest}; used: {jobs.used}")
        return ledger.studies.load(named.name)


class _SearchJobs(Jobs):
    """The runs of a search, decided one at a time by its policy."""

    def __init__(self, study: Study, ready: PreparedStudy, budget: SearchBudget, ledger: Ledger, workers: int) -> None:
        from explorer.training.trainer import numerics

        super().__init__()
        assert isinstance(study.form, Search)
        self.study = study
        self.fingerprint = ready.dataset.fingerprint
        self.image_size = ready.dataset.size
        self.budget = budget
        self.ledger = ledger
        self.workers = workers
        self.rungs = rung_budgets(study)
        self.numerics: Numerics = numerics()
        self.takes = rung_images(study)
        axes, table = study.form.search_axes, study.form.search
        self.policy = Policy(
            table,
            SpaceDesigns(study, len(ready.dataset.classes)),
            Sampler(table.sampler, axes, len(table.costs), table.seed),
            self.takes,
            guess=ready.counts.guess,
            seeds=study.seeds,
            validation_images=study.budget.validation,
        )
        self.flying: dict[str, Step] = {}
        self.again: deque[Step] = deque()
        self.dry = False
        self.done = self.lost = self.outdated = 0
        self._resume()

    @property
    def used(self) -> str:
        """The part of the budget that is used."""
        return f"{self.budget.used_runs:,} runs, {self.budget.used_images:,} training images"

    @property
    def finished(self) -> bool:
        """Whether the budget is spent, or there is nothing left to train."""
        return self.budget.spent >= 1 or (self.dry and not self.flying)

    @property
    def rest(self) -> str:
        """Why the search ends although some of its budget is left."""
        if self.policy.exhausted:
            return "all designs within its ranges and limits have been tried"
        if self.budget.images_left(self.workers) < sum(self.takes):
            return "what is left of its budget is too little for another point"
        return "no other design can be expected on the front"

    def take(self) -> Job | None:
        """Return the next run to train. Stored runs of other studies are reused without training."""
        while self.budget.spent < 1 and not self.dry:
            step = self._next()
            if step is None:
                self.dry = True
                return None
            run = self._run(step)
            place = RungRun(step.point.number, step.seed, run.budget.epochs, run.key)
            self.ledger.searches.enlist(self.study, place)
            stored = self.ledger.runs.results([run.key]).get(run.key)
            trained = stored is not None and stored.final
            self.budget.take(self._cost(step), earlier=trained)
            if stored is None or not stored.final:
                self.flying[run.key] = step
                return (run,)
            self.policy.record(step, stored.accuracy)
        return None

    def ended(self, outcome: Outcome) -> None:
        """Record a run's result.

        Raises:
            ExplorerError: Many runs of this call have failed and none has finished, so the points are not the cause.
        """
        self.dry = False
        self.policy.record(self.flying.pop(outcome.run.key), outcome.row.get("accuracy"))
        if outcome.state == "done":
            self.done += 1
        else:
            self.lost += 1
        if self.lost >= HOPELESS and not self.done:
            raise ExplorerError(
                f"{self.study.name}: the first {self.lost} runs failed, the last one with: {outcome.row['reason']}; "
                f"`explorer status {self.study.name}` shows all"
            )

    def front(self) -> FrontSoFar:
        """Return the state of the search."""
        policy = self.policy
        top = policy.finalists()
        points = np.array([[-float(np.mean(at.seeds)), *at.costs] for at in top]).reshape(
            len(top), 1 + len(policy.table.costs)
        )
        corner = policy.reference()
        corner[0] = -corner[0]
        inside = points[(points < corner).all(axis=1)] if len(points) else points
        return FrontSoFar(
            proposed=len(policy.points),
            finalists=len(top),
            front=int(moocore.is_nondominated(points).sum()) if len(points) else 0,
            best=max((float(np.mean(at.seeds)) for at in top), default=math.nan),
            volume=float(moocore.hypervolume(inside, ref=corner)) if len(inside) else 0.0,
        )

    def run_at_top(self) -> Run:
        """Return a run of the first proposal at the top rung, to estimate the time of one point."""
        point = self.policy.designs.point(0, self.policy.first[0])
        assert point.network is not None
        return self._run(Step(point, self.policy.top))

    def _next(self) -> Step | None:
        """Return a step that an earlier call started, or the policy's next step; None if none fits the budget."""
        left = self.budget.images_left(self.workers)
        for step in self.again:
            if self._cost(step) <= left:
                self.again.remove(step)
                return self.policy.begin(step)
        known = len(self.policy.points)
        found = self.policy.next(self.budget.spent, left)
        for at in self.policy.points[known:]:
            self.ledger.searches.propose(self.study, at.point, self.image_size)
        self.ledger.searches.decline(self.study, self.policy.declined)
        return found

    def _run(self, step: Step) -> Run:
        assert step.point.network is not None
        budget = self.rungs[step.rung]
        return Run(step.point.network, self.fingerprint, self.study.recipe, budget, step.seed, self.numerics)

    def _cost(self, step: Step) -> int:
        return self.study.recipe.images_trained(self.rungs[-1:]) if step.seed else self.takes[step.rung]

    def _resume(self) -> None:
        """Load the points and results of earlier calls. Runs that did not end will be trained first."""
        rungs = {one.epochs: rung for rung, one in enumerate(self.rungs)}
        searches, policy = self.ledger.searches, self.policy
        policy.declined.update(searches.declined(self.study))
        proposed = searches.proposed(self.study)
        for number, values in enumerate(proposed):
            policy.add(policy.designs.point(number, values), {})
        policy.skip(proposed)
        earlier = searches.runs(self.study)
        results = self.ledger.runs.results([run.key for run in earlier])
        started = set()
        for run in earlier:
            step = Step(policy.points[run.point].point, rungs.get(run.epochs, 0), run.seed)
            if run.epochs not in rungs or run.key != self._run(step).key:
                searches.withdraw(self.study, run)
                self.outdated += 1
                continue
            started.add(run.point)
            result = results.get(run.key)
            if result is None or not result.final:
                self.again.append(step)
                continue
            self.budget.take(self._cost(step), earlier=True)
            policy.record(policy.begin(step), result.accuracy)
        self.again.extend(Step(at.point, 0) for at in policy.points if at.point.number not in started)


def _check_budget(jobs: _SearchJobs, budget: SearchBudget) -> None:
    """Raise `ExplorerError` if the budget is too small to train one point."""
    images = sum(jobs.takes)
    if budget.images is not None and budget.images < images:
        raise ExplorerError(
            f"images = {budget.images:,}: one point needs {images:,} to reach the top rung "
            f"({jobs.study.budget.images:,} x {jobs.study.budget.epochs}); give more, or a smaller --budget"
        )
    if budget.runs is not None and budget.runs < len(jobs.rungs):
        raise ExplorerError(
            f"runs = {budget.runs}: one point needs {len(jobs.rungs)} runs, one at each rung; give more"
        )
    if budget.seconds is not None and budget.seconds < BRIEF and not jobs.policy.finalists():
        run = jobs.run_at_top()
        seconds = estimate_seconds([run], 1) * images / run.budget.seen
        if seconds > budget.seconds:
            raise ExplorerError(
                f"time = {budget.seconds:g} s: one point takes about {math.ceil(seconds)} s to reach the top rung "
                f"({jobs.study.budget.short}); give more time, or a smaller --budget"
            )
