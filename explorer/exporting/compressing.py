"""Compress a stored run: retrain it, prune and share its weights with fine-tuning, and write them to one file."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from explorer.analysis.accuracies import paired_difference
from explorer.compression.encoding import DECODER
from explorer.compression.packages import check_coding_installed, check_int8_installed
from explorer.compression.sizes import CODINGS, Compression, dense_bytes, total_kept, weights_of
from explorer.errors import ExplorerError
from explorer.exporting.bundle import docstring, preparing
from explorer.exporting.choice import called, find_stored_run
from explorer.exporting.preparing import HEADER
from explorer.exporting.retraining import Task, retraining_task
from explorer.exporting.torch_code import code_of
from explorer.files import check_folder, user_path, write_files
from explorer.machine import torch_threads
from explorer.networks.network import Network
from explorer.storage.ledger import DEFAULT_STORAGE, Ledger
from explorer.storage.record import StudyRecord
from explorer.training.compressing import WEIGHTS, prune_and_share, quantise, validation_of
from explorer.training.trainer import RunFailed, Trained

CODE, FACTS, DECODE = "network.py", "compress.json", "decode.py"
ONNX = "network.int8.onnx"
COLUMNS = ("path", "kind", "weights", "kept")

USE = """
    import torch
    from decode import state_dict

    model = build()
    model.load_state_dict(state_dict("weights.cnn", torch.tensor))
    logits = model.eval()(prepare("photo.jpg"))
    print(labels[logits.argmax()])
