"""Train a network in a short run and measure it."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from explorer.data import Dataset, Labelled
from explorer.errors import ExplorerError
from explorer.networks.network import Network
from explorer.training.batches import Batches
from explorer.training.features import Features, Inputs
from explorer.training.memory import PeakMemory
from explorer.training.recipe import Budget, Recipe
from explorer.training.run import Numerics, Run
from explorer.training.trunks import from_bytes, to_bytes, trunk_key

# Part of the key of every run. Raise this when a change to this file, batches.py or a torch module changes results.
VERSION = 2

EVALUATION_BATCH = 500
GLANCE = 1_000
"""Number of validation images used after each epoch except the last, which uses all of them."""

_deterministic_cudnn: Any = torch.backends.cudnn.flags  # a context manager without types in torch


class RunFailed(Exception):  # noqa: N818 (a recorded outcome, not a user error)
    """The run ended without a measurement. The message says why."""


@dataclass(frozen=True)
class Measurement:
    """The measurements of a run.

    `accuracies` and `train_losses` have one entry for each epoch: the validation accuracy and the mean training loss.
    Accuracies before the last epoch are measured on only the first `GLANCE` images. `correct`, `top_probability` and
    `predicted` (the top class) have one entry for each validation image, after the last epoch. `peak_memory_bytes`
    comes from `PeakMemory`.
    """

    accuracies: tuple[float, ...]
    train_losses: tuple[float, ...]
    correct: NDArray[np.bool_]
    top_probability: NDArray[np.float32]
    predicted: NDArray[np.int64]
    seconds: float
    images_per_second: float
    peak_memory_bytes: int

    @property
    def accuracy(self) -> float:
        """The validation accuracy after the last epoch."""
        return self.accuracies[-1]


@dataclass(frozen=True)
class Beginning:
    """How a run starts that does not train all of its model alike.

    Attributes:
        groups: Groups of parameters for torch's optimisers. A group may have a `factor` for its learning rate.
        frozen: Modules that stay in evaluation mode.
        parts: The frozen first part of the model and the rest, which share its tensors. If the recipe changes no image,
            the first part runs only once per image. None if nothing is frozen.
    """

    groups: Sequence[Mapping[str, Any]]
    frozen: tuple[nn.Module, ...] = ()
    parts: tuple[nn.Module, nn.Module] | None = None


@dataclass(frozen=True)
class Trained:
    """The measurement of a run and the trained model, in evaluation mode and on its training device.

    `file` is the compressed file that the run ends with, if it does.
    """

    measurement: Measurement
    model: nn.Module
    training: Batches
    using: Numerics
    file: bytes | None = None

    @property
    def mean(self) -> tuple[float, ...]:
        """Mean of each channel of the training images in bytes (0 to 255), which is subtracted from every image."""
        return tuple(self.training.mean.tolist())

    @property
    def deviation(self) -> tuple[float, ...]:
        """Standard deviation of each channel in bytes. Every image is then divided by it."""
        return tuple(self.training.deviation.tolist())

    def accuracy(self, images: Labelled, indices: NDArray[np.int64], dtype: str | None = None) -> float:
        """Return the accuracy on some images, as `correct` does."""
        return float(self.correct(images, indices, dtype).mean())

    def correct(self, images: Labelled, indices: NDArray[np.int64], dtype: str | None = None) -> NDArray[np.bool_]:
        """Return for each of some images whether its class is right, processed like the run's validation images.

        `dtype` (`float32` or `bfloat16`) overrides the arithmetic of the run.
        """
        using = replace(self.using, dtype=dtype or self.using.dtype)
        device, size = torch.device(using.device), self.training.size
        with _deterministic_cudnn(enabled=True, benchmark=False, deterministic=True):
            batches = Batches(images, indices, size, device, floats(using), self.training)
            return _evaluate(self.model, batches, using)[0]


def numerics() -> Numerics:
    """Return the numerics of this machine and its torch."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda":
        fast_bfloat16 = torch.cuda.is_bf16_supported()
    else:
        # torch has no public function to check this.
        onednn = torch.backends.mkldnn.is_available()
        fast_bfloat16 = onednn and torch.ops.mkldnn._is_mkldnn_bf16_supported()  # noqa: SLF001
    return Numerics(
        training_version=VERSION,
        torch=torch.__version__.partition("+")[0],
        device=device,
        dtype="bfloat16" if fast_bfloat16 else "float32",
    )


