"""A stored run trained again, for its model: the stored measurement must come back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from explorer.analysis.verified import verified_networks
from explorer.data import Dataset, Source, find_source
from explorer.errors import ExplorerError
from explorer.exporting.choice import called, find_run
from explorer.machine import isa, torch_threads
from explorer.networks.verification import CostMismatch, verify
from explorer.storage.ledger import Ledger
from explorer.storage.record import StudyRecord
from explorer.storage.runs import StoredRun
from explorer.study.forms import DesignPoint
from explorer.training.run import Run
from explorer.training.trainer import RunFailed, Trained, numerics, train

WORDS = {"data": "the data", "numerics.training_version": "the version of the training code"}
"""What parts of a run's key are called where their own name would not say it."""
LONGEST = 12  # characters of a value that are shown, which is enough of a digest


@dataclass(frozen=True)
class Task:
    """A stored run that can be trained again here: what it was, and what it is made of."""

    record: StudyRecord
    number: int
    point: DesignPoint
    run: Run
    stored: StoredRun
    source: Source
    dataset: Dataset

    @property
    def called(self) -> str:
        """The study, the point and the seed in words."""
        return f"{self.record.study.name}, {called(self.record, self.number)}, seed {self.run.seed}"

    def train(self) -> Trained:
        """Trains the run as a worker of a sweep does, with one thread.

        Raises `ExplorerError` where it fails, or where the validation accuracy, or any validation image, does not come back.
        """
        run = self.run
        with torch_threads(1):
            try:
                verify(run.network)
                trained = train(run.network, self.dataset, run.recipe, run.budget, run.seed, run.numerics)
            except (RunFailed, CostMismatch) as error:
                raise ExplorerError(
                    f"{self.called}: stored with the accuracy {self.stored.accuracy}, but trained again it failed: {error}"
                ) from None
        self._compare(trained)
        return trained

    def _compare(self, trained: Trained) -> None:
        measurement, stored = trained.measurement, self.stored
        if measurement.accuracy != stored.accuracy:
            what = (
                f"the stored validation accuracy is {stored.accuracy}, but trained again it is {measurement.accuracy}"
            )
        elif not np.array_equal(measurement.correct, stored.correct):  # type: ignore[arg-type]  # None is unequal
            what = f"the stored validation accuracy, {stored.accuracy}, comes back, but not for the same images"
        else:
            return
        raise ExplorerError(f"{self.called}: {what}{self._elsewhere()}; nothing is written")

    def _elsewhere(self) -> str:
        """What beyond its key was different where the run was done, and can change its last bits."""
        here = isa()
        there = {key: value for key, value in self.stored.host.items() if key != "name"}
        names = [key for key in {**there, **here} if there.get(key) != here.get(key)]
        told = ", ".join(
            f"{name} {there.get(name, 'unset')} there and {here.get(name, 'unset')} here" for name in names
        )
        return f" ({told})" if told else ""


def retraining_task(ledger: Ledger, record: StudyRecord, number: int, seed: int, data_dir: Path | None = None) -> Task:
    """Makes a done run again from its study, up to the training; reads its data, which may take minutes the first time.

    Raises `ExplorerError` where it is not done, or where here it would be another run, with all that differs.
    """
    key = find_run(record, number, seed)
    stored = ledger.runs.find(key)
    assert stored is not None  # it is done
    study = record.study
    source = find_source(study.data, data_dir)
    network = verified_networks(record, [number]).networks.get(number)
    if network is None:
        raise ExplorerError(
            f"{study.name}, {called(record, number)}: the code has changed since, and its network is not the one that was "
            "trained; sweep the study again"
        )
    dataset = source.prepare()
    run = Run(network, dataset.fingerprint, study.recipe, study.budget, seed, numerics())
    if run.key != key:
        differences = "; ".join(_differences(stored.settings, run.settings)) or "the way that keys are made"
        raise ExplorerError(
            f"{study.name}, {called(record, number)}, seed {seed} would be another run here: {differences}"
        )
    return Task(record, number, list(study.design_points())[number], run, stored, source, dataset)


def _differences(stored: Mapping[str, Any], here: Mapping[str, Any], path: str = "") -> Iterator[str]:
    """Each setting that is not the same, with both of its values."""
    for name in {**stored, **here}:
        there, now = stored.get(name), here.get(name)
        inner = f"{path}.{name}" if path else name
        if isinstance(there, Mapping) and isinstance(now, Mapping):
            yield from _differences(there, now, inner)
        elif there != now:
            yield f"{WORDS.get(inner, inner)} was {str(there)[:LONGEST]} and is {str(now)[:LONGEST]}"
