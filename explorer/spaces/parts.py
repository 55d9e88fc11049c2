"""Parts that families share: convolutions with batch norm, classifiers, and the rounding of filters."""

from __future__ import annotations

from typing import Annotated, NamedTuple

from pydantic import Field, Strict

from explorer.networks.arrays import Float, Int, maximum, nearest, uniform, whole
from explorer.networks.layers import (
    BatchNorm,
    Conv,
    DepthwiseConv,
    Dropout,
    FullyConnected,
    GlobalAveragePool,
    Layer,
    MaxPool,
    ReLU,
)
from explorer.networks.network import Chain, Repeat, chain

Blocks = Annotated[
    tuple[Annotated[int, Field(ge=1, le=1000)], ...], Strict(strict=False), Field(min_length=1, max_length=20)
]
"""Number of blocks in each stage."""
Widths = Annotated[
    tuple[Annotated[int, Field(ge=1, le=100_000)], ...], Strict(strict=False), Field(min_length=1, max_length=20)
]
"""Filters of each layer."""


class Stage(NamedTuple):
    """Blocks with the same number of filters, of which only the first has the stride."""

    channels: Annotated[int, Field(ge=1, le=100_000)]
    repeats: Annotated[int, Field(ge=1, le=1000)]
    stride: Annotated[int, Field(ge=1, le=99)]


def conv_norm(channels: Int, kernel: Int = 1, stride: Int = 1, groups: Int = 1, **activation: Layer) -> Chain:
    """Chain a convolution that keeps the size at stride 1, batch norm and an activation, such as `relu=ReLU()`."""
    conv = Conv(channels, kernel, stride, kernel // 2, bias=False, groups=groups)
    return chain(conv=conv, norm=BatchNorm(), **activation)


def depthwise_norm(kernel: Int, stride: Int = 1, **activation: Layer) -> Chain:
    """Chain a depthwise convolution, batch norm and an activation."""
    return chain(conv=DepthwiseConv(kernel, stride), norm=BatchNorm(), **activation)


def pooled_stem(channels: Int, kernel: Int, stride: Int, *, pool: bool) -> dict[str, Layer]:
    """Return the first layers of networks for large images: a convolution, and a max-pool with stride 2 if wanted."""
    layers: dict[str, Layer] = {"stem": conv_norm(channels, kernel, stride, relu=ReLU())}
    return layers | ({"pool": MaxPool(kernel=3, stride=2, padding=1, ceil=False)} if pool else {})


def repeated(first: Layer, others: Layer, times: Int) -> Chain:
    """Chain a first block, which may change the shape, and `times` - 1 others."""
    return chain(first=first, others=Repeat(others, times - 1))


def averaged_classifier(classes: Int, dropout: Float) -> dict[str, Layer]:
    """Return the last layers of most networks: global average pooling, dropout and a fully connected layer.

    On one pixel, a 1x1 convolution is equivalent to a fully connected layer.
    """
    drop: dict[str, Layer] = {"dropout": Dropout(dropout)} if uniform(dropout > 0) else {}
    return {"average": GlobalAveragePool(), **drop, "classifier": Conv(classes, kernel=1)}


def hidden_classifier(classes: Int, hidden: Int, layers: int, dropout: Float) -> dict[str, Layer]:
    """Return fully connected layers on the whole last map: hidden ones with ReLU and dropout, then the classifier."""
    parts: dict[str, Layer] = {}
    drop: dict[str, Layer] = {"dropout": Dropout(dropout)} if uniform(dropout > 0) else {}
    for number in range(1, layers + 1):
        parts[f"hidden{number}"] = chain(linear=FullyConnected(hidden), relu=ReLU(), **drop)
    return {**parts, "classifier": FullyConnected(classes)}


def divisible(filters: Float, divisor: Int) -> Int:
    """Round to the nearest multiple of the divisor, but not to less than 0.9 of the exact value.

    This is `round_filters` of EfficientNet's released code and `make_divisible` of MobileNetV2's.
    """
    rounded = maximum(divisor, whole(filters + divisor / 2) // divisor * divisor)
    return rounded + divisor * (rounded < 0.9 * filters)


def scaled(count: Int, multiplier: Float) -> Int:
    """Multiply a number of filters or blocks, rounded to the nearest integer but at least 1."""
    return maximum(1, nearest(count * multiplier))
