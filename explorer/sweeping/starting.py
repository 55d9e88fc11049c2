"""Train the weights that runs start from, and hand them to the runs."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from explorer.errors import ExplorerError
from explorer.storage.ledger import Ledger
from explorer.study.model import Study
from explorer.sweeping.rounds import jobs_in_order
from explorer.sweeping.sharing import SharedJobs
from explorer.training.engine import EngineWatcher, Jobs, Outcome, execute
from explorer.training.performing import Job, perform_keeping_weights
from explorer.training.run import Run


class Starting(Jobs):
    """Jobs whose runs get the weights that they start from when they are taken."""

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
        return job and tuple(with_weights(run, self.ledger) for run in job)

    def tend(self) -> None:
        """Tend the jobs."""
        self.jobs.tend()


def with_weights(run: Run, ledger: Ledger) -> Run:
    """Return a run with the stored weights that it starts from; raise `ExplorerError` if they are not stored."""
    if run.treatment is None:
        return run
    weights = ledger.weights.find(run.treatment.source)
    if weights is None:
        raise ExplorerError(
            f"the weights {run.treatment.source[:12]} that the run starts from are not stored; sweep its study again"
        )
    return run.like(treatment=run.treatment.starting_from(weights))


class SourceWatcher(EngineWatcher):
    """Follows the training of weights. The base class ignores everything."""

    def prepared(self, outcome: Outcome) -> None:
        """Note a run that has ended and whose weights are stored."""


def train_sources(
    sources: Mapping[str, Run],
    ledger: Ledger,
    dataset_folder: Path,
    options: Mapping[str, Any],
    watcher: SourceWatcher,
) -> None:
    """Train the runs whose weights are missing, and store the runs and their weights.

    Raises:
        ExplorerError: A run failed, so the runs that need its weights cannot start.
    """
    troubles: list[str] = []

    def ended(outcome: Outcome) -> None:
        watcher.prepared(outcome)
        if outcome.state != "done":
            network = outcome.run.network.digest[:12]
            troubles.append(f"network {network}, seed {outcome.run.seed}: {outcome.row['reason']}")

    shared = SharedJobs(Jobs(jobs_in_order((run,) for run in sources.values())), ledger, ended)
    outcomes = execute(shared, dataset_folder, **options, watcher=watcher, call=perform_keeping_weights)
    with closing(outcomes):
        for outcome in outcomes:
            ended(outcome)
    if troubles:
        raise ExplorerError(f"the weights to start from could not be trained: {troubles[0]}")


def missing_sources(sources: Mapping[str, Run], needed: set[str], ledger: Ledger) -> dict[str, Run]:
    """Return the runs to train because their weights are needed and not stored."""
    stored = ledger.weights.stored(needed)
    return {key: run for key, run in sources.items() if key in needed - stored}


def store_exported(study: Study, needed: set[str], ledger: Ledger) -> None:
    """Store the weights of an exported folder that a study starts from; raise `ExplorerError` if they have changed."""
    for key, content in study.form.exported_weights(needed - ledger.weights.stored(needed)).items():
        ledger.weights.record(key, content)
