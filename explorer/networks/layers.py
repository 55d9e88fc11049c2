"""Layers: small frozen classes that each know their output shape, cost and torch module.

`explorer.networks.network` joins layers. Torch is imported only when a module is built.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from explorer.errors import Infeasible
from explorer.networks.arrays import Float, Int, ceil_div, equal, largest, plus, times, uniform
from explorer.networks.calls import Call, call
from explorer.networks.identity import Later, settings_of

if TYPE_CHECKING:
    from torch import nn

BYTES = 4  # per param and per element of a feature map, because the papers use float32
MOST_MACS = 10**12  # a larger network is a mistake, and a much larger one would overflow 64-bit integers

TOO_LARGE = f"more than {MOST_MACS:.0e} multiply-adds"


@dataclass(frozen=True)
class Shape:
    """The feature maps of one image: `channels` maps with `size` x `size` elements each."""

    channels: Int
    size: Int

    @cached_property
    def pixels(self) -> Int:
        """Number of elements in one map."""
        return self.size * self.size

    @cached_property
    def most_pixels(self) -> int:
        """The largest `pixels` in a chunk."""
        return largest(self.pixels)

    @property
    def elements(self) -> Int:
        """Number of elements in all maps."""
        return times(self.channels, self.pixels)

    def of(self, channels: Int) -> Shape:
        """Return `channels` maps of the same size, without recomputing `pixels`."""
        shape = Shape(channels, self.size)
        vars(shape).update(pixels=self.pixels, most_pixels=self.most_pixels)
        return shape

    @property
    def dimensions(self) -> tuple[Int, ...]:
        """The dimensions of the tensor for one image."""
        return self.channels, self.size, self.size

    def equals(self, other: Shape) -> bool:
        """Return whether two shapes are the same for all points; raise `Disagreement` if the points differ."""
        return type(self) is type(other) and equal(self.channels, other.channels) and equal(self.size, other.size)

    def __str__(self) -> str:
        return f"{self.size}x{self.size}x{self.channels}"


@dataclass(frozen=True, slots=True)
class Cost:
    """The cost of a layer for one image.

    Attributes:
        params: Number of learnt parameters.
        macs: Multiply-adds of convolution and linear layers: the papers' FLOPs, not doubled.
        activations: Elements written by convolution, pooling and linear layers.
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
        """Size of the params as float32."""
        return self.params * BYTES


class Layer:
    """A layer: its output shape, its cost and its torch module; subclasses must implement `source`.

    Attributes:
        kind: Name in the canonical form.
        in_place: Whether the output may overwrite the input.
        passes_on: Whether the output may be the input itself or a view of it.
        ends_maps: Whether every output depends on the whole map, as in global pooling.
        faster: Class in `modules.py` that computes the same as the one in `source`, and replaces it in training.
    """

    kind: ClassVar[str]
    in_place: ClassVar[bool] = False
    passes_on: ClassVar[bool] = False
    ends_maps: ClassVar[bool] = False
    faster: ClassVar[str] = ""

    @property
    def notation(self) -> str:
        """The short form in layer tables, such as `3x3/2 64`. If it is empty, the table leaves the layer out."""
        return ""

    def output(self, shape: Shape) -> Shape:
        """Return the output shape for an input of `shape`; raise `Infeasible` if there would be no output."""
        return shape

    def cost(self, shape: Shape, out: Shape) -> Cost:
        """Return the cost for input `shape` and output `out`."""
        return Cost()

    def accessed(self, shape: Shape, out: Shape) -> Int:
        """Count the elements read and written: input, params and output (ShuffleNet V2, Ma et al. 2018, section 2)."""
        return shape.elements + out.elements + self.cost(shape, out).params

    def working(self, shape: Shape, out: Shape) -> Int:
        """Count the elements that are in memory only while the layer runs, besides its input and output."""
        return 0

    def at(self, place: int) -> Layer:
        """Return the version of this layer that is `place` blocks after the first one in a repeat."""
        return self

    def canonical(self) -> list[Any]:
        """Return the layer without names: equal if and only if two layers compute the same function."""
        kind: Any = type(self)
        settings = ((name, getattr(self, name), later) for name, later in settings_of(kind).items())
        kept = {name: value for name, value, later in settings if later is None or not equal(value, later.neutral)}
        return [self.kind, kept]

    def source(self, shape: Shape) -> Call:
        """Return the call that creates the plain torch module for NCHW input of `shape`, as printed in exports."""
        raise TypeError(f"{type(self).__name__} must implement source")

    def build(self, shape: Shape, *, keep: bool = False) -> nn.Module:
        """Return the torch module to train. With `keep`, it does not overwrite its input."""
        source = self.source(shape)
        faster = Call(self.faster or source.called, source.arguments)
        return (faster.keeping_input() if keep else faster).made()


