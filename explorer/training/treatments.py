"""What a run may do instead of training from scratch. It starts from the weights of another run, its source."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, ClassVar, Self

if TYPE_CHECKING:
    from explorer.data import Dataset
    from explorer.training.run import Run
    from explorer.training.trainer import Trained

FLOAT_BITS = 32
"""Bits of weights that share no values."""
BODY_RATE = 0.1
"""Learning rate of transferred layers, as a multiple of the recipe's, which the new head has."""


@dataclass(frozen=True)
class Treatment:
    """What a run does with the weights that it starts from.

    Attributes:
        source: Key of the run that trained the weights, or SHA-256 (hex) of a file with them.
        weights: The weights as a safetensors file; empty as long as they are not needed.
    """

    kind: ClassVar[str]
    trains: ClassVar[bool] = True
    """Whether the run trains the network further."""

    source: str
    weights: bytes = field(default=b"", compare=False, repr=False, kw_only=True)

    @property
    def settings(self) -> dict[str, Any]:
        """Everything that determines the result, as plain data."""
        own = {part.name: getattr(self, part.name) for part in fields(self) if part.name != "weights"}
        return {"kind": self.kind, **own}

    def starting_from(self, weights: bytes) -> Self:
        """Return the treatment with its weights."""
        return replace(self, weights=weights)

    def train(self, run: Run, dataset: Dataset) -> Trained:
        """Train and measure a run. Raises `RunFailed`, or `ExplorerError` if the weights do not fit the network."""
        raise NotImplementedError


@dataclass(frozen=True)
class Transfer(Treatment):
    """Gives a network trained on other images a new head, and trains it further.

    Attributes:
        frozen: Number of the first blocks that do not change. Their norms keep their statistics.
        body_rate: Learning rate of transferred layers that are not frozen, as a multiple of the recipe's.
        head_rate: Learning rate of the new head, as a multiple of the recipe's.
    """

    kind = "transfer"

    frozen: int = 0
    body_rate: float = BODY_RATE
    head_rate: float = 1.0

    def train(self, run: Run, dataset: Dataset) -> Trained:
        """Train the network from these weights, except the head."""
        from explorer.training.transfer import transferred

        return transferred(run, self, dataset)


@dataclass(frozen=True)
class Compress(Treatment):
    """Prunes a trained network and has its weights share values, with fine-tuning after each, and writes one file.

    The epochs of the run are those of the fine-tuning: half after pruning, if any weight is pruned, and half after
    sharing.

    Attributes:
        densities: Shares of the weights to keep, such as `0.5` or `3x3=0.33`.
        bits: Bits of a code; `FLOAT_BITS` to only fine-tune a network without pruning and sharing, for comparison.
    """

    kind = "compress"

    densities: tuple[str, ...] = ()
    bits: int = 8

    def train(self, run: Run, dataset: Dataset) -> Trained:
        """Compress the network with these weights."""
        from explorer.training.compressing import compressed

        return compressed(run, self, dataset)


@dataclass(frozen=True)
class Store(Treatment):
    """Writes a trained network to a file without further training, and measures what the file has.

    Attributes:
        coding: `float32`, or `int8` for an ONNX file with int8 weights and feature maps, evaluated by onnxruntime.
    """

    kind = "store"
    trains = False

    coding: str = "float32"

    def train(self, run: Run, dataset: Dataset) -> Trained:
        """Store the network with these weights."""
        from explorer.training.compressing import stored

        return stored(run, self, dataset)