def measure(
    network: Network, dataset: Dataset, recipe: Recipe, budget: Budget, seed: int, using: Numerics | None = None
) -> Measurement:
    """Train the network from scratch and measure it on the validation images.

    On the same machine and with the same number of threads, everything but the times is reproducible.

    Raises:
        RunFailed: The loss, the weights or the probabilities are not finite.
    """
    return train(network, dataset, recipe, budget, seed, using).measurement


def train(
    network: Network,
    dataset: Dataset,
    recipe: Recipe,
    budget: Budget,
    seed: int,
    using: Numerics | None = None,
    begin: Callable[[nn.Module], Beginning] | None = None,
) -> Trained:
    """Train like `measure`, and also return the model. `begin` may change the initialised model and what is trained."""
    using = using or numerics()
    ((measured, model, training),) = _rungs(network, dataset, recipe, (budget,), seed, using, begin=begin)
    if isinstance(measured, RunFailed):
        raise measured
    return Trained(measured, model, training, using)


def on_cpu(network: Network, model: nn.Module) -> nn.Module:
    """Return a copy of a trained model on the CPU, in evaluation mode."""
    copied = network.build()
    copied.load_state_dict({name: tensor.cpu() for name, tensor in model.state_dict().items()})
    return copied.eval()


def train_run(run: Run, dataset: Dataset) -> Trained:
    """Train a run, from scratch or as its treatment says, and return the model. Raises `RunFailed` like `measure`."""
    if run.treatment is not None:
        return run.treatment.train(run, dataset)
    return train(run.network, dataset, run.recipe, run.budget, run.seed, run.numerics)


def tune(
    trained: nn.Module,
    training: Batches,
    using: Numerics,
    dataset: Dataset,
    recipe: Recipe,
    budget: Budget,
    seed: int,
    constrain: Callable[[nn.Module], None],
) -> Trained:
    """Train a trained model further on images, with a schedule of its own; the given model is unchanged.

    `constrain` changes the weights before the first and after every step. Only `epochs` and `validation` of the budget
    count. Raises `RunFailed` like `measure`.
    """
    memory = PeakMemory(using.device)
    with (
        torch.random.fork_rng(),
        _deterministic_cudnn(enabled=True, benchmark=False, deterministic=True),
    ):
        torch.manual_seed(seed)
        model = copy.deepcopy(trained)
        constrain(model)
        validation = _validation(dataset, budget, training)
        trainer = _Trainer(model, recipe, using, seed, min(recipe.batch_size, len(training)), constrain)
        total = budget.epochs * trainer.steps_of(training)
        trainer.train(training, validation, total, total)
        constrain(trainer.measured)
        return Trained(trainer.measurement(validation, memory), trainer.measured, training, using)


def measure_again(
    model: nn.Module, training: Batches, using: Numerics, dataset: Dataset, budget: Budget
) -> Measurement:
    """Measure a trained model without training it. Raises `RunFailed` if its probabilities are not finite."""
    memory, validation = PeakMemory(using.device), _validation(dataset, budget, training)
    with _deterministic_cudnn(enabled=True, benchmark=False, deterministic=True):
        return _Trainer(model, Recipe(), using, 0, 1).measurement(validation, memory)


