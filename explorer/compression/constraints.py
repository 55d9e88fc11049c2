"""Constraints on weights during training: pruned ones stay zero, and those of a layer share few values."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from explorer.compression.encoding import Shared
from explorer.compression.sizes import Compression, weights_of
from explorer.networks.network import Network


def weight_names(network: Network) -> dict[str, str]:
    """Return the name of each layer's weights in the module's state, by the layer's path."""
    return {layer.path: f"body.{layer.path}.weight" for layer in weights_of(network)}


@dataclass(frozen=True)
class Pruned:
    """Sets weights to zero wherever a mask is False. `masks` has booleans by name of the weights."""

    masks: dict[str, Tensor]

    @classmethod
    def smallest(cls, model: nn.Module, network: Network, compression: Compression) -> Pruned:
        """Keep the weights with the largest magnitudes in each layer, as many as its density says."""
        state, names = model.state_dict(), weight_names(network)
        masks = {}
        for layer in weights_of(network):
            weights = state[names[layer.path]].flatten()
            order = weights.abs().argsort(descending=True, stable=True)
            mask = torch.zeros_like(weights, dtype=torch.bool)
            mask[order[: compression.kept(layer)]] = True
            masks[names[layer.path]] = mask.view_as(state[names[layer.path]])
        return cls(masks)

    @property
    def removes(self) -> bool:
        """Whether any weight is pruned."""
        return not all(bool(mask.all()) for mask in self.masks.values())

    @torch.no_grad()
    def __call__(self, model: nn.Module) -> None:
        """Prune the model in place."""
        for name, mask in self.masks.items():
            model.get_parameter(name).mul_(mask)


@dataclass(frozen=True)
class Sharing:
    """Sets all weights with the same code to their mean, and those with code -1 to zero.

    Training with it follows the mean gradient of each code, so it fine-tunes the shared values.
    """

    codes: dict[str, Tensor]

    @classmethod
    def nearest(cls, model: nn.Module, pruned: Pruned, bits: int) -> Sharing:
        """Cluster the kept weights of each layer into at most `2 ** bits` codes with the least squared error.

        The clusters are optimal (Grønlund et al. 2017, arXiv:1701.07204), found by the package `kmeans1d`.
        """
        import kmeans1d

        codes = {}
        for name, mask in pruned.masks.items():
            kept = model.get_parameter(name).detach()[mask].double().cpu().numpy()
            most = min(2**bits, len(np.unique(kept)))
            found = torch.full(mask.shape, -1, dtype=torch.int64)
            found[mask.cpu()] = torch.tensor(kmeans1d.cluster(kept, most).clusters)
            codes[name] = found.to(mask.device)
        return cls(codes)

    def books(self, model: nn.Module) -> dict[str, Tensor]:
        """Return the mean weight of each code, float32, by name."""
        return {name: _means(model.get_parameter(name), codes) for name, codes in self.codes.items()}

    @torch.no_grad()
    def __call__(self, model: nn.Module) -> None:
        """Share the weights of the model in place."""
        for name, book in self.books(model).items():
            codes = self.codes[name]
            model.get_parameter(name).copy_(torch.where(codes < 0, 0.0, book[codes.clamp(min=0)]))

    def shared(self, model: nn.Module) -> dict[str, Shared]:
        """Return codes and values, to be encoded, of a model that this constraint holds for."""
        books = self.books(model)
        return {name: Shared(codes.cpu().numpy(), books[name].cpu().numpy()) for name, codes in self.codes.items()}


Constraint = Callable[[nn.Module], None]


@torch.no_grad()
def _means(weights: Tensor, codes: Tensor) -> Tensor:
    kept = codes >= 0
    chosen = codes[kept]
    sums = torch.bincount(chosen, weights[kept].double())
    return (sums / torch.bincount(chosen)).float()