@dataclass(frozen=True)
class Conv(Layer):
    """A convolution with square filters.

    With several groups, input and output channels are divided into that many parts, and each part of the output
    depends on one part of the input only.
    """

    channels: Int
    kernel: Int
    stride: Int = 1
    padding: Int = 0
    bias: bool = True
    groups: Annotated[Int, Later(neutral=1)] = 1
    kind = "conv"
    faster = "Convolution"

    @property
    def notation(self) -> str:
        stride = "" if self.stride == 1 else f"/{self.stride}"
        groups = "" if equal(self.groups, 1) else f", {self.groups} groups"
        return f"{self.kernel}x{self.kernel}{stride} {self.channels}{groups}"

    def output(self, shape: Shape) -> Shape:
        if not _is(self.groups, 1) and uniform(
            (shape.channels % self.groups != 0) | (self.channels % self.groups != 0)
        ):
            raise Infeasible("groups must divide the numbers of input and output channels")
        single = all(isinstance(value, int) for value in (self.kernel, self.stride, self.padding))
        if single and self.stride == 1 and 2 * self.padding == self.kernel - 1:
            return shape.of(self.channels)
        size = (shape.size + 2 * self.padding - self.kernel) // self.stride + 1
        return Shape(self.channels, at_least_one_pixel(size))

    def cost(self, shape: Shape, out: Shape) -> Cost:
        # Like fvcore, count the bias in params but not in multiply-adds.
        pairs = shape.channels * self.channels
        pairs = pairs if _is(self.groups, 1) else pairs // self.groups
        return weighted(times(pairs, self.kernel**2), out, bias=self.bias)

    def source(self, shape: Shape) -> Call:
        return call(
            "nn.Conv2d",
            in_channels=shape.channels,
            out_channels=self.channels,
            kernel_size=self.kernel,
            stride=self.stride,
            padding=self.padding,
            **({} if self.groups == 1 else {"groups": self.groups}),
            bias=self.bias,
        )


@dataclass(frozen=True)
class DepthwiseConv(Layer):
    """A convolution with one square filter per channel and no bias. Its padding keeps the size at stride 1."""

    kernel: Int
    stride: Int = 1
    kind = "depthwise_conv"
    faster = "Depthwise"

    def __post_init__(self) -> None:
        if uniform(self.kernel % 2 == 0):
            raise ValueError(f"depthwise convolution: kernel {self.kernel} must be odd")

    @property
    def notation(self) -> str:
        return f"{self.kernel}x{self.kernel}{'' if self.stride == 1 else f'/{self.stride}'} depthwise"

    def output(self, shape: Shape) -> Shape:
        return shape if self.stride == 1 else Shape(shape.channels, ceil_div(shape.size, self.stride))

    def cost(self, shape: Shape, out: Shape) -> Cost:
        return weighted(shape.channels * self.kernel**2, out, bias=False)

    def source(self, shape: Shape) -> Call:
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
    """Batch normalisation with a learnt scale and shift per channel."""

    kind = "batch_norm"
    in_place = True

    def cost(self, shape: Shape, out: Shape) -> Cost:
        return Cost(params=2 * shape.channels)

    def source(self, shape: Shape) -> Call:
        return call("nn.BatchNorm2d", num_features=shape.channels)


@dataclass(frozen=True)
class ReLU(Layer):
    """The rectifier."""

    kind = "relu"
    faster = "Rectifier"
    in_place = True

    def source(self, shape: Shape) -> Call:
        return call("nn.ReLU", inplace=True)


@dataclass(frozen=True)
class SiLU(Layer):
    """The sigmoid-weighted linear unit x * sigmoid(x), also called swish."""

    kind = "silu"
    in_place = True

    def source(self, shape: Shape) -> Call:
        # In place, torch would first copy the input, because it needs it for the gradient.
        return call("nn.SiLU")


@dataclass(frozen=True)
class Sigmoid(Layer):
    """The logistic function."""

    kind = "sigmoid"
    in_place = True

    def source(self, shape: Shape) -> Call:
        return call("nn.Sigmoid")


