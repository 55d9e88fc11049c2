"""Train a network that starts from trained weights: its first blocks may be frozen, and its head is new."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from explorer.data.dataset import Dataset
from explorer.errors import ExplorerError
from explorer.networks.blocks import blocks_of, head_of
from explorer.networks.network import Network
from explorer.training.run import Run
from explorer.training.trainer import Beginning, RunFailed, Trained, train
from explorer.training.treatments import Transfer


def read_weights(content: bytes) -> dict[str, Tensor]:
    """Return the tensors of a safetensors file by name; raise `ExplorerError` if it is damaged."""
    try:
        return safetensors.torch.load(content)
    except SafetensorError as error:
        raise ExplorerError(f"the weights to start from are not a safetensors file: {error}") from None


def written_weights(model: nn.Module) -> bytes:
    """Return the tensors of a model's state as a safetensors file."""
    return safetensors.torch.save({name: tensor.cpu().contiguous() for name, tensor in model.state_dict().items()})


def check_weights(network: Network, weights: Mapping[str, Tensor], *, head: bool) -> None:
    """Raise `ExplorerError` if the weights are not those of the network, apart from the head unless `head`."""
    new = f"body.{head_of(network)}."
    state = network.build().state_dict()
    for name in sorted({*state, *weights}):
        if name.startswith(new) and not head:
            continue
        here, there = (tuple(one[name].shape) if name in one else None for one in (state, weights))
        if here != there:
            raise ExplorerError(
                f"the weights are not those of network {network.digest[:12]}: {name} has the shape {there}, not {here}"
            )


def transferred(run: Run, how: Transfer, dataset: Dataset) -> Trained:
    """Train a run from weights, with a new head that is initialised like that of an ordinary run.

    Frozen blocks are in evaluation mode, and are compared with the weights to the last bit afterwards. If the recipe
    changes no image, they run only once per image.

    Raises:
        ExplorerError: The weights are not those of the network, or more blocks are frozen than there are.
        RunFailed: Like `measure`.
    """
    network, blocks = run.network, blocks_of(run.network)
    if not 0 <= how.frozen <= len(blocks):
        raise ExplorerError(f"frozen = {how.frozen}: must be 0 to {len(blocks)}, the blocks before the head")
    weights = read_weights(how.weights)
    check_weights(network, weights, head=False)
    head, frozen = f"body.{head_of(network)}.", blocks[: how.frozen]

    def begin(model: nn.Module) -> Beginning:
        kept = {name: tensor for name, tensor in weights.items() if not name.startswith(head)}
        model.load_state_dict(kept, strict=False)
        body = dict(model.get_submodule("body").named_children())
        for name in frozen:
            body[name].requires_grad_(requires_grad=False)
        new: list[nn.Parameter] = []
        moved: list[nn.Parameter] = []
        for name, parameter in model.named_parameters():
            if parameter.requires_grad:
                (new if name.startswith(head) else moved).append(parameter)
        groups: list[dict[str, Any]] = [{"params": new, "factor": how.head_rate}]
        groups += [{"params": moved, "factor": how.body_rate}] if moved else []
        parts = _split(model, list(body).index(frozen[-1]) + 1) if frozen else None
        return Beginning(groups, tuple(body[name] for name in frozen), parts)

    trained = train(network, dataset, run.recipe, run.budget, run.seed, run.numerics, begin=begin)
    after = trained.model.state_dict()
    for name, tensor in weights.items():
        # An average of weights cuts the decimals of counts, such as batch norm's of batches, which nothing reads.
        averaged = run.recipe.ema and not tensor.is_floating_point()
        kept = averaged or torch.equal(after[name].cpu(), tensor)
        if name.startswith(tuple(f"body.{block}." for block in frozen)) and not kept:
            raise RunFailed(f"{name} is frozen, but has changed")
    return trained


def _split(model: nn.Module, place: int) -> tuple[nn.Module, nn.Module]:
    """Return the model's body up to a part, and the rest of the model, which share its tensors."""
    parts = list(model.get_submodule("body").named_children())
    rest = OrderedDict(body=nn.Sequential(OrderedDict(parts[place:])), flatten=model.get_submodule("flatten"))
    return nn.Sequential(OrderedDict(parts[:place])), nn.Sequential(rest)