def measure_rungs(
    network: Network,
    dataset: Dataset,
    recipe: Recipe,
    budgets: Sequence[Budget],
    seed: int,
    using: Numerics | None = None,
    *,
    start: bytes | None = None,
    keep: Callable[[bytes], None] | None = None,
) -> Iterator[Measurement | RunFailed]:
    """Measure one network at several budgets that differ only in epochs, which increase.

    The budgets share a trunk, and each one branches off where its learning rate begins to decay. Each outcome,
    including its times, is what `measure` would return for that budget. If the trunk fails, all remaining budgets fail.

    Args:
        network: The network.
        dataset: The data set.
        recipe: The recipe.
        budgets: The budgets.
        seed: The seed.
        using: The numerics; by default, those of this machine.
        start: A trunk that `keep` received earlier, maybe in another process. Training continues from it, and outcomes
            stay the same to the last bit. Times include those of the trunk. It is ignored if it is damaged, belongs to
            other settings, or is further than the smallest budget needs.
        keep: Called with the trunk before the branch of the largest budget, to continue from it later.
    """
    for measured, _, _ in _rungs(network, dataset, recipe, budgets, seed, using or numerics(), start, keep):
        yield measured


def _rungs(
    network: Network,
    dataset: Dataset,
    recipe: Recipe,
    budgets: Sequence[Budget],
    seed: int,
    using: Numerics,
    start: bytes | None = None,
    keep: Callable[[bytes], None] | None = None,
    begin: Callable[[nn.Module], Beginning] | None = None,
) -> Iterator[tuple[Measurement | RunFailed, nn.Module, Batches]]:
    """Yield each outcome of `measure_rungs` with its model and the training images."""
    started = time.perf_counter()
    device = torch.device(using.device)
    split = dataset.split()
    images, epochs = budgets[0].images, [budget.epochs for budget in budgets]
    if images > len(split.train):
        raise ExplorerError(f"budget: images = {images}: {dataset.name} has {len(split.train)} training images")
    if epochs != sorted(set(epochs)) or len({budget.model_copy(update={"epochs": 1}) for budget in budgets}) > 1:
        raise ValueError(f"budgets of rungs must differ only in epochs, in increasing order, but are {budgets}")
    memory = PeakMemory(using.device)
    with (
        torch.random.fork_rng(),
        _deterministic_cudnn(enabled=True, benchmark=False, deterministic=True),
    ):
        torch.manual_seed(seed)
        model = network.build()
        initialise(model)
        model.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        dtype = floats(using)
        training = Batches(dataset, split.train[:images], network.input.size, device, dtype)
        validation = _validation(dataset, budgets[0], training)
        beginning = begin(model) if begin else None
        part, data, checks = _from_features(beginning, training, validation, recipe, using) or (
            model,
            training,
            validation,
        )
        trunk = _Trainer(part, recipe, using, seed, min(recipe.batch_size, images), beginning=beginning)
        trunk.seconds = time.perf_counter() - started
        key = trunk_key(Run(network, dataset.fingerprint, recipe, budgets[0], seed, using))
        if state := start and from_bytes(key, start):
            trunk.continue_from(state, recipe.trunk(budgets[0].epochs * trunk.steps_of(training), trunk.batch_size))
        for place, budget in enumerate(budgets):
            total = budget.epochs * trunk.steps_of(training)
            try:
                trunk.train(data, checks, recipe.trunk(total, trunk.batch_size), total)
            except RunFailed as failure:
                yield from [(failure, model, training)] * len(budgets[place:])
                return
            if keep is not None and budget is budgets[-1]:
                keep(to_bytes(key, trunk.state()))
            with torch.random.fork_rng():
                branch = trunk if budget is budgets[-1] else copy.deepcopy(trunk)
                try:
                    branch.train(data, checks, total, total)
                    measured = branch.measurement(checks, memory)
                    yield measured, (branch.measured if part is model else model), training
                except RunFailed as failure:
                    yield failure, branch.measured, training


def _validation(dataset: Dataset, budget: Budget, training: Batches) -> Batches:
    """Return the validation images of a budget, prepared like the training images."""
    chosen = dataset.split().validation[: budget.validation]
    return Batches(dataset, chosen, training.size, training.device, training.dtype, training)