@dataclass(frozen=True)
class MaxPool(Layer):
    """Max-pooling. With `ceil`, the last window may overlap the edge (Caffe's rule); padding requires `ceil=False`."""

    kernel: Int = 3
    stride: Int = 2
    padding: Annotated[Int, Later(neutral=0)] = 0
    ceil: Annotated[bool, Later(neutral=True)] = True
    kind = "max_pool"

    def __post_init__(self) -> None:
        # Windows with gaps between them would follow another rule at the edge.
        if uniform(self.kernel < self.stride):
            raise ValueError(f"max-pool: stride {self.stride} must be at most the window, {self.kernel}")
        if self.ceil and not uniform(self.padding == 0):
            raise ValueError(f"max-pool: padding {self.padding} requires ceil=False")

    @property
    def notation(self) -> str:
        return f"max-pool {self.kernel}x{self.kernel}/{self.stride}"

    def output(self, shape: Shape) -> Shape:
        if self.ceil:
            return Shape(shape.channels, at_least_one_pixel(ceil_div(shape.size - self.kernel, self.stride) + 1))
        size = (shape.size + 2 * self.padding - self.kernel) // self.stride + 1
        return Shape(shape.channels, at_least_one_pixel(size))

    def cost(self, shape: Shape, out: Shape) -> Cost:
        return Cost(activations=out.elements)

    def source(self, shape: Shape) -> Call:
        return call(
            "nn.MaxPool2d",
            kernel_size=self.kernel,
            stride=self.stride,
            **({"padding": self.padding} if self.padding else {}),
            ceil_mode=self.ceil,
        )


@dataclass(frozen=True)
class GlobalAveragePool(Layer):
    """The mean of each feature map."""

    kind = "global_average_pool"
    ends_maps = True
    faster = "Averaged"

    @property
    def notation(self) -> str:
        return "global average pool"

    def output(self, shape: Shape) -> Shape:
        return Shape(shape.channels, 1)

    def cost(self, shape: Shape, out: Shape) -> Cost:
        return Cost(activations=out.elements)

    def source(self, shape: Shape) -> Call:
        return call("nn.AdaptiveAvgPool2d", output_size=1)


@dataclass(frozen=True)
class FullyConnected(Layer):
    """A fully connected layer on all elements of all maps. Its output is one pixel per channel."""

    channels: Int
    kind = "fully_connected"
    ends_maps = True

    @property
    def notation(self) -> str:
        return f"fully connected {self.channels}"

    def output(self, shape: Shape) -> Shape:
        return Shape(self.channels, 1)

    def cost(self, shape: Shape, out: Shape) -> Cost:
        return weighted(times(self.channels, shape.elements), out, bias=True)

    def source(self, shape: Shape) -> Call:
        return call("Flattened", in_features=shape.elements, out_features=self.channels)


@dataclass(frozen=True)
class Slice(Layer):
    """The channels from `start` up to but not including `stop`."""

    start: Int
    stop: Int
    kind = "slice"
    passes_on = True

    @property
    def notation(self) -> str:
        return f"channels {self.start} to {self.stop}"

    def output(self, shape: Shape) -> Shape:
        if not uniform((self.start >= 0) & (self.start < self.stop) & (self.stop <= shape.channels)):
            raise ValueError(f"slice: {self.notation} of {shape.channels}")
        return Shape(self.stop - self.start, shape.size)

    def accessed(self, shape: Shape, out: Shape) -> Int:
        return 0  # a view of the input

    def source(self, shape: Shape) -> Call:
        return call("Sliced", start=self.start, stop=self.stop)


@dataclass(frozen=True)
class Dropout(Layer):
    """Drops elements with probability `rate` during training."""

    rate: Float
    kind = "dropout"
    in_place = True
    passes_on = True

    def accessed(self, shape: Shape, out: Shape) -> Int:
        return 0  # does nothing outside training

    def source(self, shape: Shape) -> Call:
        return call("nn.Dropout", p=self.rate)


@dataclass(frozen=True)
class DropConnect(Layer):
    """Drops each image from a residual's body with probability `rate` in training, and scales the others up.

    In a repeat, the rate grows by `growth` with each block.
    """

    rate: Float
    growth: Float = 0.0
    kind = "drop_connect"
    in_place = True
    passes_on = True

    def accessed(self, shape: Shape, out: Shape) -> Int:
        return 0  # does nothing outside training

    def at(self, place: int) -> DropConnect:
        return DropConnect(self.rate + place * self.growth)

    def source(self, shape: Shape) -> Call:
        return call("Dropped", rate=self.rate)


def _is(value: Int, number: int) -> bool:
    return isinstance(value, int) and value == number


def weighted(weights: Int, out: Shape, *, bias: bool) -> Cost:
    """Return the cost of applying the weights at every position of the output."""
    if largest(weights) * out.most_pixels > MOST_MACS and uniform(weights * (1.0 * out.pixels) > MOST_MACS):
        raise Infeasible(TOO_LARGE)
    return Cost(weights + out.channels if bias else weights, times(weights, out.pixels), out.elements)


def at_least_one_pixel(size: Int) -> Int:
    """Return the size; raise `Infeasible` if it is below 1."""
    if uniform(size < 1):
        raise Infeasible("the feature map would shrink below one pixel")
    return size
