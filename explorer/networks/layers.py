"""Layer kinds: each is one small frozen class with its output shape, its cost and its torch module together.

Nothing here knows what a layer is part of: `explorer.networks.network` joins layers. Torch is imported only to build a module.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar

from explorer.errors import Infeasible
from explorer.networks.arrays import Float, Int, ceil_div, largest, plus, times, uniform
from explorer.networks.calls import Call, call

if TYPE_CHECKING:
    from torch import nn

BYTES = 4  # of a param, as the papers store their models, and of an element of a feature map: float32
MOST_MACS = 10**12  # beyond is a mistake, and far beyond whole numbers of 64 bits would overflow


@dataclass(frozen=True)
class Shape:
    """A square feature map of one image: `channels` maps of `size` x `size` elements."""

    channels: Int
    size: Int

    @cached_property
    def pixels(self) -> Int:
        """Number of positions of a map."""
        return self.size * self.size

    @cached_property
    def most_pixels(self) -> int:
        """The largest number of positions among the points of a chunk."""
        return largest(self.pixels)

    @property
    def elements(self) -> Int:
        """Number of elements of the feature map."""
        return times(self.channels, self.pixels)

    def of(self, channels: Int) -> Shape:
        """As many maps of the same size; what is known of the size is not computed again."""
        shape = Shape(channels, self.size)
        vars(shape).update(pixels=self.pixels, most_pixels=self.most_pixels)
        return shape

    def __str__(self) -> str:
        return f"{self.size}x{self.size}x{self.channels}"


@dataclass(frozen=True, slots=True)
class Cost:
    """What a layer costs for one image.

    `params` counts learnt numbers; `macs` multiply-adds of convolution and linear layers (the papers' FLOPs, never
    doubled); `activations` elements written by convolution, pooling and linear layers.
    """

    params: Int = 0
    macs: Int = 0
    activations: Int = 0

    def __add__(self, other: Cost) -> Cost:
        return Cost(
            plus(self.params, other.params), plus(self.macs, other.macs), plus(self.activations, other.activations)
        )

    def __mul__(self, times: Int) -> Cost:
        return Cost(self.params * times, self.macs * times, self.activations * times)

    @property
    def model_bytes(self) -> Int:
        """Size of the model in bytes: its params as float32."""
        return self.params * BYTES


class Layer(ABC):
    """A layer kind: what comes out of it, what it costs, and the torch module that computes it.

    `kind` names it in the canonical form; `notation` is its short form in layer tables, empty for what these leave out. A layer
    that works `in_place` may write its output over its input, where nothing else needs that. `faster` names a class in
    `modules.py` that is trained in place of the one in `source` and computes the same.
    """

    kind: ClassVar[str]
    in_place: ClassVar[bool] = False
    faster: ClassVar[str] = ""

    @property
    def notation(self) -> str:
        """The short form in layer tables, such as `3x3/2 64`; empty where tables leave the layer out."""
        return ""

    def output(self, shape: Shape) -> Shape:
        """The shape that comes out when `shape` goes in; raises `Infeasible` where nothing would."""
        return shape

    def cost(self, shape: Shape, out: Shape) -> Cost:  # noqa: ARG002 (costs nothing unless a kind says otherwise)
        """The cost of the layer for an input of `shape`, which makes `out` of it."""
        return Cost()

    def accessed(self, shape: Shape, out: Shape) -> Int:
        """Elements read and written for one image: input, params and output (Ma et al. 2018, ShuffleNet V2, section 2)."""
        return shape.elements + out.elements + self.cost(shape, out).params

    def at(self, place: int) -> Layer:  # noqa: ARG002 (alike at every place unless a kind says otherwise)
        """The layer as it stands in a repeat, `place` blocks after the first one."""
        return self

    @abstractmethod
    def source(self, shape: Shape) -> Call:
        """The call of the plain torch module for an input of `shape`, in NCHW order: what an export prints."""

    def build(self, shape: Shape) -> nn.Module:
        """The torch module that is trained."""
        source = self.source(shape)
        return Call(self.faster or source.called, source.arguments).made()


@dataclass(frozen=True)
class Conv(Layer):
    """A convolution with square filters."""

    channels: Int
    kernel: Int
    stride: Int = 1
    padding: Int = 0
    bias: bool = True
    kind: ClassVar[str] = "conv"
    faster: ClassVar[str] = "Convolution"

    @property
    def notation(self) -> str:
        """Filter size, stride where it is not 1, and number of filters."""
        stride = "" if self.stride == 1 else f"/{self.stride}"
        return f"{self.kernel}x{self.kernel}{stride} {self.channels}"

    def output(self, shape: Shape) -> Shape:
        """One map for each filter."""
        single = all(isinstance(value, int) for value in (self.kernel, self.stride, self.padding))
        if single and self.stride == 1 and 2 * self.padding == self.kernel - 1:
            return shape.of(self.channels)
        size = (shape.size + 2 * self.padding - self.kernel) // self.stride + 1
        return Shape(self.channels, _at_least_one_pixel(size))

    def cost(self, shape: Shape, out: Shape) -> Cost:
        """One multiply-add for each weight at each position; the bias is counted in params only, as fvcore does."""
        return _convolution(times(shape.channels * self.channels, self.kernel**2), out, bias=self.bias)

    def source(self, shape: Shape) -> Call:
        """`torch.nn.Conv2d`."""
        return call(
            "nn.Conv2d",
            in_channels=shape.channels,
            out_channels=self.channels,
            kernel_size=self.kernel,
            stride=self.stride,
            padding=self.padding,
            bias=self.bias,
        )


@dataclass(frozen=True)
class DepthwiseConv(Layer):
    """A convolution with one square filter for each channel, without bias, padded so that stride 1 keeps the size."""

    kernel: Int
    stride: Int = 1
    kind: ClassVar[str] = "depthwise_conv"
    faster: ClassVar[str] = "Depthwise"

    def __post_init__(self) -> None:
        """Only an odd filter has a middle."""
        if uniform(self.kernel % 2 == 0):
            raise ValueError(f"depthwise convolution: kernel {self.kernel}: should be odd")

    @property
    def notation(self) -> str:
        """Filter size and, where it is not 1, stride."""
        return f"{self.kernel}x{self.kernel}{'' if self.stride == 1 else f'/{self.stride}'} depthwise"

    def output(self, shape: Shape) -> Shape:
        """As many maps; their size divided by the stride, rounded up."""
        return shape if self.stride == 1 else Shape(shape.channels, ceil_div(shape.size, self.stride))

    def cost(self, shape: Shape, out: Shape) -> Cost:
        """One multiply-add for each weight at each position."""
        return _convolution(shape.channels * self.kernel**2, out, bias=False)

    def source(self, shape: Shape) -> Call:
        """A `torch.nn.Conv2d` with as many groups as channels."""
        return call(
            "nn.Conv2d",
            in_channels=shape.channels,
            out_channels=shape.channels,
            kernel_size=self.kernel,
            stride=self.stride,
            padding=self.kernel // 2,
            groups=shape.channels,
            bias=False,
        )


@dataclass(frozen=True)
class BatchNorm(Layer):
    """Batch normalisation with a learnt scale and shift for each channel."""

    kind: ClassVar[str] = "batch_norm"
    in_place: ClassVar[bool] = True

    def cost(self, shape: Shape, out: Shape) -> Cost:  # noqa: ARG002
        """Scale and shift; the running statistics are not learnt."""
        return Cost(params=2 * shape.channels)

    def source(self, shape: Shape) -> Call:
        """`torch.nn.BatchNorm2d`."""
        return call("nn.BatchNorm2d", num_features=shape.channels)


@dataclass(frozen=True)
class ReLU(Layer):
    """The rectifier."""

    kind: ClassVar[str] = "relu"
    faster: ClassVar[str] = "Rectifier"
    in_place: ClassVar[bool] = True

    def source(self, shape: Shape) -> Call:  # noqa: ARG002
        """`torch.nn.ReLU`, in place to save memory."""
        return call("nn.ReLU", inplace=True)


@dataclass(frozen=True)
class SiLU(Layer):
    """The sigmoid-weighted linear unit x * sigmoid(x), also called swish."""

    kind: ClassVar[str] = "silu"
    in_place: ClassVar[bool] = True

    def source(self, shape: Shape) -> Call:  # noqa: ARG002
        """`torch.nn.SiLU`; in place it would copy its input first, which its gradient needs."""
        return call("nn.SiLU")


@dataclass(frozen=True)
class Sigmoid(Layer):
    """The logistic function."""

    kind: ClassVar[str] = "sigmoid"
    in_place: ClassVar[bool] = True

    def source(self, shape: Shape) -> Call:  # noqa: ARG002
        """`torch.nn.Sigmoid`."""
        return call("nn.Sigmoid")


@dataclass(frozen=True)
class MaxPool(Layer):
    """Max-pooling whose last window may hang over the edge (Caffe's rule)."""

    kernel: Int = 3
    stride: Int = 2
    kind: ClassVar[str] = "max_pool"

    def __post_init__(self) -> None:
        """Windows that leave gaps would follow another rule at the edge."""
        if uniform(self.kernel < self.stride):
            raise ValueError(f"max-pool: stride {self.stride}: at most the window, {self.kernel}")

    @property
    def notation(self) -> str:
        """Window and stride."""
        return f"max-pool {self.kernel}x{self.kernel}/{self.stride}"

    def output(self, shape: Shape) -> Shape:
        """The size is rounded up."""
        size = ceil_div(shape.size - self.kernel, self.stride) + 1
        return Shape(shape.channels, _at_least_one_pixel(size))

    def cost(self, shape: Shape, out: Shape) -> Cost:  # noqa: ARG002
        """Writes its output."""
        return Cost(activations=out.elements)

    def source(self, shape: Shape) -> Call:  # noqa: ARG002
        """`torch.nn.MaxPool2d` with `ceil_mode`."""
        return call("nn.MaxPool2d", kernel_size=self.kernel, stride=self.stride, ceil_mode=True)


@dataclass(frozen=True)
class GlobalAveragePool(Layer):
    """The mean of each feature map."""

    kind: ClassVar[str] = "global_average_pool"
    faster: ClassVar[str] = "Averaged"

    @property
    def notation(self) -> str:
        """Its name."""
        return "global average pool"

    def output(self, shape: Shape) -> Shape:
        """One pixel a channel."""
        return Shape(shape.channels, 1)

    def cost(self, shape: Shape, out: Shape) -> Cost:  # noqa: ARG002
        """Writes its output."""
        return Cost(activations=out.elements)

    def source(self, shape: Shape) -> Call:  # noqa: ARG002
        """`torch.nn.AdaptiveAvgPool2d`."""
        return call("nn.AdaptiveAvgPool2d", output_size=1)


@dataclass(frozen=True)
class Slice(Layer):
    """The channels from `start` up to `stop`, and nothing of the others."""

    start: Int
    stop: Int
    kind: ClassVar[str] = "slice"

    @property
    def notation(self) -> str:
        """Its range of channels."""
        return f"channels {self.start} to {self.stop}"

    def output(self, shape: Shape) -> Shape:
        """As many maps as the range holds."""
        if not uniform((self.start >= 0) & (self.start < self.stop) & (self.stop <= shape.channels)):
            raise ValueError(f"slice: {self.notation} of {shape.channels}")
        return Shape(self.stop - self.start, shape.size)

    def accessed(self, shape: Shape, out: Shape) -> Int:  # noqa: ARG002
        """Nothing: it is a view of its input."""
        return 0

    def source(self, shape: Shape) -> Call:  # noqa: ARG002
        """A view of the channels; nothing is copied."""
        return call("Sliced", start=self.start, stop=self.stop)


@dataclass(frozen=True)
class Dropout(Layer):
    """Drops elements with probability `rate` during training."""

    rate: Float
    kind: ClassVar[str] = "dropout"
    in_place: ClassVar[bool] = True

    def accessed(self, shape: Shape, out: Shape) -> Int:  # noqa: ARG002
        """Nothing: it does nothing outside of training."""
        return 0

    def source(self, shape: Shape) -> Call:  # noqa: ARG002
        """`torch.nn.Dropout`."""
        return call("nn.Dropout", p=self.rate)


@dataclass(frozen=True)
class DropConnect(Layer):
    """Drops whole images from a residual's body with probability `rate` during training, and scales the others up.

    In a repeat, every block has a rate that is larger by `growth` than that of the block before it.
    """

    rate: Float
    growth: Float = 0.0
    kind: ClassVar[str] = "drop_connect"
    in_place: ClassVar[bool] = True

    def accessed(self, shape: Shape, out: Shape) -> Int:  # noqa: ARG002
        """Nothing: it does nothing outside of training."""
        return 0

    def at(self, place: int) -> DropConnect:
        """The rate of that block."""
        return DropConnect(self.rate + place * self.growth)

    def source(self, shape: Shape) -> Call:  # noqa: ARG002
        """Our own module; torch has none."""
        return call("Dropped", rate=self.rate)


def _convolution(weights: Int, out: Shape, *, bias: bool) -> Cost:
    """The cost of so many weights at each position of the output."""
    if largest(weights) * out.most_pixels > MOST_MACS and uniform(weights * (1.0 * out.pixels) > MOST_MACS):
        raise Infeasible(f"more than {MOST_MACS:.0e} multiply-adds")
    return Cost(weights + out.channels if bias else weights, times(weights, out.pixels), out.elements)


def _at_least_one_pixel(size: Int) -> Int:
    if uniform(size < 1):
        raise Infeasible("the feature map would shrink below one pixel")
    return size