def _from_features(
    beginning: Beginning | None, training: Batches, validation: Batches, recipe: Recipe, using: Numerics
) -> tuple[nn.Module, Inputs, Inputs] | None:
    """Return the model after its frozen part, and its inputs; None if features cannot replace images."""
    # An average of the weights is kept in a copy of the model, which would lack the frozen part.
    if beginning is None or beginning.parts is None or recipe.augments or recipe.ema:
        return None
    first, rest = beginning.parts
    found = [Features.of(one, first, EVALUATION_BATCH, _autocast(using)) for one in (training, validation)]
    return None if found[0] is None or found[1] is None else (rest, found[0], found[1])


def initialise(model: nn.Module) -> None:
    """Initialise convolutions and linear layers like He et al. 2015 (arXiv:1502.01852), with zero biases."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def _optimiser(parameters: Iterable[Any], recipe: Recipe) -> torch.optim.Optimizer:
    settings: dict[str, Any] = {"lr": recipe.learning_rate, "weight_decay": recipe.weight_decay, "fused": True}
    if recipe.optimiser == "adamw":
        return torch.optim.AdamW(parameters, betas=(recipe.momentum, 0.999), **settings)
    return torch.optim.SGD(parameters, momentum=recipe.momentum, nesterov=recipe.momentum > 0, **settings)


def untrained(network: Network) -> nn.Module:
    """Return the model that a run with seed 0 starts from, in evaluation mode."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = network.build()
        initialise(module)
    return module.eval()


