"""The files of an exported run (code, weights, ONNX and results), and its only evaluation on the test images."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

import numpy as np
import pandas as pd
import safetensors.torch
import torch
from torch import Tensor, nn

from explorer.analysis import measured, ranked
from explorer.data.held_out import read_test_images
from explorer.errors import ExplorerError
from explorer.exporting.preparing import HEADER, PREDICT_CODE, Preparing
from explorer.exporting.retraining import Task
from explorer.exporting.torch_code import WIDTH, code_of
from explorer.networks.layers import Shape
from explorer.networks.network import Network
from explorer.networks.programs import onnx_bytes, onnx_obstacle
from explorer.networks.quantities import main_amounts, main_costs
from explorer.pricing.prices import COUNTS
from explorer.spaces.space import label
from explorer.storage.ledger import Ledger
from explorer.storage.record import StudyRecord
from explorer.training.trainer import Trained, on_cpu

CODE, WEIGHTS, ONNX, FACTS, BEST = "network.py", "weights.safetensors", "network.onnx", "export.json", "best.csv"
PREDICT = "predict.py"
BEST_COLUMNS = [
    *("point", "series", "label", *COUNTS, "runs"),
    *("accuracy", "spread", "low", "high", "standing"),
]
_TOLERANCE = 1e-4  # allowed difference between the logits of the code and the model, relative to the largest

USE = """
    from safetensors.torch import load_file

    model = build()
    model.load_state_dict(load_file("weights.safetensors"))
    logits = model.eval()(prepare("photo.jpg"))
    print(labels[logits.argmax()])
