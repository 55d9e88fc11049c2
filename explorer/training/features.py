"""Features: the outputs of frozen layers, computed once for all images of a run instead of once per epoch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import torch
from torch import Tensor, nn

from explorer.training.batches import Batches, shuffled
from explorer.training.recipe import Recipe

MOST_BYTES = 2**28
"""Features of training or validation images that would take more memory than this are computed again instead."""


class Inputs(Protocol):
    """What a model trains on: images, or features of images."""

    def __len__(self) -> int:
        """Return the number of images."""

    def plain(self, batch_size: int, count: int | None = None) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the first `count` inputs in order, in batches, with their labels."""

    def augmented(
        self, batch_size: int, recipe: Recipe, seed: tuple[int, ...], steps: range
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the batches `steps` of an epoch in random order, with their labels."""


class Features:
    """The outputs of a module for images that no recipe changes, in memory."""

    def __init__(self, maps: Tensor, labels: Tensor) -> None:
        self.maps, self.labels = maps, labels

    @classmethod
    @torch.inference_mode()
    def of(cls, images: Batches, prefix: nn.Module, batch_size: int, autocast: torch.autocast) -> Features | None:
        """Return the features of all images, or None if they would take more than `MOST_BYTES`."""
        prefix.eval()
        found: Tensor | None = None
        for place, (batch, _) in enumerate(images.plain(batch_size)):
            with autocast:
                maps = prefix(batch)
            if found is None:
                if maps[0].nbytes * len(images) > MOST_BYTES:
                    return None
                shape = (len(images), *maps.shape[1:])
                found = torch.empty(shape, dtype=maps.dtype, device=maps.device, memory_format=torch.channels_last)
            found[place * batch_size : place * batch_size + len(maps)] = maps
        return None if found is None else cls(found, images.labels)

    def __len__(self) -> int:
        return len(self.labels)

    def plain(self, batch_size: int, count: int | None = None) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the first `count` features in order, as copies, because layers may overwrite their input."""
        stop = len(self) if count is None else min(count, len(self))
        for start in range(0, stop, batch_size):
            chosen = slice(start, min(start + batch_size, stop))
            yield self.maps[chosen].clone(), self.labels[chosen]

    def augmented(
        self,
        batch_size: int,
        recipe: Recipe,  # noqa: ARG002 (which changes no image)
        seed: tuple[int, ...],
        steps: range,
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the batches `steps` of an epoch, in the order of the images that `Batches` would yield."""
        order = torch.from_numpy(shuffled(seed, len(self), batch_size)[1]).to(self.maps.device)
        for step in steps:
            yield self.maps.index_select(0, order[step]), self.labels[order[step]]
