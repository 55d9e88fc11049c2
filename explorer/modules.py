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


class Gated(nn.Module):
    """Multiplies its input, (N, C, H, W), by what the gate makes of it, (N, C, 1, 1)."""

    def __init__(self, parts: OrderedDict[str, nn.Module]) -> None:
        super().__init__()
        self.gate = parts["gate"]

    def forward(self, images: Tensor) -> Tensor:
        """(N, C, H, W) to the same shape."""
        scaled: Tensor = images * self.gate(images)
        return scaled


class Dropped(nn.Module):
    """In training, zeroes whole images of (N, C, H, W) with probability `rate` and scales the others by 1 / (1 - rate)."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, images: Tensor) -> Tensor:
        """(N, C, H, W) to the same shape."""
        if not self.training or self.rate == 0:
            return images
        kept = torch.rand(len(images), 1, 1, 1, device=images.device) >= self.rate
        return images * (kept / (1 - self.rate)).to(images.dtype)


class Depthwise(nn.Conv2d):
    """A convolution with one filter for each channel; on a CPU it computes in float32 under autocast too.

    The bfloat16 kernels of torch 2.13 took 5 to 16 times as long there with stride 2 and 5 times with 5x5 filters, forward and
    backward; 3x3 with stride 1 was equal (`benchmarks/depthwise.py`).
    """

    def forward(self, images: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C, H', W') in the same arithmetic."""
        if images.device.type != "cpu" or not torch.is_autocast_enabled("cpu"):
            return super().forward(images)
        with torch.autocast("cpu", enabled=False):
            return super().forward(images.float()).to(images.dtype)
