"""Retrain a stored run to get its model. The run must reproduce its stored results."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from explorer.analysis.verified import verified_networks
from explorer.data import Dataset, Source
from explorer.errors import ExplorerError
from explorer.exporting.choice import called, find_run
from explorer.exporting.data import check_data, data_of
from explorer.machine import isa, torch_threads
from explorer.networks.verification import CostMismatch, verify
from explorer.storage.ledger import Ledger
from explorer.storage.record import StudyRecord
from explorer.storage.runs import StoredRun
from explorer.study.form import DesignPoint
from explorer.sweeping.starting import with_weights
from explorer.training.run import Run
from explorer.training.trainer import RunFailed, Trained, numerics, train_run

WORDS = {"data": "the data", "numerics.training_version": "the version of the training code"}
"""Descriptions for parts of a run's key that do not have self-explanatory names."""
LONGEST = 12  # number of characters to show of a value, such as a digest


@dataclass(frozen=True)
class Task:
    """A stored run that can be retrained."""

    record: StudyRecord
    number: int
    point: DesignPoint
    run: Run
    stored: StoredRun
    source: Source
    dataset: Dataset

    @property
    def called(self) -> str:
        """The study, point and seed in words."""
        return f"{self.record.study.name}, {called(self.record, self.number)}, seed {self.run.seed}"

    def train(self) -> Trained:
        """Train the run with one thread, like a worker of a sweep.

        Raises `ExplorerError` if training fails, or if the accuracy or the correctly classified images differ from the
        stored ones.
        """
        run = self.run
        with torch_threads(1):
            try:
                verify(run.network)
                trained = train_run(run, self.dataset)
            except (RunFailed, CostMismatch) as error:
                raise ExplorerError(
                    f"{self.called}: its stored accuracy is {self.stored.accuracy}, but retraining failed: {error}"
                ) from None
        self._compare(trained)
        return trained

    def _compare(self, trained: Trained) -> None:
        measurement, stored = trained.measurement, self.stored
        if measurement.accuracy != stored.accuracy:
            what = f"the stored validation accuracy is {stored.accuracy}, but retraining gave {measurement.accuracy}"
        elif not np.array_equal(measurement.correct, stored.correct):  # type: ignore[arg-type]  # None is unequal
            what = f"retraining gave the stored validation accuracy, {stored.accuracy}, but got different images right"
        else:
            return
        raise ExplorerError(f"{self.called}: {what}{self._elsewhere()}; nothing was written")

    def _elsewhere(self) -> str:
        """List settings that are not in the key, differ from those of the stored run, and can change the last bits."""
        here = isa()
        there = {key: value for key, value in self.stored.host.items() if key != "name"}
        names = [key for key in {**there, **here} if there.get(key) != here.get(key)]
        told = ", ".join(f"{name} was {there.get(name, 'unset')} and is {here.get(name, 'unset')}" for name in names)
        return f" ({told})" if told else ""


def retraining_task(
    ledger: Ledger,
    record: StudyRecord,
    number: int,
    seed: int,
    data_dir: str | Path | None = None,
    data: str | Path | None = None,
) -> Task:
    """Prepare to retrain a finished run. Reading its data can take minutes the first time.

    `data` is the current folder of the study's images, if it has moved.

    Raises `ExplorerError` if the run has not finished. If its key would be different now, the error lists all
    differences.
    """
    key = find_run(record, number, seed)
    stored = ledger.runs.find(key)
    assert stored is not None  # it is done
    study = record.study
    study.form.check_installed()
    source = data_of(record, data, data_dir)
    network = verified_networks(record, [number]).networks.get(number)
    if network is None:
        raise ExplorerError(
            f"{study.name}, {called(record, number)}: the code has changed and builds a different network from the one "
            "that was trained; sweep the study again"
        )
    dataset = source.prepare()
    check_data(record, dataset, data)
    point = list(study.design_points())[number]
    run = Run(network, dataset.fingerprint, study.recipe, study.budget, seed, numerics())
    run = study.form.planned(run, point.metaparameters, run).run
    if run.treatment is not None:
        # Found by the key in the stored settings, so that the data of the first training are not needed.
        run = run.like(treatment=replace(run.treatment, source=stored.settings["treatment"]["source"]))
    if run.key != key:
        differences = "; ".join(_differences(stored.settings, run.settings)) or "the format of keys"
        raise ExplorerError(
            f"{study.name}, {called(record, number)}, seed {seed} would be a different run now: {differences}"
        )
    return Task(record, number, point, with_weights(run, ledger), stored, source, dataset)


def _differences(stored: Mapping[str, Any], here: Mapping[str, Any], path: str = "") -> Iterator[str]:
    """Yield a description of each setting that differs, with both values."""
    for name in {**stored, **here}:
        there, now = stored.get(name), here.get(name)
        inner = f"{path}.{name}" if path else name
        if isinstance(there, Mapping) and isinstance(now, Mapping):
            yield from _differences(there, now, inner)
        elif there != now:
            yield f"{WORDS.get(inner, inner)} was {str(there)[:LONGEST]} and is {str(now)[:LONGEST]}"
