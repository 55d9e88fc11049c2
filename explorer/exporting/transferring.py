"""Transfer a trained network to a person's own images: compare ways to do it, and export the best."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from scipy import stats

from explorer.analysis.accuracies import paired_difference
from explorer.data import Dataset, find_source, is_named
from explorer.errors import ExplorerError
from explorer.exporting.bundle import FACTS, USE, WEIGHTS, docstring, facts_file, network_files
from explorer.exporting.choice import called, find_stored_run
from explorer.exporting.image_sheet import draw_sheet, named_images
from explorer.exporting.preparing import Preparing
from explorer.exporting.retraining import retraining_task
from explorer.files import check_folder, user_path, write_files
from explorer.machine import torch_threads
from explorer.networks.blocks import blocks_of
from explorer.networks.network import Network
from explorer.networks.quantities import main_amounts
from explorer.spaces import find_space
from explorer.spaces.space import label
from explorer.storage.ledger import DEFAULT_STORAGE, Ledger
from explorer.training.recipe import Budget, Recipe
from explorer.training.run import Run
from explorer.training.trainer import RunFailed, Trained, numerics, train_run
from explorer.training.transfer import read_weights, written_weights
from explorer.training.treatments import Transfer

TRANSFER, CONFUSION, SHEET = "transfer.json", "confusion.csv", "images.png"
SHOWN = 12  # images in a row of the sheet
SCRATCH = "from scratch"


Announce: TypeAlias = Callable[[str, int], None]
"""Called with what is trained and the number of images that it sees."""


@dataclass(frozen=True)
class Source:
    """A trained network: what it is called, its space, preset and metaparameters, and its weights (safetensors)."""

    called: str
    space: str
    preset: str
    metaparameters: Mapping[str, Any]
    weights: bytes

    def network(self, classes: int) -> Network:
        """Return the network with a head for a number of classes."""
        return find_space(self.space).point(self.preset, **{**self.metaparameters, "classes": classes}).expand()


@dataclass(frozen=True)
class Transferred:
    """A network trained on a person's images in several ways.

    Attributes:
        folder: The folder with the best one, exported.
        files: The names of its files.
        ways: One row per way: `way`, `frozen` (blocks), `trained_params`, `accuracy` with its 95 % interval from `low`
            to `high` over validation images, `seconds`, and the `difference` to training from scratch with
            `difference_low` and `difference_high`.
        best: The way that was exported.
        confusion: Validation images by class (rows) and by predicted class (columns), of the best way.
        facts: The content of `transfer.json`.
        onnx_obstacle: The reason why there is no `network.onnx`; empty if there is one.
    """

    folder: Path
    files: tuple[str, ...]
    ways: pd.DataFrame
    best: str
    confusion: pd.DataFrame
    facts: Mapping[str, Any]
    onnx_obstacle: str


def transfer(
    data: str | Path,
    source: str | Path,
    *,
    frozen: Sequence[int] = (),
    epochs: int | None = None,
    seed: int = 0,
    out: str | Path | None = None,
    storage: str | Path = DEFAULT_STORAGE,
    data_dir: str | Path | None = None,
    before_training: Announce | None = None,
) -> Transferred:
    """Train a trained network further on other images in several ways, and export the most accurate one.

    The head is replaced by a new one for the classes of the images. The ways are: only the head is trained, all layers
    are trained (those that were trained before at a tenth of the learning rate), and the same network from scratch.

    Args:
        data: A folder of images in class folders, `cifar10` or `proxy`.
        source: An exported folder, or a stored run, STUDY[:POINT[:SEED]] or its key, which is retrained.
        frozen: Further ways: numbers of first blocks to freeze.
        epochs: Epochs of each way; by default, as many as it takes to see 20,000 images.
        seed: Seed of the training.
        out: The folder; by default, `transferred/DATA`.
        storage: SQLite file or database URL of the stored run.
        data_dir: Folder with the files of CIFAR-10.
        before_training: Called before each way with its name and the number of images that it will see.

    Raises:
        ExplorerError: The images or the source cannot be read, its weights do not fit its network, or more blocks are
            frozen than there are.
    """
    if epochs is not None and epochs < 1:
        raise ExplorerError(f"epochs = {epochs}: must be at least 1")
    target = find_source(str(data), data_dir if is_named(str(data)) else None)
    folder = user_path(out) if out is not None else Path("transferred") / re.sub(r"[^\w.-]+", "_", target.name)
    check_folder(folder)
    if (folder / FACTS).exists():
        raise ExplorerError(f"{folder}: has another export ({FACTS}); give another folder with --out")
    dataset = target.prepare()
    trained_source = _source(source, storage, data_dir, before_training)
    network = trained_source.network(len(dataset.classes))
    ways = _ways(network, frozen)
    split = dataset.split()
    budget = Budget() if epochs is None else Budget(images=len(split.train), epochs=epochs)
    budget = budget.fitted(len(split.train), len(split.validation))
    recipe = Recipe(**find_space(trained_source.space).recipe).fitted(budget)
    scratch = Run(network, dataset.fingerprint, recipe, budget, seed, numerics())
    weights = trained_source.weights
    key = hashlib.sha256(weights).hexdigest()
    found: dict[str, Trained] = {}
    for way, count in ways.items():
        if before_training is not None:
            before_training(way, budget.seen)
        try:
            with torch_threads(1):
                run = scratch if count is None else scratch.like(treatment=Transfer(key, count, weights=weights))
                found[way] = train_run(run, dataset)
        except RunFailed as error:
            raise ExplorerError(f"{trained_source.called}, {way}: training failed: {error}") from None
    frame = _frame(found, ways)
    best = str(frame["way"].iloc[int(frame["accuracy"].argmax())])
    facts = _facts(trained_source, network, dataset, found[best], budget, recipe, seed, best, frame)
    confusion = _confusion(dataset, found[best])
    files, obstacle = network_files(
        network, found[best], _preparing(dataset, network, found[best]), _opening(facts, frame)
    )
    files |= {
        TRANSFER: facts_file(facts),
        CONFUSION: confusion.to_csv(lineterminator="\n").encode("utf-8", "backslashreplace"),
        SHEET: _sheet(dataset, found[best], best),
    }
    write_files(files, folder)
    return Transferred(folder, tuple(files), frame, best, confusion, facts, obstacle)


def _ways(network: Network, frozen: Sequence[int]) -> dict[str, int | None]:
    """Return the number of frozen blocks of each way; None for training from scratch."""
    blocks = len(blocks_of(network))
    for count in frozen:
        if not 0 <= count <= blocks:
            raise ExplorerError(f"frozen = {count}: must be 0 to {blocks}, the blocks before the head")
    between = {f"with {count} of {blocks} blocks frozen": count for count in sorted({*frozen}) if 0 < count < blocks}
    return {"only the head": blocks, **between, "all layers": 0, SCRATCH: None}


def _source(source: str | Path, storage: str | Path, data_dir: str | Path | None, announce: Announce | None) -> Source:
    folder = user_path(source)
    if not folder.is_dir():
        return _stored(str(source), storage, data_dir, announce)
    try:
        facts = json.loads((folder / FACTS).read_text(encoding="utf-8"))
        weights = (folder / WEIGHTS).read_bytes()
        read_weights(weights)
        space, preset = facts["space"], facts["preset"]
        # An export lists all metaparameters, but some may only be given if others are not.
        normal = json.loads(json.dumps(find_space(space).point(preset).model_dump()))
        changed = {name: value for name, value in facts["metaparameters"].items() if value != normal.get(name)}
        return Source(f"export {folder.name}", space, preset, changed, weights)
    except (OSError, ValueError, KeyError, TypeError, ExplorerError) as error:
        raise ExplorerError(
            f"{folder}: is not an exported network, which has {FACTS} and {WEIGHTS}: {' '.join(str(error).split())}"
        ) from None


def _stored(run: str, storage: str | Path, data_dir: str | Path | None, announce: Announce | None) -> Source:
    ledger = Ledger(storage)
    record, number, seed = find_stored_run(ledger, run)
    task = retraining_task(ledger, record, number, seed, data_dir)
    study = record.study
    point = study.form.design(task.point.metaparameters)
    if announce is not None:
        announce("the source run again", task.run.budget.seen)
    weights = written_weights(task.train().model)
    return Source(
        f"{study.name}, {called(record, number)}, seed {seed}", study.space, study.preset, study.fixed | point, weights
    )


def _frame(found: Mapping[str, Trained], ways: Mapping[str, int | None]) -> pd.DataFrame:
    scratch = found[SCRATCH].measurement.correct
    rows = []
    for way, trained in found.items():
        correct = trained.measurement.correct
        interval = stats.binomtest(int(correct.sum()), len(correct)).proportion_ci()
        difference = paired_difference(correct, scratch)
        rows.append(
            {
                "way": way,
                "frozen": ways[way],
                "trained_params": sum(one.numel() for one in trained.model.parameters() if one.requires_grad),
                "accuracy": trained.measurement.accuracy,
                "low": float(interval.low),
                "high": float(interval.high),
                "seconds": trained.measurement.seconds,
                "difference": difference.estimate if way != SCRATCH else np.nan,
                "difference_low": difference.low if way != SCRATCH else np.nan,
                "difference_high": difference.high if way != SCRATCH else np.nan,
            }
        )
    return pd.DataFrame(rows).astype({"frozen": "Int64"})


def _facts(
    source: Source,
    network: Network,
    dataset: Dataset,
    trained: Trained,
    budget: Budget,
    recipe: Recipe,
    seed: int,
    best: str,
    frame: pd.DataFrame,
) -> dict[str, Any]:
    return {
        "source": source.called,
        "space": source.space,
        "preset": source.preset,
        "metaparameters": {**source.metaparameters, "classes": len(dataset.classes)},
        **main_amounts(network),
        "data": {"name": dataset.name, "fingerprint": dataset.fingerprint, "classes": dataset.classes},
        "budget": budget.model_dump(),
        "recipe": recipe.model_dump(),
        "seed": seed,
        "best": best,
        "validation_images": len(trained.measurement.correct),
        "ways": frame.astype(object).where(frame.notna(), None).to_dict(orient="records"),
    }


def _preparing(dataset: Dataset, network: Network, trained: Trained) -> Preparing:
    return Preparing(dataset.classes, dataset.size, network.input, trained.mean, trained.deviation)


def _opening(facts: Mapping[str, Any], frame: pd.DataFrame) -> str:
    best = frame[frame["way"] == facts["best"]].iloc[0]
    images = f"{facts['validation_images']:,} images (95 % interval {best['low']:.2%} to {best['high']:.2%})"
    settings = ", ".join(f"{name}={label(value)}" for name, value in facts["metaparameters"].items())
    paragraphs = (
        f"{facts['source']}, transferred to {facts['data']['name']}: training {facts['best']}.",
        f"{facts['space']}, preset {facts['preset']}: {settings}.",
        f"Validation accuracy: {best['accuracy']:.2%} of {images}. See {TRANSFER} for the other ways.",
        "`labels` are the classes, and `prepare` turns a photo into the network's input. To use it:",
    )
    return docstring(paragraphs, USE)


def _confusion(dataset: Dataset, trained: Trained) -> pd.DataFrame:
    measured = trained.measurement
    labels = dataset.labels[dataset.split().validation[: len(measured.correct)]]
    counts = np.zeros((len(dataset.classes),) * 2, dtype=int)
    np.add.at(counts, (labels, measured.predicted), 1)
    classes = [str(name) for name in dataset.classes]
    return pd.DataFrame(counts, index=pd.Index(classes, name="class"), columns=classes)


def _sheet(dataset: Dataset, trained: Trained, best: str) -> bytes:
    measured = trained.measurement
    places = dataset.split().validation[: len(measured.correct)]
    chosen = named_images(dataset, places, measured.correct, measured.top_probability, measured.predicted, SHOWN)
    title = f"{dataset.name}, training {best}: {measured.accuracy:.1%} of {len(places):,} validation images right"
    return draw_sheet(chosen, dataset.images[places[chosen["place"]]], title)
