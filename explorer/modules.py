"""Torch modules of the layers and combinators that torch has none for."""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor, nn


class Concatenated(nn.Module):
    """Calls each part on the same input, (N, C, H, W), and concatenates their outputs along the channels."""

    def __init__(self, parts: OrderedDict[str, nn.Module]) -> None:
        super().__init__()
        for name, part in parts.items():
            self.add_module(name, part)

    def forward(self, images: Tensor) -> Tensor:
        """(N, C, H, W) to (N, sum of the parts' channels, H', W')."""
        return torch.cat([part(images) for part in self.children()], dim=1)


class Summed(nn.Module):
    """Adds a body and a shortcut on the same input, (N, C, H, W); without a shortcut, the input itself."""

    def __init__(self, parts: OrderedDict[str, nn.Module]) -> None:
        super().__init__()
        self.body = parts["body"]
        self.shortcut = parts.get("shortcut", nn.Identity())

    def forward(self, images: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C', H', W')."""
        total: Tensor = self.body(images) + self.shortcut(images)
        return total


class Sliced(nn.Module):
    """Some consecutive channels of (N, C, H, W)."""

    def __init__(self, start: int, stop: int) -> None:
        super().__init__()
        self.start, self.stop = start, stop

    def forward(self, images: Tensor) -> Tensor:
        """(N, C, H, W) to (N, stop - start, H, W)."""
        return images[:, self.start : self.stop]