class _Trainer:
    """A model in training: its optimiser, its position in the schedule and its measurements so far."""

    def __init__(
        self,
        model: nn.Module,
        recipe: Recipe,
        using: Numerics,
        seed: int,
        batch_size: int,
        constrain: Callable[[nn.Module], None] | None = None,
        beginning: Beginning | None = None,
    ) -> None:
        self.model = model
        self.frozen = beginning.frozen if beginning else ()
        self.constrain = constrain
        self.recipe = recipe
        self.using = using
        self.seed = seed
        self.batch_size = batch_size
        self.step = 0
        self.loss = torch.zeros((), device=using.device)
        self.train_losses: list[float] = []
        self.accuracies: list[float] = []
        self.seconds = self.training_seconds = 0.0
        self.optimiser = _optimiser(beginning.groups if beginning else model.parameters(), recipe)
        # The average of the weights, and of batch norm's statistics.
        self.average: AveragedModel | None = None
        if recipe.ema:
            self.average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(recipe.ema), use_buffers=True)

    @property
    def measured(self) -> nn.Module:
        """The model to measure: the average of the weights if the recipe has one."""
        return self.average.module if self.average else self.model

    def state(self) -> dict[str, Any]:
        """Return the state on which further training depends, including torch's random state."""
        return {
            "model": self.model.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "average": self.average.state_dict() if self.average else None,
            "step": self.step,
            "loss": self.loss,
            "train_losses": self.train_losses,
            "accuracies": self.accuracies,
            "seconds": self.seconds,
            "training_seconds": self.training_seconds,
            "random": torch.get_rng_state(),
            "cuda_random": torch.cuda.get_rng_state() if self.using.device == "cuda" else None,
        }

    def continue_from(self, state: dict[str, Any], furthest: int) -> None:
        """Restore a state, unless its step is beyond `furthest`."""
        if state["step"] > furthest:
            return
        self.model.load_state_dict(state["model"])
        self.optimiser.load_state_dict(state["optimiser"])
        if self.average:
            self.average.load_state_dict(state["average"])
        self.step = state["step"]
        self.loss = state["loss"].to(self.loss.device)
        self.train_losses, self.accuracies = state["train_losses"], state["accuracies"]
        self.seconds, self.training_seconds = state["seconds"], state["training_seconds"]
        torch.set_rng_state(state["random"])
        if state["cuda_random"] is not None:
            torch.cuda.set_rng_state(state["cuda_random"])

    def steps_of(self, data: Inputs) -> int:
        """Return the number of steps per epoch, without an incomplete last batch."""
        return len(data) // self.batch_size

    def train(self, data: Inputs, validation: Inputs, until: int, total: int) -> None:
        """Train up to step `until` of `total`, and validate on `GLANCE` images after each epoch but the last."""
        steps = self.steps_of(data)
        while self.step < until:
            started = time.perf_counter()
            epoch, first = divmod(self.step, steps)
            stop = min(steps, first + until - self.step)
            self.model.train()
            for part in self.frozen:
                part.eval()
            for images, labels in data.augmented(self.batch_size, self.recipe, (self.seed, epoch), range(first, stop)):
                self._step(images, labels, total)
            if stop == steps:
                self._end_epoch(steps)
            self.training_seconds += time.perf_counter() - started
            if stop == steps and self.step < total:
                self.accuracies.append(float(_evaluate(self.measured, validation, self.using, GLANCE)[0].mean()))
            self.seconds += time.perf_counter() - started

    def measurement(self, validation: Inputs, memory: PeakMemory) -> Measurement:
        """Evaluate the model; raise `RunFailed` if its probabilities are not finite."""
        started = time.perf_counter()
        correct, top_probability, predicted = _evaluate(self.measured, validation, self.using)
        if not np.isfinite(top_probability).all():
            raise RunFailed(f"the probabilities are not finite after epoch {len(self.train_losses)}")
        return Measurement(
            accuracies=(*self.accuracies, float(correct.mean())),
            train_losses=tuple(self.train_losses),
            correct=correct,
            top_probability=top_probability,
            predicted=predicted,
            seconds=self.seconds + time.perf_counter() - started,
            images_per_second=self.step * self.batch_size / self.training_seconds if self.step else 0.0,
            peak_memory_bytes=memory.bytes,
        )

    def _step(self, images: Tensor, labels: Tensor, total: int) -> None:
        for group in self.optimiser.param_groups:
            # Count from one, so neither the first nor the last step has a learning rate of zero.
            rate = self.recipe.rate((self.step + 1) * self.batch_size, (total + 1) * self.batch_size)
            group["lr"] = rate * group.get("factor", 1.0)
        with _autocast(self.using):
            logits = self.model(images)
        loss = functional.cross_entropy(logits.float(), labels, label_smoothing=self.recipe.label_smoothing)
        self.optimiser.zero_grad()
        loss.backward()
        if self.recipe.clip_norm:
            nn.utils.clip_grad_norm_(self.model.parameters(), self.recipe.clip_norm)
        self.optimiser.step()
        if self.constrain:
            self.constrain(self.model)
        if self.average:
            self.average.update_parameters(self.model)
        self.loss += loss.detach()
        self.step += 1

    def _end_epoch(self, steps: int) -> None:
        mean = float(self.loss) / steps
        self.loss = torch.zeros_like(self.loss)
        if not math.isfinite(mean):
            raise RunFailed(f"the training loss is not finite in epoch {len(self.train_losses) + 1}")
        self.train_losses.append(mean)
        # The bitwise ReLU can turn NaN into zero, so the loss alone could hide it.
        if not all(bool(weights.isfinite().all()) for weights in self.model.parameters()):
            raise RunFailed(f"the weights are not finite after epoch {len(self.train_losses)}")


@torch.inference_mode()
def _evaluate(
    model: nn.Module, data: Inputs, using: Numerics, count: int | None = None
) -> tuple[NDArray[np.bool_], NDArray[np.float32], NDArray[np.int64]]:
    """Return for each of the first `count` images whether the top class is correct, its probability and the class."""
    model.eval()
    correct, top, classes = [], [], []
    for images, labels in data.plain(EVALUATION_BATCH, count):
        with _autocast(using):
            logits = model(images)
        probability, predicted = logits.float().softmax(dim=1).max(dim=1)
        correct.append(predicted == labels)
        top.append(probability)
        classes.append(predicted)
    return torch.cat(correct).cpu().numpy(), torch.cat(top).cpu().numpy(), torch.cat(classes).cpu().numpy()


def _autocast(using: Numerics) -> torch.autocast:
    return torch.autocast(using.device, torch.bfloat16, enabled=using.dtype == "bfloat16")


def floats(using: Numerics) -> torch.dtype:
    """Return the type of images and feature maps."""
    return torch.bfloat16 if using.dtype == "bfloat16" else torch.float32
