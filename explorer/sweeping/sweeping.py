"""A sweep: all that a study asks for and the ledger does not hold yet is trained, and the results are stored."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from contextlib import closing
from importlib.metadata import version
from pathlib import Path
from typing import Protocol

from explorer.data import Dataset, find_source
from explorer.errors import ExplorerError
from explorer.machine import processor
from explorer.storage.ledger import DEFAULT_STORAGE, Ledger, Provenance, Result
from explorer.storage.optuna_view import View
from explorer.storage.record import StudyRecord
from explorer.study.model import Study
from explorer.study.plan import Point, plan
from explorer.sweeping.provenance import commit
from explorer.training.engine import Outcome, execute
from explorer.training.run import Run

PACKAGES = ("torch", "numpy", "pandas", "optuna", "distributed", "fvcore", "matplotlib", "seaborn")


class Watcher(Protocol):
    """What is told of a sweep's progress."""

    def begin(self, study: Study, runs: Sequence[Run], stored: Sequence[Result]) -> None:
        """The runs that are to be trained now, and the results of the study's that are stored already."""

    def ended(self, outcome: Outcome) -> None:
        """One of the runs has ended and is stored."""


def default_workers() -> int:
    """One worker for each core that this process may use; one in all where they would share a GPU."""
    import torch

    if torch.cuda.is_available():
        return 1
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def run_study(
    study: Study,
    *,
    storage: str | Path = DEFAULT_STORAGE,
    data_dir: Path | None = None,
    workers: int | None = None,
    command: str = "",
    watcher: Watcher | None = None,
) -> StudyRecord:
    """Trains what is missing of the study, stores every run as it ends, and returns all that is known of the study.

    Runs that any study has measured before are reused; failed runs are final, crashed ones are tried again. Raises
    `ExplorerError` for what the user can mend. An interruption loses the runs in flight only.
    """
    points, ledger, dataset = prepare(study, storage, data_dir)
    with ledger.writing():
        study, runs = enlist(study, points, ledger, dataset, command)
        results = ledger.results([run.key for run in runs.values()])
        final = {key: result for key, result in results.items() if result.final}
        missing = [run for run in _in_order(runs) if run.key not in final]
        if watcher is not None:
            watcher.begin(study, missing, list(final.values()))
        with closing(View(ledger.url, study)) as view:
            standing = Standing(points, runs, results)
            view.sync(standing.settled())
            for outcome in execute([(run,) for run in missing], dataset.folder, workers or default_workers()):
                ledger.record(outcome.row)
                for point in standing.add(outcome):
                    view.add(point, standing.results_of(point))
                if watcher is not None:
                    watcher.ended(outcome)
    return ledger.load(study.name)


def prepare(study: Study, storage: str | Path, data_dir: Path | None) -> tuple[list[Point], Ledger, Dataset]:
    """What a study's training needs: its points, the ledger, and the data, which may take minutes to make."""
    source = find_source(study.data, data_dir)
    points = plan(study, source.class_count)
    ledger = Ledger(storage, create=True)
    dataset = source.prepare()
    check_budget(study, dataset)
    return points, ledger, dataset


def enlist(
    study: Study, points: list[Point], ledger: Ledger, dataset: Dataset, command: str
) -> tuple[Study, dict[tuple[int, int], Run]]:
    """Stores a study, under a name of its own, with the keys of its runs; returns it and these runs by (point, seed)."""
    named = ledger.claim(study, dataset.fingerprint)
    runs = runs_of(named, points, dataset.fingerprint)
    keys = {place: run.key for place, run in runs.items()}
    ledger.save_study(named, dataset.fingerprint, points, keys, provenance(command, dataset.images.shape[1]))
    return named, runs


def check_budget(study: Study, dataset: Dataset) -> None:
    """Raises `ExplorerError` where the study asks for more training images than there are."""
    available = len(dataset.split().train)
    if study.budget.images > available:
        raise ExplorerError(
            f"{study.name}: budget.images = {study.budget.images}: {dataset.name} has {available} training images; "
            f"give --images {available} or less"
        )


def runs_of(study: Study, points: Sequence[Point], data_fingerprint: str) -> dict[tuple[int, int], Run]:
    """The runs of a study by (number of the point, seed)."""
    from explorer.training.trainer import numerics

    using = numerics()
    return {
        (point.number, seed): Run(point.network, data_fingerprint, study.recipe, study.budget, seed, using)
        for point in points
        if point.state == "planned" and point.network is not None
        for seed in range(study.seeds)
    }


def provenance(command: str, image_size: int) -> Provenance:
    """The command, the versions of the code, python and the packages that results depend on, this machine, the size of the images."""
    return Provenance(
        command=command,
        versions={"explorer": version("cnn-design-explorer"), "commit": commit(), "python": platform.python_version()}
        | {package: version(package) for package in PACKAGES},
        machine={
            "system": f"{platform.system()} {platform.machine()}",
            "processor": processor(),
            "cores": str(os.cpu_count()),
        },
        image_size=image_size,
    )


def _in_order(runs: Mapping[tuple[int, int], Run]) -> list[Run]:
    """Seed by seed, so that an interrupted study has a whole curve; the dearest first, so that the cores end together."""
    return sorted(runs.values(), key=lambda run: (run.seed, -run.effort))


class Standing:
    """Which points of a study are settled: not to be trained, or with the results of all their seeds in."""

    def __init__(
        self, points: Sequence[Point], runs: Mapping[tuple[int, int], Run], results: dict[str, Result]
    ) -> None:
        self.points = points
        self.results = results
        self.keys: dict[int, list[str]] = {}
        for (number, _), run in runs.items():
            self.keys.setdefault(number, []).append(run.key)

    def results_of(self, point: Point) -> list[Result]:
        """The results of a point's runs so far; those of the point that it is merged into, where it is."""
        return [self.results[key] for key in self._keys_of(point) if key in self.results]

    def settled(self) -> dict[int, tuple[Point, list[Result]]]:
        """The settled points and their results, by number."""
        return {point.number: (point, self.results_of(point)) for point in self.points if self._is_settled(point)}

    def add(self, outcome: Outcome) -> list[Point]:
        """Takes in how a run ended; returns the points that this settles."""
        row = outcome.row
        self.results[outcome.run.key] = Result(row["state"], row["reason"], row.get("accuracy"))
        touched = [point for point in self.points if outcome.run.key in self._keys_of(point)]
        return [point for point in touched if self._is_settled(point)]

    def _keys_of(self, point: Point) -> list[str]:
        return self.keys.get(point.number if point.same_as is None else point.same_as, [])

    def _is_settled(self, point: Point) -> bool:
        return all(key in self.results and self.results[key].final for key in self._keys_of(point))
