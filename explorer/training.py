"""A short run: one network, recipe, data set, seed and budget to one measurement."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from explorer.batches import Batches
from explorer.data import Dataset
from explorer.errors import ExplorerError
from explorer.memory import PeakMemory
from explorer.network import Network
from explorer.recipe import Budget, Recipe
from explorer.run import Numerics

# Part of every run's key: raise it when a change to this file, batches.py or a layer's module changes results.
VERSION = 1

EVALUATION_BATCH = 500

_deterministic_cudnn: Any = torch.backends.cudnn.flags  # a context manager that torch leaves untyped


class RunFailed(Exception):  # noqa: N818 (an outcome that is recorded, not a mistake)
    """A run that ended without a measurement, with the reason."""


@dataclass(frozen=True)
class Measurement:
    """What a run measured.

    `accuracies` and `train_losses` have one entry an epoch: the share of validation images that it got right, and the mean
    training loss. `correct` and `top_probability` have one entry for each validation image, after the last epoch.
    `peak_memory_bytes` is the process's peak resident memory during the run, or the device's on CUDA.
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
    using = using or numerics()
    started = time.perf_counter()
    device = torch.device(using.device)
    split = dataset.split()
    if budget.images > len(split.train):
        raise ExplorerError(f"budget: images = {budget.images}: {dataset.name} has {len(split.train)} training images")
    with (
        PeakMemory(using.device) as memory,
        torch.random.fork_rng(),
        _deterministic_cudnn(enabled=True, benchmark=False, deterministic=True),
    ):
        torch.manual_seed(seed)
        model = network.build()
        initialise(model)
        model.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        training = Batches(dataset, split.train[: budget.images], network.input.size, device)
        validation = Batches(dataset, split.validation[: budget.validation], network.input.size, device, like=training)
        trainer = _Trainer(model, recipe, budget, using, np.random.default_rng(seed))
        accuracies, losses, training_seconds = [], [], 0.0
        for epoch in range(budget.epochs):
            epoch_started = time.perf_counter()
            losses.append(trainer.epoch(training, epoch))
            training_seconds += time.perf_counter() - epoch_started
            correct, top_probability = trainer.evaluate(validation)
            if not np.isfinite(top_probability).all():
                raise RunFailed(f"the probabilities are not finite after epoch {epoch + 1}")
            accuracies.append(float(correct.mean()))
    return Measurement(
        accuracies=tuple(accuracies),
        train_losses=tuple(losses),
        correct=correct,
        top_probability=top_probability,
        seconds=time.perf_counter() - started,
        images_per_second=trainer.seen / training_seconds,
        peak_memory_bytes=memory.bytes,
    )


def initialise(model: nn.Module) -> None:
    """He initialisation of convolutions and linear layers (He et al. 2015, arXiv:1502.01852), biases at zero."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)


class _Trainer:
    """A model with its optimiser and its place in the schedule."""

    def __init__(
        self, model: nn.Module, recipe: Recipe, budget: Budget, using: Numerics, rng: np.random.Generator
    ) -> None:
        self.model = model
        self.recipe = recipe
        self.using = using
        self.rng = rng
        self.batch_size = min(recipe.batch_size, budget.images)
        self.total = budget.epochs * (budget.images // self.batch_size) * self.batch_size
        self.seen = 0
        self.optimiser = torch.optim.SGD(
            model.parameters(),
            lr=recipe.learning_rate,
            momentum=recipe.momentum,
            weight_decay=recipe.weight_decay,
            nesterov=recipe.momentum > 0,
            fused=True,
        )

    def epoch(self, data: Batches, epoch: int) -> float:
        """One pass in random order, without the images that do not fill a batch; returns the mean loss."""
        self.model.train()
        losses = torch.zeros((), device=data.device)
        steps = 0
        for images, labels in data.augmented(self.batch_size, self.recipe, self.rng):
            for group in self.optimiser.param_groups:
                group["lr"] = self.recipe.rate(self.seen + self.batch_size, self.total + self.batch_size)
            with self._autocast():
                logits = self.model(images)
            loss = functional.cross_entropy(logits.float(), labels, label_smoothing=self.recipe.label_smoothing)
            self.optimiser.zero_grad()
            loss.backward()
            self.optimiser.step()
            losses += loss.detach()
            self.seen += self.batch_size
            steps += 1
        mean = float(losses) / steps
        if not math.isfinite(mean):
            raise RunFailed(f"the training loss is not finite in epoch {epoch + 1}")
        return mean

    @torch.inference_mode()
    def evaluate(self, data: Batches) -> tuple[NDArray[np.bool_], NDArray[np.float32]]:
        """For each image: whether its class has the highest probability, and that highest probability."""
        self.model.eval()
        correct, top = [], []
        for images, labels in data.plain(EVALUATION_BATCH):
            with self._autocast():
                logits = self.model(images)
            probability, predicted = logits.float().softmax(dim=1).max(dim=1)
            correct.append(predicted == labels)
            top.append(probability)
        return torch.cat(correct).cpu().numpy(), torch.cat(top).cpu().numpy()

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.using.device, torch.bfloat16, enabled=self.using.dtype == "bfloat16")
