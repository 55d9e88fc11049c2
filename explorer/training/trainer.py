"""A short run: one network, recipe, data set, seed and budget to one measurement."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from explorer.data import Dataset, Labelled
from explorer.errors import ExplorerError
from explorer.networks.network import Network
from explorer.training.batches import Batches
from explorer.training.memory import PeakMemory
from explorer.training.recipe import Budget, Recipe
from explorer.training.run import Numerics

# Part of every run's key: raise it when a change to this file, batches.py or a layer's module changes results.
VERSION = 2

EVALUATION_BATCH = 500
GLANCE = 1_000
"""Validation images that the epochs before the last are measured on; the last is measured on all of them."""

_deterministic_cudnn: Any = torch.backends.cudnn.flags  # a context manager that torch leaves untyped


class RunFailed(Exception):  # noqa: N818 (an outcome that is recorded, not a mistake)
    """A run that ended without a measurement, with the reason."""


@dataclass(frozen=True)
class Measurement:
    """What a run measured.

    `accuracies` and `train_losses` have one entry an epoch: the share of validation images that it got right, of the first
    `GLANCE` before the last epoch and of all after it, and the mean training loss. `correct` and `top_probability` have one
    entry for each validation image, after the last epoch. `peak_memory_bytes` is the process's peak resident memory during the
    run, or the device's on CUDA.
    """

    accuracies: tuple[float, ...]
    train_losses: tuple[float, ...]
    correct: NDArray[np.bool_]
    top_probability: NDArray[np.float32]
    seconds: float
    images_per_second: float
    peak_memory_bytes: int

    @property
    def accuracy(self) -> float:
        """The share of validation images that the trained network got right."""
        return self.accuracies[-1]


@dataclass(frozen=True)
class Trained:
    """A run's measurement, and the model that was measured, in evaluation mode and on the device that it was trained on."""

    measurement: Measurement
    model: nn.Module
    training: Batches
    using: Numerics

    @property
    def mean(self) -> tuple[float, ...]:
        """The mean of each channel of the training images, in bytes (0 to 255), which every image is made less by."""
        return tuple(self.training.mean.tolist())

    @property
    def deviation(self) -> tuple[float, ...]:
        """The standard deviation of each channel, in bytes, which every image is then divided by."""
        return tuple(self.training.deviation.tolist())

    def accuracy(self, images: Labelled, indices: NDArray[np.int64], dtype: str | None = None) -> float:
        """The share of some images that the model gets right, prepared and computed as the validation images of the run were.

        With `dtype`, `float32` or `bfloat16`, in that arithmetic in place of the run's own.
        """
        using = replace(self.using, dtype=dtype or self.using.dtype)
        device, size = torch.device(using.device), self.training.size
        with _deterministic_cudnn(enabled=True, benchmark=False, deterministic=True):
            batches = Batches(images, indices, size, device, _floats(using), self.training)
            return float(_evaluate(self.model, batches, using)[0].mean())


