"""Train a network that starts from trained weights: its first blocks may be frozen, and its head is new."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from explorer.data.dataset import Dataset
from explorer.errors import ExplorerError
from explorer.networks.network import Network
from explorer.training.recipe import Budget, Recipe
from explorer.training.run import Numerics
from explorer.training.trainer import Beginning, RunFailed, Trained, train

BODY_RATE = 0.1
"""Learning rate of transferred layers, as a multiple of the recipe's, which the new head has."""


@dataclass(frozen=True)
class Start:
    """Where training starts.

    Attributes:
        weights: The trained tensors by name, as in the state of the network's module. Those of the head are not used.
        frozen: Number of the first blocks that do not change. Their norms keep their statistics.
        body_rate: Learning rate of transferred layers that are not frozen, as a multiple of the recipe's.
    """

    weights: Mapping[str, Tensor]
    frozen: int = 0
    body_rate: float = BODY_RATE


def blocks_of(network: Network) -> list[str]:
    """Return the names of the blocks with params before the head, in order."""
    return _with_params(network)[:-1]


def head_of(network: Network) -> str:
    """Return the name of the head: the last block with params, which ends in the classes."""
    return _with_params(network)[-1]


def _with_params(network: Network) -> list[str]:
    return [node.name for node in network.trace.parts if node.cost.params]


def check_start(network: Network, start: Start) -> None:
    """Raise `ExplorerError` if the weights are not those of the network, or more blocks are frozen than there are."""
    blocks, head = blocks_of(network), f"body.{head_of(network)}."
    if not 0 <= start.frozen <= len(blocks):
        raise ExplorerError(f"frozen = {start.frozen}: must be 0 to {len(blocks)}, the blocks before the head")
    state = network.build().state_dict()
    for name in sorted({*state, *start.weights}):
        if name.startswith(head):
            continue
        here, there = (tuple(one[name].shape) if name in one else None for one in (state, start.weights))
        if here != there:
            raise ExplorerError(
                f"the weights are not those of network {network.digest[:12]}: {name} has the shape {there}, not {here}"
            )


def train_from(
    network: Network,
    start: Start,
    dataset: Dataset,
    recipe: Recipe,
    budget: Budget,
    seed: int,
    using: Numerics | None = None,
) -> Trained:
    """Train a network from a start. The new head is initialised like that of an ordinary run.

    Frozen blocks are in evaluation mode, and are compared with the start to the last bit afterwards.

    Raises:
        ExplorerError: Like `check_start`.
        RunFailed: Like `measure`.
    """
    check_start(network, start)
    head = f"body.{head_of(network)}."
    frozen = blocks_of(network)[: start.frozen]

    def begin(model: nn.Module) -> Beginning:
        kept = {name: tensor for name, tensor in start.weights.items() if not name.startswith(head)}
        model.load_state_dict(kept, strict=False)
        body = dict(model.get_submodule("body").named_children())
        for name in frozen:
            body[name].requires_grad_(requires_grad=False)
        new: list[nn.Parameter] = []
        moved: list[nn.Parameter] = []
        for name, parameter in model.named_parameters():
            if parameter.requires_grad:
                (new if name.startswith(head) else moved).append(parameter)
        groups: list[dict[str, Any]] = [{"params": new}]
        groups += [{"params": moved, "factor": start.body_rate}] if moved else []
        return Beginning(groups, tuple(body[name] for name in frozen))

    trained = train(network, dataset, recipe, budget, seed, using, begin=begin)
    after = trained.model.state_dict()
    for name, tensor in start.weights.items():
        if name.startswith(tuple(f"body.{block}." for block in frozen)) and not torch.equal(after[name].cpu(), tensor):
            raise RunFailed(f"{name} is frozen, but has changed")
    return trained