"""


@dataclass(frozen=True)
class Compressed:
    """A compressed run: its folder, the names of its files, and the content of `compress.json`."""

    folder: Path
    files: tuple[str, ...]
    facts: Mapping[str, Any]


@dataclass(frozen=True)
class CompressionPlan:
    """What compression would keep of a network: bytes by coding, and one row per layer: path, kind, weights, kept."""

    called: str
    bytes: Mapping[str, int]
    kept: int
    layers: Sequence[tuple[str, str, int, int]]


def plan_compression(
    run: str,
    *,
    density: Sequence[str] = (),
    bits: int = 8,
    epochs: int | None = None,
    int8: bool = False,
    storage: str | Path = DEFAULT_STORAGE,
) -> CompressionPlan:
    """Return the sizes of a compressed run before any training, for the same arguments as `compress`.

    Raises the same errors as `compress`.
    """
    compression = Compression.read(density, bits)
    _check(compression, epochs, int8)
    record, number, seed = find_stored_run(Ledger(storage), run)
    network = _network(record, number)
    compression.check(network)
    return CompressionPlan(
        f"{record.study.name}, {called(record, number)}, seed {seed}",
        {name: int(coding(network, compression)) for name, coding in CODINGS.items()} | {"int8": network.flash_bytes},
        int(total_kept(network, compression)),
        _layers(network, compression),
    )


def compress(
    run: str,
    *,
    density: Sequence[str] = (),
    bits: int = 8,
    epochs: int | None = None,
    int8: bool = False,
    out: str | Path | None = None,
    storage: str | Path = DEFAULT_STORAGE,
    data_dir: str | Path | None = None,
    data: str | Path | None = None,
    before_training: Callable[[Task], None] | None = None,
) -> Compressed:
    """Compress the network of a stored run into one file, and measure the network in the file.

    The run is retrained and must reproduce its stored accuracy. In each layer, the smallest weights are pruned and the
    others fine-tuned. Then these share `2 ** bits` values, which are fine-tuned, too. Gaps and codes are entropy-coded.
    This needs the extra `compression`.

    With `int8`, the trained network is quantised instead: int8 weights per channel and int8 feature maps, without
    further training, as an ONNX file that onnxruntime evaluates. This needs the extra `int8`.

    Args:
        run: Key of a run, STUDY:POINT[:SEED], or STUDY for its most accurate point.
        density: Shares of the weights to keep, such as `0.5` for all layers or `3x3=0.33` for a kind or a layer.
        bits: Bits of a code, 1 to 16.
        epochs: How long to fine-tune after pruning, and again after sharing; by default, as long as the study trains.
        int8: Whether to quantise instead of pruning and sharing.
        out: The folder; by default, `compressed/STUDY-pointN-seedM`, with `-int8` for `int8`.
        storage: SQLite file or database URL.
        data_dir: Folder with the files of CIFAR-10.
        data: The current folder of the study's images, if it has moved.
        before_training: Called with the run before training.

    Raises:
        ExplorerError: The run is unknown, a density or a number is out of range, a pattern matches no layer, or
            retraining does not reproduce the stored accuracy.
    """
    compression = Compression.read(density, bits)
    _check(compression, epochs, int8)
    ledger = Ledger(storage)
    record, number, seed = find_stored_run(ledger, run)
    compression.check(_network(record, number))
    name = f"{record.study.name}-point{number}-seed{seed}" + "-int8" * int8
    folder = user_path(out) if out is not None else Path("compressed") / name
    check_folder(folder)
    task = retraining_task(ledger, record, number, seed, data_dir, data)
    if before_training is not None:
        before_training(task)
    trained = task.train()
    if int8:
        files, facts = _quantised(task, trained)
    else:
        files, facts = _coded(task, trained, compression, epochs)
    files[FACTS] = (json.dumps(facts, indent=1) + "\n").encode()
    write_files(files, folder)
    return Compressed(folder, tuple(files), facts)


def _check(compression: Compression, epochs: int | None, int8: bool) -> None:
    check_int8_installed() if int8 else check_coding_installed()
    if int8 and (compression != Compression() or epochs is not None):
        raise ExplorerError("int8 neither prunes nor shares weights; leave out density, bits and epochs")
    if epochs is not None and epochs < 1:
        raise ExplorerError(f"epochs = {epochs}: must be at least 1")


def _coded(
    task: Task, trained: Trained, compression: Compression, epochs: int | None
) -> tuple[dict[str, bytes], dict[str, Any]]:
    """Return the files and the facts of a pruned network with shared weights."""
    run, network = task.run, task.run.network
    passes = run.budget.epochs if epochs is None else epochs
    try:
        with torch_threads(1):
            made = prune_and_share(trained.model, trained.training, run, task.dataset, compression, (passes, passes))
    except RunFailed as error:
        raise ExplorerError(f"{task.called}: fine-tuning failed: {error}") from None
    assert made.file is not None
    after = made.correct(task.dataset, _validation(task), "float32")
    stages = 1 + compression.prunes(network)
    facts = _facts(task, trained, len(made.file), after) | {
        "densities": {pattern: float(density) for pattern, density in compression.densities},
        "bits": compression.bits,
        "kept": int(total_kept(network, compression)),
        "fine_tuning_images": stages * len(trained.training) * passes,
        "other_codings_bytes": {name: int(coding(network, compression)) for name, coding in CODINGS.items()},
        "layers": [dict(zip(COLUMNS, row, strict=True)) for row in _layers(network, compression)],
    }
    code = code_of(network, _docstring(task, facts), preparing(task, trained).code, HEADER)
    files = {WEIGHTS: made.file, DECODE: DECODER.read_bytes(), CODE: code.encode("utf-8", "backslashreplace")}
    return files, facts


def _quantised(task: Task, trained: Trained) -> tuple[dict[str, bytes], dict[str, Any]]:
    """Return the ONNX file and the facts of a network in int8."""
    network = task.run.network
    validation = validation_of(task.run, trained.training, task.dataset)
    content, measured = quantise(trained.model, network, trained.training, validation)
    facts = _facts(task, trained, len(content), measured.correct)
    return {ONNX: content}, facts | {"flash_bytes": network.flash_bytes, "ram_bytes": network.ram_bytes}


def _validation(task: Task) -> NDArray[np.int64]:
    return task.dataset.split().validation[: task.run.budget.validation]


def _network(record: StudyRecord, number: int) -> Network:
    point = list(record.study.design_points())[number].metaparameters
    return record.study.point(point, classes=record.classes).expand()


def _facts(task: Task, trained: Trained, size: int, after: NDArray[np.bool_]) -> dict[str, Any]:
    """Return what `compress.json` has for every file. Accuracies before compression are in float32."""
    run, network = task.run, task.run.network
    before = trained.correct(task.dataset, _validation(task), "float32")
    difference = paired_difference(after, before)
    dense = int(dense_bytes(network, Compression()))
    return {
        "run": run.key,
        "study": task.record.study.name,
        "point": {"number": task.number, "label": task.point.label},
        "seed": run.seed,
        "params": int(network.cost.params),
        "bytes": size,
        "float32_bytes": dense,
        "times_smaller": dense / size,
        "validation": {
            "images": len(after),
            "accuracy_before": float(before.mean()),
            "accuracy": float(after.mean()),
            "difference": difference.estimate,
            "low": difference.low,
            "high": difference.high,
        },
    }


def _layers(network: Network, compression: Compression) -> list[tuple[str, str, int, int]]:
    return [(one.path, one.kind, int(one.count), int(compression.kept(one))) for one in weights_of(network)]


def _docstring(task: Task, facts: Mapping[str, Any]) -> str:
    found = facts["validation"]
    images = f"{found['images']:,} images of {task.dataset.name}, in float32"
    paragraphs = (
        f"{task.called}, compressed to {facts['bytes']:,} bytes, from {facts['float32_bytes']:,} as float32.",
        f"Validation accuracy: {found['accuracy']:.2%} of {images}; {found['accuracy_before']:.2%} before.",
        f"{FACTS} has all facts. To use it:",
    )
    return docstring(paragraphs, USE)