"""


def best_points(record: StudyRecord, count: int) -> pd.DataFrame:
    """Return the most accurate networks of a study, best first, with the `BEST_COLUMNS` of `analysis.ranked`."""
    known = measured(ranked(record)).sort_values("accuracy", ascending=False, kind="stable")
    return known[BEST_COLUMNS].head(count).reset_index(drop=True)


def best_file(best: pd.DataFrame) -> bytes:
    """Return the content of `best.csv`."""
    return best.to_csv(index=False, lineterminator="\n").encode()


def read_test(ledger: Ledger, task: Task, trained: Trained) -> dict[str, Any]:
    """Evaluate the model on the test images, store the result permanently and return the stored row.

    Raises `NoTestImages` if the data set has none. The caller must hold `ledger.writing` and check that the run has not
    been tested before.
    """
    part = read_test_images(task.source)
    row = {
        "key": task.run.key,
        "study": task.record.study.name,
        "point": task.number,
        "seed": task.run.seed,
        "accuracy": trained.accuracy(part, np.arange(len(part.labels))),
        "images": len(part.labels),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    ledger.tests.record(row)
    return row


def run_facts(task: Task, trained: Trained) -> dict[str, Any]:
    """Return the content of `export.json` except the test result. It contains no paths on this machine."""
    record, run, shape = task.record, task.run, task.run.network.input
    images = task.dataset.split().validation[: run.budget.validation]
    design = record.study.point(task.point.metaparameters, classes=len(task.dataset.classes))
    return {
        "run": run.key,
        "study": record.study.name,
        "point": {"number": task.number, "label": task.point.label},
        "seed": run.seed,
        "space": record.study.space,
        "preset": record.study.preset,
        "metaparameters": {name: value for name, value in design.model_dump().items() if value is not None},
        **main_amounts(run.network),
        "validation": {
            "accuracy": trained.measurement.accuracy,
            # The exported files compute in float32, but few runs are trained in float32.
            "accuracy_float32": trained.accuracy(task.dataset, images, "float32"),
            "images": len(trained.measurement.correct),
        },
        "test": None,
        "data": {"name": task.dataset.name, "fingerprint": task.dataset.fingerprint, "classes": task.dataset.classes},
        "preprocessing": {
            "bytes": [task.dataset.size, task.dataset.size, int(task.dataset.images.shape[3])],
            "input": [shape.channels, shape.size, shape.size],
            "mean": trained.mean,
            "std": trained.deviation,
            "prepare": preparing(task, trained).text,
        },
        "settings": run.settings,
        "versions": {"explorer": version("cnn-design-explorer"), "torch": torch.__version__, "numpy": np.__version__},
    }


def exact_costs(facts: Mapping[str, Any]) -> str:
    """Return the main costs in `export.json` as text: `364,298 params, 6,400,000 FLOPs (multiply-adds)`."""
    return ", ".join(f"{facts[quantity.key]:,} {quantity.title or quantity.noun}" for quantity in main_costs())


def facts_file(facts: Mapping[str, Any]) -> bytes:
    """Return the content of `export.json`."""
    return (json.dumps(facts, indent=1) + "\n").encode()


def preparing(task: Task, trained: Trained) -> Preparing:
    """Return how the images of a run become the input of its network."""
    return Preparing(task.dataset.classes, task.dataset.size, task.run.network.input, trained.mean, trained.deviation)


def network_files(
    network: Network, trained: Trained, prepared: Preparing, opening: str
) -> tuple[dict[str, bytes], str]:
    """Return code, weights, `predict.py` and ONNX by file name, and the reason if `network.onnx` is missing, or "".

    `opening` is the docstring of the code. Raises `ExplorerError` if the code does not run or its logits differ from
    those of the model.
    """
    model = on_cpu(network, trained.model)
    code = code_of(network, opening, prepared.code, HEADER)
    _check(code, model, network.input)
    weights = safetensors.torch.save({name: tensor.contiguous() for name, tensor in model.state_dict().items()})
    # Class names can contain surrogates, which come from file names in other encodings.
    files = {CODE: code.encode("utf-8", "backslashreplace"), WEIGHTS: weights, PREDICT: PREDICT_CODE.encode()}
    obstacle = onnx_obstacle(network)
    if not obstacle:
        files[ONNX] = onnx_bytes(model, network.input, prepared.metadata)
    return files, obstacle


def opening_of(task: Task, facts: Mapping[str, Any]) -> str:
    """Return the docstring of an export's code."""
    validation = facts["validation"]
    settings = ", ".join(f"{name}={label(value)}" for name, value in facts["metaparameters"].items())
    how = f"{validation['images']:,} images of {facts['data']['name']}, in {task.run.numerics.dtype} as in training"
    if task.run.numerics.dtype != "float32":
        how += f", and {validation['accuracy_float32']:.2%} in float32"
    paragraphs = (
        f"{task.called}: {exact_costs(facts)}.",
        f"{facts['space']}, preset {facts['preset']}: {settings}.",
        f"Validation accuracy: {validation['accuracy']:.2%} of {how}. See {FACTS} for everything known about the run.",
        "`labels` are the classes, and `prepare` turns a photo into the network's input. To use it:",
    )
    return docstring(paragraphs, USE)


def docstring(paragraphs: Iterable[str], use: str) -> str:
    """Return paragraphs and example code as a docstring in quotes."""
    text = "\n\n".join(textwrap.fill(text, WIDTH, break_long_words=False) for text in paragraphs) + f"\n{use}"
    # Labels and classes can contain any text.
    return '"""' + text.replace("\\", "\\\\").replace('"""', r"\"\"\"") + '"""'


def _check(code: str, model: nn.Module, shape: Shape) -> None:
    """Raise `ExplorerError` if the code does not build the network of the model."""
    random = torch.Generator().manual_seed(0)
    images = torch.randn(4, shape.channels, shape.size, shape.size, generator=random)
    names: dict[str, Any] = {"__name__": "network"}
    try:
        with torch.random.fork_rng(), torch.inference_mode():
            exec(compile(code, CODE, "exec"), names)  # noqa: S102 (what was just generated)
            built = names["build"]()
            built.load_state_dict(model.state_dict())
            logits: Tensor = built.eval()(images)
            expected: Tensor = model(images)
    except Exception as error:
        raise ExplorerError(f"{CODE}: the generated code does not run: {' '.join(str(error).split())}") from error
    if (logits - expected).abs().max() > _TOLERANCE * expected.abs().max():
        raise ExplorerError(f"{CODE}: the generated code and the trained model give different logits")