def numerics() -> Numerics:
    """What of this machine and its torch decides the result of a run, beside the run's own settings."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda":
        fast_bfloat16 = torch.cuda.is_bf16_supported()
    else:
        # The question has no public name.
        fast_bfloat16 = torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported()  # noqa: SLF001
    return Numerics(
        training_version=VERSION,
        torch=torch.__version__.partition("+")[0],
        device=device,
        dtype="bfloat16" if fast_bfloat16 else "float32",
    )


def measure(
    network: Network, dataset: Dataset, recipe: Recipe, budget: Budget, seed: int, using: Numerics | None = None
) -> Measurement:
    """Trains the network from scratch and measures it on the validation images.

    The same arguments give the same measurement on the same machine with the same number of threads, but for the times.
    Raises `RunFailed` where the loss is not finite.
    """
    (measured,) = measure_rungs(network, dataset, recipe, (budget,), seed, using)
    if isinstance(measured, RunFailed):
        raise measured
    return measured


def train(
    network: Network, dataset: Dataset, recipe: Recipe, budget: Budget, seed: int, using: Numerics | None = None
) -> Trained:
    """Does what `measure` does, and gives back the model too."""
    using = using or numerics()
    ((measured, model, training),) = _rungs(network, dataset, recipe, (budget,), seed, using)
    if isinstance(measured, RunFailed):
        raise measured
    return Trained(measured, model, training, using)


def measure_rungs(
    network: Network,
    dataset: Dataset,
    recipe: Recipe,
    budgets: Sequence[Budget],
    seed: int,
    using: Numerics | None = None,
) -> Iterator[Measurement | RunFailed]:
    """Measures one network at several budgets, which differ in their epochs only and grow.

    They share a trunk, from which a branch is taken where the rate of a budget begins to fall; each outcome is the one that
    `measure` has for its budget, also in its times, which count the trunk's. A trunk that fails, fails all that follow.
    """
    for measured, _, _ in _rungs(network, dataset, recipe, budgets, seed, using or numerics()):
        yield measured


def _rungs(
    network: Network, dataset: Dataset, recipe: Recipe, budgets: Sequence[Budget], seed: int, using: Numerics
) -> Iterator[tuple[Measurement | RunFailed, nn.Module, Batches]]:
    """The outcomes of `measure_rungs`, each with the model that it is of and the training images."""
    started = time.perf_counter()
    device = torch.device(using.device)
    split = dataset.split()
    images, epochs = budgets[0].images, [budget.epochs for budget in budgets]
    if images > len(split.train):
        raise ExplorerError(f"budget: images = {images}: {dataset.name} has {len(split.train)} training images")
    if epochs != sorted(set(epochs)) or len({budget.model_copy(update={"epochs": 1}) for budget in budgets}) > 1:
        raise ValueError(f"rungs grow in their epochs and in nothing else, not {budgets}")
    memory = PeakMemory(using.device)
    with (
        torch.random.fork_rng(),
        _deterministic_cudnn(enabled=True, benchmark=False, deterministic=True),
    ):
        torch.manual_seed(seed)
        model = network.build()
        initialise(model)
        model.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        dtype = _floats(using)
        training = Batches(dataset, split.train[:images], network.input.size, device, dtype)
        validation = Batches(
            dataset, split.validation[: budgets[0].validation], network.input.size, device, dtype, training
        )
        trunk = _Trainer(model, recipe, using, seed, min(recipe.batch_size, images))
        trunk.seconds = time.perf_counter() - started
        for place, budget in enumerate(budgets):
            total = budget.epochs * trunk.steps_of(training)
            try:
                trunk.train(training, validation, recipe.trunk(total, trunk.batch_size), total)
            except RunFailed as failure:
                yield from [(failure, model, training)] * len(budgets[place:])
                return
            with torch.random.fork_rng():
                branch = trunk if budget is budgets[-1] else copy.deepcopy(trunk)
                try:
                    branch.train(training, validation, total, total)
                    yield branch.measurement(validation, memory), branch.model, training
                except RunFailed as failure:
                    yield failure, branch.model, training


def initialise(model: nn.Module) -> None:
    """He initialisation of convolutions and linear layers (He et al. 2015, arXiv:1502.01852), biases at zero."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def untrained(network: Network, seed: int = 0) -> nn.Module:
    """The network as a run with that seed starts from, in evaluation mode: (N, C, H, W) images to (N, classes) logits."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        module = network.build()
        initialise(module)
    return module.eval()


class _Trainer:
    """A model in training, with its optimiser, its place in the schedule and what was measured on the way."""

    def __init__(self, model: nn.Module, recipe: Recipe, using: Numerics, seed: int, batch_size: int) -> None:
        self.model = model
        self.recipe = recipe
        self.using = using
        self.seed = seed
        self.batch_size = batch_size
        self.step = 0
        self.loss = torch.zeros((), device=using.device)
        self.train_losses: list[float] = []
        self.accuracies: list[float] = []
        self.seconds = self.training_seconds = 0.0
        self.optimiser = torch.optim.SGD(
            model.parameters(),
            lr=recipe.learning_rate,
            momentum=recipe.momentum,
            weight_decay=recipe.weight_decay,
            nesterov=recipe.momentum > 0,
            fused=True,
        )

    def steps_of(self, data: Batches) -> int:
        """Steps in an epoch; images that do not fill a batch are left out."""
        return len(data) // self.batch_size

    def train(self, data: Batches, validation: Batches, until: int, total: int) -> None:
        """Goes on to the step `until` of `total`, and glances at the validation images after each epoch but the last."""
        steps = self.steps_of(data)
        while self.step < until:
            started = time.perf_counter()
            epoch, first = divmod(self.step, steps)
            stop = min(steps, first + until - self.step)
            self.model.train()
            for images, labels in data.augmented(self.batch_size, self.recipe, (self.seed, epoch), range(first, stop)):
                self._step(images, labels, total)
            if stop == steps:
                self._end_epoch(steps)
            self.training_seconds += time.perf_counter() - started
            if stop == steps and self.step < total:
                self.accuracies.append(float(_evaluate(self.model, validation, self.using, GLANCE)[0].mean()))
            self.seconds += time.perf_counter() - started

    def measurement(self, validation: Batches, memory: PeakMemory) -> Measurement:
        """What the trained model is worth; raises `RunFailed` where its probabilities are not finite."""
        started = time.perf_counter()
        correct, top_probability = _evaluate(self.model, validation, self.using)
        if not np.isfinite(top_probability).all():
            raise RunFailed(f"the probabilities are not finite after epoch {len(self.train_losses)}")
        return Measurement(
            accuracies=(*self.accuracies, float(correct.mean())),
            train_losses=tuple(self.train_losses),
            correct=correct,
            top_probability=top_probability,
            seconds=self.seconds + time.perf_counter() - started,
            images_per_second=self.step * self.batch_size / self.training_seconds,
            peak_memory_bytes=memory.bytes,
        )

    def _step(self, images: Tensor, labels: Tensor, total: int) -> None:
        for group in self.optimiser.param_groups:
            # Counted from one: the first step has a rate, and the last one too.
            group["lr"] = self.recipe.rate((self.step + 1) * self.batch_size, (total + 1) * self.batch_size)
        with _autocast(self.using):
            logits = self.model(images)
        loss = functional.cross_entropy(logits.float(), labels, label_smoothing=self.recipe.label_smoothing)
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        self.loss += loss.detach()
        self.step += 1

    def _end_epoch(self, steps: int) -> None:
        mean = float(self.loss) / steps
        self.loss = torch.zeros_like(self.loss)
        if not math.isfinite(mean):
            raise RunFailed(f"the training loss is not finite in epoch {len(self.train_losses) + 1}")
        self.train_losses.append(mean)
        # Rectifiers make zeros of what is not a number, so the loss alone could hide it.
        if not all(bool(weights.isfinite().all()) for weights in self.model.parameters()):
            raise RunFailed(f"the weights are not finite after epoch {len(self.train_losses)}")


@torch.inference_mode()
def _evaluate(
    model: nn.Module, data: Batches, using: Numerics, count: int | None = None
) -> tuple[NDArray[np.bool_], NDArray[np.float32]]:
    """For each of the first `count` images: whether its class has the highest probability, and that probability."""
    model.eval()
    correct, top = [], []
    for images, labels in data.plain(EVALUATION_BATCH, count):
        with _autocast(using):
            logits = model(images)
        probability, predicted = logits.float().softmax(dim=1).max(dim=1)
        correct.append(predicted == labels)
        top.append(probability)
    return torch.cat(correct).cpu().numpy(), torch.cat(top).cpu().numpy()


def _autocast(using: Numerics) -> torch.autocast:
    return torch.autocast(using.device, torch.bfloat16, enabled=using.dtype == "bfloat16")


def _floats(using: Numerics) -> torch.dtype:
    return torch.bfloat16 if using.dtype == "bfloat16" else torch.float32
