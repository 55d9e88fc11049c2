"""Sweeps, which train the runs of studies that are not stored yet."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import ExitStack, closing
from pathlib import Path

from explorer.analysis.looks import FIRST_LOOK
from explorer.data import find_source
from explorer.errors import ExplorerError
from explorer.machine import collection_paused
from explorer.storage.ledger import DEFAULT_STORAGE, Ledger
from explorer.storage.record import StudyRecord
from explorer.storage.runs import Result
from explorer.study.model import Study
from explorer.sweeping.planned import check_images, planned_runs, sources_of
from explorer.sweeping.preparation import PreparedStudy, prepare_study, reject_search
from explorer.sweeping.provenance import provenance
from explorer.sweeping.resources import HERE, Resources
from explorer.sweeping.rounds import Rounds, jobs_in_order
from explorer.sweeping.sharing import SharedJobs
from explorer.sweeping.starting import SourceWatcher, Starting, missing_sources, store_exported, train_sources
from explorer.sweeping.views import Views
from explorer.training.engine import Jobs, Outcome, execute
from explorer.training.performing import Job
from explorer.training.run import Run


class Watcher(SourceWatcher):
    """Follows the progress of a sweep. The base class ignores everything."""

    def note(self, text: str) -> None:
        """Tell the user something important about the data or the budget."""

    def begin(self, study: Study, runs: Sequence[Run], stored: Sequence[Result], workers: int) -> None:
        """Note the runs to train, the stored results of the others, and the number of workers."""

    def ended(self, outcome: Outcome) -> None:
        """Note a run that has ended and is stored."""

    def more(self, runs: Sequence[Run]) -> None:
        """Note further runs to train, whose need depends on earlier results."""

    def finished(self) -> None:
        """Note that training has ended."""


def run_studies(
    studies: Sequence[Study],
    *,
    storage: str | Path = DEFAULT_STORAGE,
    data_dir: str | Path | None = None,
    resources: Resources = HERE,
    command: str = "",
    again: Collection[str] = (),
    watcher: Watcher | None = None,
) -> list[StudyRecord]:
    """Train the missing runs of studies, store each run as it ends, and return the records of the studies.

    The studies have the same points and growing budgets. A worker trains a point and seed at all budgets in one job.
    Stored runs of any study are reused. Failed runs are final, but crashed runs are retried. An interruption loses only
    the runs in progress. `again` has the keys of stored runs to delete and train again.

    Raises:
        ExplorerError: The data set is unknown or cannot be read, another process is writing to the storage, or no
            worker can be started.
        KeyboardInterrupt: The watcher asked to stop before all runs had ended.
    """
    reject_search(studies[0])
    following = Watcher() if watcher is None else watcher
    ledger = Ledger(storage, create=True)
    find_source(studies[0].data, data_dir, beside=studies[0].form.source_data)  # reject unknown data before any message
    following.doing(f"preparing {studies[0].data} data")
    processes = resources.count()
    ready = prepare_study(studies[0], data_dir)
    points, dataset = ready.points, ready.dataset
    fitted = [_like(ready.study, study, studies[0]) for study in studies]
    for note in ready.notes:
        following.note(note)
    with ledger.writing(), ExitStack() as opened:
        sources: dict[str, Run] = {}
        enlisted = [_enlist(study, ready, ledger, command, again, sources) for study in fitted]
        for study, (named, _) in zip(fitted, enlisted, strict=True):
            if named.name != study.name:
                following.note(f"another study named {study.name} is stored; this one is {named.name}")
        ledger.runs.delete(sorted(again))
        rounds = Rounds(ledger, *enlisted[0]) if studies[0].until_decided else None
        if rounds and rounds.finished:
            enlisted = [(enlisted[0][0], rounds.asked)]
        asked = [rounds.asked] if rounds else [runs for _, runs in enlisted]
        results = ledger.runs.results([run.key for _, runs in enlisted for run in runs.values()])
        wanted = {run.key for runs in asked for run in runs.values()}
        final = {key: result for key, result in results.items() if key in wanted and result.final}
        jobs = list(rounds.waiting) if rounds else _jobs(asked, final.keys())
        waiting = [run for job in jobs for run in job]
        expected = [run for _, runs in enlisted for run in runs.values()] if rounds else waiting
        needed = {run.treatment.source for run in expected if run.treatment and run.key not in final}
        store_exported(fitted[0], needed - sources.keys(), [run for run in expected if run.treatment], ledger)
        missing = missing_sources(sources, needed, ledger)
        following.begin(enlisted[0][0], [*missing.values(), *waiting], list(final.values()), processes)
        views = opened.enter_context(Views.open(ledger, enlisted, points, results))
        left = sum(map(len, jobs))

        def ended(outcome: Outcome) -> None:
            nonlocal left
            left -= 1
            views.ended(outcome)
            following.ended(outcome)
            if rounds and (further := rounds.ended(outcome.run)):
                left += len(further)
                following.more(further)

        train_sources(
            missing,
            ledger,
            (ready.origin or dataset).folder,
            resources.options(min(processes, len(missing))),
            following,
        )
        outcomes = execute(
            SharedJobs(Starting(rounds or Jobs(jobs), ledger), ledger, ended),
            dataset.folder,
            **resources.options(processes if rounds else min(processes, len(jobs))),
            prepare=ready.source.prepare,
            started=views.started,
            watcher=following,
        )
        for outcome in opened.enter_context(closing(outcomes)):
            ended(outcome)
        if rounds and rounds.finished:
            views.keep({run.key for run in rounds.asked.values()})
        following.finished()
        if left and following.stopping():
            raise KeyboardInterrupt
        with collection_paused():
            return [ledger.studies.load(study.name) for study, _ in enlisted]


def _like(fitted: Study, study: Study, first: Study) -> Study:
    """Fit a study with a larger budget like the first one, keeping its epochs the same multiple."""
    factor = study.budget.epochs // first.budget.epochs
    return study.model_copy(update={"recipe": fitted.recipe, "budget": fitted.budget.times(factor)})


@collection_paused()
def _enlist(
    study: Study,
    ready: PreparedStudy,
    ledger: Ledger,
    command: str,
    again: Collection[str],
    sources: dict[str, Run],
) -> tuple[Study, dict[tuple[int, int], Run]]:
    """Store a study under its own or an unused name. Return it and its runs by (point, seed).

    The runs that train weights are added to `sources`.
    """
    dataset = ready.dataset
    planned = planned_runs(study, ready.points, dataset.fingerprint, ready.recipe, ready.origin)
    check_images(planned, dataset, ready.origin)
    named = ledger.studies.claim(study, dataset.fingerprint)
    runs = {place: one.run for place, one in planned.items()}
    sources |= sources_of(planned)
    keys = {place: run.key for place, run in runs.items() if place[1] < FIRST_LOOK or not named.until_decided}
    if not set(again) <= {run.key for run in runs.values()}:
        raise ExplorerError(
            f"{study.name}: the images, torch or the training code have changed since its runs failed, so these cannot "
            "be trained again; `explorer sweep` trains the whole study again"
        )
    known = provenance(command, dataset, named.budget)
    started_from = {run.treatment.source for run in runs.values() if run.treatment}
    ledger.studies.save(named, dataset.fingerprint, ready.points, keys, known, sorted(started_from))
    return named, runs


def _jobs(planned: Sequence[Mapping[tuple[int, int], Run]], final: Collection[str]) -> list[Job]:
    jobs = [tuple(run for run in (runs[place] for runs in planned) if run.key not in final) for place in planned[0]]
    return jobs_in_order(filter(None, jobs))
