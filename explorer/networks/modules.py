"""Modules that torch lacks, and faster equivalents of torch's own.

Exports copy the source of the modules that torch lacks, so these use only `OrderedDict`, `torch`, `Tensor` and `nn`.
"""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx
from torch.nn import functional

REGISTER = 16  # floats in a vector register of AVX-512; AVX2 has 8


def chain(**parts: nn.Module) -> nn.Sequential:
    """Chain named modules."""
    return nn.Sequential(OrderedDict(parts))


class Concatenated(nn.Module):
    """Calls each part on the same input (N, C, H, W) and concatenates the outputs along the channels."""

    def __init__(self, **parts: nn.Module) -> None:
        super().__init__()
        for name, part in parts.items():
            self.add_module(name, part)

    def forward(self, images: Tensor) -> Tensor:
        return torch.cat([part(images) for part in self.children()], dim=1)


class Summed(nn.Module):
    """Adds the outputs of a body and a shortcut on the same input (N, C, H, W). Without one, adds the input itself."""

    def __init__(self, body: nn.Module, shortcut: nn.Module | None = None) -> None:
        super().__init__()
        self.body = body
        self.shortcut = nn.Identity() if shortcut is None else shortcut

    def forward(self, images: Tensor) -> Tensor:
        total: Tensor = self.body(images) + self.shortcut(images)
        return total


class Sliced(nn.Module):
    """Channels `start` to `stop` of (N, C, H, W)."""

    def __init__(self, start: int, stop: int) -> None:
        super().__init__()
        self.start, self.stop = start, stop

    def forward(self, images: Tensor) -> Tensor:
        return images[:, self.start : self.stop]


class Flattened(nn.Linear):
    """A fully connected layer on all elements of (N, C, H, W). Its output is (N, features, 1, 1)."""

    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images.flatten(1))[:, :, None, None]


class Averaged(nn.AdaptiveAvgPool2d):
    """The mean of each map: (N, C, H, W) to (N, C, 1, 1).

    Maps in channels-last are averaged in that layout, so that the gradient has it, too. `torch.nn.AdaptiveAvgPool2d`
    changes the layout, which slows down the layers after it.
    """

    def forward(self, images: Tensor) -> Tensor:
        if not images.is_contiguous(memory_format=torch.channels_last):
            return images.mean((2, 3), keepdim=True)
        return images.permute(0, 2, 3, 1).mean((1, 2))[:, :, None, None]


class Gated(nn.Module):
    """Multiplies its input (N, C, H, W) by the gate's output (N, C, 1, 1)."""

    def __init__(self, gate: nn.Module) -> None:
        super().__init__()
        self.gate = gate

    def forward(self, images: Tensor) -> Tensor:
        # Multiplying tensors of different dtypes is slow because torch does it element by element.
        scaled: Tensor = images * self.gate(images).to(images.dtype)
        return scaled


class Dropped(nn.Module):
    """Zeroes images of (N, C, H, W) with probability `rate` in training, and scales the rest by 1 / (1 - rate)."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, images: Tensor) -> Tensor:
        if not self.training or self.rate == 0:
            return images
        kept = torch.rand(len(images), 1, 1, 1, device=images.device) >= self.rate
        return images * (kept / (1 - self.rate)).to(images.dtype)


class Rectifier(nn.ReLU):
    """An in-place ReLU, which works on the bits when training in bfloat16 on a CPU.

    A bfloat16 and a 16-bit integer have the same sign bit, so negative numbers are negative integers. Working on the
    bits took a fifth less time on maps of 8 and 16 pixels, which dominate (`benchmarks/products.py`). It may turn NaN
    into zero, so it is not used in evaluation, where NaN must show.
    """

    def forward(self, images: Tensor) -> Tensor:
        if self.inplace and self.training and images.device.type == "cpu" and images.dtype == torch.bfloat16:
            rectified: Tensor = _BitwiseRectifier.apply(images)  # type: ignore[no-untyped-call]
            return rectified
        return super().forward(images)


class _BitwiseRectifier(torch.autograd.Function):
    @staticmethod
    def forward(ctx: FunctionCtx, images: Tensor) -> Tensor:
        images.view(torch.int16).clamp_min_(0)
        ctx.mark_dirty(images)
        ctx.save_for_backward(images)
        return images

    @staticmethod
    def backward(ctx: FunctionCtx, gradient: Tensor) -> Tensor:
        (rectified,) = ctx.saved_tensors  # type: ignore[attr-defined]
        passed: Tensor = torch.ops.aten.threshold_backward(gradient.view(torch.int16), rectified.view(torch.int16), 0)
        return passed.view(torch.bfloat16)


class Convolution(nn.Conv2d):
    """A convolution. Under CPU autocast, a 1x1 convolution runs as a matrix product.

    The forward and backward passes together took 0.6 to 0.9 times as long on maps of 1 to 8 pixels, but 1.1 times as
    long with 12 maps of 10 pixels (`benchmarks/products.py`).

    Otherwise, a narrow 1x1 convolution with a stride picks its pixels before it is trained on a CPU. oneDNN's gradient
    writes past its memory if there are fewer channels than floats in a vector register, and the process dies
    (https://github.com/uxlfoundation/oneDNN/issues/6035; seen with torch 2.13 on AVX2).
    """

    def forward(self, images: Tensor) -> Tensor:
        if self.kernel_size != (1, 1) or self.padding != (0, 0) or self.groups != 1:
            return super().forward(images)
        products, strided = _autocast(images), self.stride != (1, 1)
        if products and not strided:
            maps = functional.linear(images.permute(0, 2, 3, 1), self.weight.flatten(1), self.bias)
            return maps.permute(0, 3, 1, 2)
        overruns = strided and self.in_channels < REGISTER and images.device.type == "cpu"
        if overruns and self.training and not products:
            down, across = self.stride
            return functional.conv2d(images[:, :, ::down, ::across], self.weight, self.bias)
        return super().forward(images)


class Depthwise(nn.Conv2d):
    """A convolution with one filter per channel. Under CPU autocast, it and the layers after it run in float32.

    In both passes, the bfloat16 kernels of torch 2.13 took 5 to 16 times as long as float32 with stride 2, 5 times as
    long with 5x5 filters, and equally long with 3x3 filters and stride 1 (`benchmarks/depthwise.py`).
    """

    def forward(self, images: Tensor) -> Tensor:
        if not _autocast(images):
            return super().forward(images)
        with torch.autocast("cpu", enabled=False):
            return super().forward(images.float())


def _autocast(images: Tensor) -> bool:
    return images.device.type == "cpu" and torch.is_autocast_enabled("cpu")
