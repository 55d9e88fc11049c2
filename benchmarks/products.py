"""Time 1x1 convolutions as convolutions and as matrix products, and rectifiers on floats and on bits.

Forward and backward in bfloat16, channels last, on one thread with a worker's memory settings; this is the evidence for
`Convolution` and `Rectifier` in `explorer.networks.modules`. Each pair is timed alternately, so that other load affects
both.
"""

from __future__ import annotations

import statistics
import time

import torch
from throughput import apart
from torch import nn

from explorer.networks.modules import Convolution, Rectifier
from explorer.training.crew import ENVIRONMENT

BATCH = 128
REPEATS = 25
PRODUCTS = [  # channels, filters, size of the map: four of SqueezeNet's preset `cifar`, then EfficientNet's
    (32, 16, 8),
    (64, 32, 4),
    (96, 48, 4),
    (128, 64, 2),
    (12, 16, 10),
    (32, 96, 5),
    (96, 32, 5),
    (96, 8, 1),
]
MAPS = [(24, 16), (64, 8), (96, 4), (128, 2)]  # channels, size of the map in pixels: SqueezeNet's


def seconds(module: nn.Module, channels: int, size: int) -> float:
    """Time forward and backward of one batch, after two warm-up batches."""
    images = torch.randn(BATCH, channels, size, size).to(dtype=torch.bfloat16, memory_format=torch.channels_last)
    images.requires_grad_()
    took = 0.0
    for _ in range(3):
        written_over = images.clone()
        with torch.autocast("cpu", torch.bfloat16):
            begun = time.perf_counter()
            made = module(written_over)
            took = time.perf_counter() - begun
        gradient = torch.randn_like(made)
        begun = time.perf_counter()
        made.backward(gradient)
        took += time.perf_counter() - begun
    return took


def row(what: str, theirs: nn.Module, ours: nn.Module, channels: int, size: int) -> None:
    """Print the median time of torch's module, and median and range of the ratio of ours to it."""
    pairs = [(seconds(theirs, channels, size), seconds(ours, channels, size)) for _ in range(REPEATS)]
    ratios = [mine / other for other, mine in pairs]
    print(
        f"{what}: torch's {1e3 * statistics.median(other for other, _ in pairs):6.3f} ms, ours takes "
        f"{statistics.median(ratios):.2f} times as long ({min(ratios):.2f} to {max(ratios):.2f})",
        flush=True,
    )


def table() -> None:
    """Print a row for each shape."""
    torch.set_num_threads(1)
    for channels, filters, size in PRODUCTS:
        theirs, ours = (kind(channels, filters, 1, bias=False) for kind in (nn.Conv2d, Convolution))
        row(f"1x1, {channels:3} maps of {size:2} px to {filters:3}", theirs, ours, channels, size)
    for channels, size in MAPS:
        row(
            f"rectifier, {channels:3} maps of {size:2} px",
            nn.ReLU(inplace=True),
            Rectifier(inplace=True),
            channels,
            size,
        )


def main() -> None:
    """Measure in a process configured like a worker."""
    print(f"torch {torch.__version__}, batch {BATCH}, {REPEATS} pairs; median (lowest to highest)", flush=True)
    apart(table, environment=ENVIRONMENT)


if __name__ == "__main__":
    main()
