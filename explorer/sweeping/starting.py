"""Train the weights that runs start from, and hand them to the runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import closing
from pathlib import Path
from typing import Any

from explorer.errors import ExplorerError
from explorer.storage.ledger import Ledger
from explorer.study.model import Study
from explorer.sweeping.rounds import jobs_in_order
from explorer.training.engine import EngineWatcher, Jobs, Outcome, execute
from explorer.training.performing import Job, perform_keeping_weights
from explorer.training.run import Run


class Starting(Jobs):
    """Jobs whose runs get the weights that they start from when they are taken.

    A run whose weights could not be trained starts without them, which its worker records as a crash.
    """

    def __init__(self, jobs: Jobs, ledger: Ledger) -> None:
        super().__init__()
        self.jobs = jobs
        self.ledger = ledger

    @property
    def finished(self) -> bool:
        """Whether there will be no more jobs."""
        return self.jobs.finished

    def take(self) -> Job | None:
        """Return the next job, or None."""
        job = self.jobs.take()
        return job and tuple(_loaded(run, self.ledger) for run in job)

    def tend(self) -> None:
        """Tend the jobs."""
        self.jobs.tend()


def _loaded(run: Run, ledger: Ledger) -> Run:
    if run.treatment is None:
        return run
    return run.like(treatment=run.treatment.starting_from(ledger.weights.find(run.treatment.source) or b""))


def with_weights(run: Run, ledger: Ledger) -> Run:
    """Return a run with the stored weights that it starts from; raise `ExplorerError` if they are not stored."""
    loaded = _loaded(run, ledger)
    if loaded.treatment is not None and not loaded.treatment.weights:
        raise ExplorerError(
            f"the weights {loaded.treatment.source[:12]} that the run starts from are not stored; sweep its study again"
        )
    return loaded


class SourceWatcher(EngineWatcher):
    """Follows the training of weights. The base class ignores everything."""

    def prepared(self, outcome: Outcome) -> None:
        """Note a run that has ended and whose weights are stored."""


class Sources(Jobs):
    """The runs that train weights. Several commands may train the same ones, with the same result.

    A stored result is never replaced: of a run that other studies have, only the weights are new.
    """

    def __init__(self, runs: Sequence[Run], ledger: Ledger) -> None:
        super().__init__(jobs_in_order((run,) for run in runs))
        self.ledger = ledger

    def tend(self) -> None:
        """Keep this command's locks."""
        self.ledger.keep()

    def store(self, outcomes: Sequence[Outcome]) -> None:
        """Store results that are not stored, and weights of runs that are not contradicted by a stored result."""
        results = self.ledger.runs.results([outcome.run.key for outcome in outcomes])
        for outcome in outcomes:
            stored = results.get(outcome.run.key)
            if stored is None or not stored.final:
                self.ledger.runs.record(outcome.row)
            elif outcome.state == "done" and stored.accuracy == outcome.row["accuracy"]:
                self.ledger.weights.record(outcome.run.key, outcome.row["weights"])


def train_sources(
    sources: Mapping[str, Run],
    ledger: Ledger,
    dataset_folder: Path,
    options: Mapping[str, Any],
    watcher: SourceWatcher,
) -> None:
    """Train the runs whose weights are missing, and store the runs and their weights."""
    jobs = Sources(list(sources.values()), ledger)
    outcomes = execute(jobs, dataset_folder, **options, watcher=watcher, call=perform_keeping_weights)
    with closing(outcomes):
        for outcome in outcomes:
            watcher.prepared(outcome)


def missing_sources(sources: Mapping[str, Run], needed: AbstractSet[str], ledger: Ledger) -> dict[str, Run]:
    """Return the runs to train because their weights are needed and not stored, without those that failed for good."""
    wanted = needed - ledger.weights.stored(needed)
    failed = {key for key, result in ledger.runs.results(sorted(wanted)).items() if result.state == "failed"}
    return {key: run for key, run in sources.items() if key in wanted - failed}


def store_exported(study: Study, exported: AbstractSet[str], runs: Sequence[Run], ledger: Ledger) -> None:
    """Store the exported weights that a study starts from, given their keys and its runs.

    Raises `ExplorerError` if they have changed, or are not those of a network of the study.
    """
    from explorer.training.transfer import check_weights, read_weights

    stored = ledger.weights.stored(exported)
    found = study.form.exported_weights(exported - stored)
    for key in sorted(exported):
        weights = read_weights(found.get(key) or ledger.weights.find(key) or b"")
        for network in {run.network.digest: run.network for run in runs}.values():
            check_weights(network, weights, head=False)
    for key, content in found.items():
        ledger.weights.record(key, content)
