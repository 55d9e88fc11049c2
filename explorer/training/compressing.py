"""Compress a trained network: prune and share its weights with fine-tuning, or quantise it, and write one file."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from scipy.special import softmax
from torch import Tensor, nn

from explorer.compression import decode
from explorer.compression.constraints import Constraint, Pruned, Sharing
from explorer.compression.encoding import encoded
from explorer.compression.int8 import BATCH, CALIBRATED, logits_of, quantised
from explorer.compression.sizes import Compression
from explorer.data.dataset import Dataset
from explorer.networks.network import Network
from explorer.training.batches import Batches
from explorer.training.memory import PeakMemory
from explorer.training.run import Run
from explorer.training.trainer import Measurement, RunFailed, Trained, floats, measure_again, on_cpu, tune
from explorer.training.transfer import check_weights, read_weights
from explorer.training.treatments import FLOAT_BITS, Compress, Store, Treatment

WEIGHTS = "weights.cnn"
PRUNED_RATE, SHARED_RATE = 0.1, 0.01
"""Learning rates of fine-tuning, as multiples of the recipe's (Han et al. 2015, arXiv:1510.00149, section 5)."""


def compressed(run: Run, how: Compress, dataset: Dataset) -> Trained:
    """Prune a network with given weights, fine-tune it, have weights share values, and fine-tune it again.

    Raises:
        ExplorerError: The weights are not those of the network.
        RunFailed: The loss or the weights are not finite.
    """
    model, training = _restored(run, how, dataset)
    epochs = run.budget.epochs
    if how.bits == FLOAT_BITS:
        tuned = _tuned(model, training, run, dataset, lambda _: None, PRUNED_RATE, epochs)
        return replace(tuned, file=_plain_file(tuned.model))
    compression = Compression.read(how.densities, how.bits)
    pruning = epochs // 2 if compression.prunes(run.network) else 0
    return prune_and_share(model, training, run, dataset, compression, (pruning, epochs - pruning))


def prune_and_share(
    model: nn.Module,
    training: Batches,
    run: Run,
    dataset: Dataset,
    compression: Compression,
    epochs: tuple[int, int],
) -> Trained:
    """Compress a model and return it with its file, which decodes to exactly the measured weights.

    Args:
        model: The trained model.
        training: Its training images.
        run: Its run, whose recipe, seed, numerics and number of validation images count.
        dataset: The data set, for validation.
        compression: What to keep.
        epochs: Epochs of fine-tuning after pruning and after sharing.

    Raises:
        RunFailed: The loss or the weights are not finite.
    """
    pruning = Pruned.smallest(model, run.network, compression)
    pruned = None
    if pruning.removes and epochs[0]:
        pruned = _tuned(model, training, run, dataset, pruning, PRUNED_RATE, epochs[0])
        model = pruned.model
    # Without fine-tuning after pruning, as in a trial run, the shared values are those of the largest weights.
    sharing = Sharing.nearest(model, pruning, compression.bits)
    shared = _tuned(model, training, run, dataset, sharing, SHARED_RATE, epochs[1])
    content = encoded(_tensors(shared.model, sharing))
    _check_decodes(content, shared.model)
    measurement = _joined(pruned.measurement, shared.measurement) if pruned else shared.measurement
    return replace(shared, measurement=measurement, file=content)


def stored(run: Run, how: Store, dataset: Dataset) -> Trained:
    """Write a network with given weights to a file as it is, or in int8, and measure it.

    Raises:
        ExplorerError: The weights are not those of the network.
        RunFailed: The probabilities are not finite.
    """
    started, memory = time.perf_counter(), PeakMemory(run.numerics.device)
    model, training = _restored(run, how, dataset)
    if how.coding == "int8":
        content, measured = quantise(model, run.network, training, validation_of(run, training, dataset))
    else:
        content = _plain_file(model)
        measured = measure_again(model, training, run.numerics, dataset, run.budget)
    seconds = time.perf_counter() - started
    measurement = replace(measured, seconds=seconds, peak_memory_bytes=memory.bytes)
    return Trained(measurement, model.eval(), training, run.numerics, content)


