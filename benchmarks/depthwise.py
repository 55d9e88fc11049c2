"""Time depthwise convolutions in bfloat16 and float32, forward and backward, channels last, on one thread.

The ratio is why `explorer.networks.modules.Depthwise` computes in float32 on a CPU. The two are timed alternately, so
that other load affects both.
"""

from __future__ import annotations

import statistics
import time

import torch
from torch import nn

BATCH = 128
REPEATS = 9
SHAPES = [  # channels, kernel, stride, size of the map in pixels
    (48, 3, 1, 10),
    (96, 3, 1, 5),
    (48, 3, 2, 10),
    (16, 3, 2, 20),
    (96, 5, 1, 5),
    (48, 5, 2, 10),
]


def seconds(channels: int, kernel: int, stride: int, size: int, dtype: torch.dtype) -> float:
    """Time one training step of the convolution alone, after one warm-up step."""
    conv = nn.Conv2d(channels, channels, kernel, stride, kernel // 2, groups=channels, bias=False)
    conv = conv.to(dtype=dtype, memory_format=torch.channels_last)
    images = torch.randn(BATCH, channels, size, size).to(dtype=dtype, memory_format=torch.channels_last)
    images.requires_grad_()
    conv(images).sum().backward()
    begun = time.perf_counter()
    conv(images).sum().backward()
    return time.perf_counter() - begun


def main() -> None:
    """Print a row for each shape: the median float32 time, and median and range of the ratio."""
    torch.set_num_threads(1)
    print(f"torch {torch.__version__}, batch {BATCH}, {REPEATS} pairs; median (lowest to highest)")
    for shape in SHAPES:
        pairs = [(seconds(*shape, torch.bfloat16), seconds(*shape, torch.float32)) for _ in range(REPEATS)]
        ratios = [narrow / wide for narrow, wide in pairs]
        channels, kernel, stride, size = shape
        wide = 1e3 * statistics.median(wide for _, wide in pairs)
        print(
            f"{kernel}x{kernel}/{stride}, {channels:3} maps of {size:2} px: float32 {wide:5.2f} ms, bfloat16 takes "
            f"{statistics.median(ratios):5.2f} times as long ({min(ratios):.2f} to {max(ratios):.2f})"
        )


if __name__ == "__main__":
    main()
