"""Export a stored run: retrain it, test it once, and write the network and results to files."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from explorer.data.held_out import NoTestImages
from explorer.errors import ExplorerError
from explorer.exporting.bundle import (
    BEST,
    FACTS,
    ONNX,
    best_file,
    best_points,
    facts_file,
    network_files,
    opening_of,
    preparing,
    read_test,
    run_facts,
)
from explorer.exporting.choice import best_point, find_point, find_run
from explorer.exporting.readme import README, may_write_readme, readme_file
from explorer.exporting.retraining import Task, retraining_task
from explorer.files import check_folder, user_path, write_files
from explorer.storage.ledger import DEFAULT_STORAGE, Ledger
from explorer.training.trainer import Trained
from explorer.training.treatments import Store


@dataclass(frozen=True)
class Export:
    """An exported run.

    Attributes:
        folder: The folder with the files.
        files: The names of the files.
        facts: The content of `export.json`: the run with its point, accuracies, data and settings.
        best: The most accurate points of the study, which are also in `best.csv`.
        test: When the model was evaluated on the test images, or the reason why it was not.
        tests: Number of runs of the study that have been tested.
        onnx_obstacle: The reason why there is no `network.onnx`; empty if there is one.
    """

    folder: Path
    files: tuple[str, ...]
    facts: Mapping[str, Any]
    best: pd.DataFrame
    test: str
    tests: int
    onnx_obstacle: str


def export(
    study: str,
    *,
    point: str | None = None,
    seed: int = 0,
    best: int = 10,
    out: str | Path | None = None,
    storage: str | Path = DEFAULT_STORAGE,
    data_dir: str | Path | None = None,
    data: str | Path | None = None,
    keep_test: bool = False,
    before_training: Callable[[Task], None] | None = None,
) -> Export:
    """Write the network of a run to a folder as Python code, weights and ONNX, together with its results.

    The run is retrained and must reproduce its stored validation accuracy. The model is then evaluated on the test
    images. This happens only once: the test accuracy is stored, and later exports of the run show the stored value. If
    the storage is read-only, the test images are not read.

    Args:
        study: Name of a stored study.
        point: Number or label of the point; by default, the most accurate one.
        seed: Seed of the run.
        best: Number of rows in the table of the most accurate points.
        out: The folder; by default, `export/STUDY-pointN-seedM`.
        storage: SQLite file or database URL.
        data_dir: Folder with the files of CIFAR-10.
        data: The current folder of the study's images, if it has moved.
        keep_test: Leave the test images unread.
        before_training: Called with the run before training.

    Raises:
        ExplorerError: The study or point is unknown, the run has not finished, or retraining does not reproduce its
            stored accuracy.
    """
    ledger = Ledger(storage)
    record = ledger.studies.load(study)
    number = best_point(record) if point is None else find_point(record, point)
    key = find_run(record, number, seed)
    folder = user_path(out) if out is not None else Path("export") / f"{study}-point{number}-seed{seed}"
    check_folder(folder)
    task = retraining_task(ledger, record, number, seed, data_dir, data)
    if isinstance(task.run.treatment, Store) and task.run.treatment.coding == "int8":
        raise ExplorerError(
            f"{task.called}: is an int8 file, not torch weights; `explorer compress {study}:{number} --int8` writes it"
        )
    keep_test = keep_test or ledger.read_only
    with nullcontext() if keep_test or ledger.tests.find(key) else _testing(ledger, study, key):
        if before_training is not None:
            before_training(task)
        trained = task.train()
        facts = run_facts(task, trained)
        files, obstacle = network_files(task.run.network, trained, preparing(task, trained), opening_of(task, facts))
        test, note = _test(ledger, task, trained, keep_test)
    facts["test"] = None if test is None else {name: test[name] for name in ("accuracy", "images", "finished")}
    table = best_points(record, best)
    files |= {FACTS: facts_file(facts), BEST: best_file(table)}
    if may_write_readme(folder):
        files[README] = readme_file(facts, files)
    write_files(files, folder)
    if obstacle:
        # An older file from another run must not look like part of this export.
        (folder / ONNX).unlink(missing_ok=True)
    return Export(folder, tuple(files), facts, table, note, len(ledger.tests.of(study)), obstacle)


@contextmanager
def _testing(ledger: Ledger, study: str, key: str) -> Iterator[None]:
    """Hold locks so that no other export tests the same run."""
    with ledger.writing(study):
        if not ledger.claim([key]):
            raise ledger.error("another explorer command is testing this run; wait, or use --keep-test")
        yield


def _test(ledger: Ledger, task: Task, trained: Trained, keep: bool) -> tuple[Mapping[str, Any] | None, str]:
    """Return the stored test result and a note on it. If there is none, test the model now unless `keep` is set."""
    stored = ledger.tests.find(task.run.key)
    if stored is not None:
        return stored, f"read on {stored['finished']}, not again"
    if keep:
        reason = ", because the storage is read-only" if ledger.read_only else ""
        return None, f"test images: left unread{reason}"
    try:
        return read_test(ledger, task, trained), "read now, for the only time"
    except NoTestImages as error:
        return None, str(error)