def quantise(model: nn.Module, network: Network, training: Batches, validation: Batches) -> tuple[bytes, Measurement]:
    """Return the int8 file of a trained model and its accuracy by onnxruntime; its times and memory are zero."""
    content = quantised(on_cpu(network, model), network, _images(training, CALIBRATED))
    logits = logits_of(content, _images(validation))
    labels = validation.labels.cpu().numpy()
    if not np.isfinite(logits).all():
        raise RunFailed("the logits of the int8 network are not finite")
    predicted = logits.argmax(axis=1)
    right = predicted == labels
    top = softmax(logits, axis=1).max(axis=1).astype(np.float32)
    return content, Measurement((float(right.mean()),), (), right, top, predicted.astype(np.int64), 0.0, 0.0, 0)


def validation_of(run: Run, training: Batches, dataset: Dataset) -> Batches:
    """Return the validation images of a run in float32, prepared like its training images."""
    chosen = dataset.split().validation[: run.budget.validation]
    return Batches(dataset, chosen, run.network.input.size, torch.device("cpu"), torch.float32, training)


def _restored(run: Run, how: Treatment, dataset: Dataset) -> tuple[nn.Module, Batches]:
    """Return the trained model and the images that it was trained on."""
    network, device = run.network, torch.device(run.numerics.device)
    weights = read_weights(how.weights)
    check_weights(network, weights, head=True)
    model = network.build()
    model.load_state_dict(weights)
    model.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    places = dataset.split().train[: run.budget.images]
    return model, Batches(dataset, places, network.input.size, device, floats(run.numerics))


def _tuned(
    model: nn.Module,
    training: Batches,
    run: Run,
    dataset: Dataset,
    constraint: Constraint,
    rate: float,
    epochs: int,
) -> Trained:
    """Fine-tune a model of a run at a multiple of its learning rate."""
    budget = run.budget.model_copy(update={"epochs": epochs})
    recipe = run.recipe.model_copy(update={"learning_rate": rate * run.recipe.learning_rate}).fitted(budget)
    return tune(model, training, run.numerics, dataset, recipe, budget, run.seed, constraint)


def _plain_file(model: nn.Module) -> bytes:
    """Return the file with all tensors of a model as float32."""
    content = encoded({name: tensor.cpu().numpy() for name, tensor in model.state_dict().items()})
    _check_decodes(content, model)
    return content


def _images(batches: Batches, count: int | None = None) -> Iterator[Tensor]:
    for images, _ in batches.plain(BATCH, count):
        yield images


def _tensors(model: nn.Module, sharing: Sharing) -> dict[str, Any]:
    shared = sharing.shared(model)
    return {name: shared.get(name, tensor.cpu().numpy()) for name, tensor in model.state_dict().items()}


def _check_decodes(content: bytes, model: nn.Module) -> None:
    """Raise `RuntimeError` if a file does not decode to the weights of a model, to the last bit."""
    with TemporaryDirectory() as folder:
        (path := Path(folder) / WEIGHTS).write_bytes(content)
        state = decode.state_dict(path, torch.tensor)
    for name, tensor in model.state_dict().items():
        if not torch.equal(state[name], tensor.cpu()):
            raise RuntimeError(f"{name} was not decoded to what was encoded")


def _joined(first: Measurement, second: Measurement) -> Measurement:
    """Return the measurement after two stages of training."""
    seconds = first.seconds + second.seconds
    images = first.images_per_second * first.seconds + second.images_per_second * second.seconds
    return replace(
        second,
        accuracies=(*first.accuracies, *second.accuracies),
        train_losses=(*first.train_losses, *second.train_losses),
        seconds=seconds,
        images_per_second=images / seconds,
        peak_memory_bytes=max(first.peak_memory_bytes, second.peak_memory_bytes),
    )
