"""ShuffleNet (Zhang et al. 2017, arXiv:1707.01083) and ShuffleNet V2 (Ma et al. 2018, arXiv:1807.11164).

Both shuffle channels, to mix the parts that grouped convolutions or a channel split keep apart.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field

from explorer.errors import Infeasible
from explorer.networks.arrays import Int, ceil_div, same, uniform
from explorer.networks.calls import Call, call
from explorer.networks.layers import Cost, Layer, ReLU, Shape, Slice
from explorer.networks.network import Chain, Network, Residual, chain, concat
from explorer.spaces.parts import (
    Blocks,
    averaged_classifier,
    conv_norm,
    depthwise_norm,
    divisible,
    pooled_stem,
    repeated,
    scaled,
)
from explorer.spaces.space import Anchor, Classes, Filters, Multiplier, Pixels, Range, Rate, Space, Stride

if TYPE_CHECKING:
    from torch import nn


@cache
def _shuffled() -> type[nn.Module]:
    from torch import Tensor, nn

    class Shuffled(nn.Module):
        """Reorders the channels of (N, C, H, W): the first of each group, then the second of each, and so on."""

        def __init__(self, groups: int) -> None:
            super().__init__()
            self.groups = groups

        def forward(self, images: Tensor) -> Tensor:
            # Channels are the last dimension in memory, and stay so.
            pixels: Tensor = images.permute(0, 2, 3, 1).unflatten(3, (self.groups, -1))
            return pixels.transpose(3, 4).flatten(3).permute(0, 3, 1, 2)

    return Shuffled


@dataclass(frozen=True)
class ChannelShuffle(Layer):
    """Reorder channels: the first of each group, then the second of each, and so on."""

    groups: Int
    kind = "channel_shuffle"

    @property
    def notation(self) -> str:
        """The number of groups."""
        return f"shuffle {self.groups} groups"

    def output(self, shape: Shape) -> Shape:
        """Return the same shape. The groups must divide the channels."""
        if uniform(shape.channels % self.groups != 0):
            raise Infeasible("groups must divide the number of channels")
        return shape

    def source(self, shape: Shape) -> Call:  # noqa: ARG002 (the same for every shape)
        """Return a module that torch lacks in this form."""
        return call(_shuffled(), groups=self.groups)


@dataclass(frozen=True)
class AveragePool(Layer):
    """Average pooling with a 3x3 window, padding 1 and a stride; pixels outside count as zero."""

    stride: Int
    kind = "average_pool"

    @property
    def notation(self) -> str:
        """The window and the stride."""
        return f"average pool 3x3/{self.stride}"

    def output(self, shape: Shape) -> Shape:
        """Return maps of `ceil(size / stride)` pixels, as for a convolution with the same window."""
        return Shape(shape.channels, ceil_div(shape.size, self.stride))

    def cost(self, shape: Shape, out: Shape) -> Cost:  # noqa: ARG002 (of the output only)
        """Count the output."""
        return Cost(activations=out.elements)

    def source(self, shape: Shape) -> Call:  # noqa: ARG002 (the same for every shape)
        """Return torch's module."""
        return call("nn.AvgPool2d", kernel_size=3, stride=self.stride, padding=1)


STAGE2 = {1: 144, 2: 200, 3: 240, 4: 272, 8: 384}
"""Output channels of the first stage by number of groups (table 1 of the paper), for about 140 M multiply-adds."""


class ShuffleNetV1(Space):
    """A design point of the ShuffleNet family."""

    groups: Annotated[Int, Field(ge=1, le=1000)] = Field(
        3, description="groups of the 1x1 convolutions", examples=[1, 2, 3, 4, 8]
    )
    scale: Multiplier = Field(
        1.0,
        description="multiplier of all filters; scaled bottlenecks are rounded to multiples of the groups",
        examples=[0.25, 0.5, 1.0],
    )
    channels: Filters | None = Field(
        None,
        description="output channels of the first stage, doubled by every stage; by default the paper's for the groups",
        examples=[48, 96],
    )
    blocks: Blocks = Field((4, 8, 4), description="units in each stage", examples=[(1,), (2, 3)])
    depth: Multiplier = Field(1.0, description="multiplier of the units in each stage", examples=[0.4, 1.0, 1.5])
    stem_width: Filters = Field(24, description="filters in the first convolution", examples=[8, 24])
    stem_stride: Stride = Field(2, description="stride of the first convolution", examples=[1, 2])
    stem_pool: bool = Field(default=True, description="whether a max-pool with stride 2 follows the first convolution")
    dropout: Rate = Field(0.0, description="dropout rate before the classifier", examples=[0.0, 0.2])
    classes: Classes = Field(1000, description="number of classes", examples=[2, 10])
    input_size: Pixels = Field(224, description="image height and width in pixels", examples=[17, 32, 40])

    name: ClassVar[str] = "shufflenet_v1"
    source: ClassVar[str] = "Zhang et al. 2017, arXiv:1707.01083"
    presets: ClassVar = {
        **{f"g{groups}": {"groups": groups} for groups in (3, 1, 2, 4, 8)},
        "cifar": {
            "groups": 3,
            "channels": 168,
            "blocks": (3, 4),
            "stem_width": 24,
            "stem_stride": 1,
            "classes": 10,
            "input_size": 32,
        },
    }

    published: ClassVar = {f"g{groups}": f"ShuffleNet 1x (g = {groups})" for groups in (1, 2, 3, 4, 8)}
    anchors: ClassVar = tuple(
        Anchor(f"g{groups}", params, f"table 1 of the paper: {rounded} MFLOPs without the classifier", macs=macs)
        for groups, params, macs, rounded in (
            (1, 1_531_936, 143_078_976, 143),
            (2, 1_733_848, 140_836_512, 140),
            (3, 1_865_728, 137_460_672, 137),
            (4, 1_968_344, 134_339_776, 133),
            (8, 2_434_768, 138_365_952, 137),
        )
    )

    recipe: ClassVar = {"clip_norm": 1.0}

    impossible: ClassVar = (
        ("groups: the paper gives no channels for 5 groups; set channels", {"groups": 5}),
        ("expand.conv: groups must divide the numbers of input and output channels", {"groups": 4, "channels": 50}),
    )

    def ranges(self) -> dict[str, Range]:
        """Vary filters and units."""
        return {"scale": Range(0.25, 2.0), "depth": Range(0.5, 3.0)}

    def effective(self) -> dict[str, Any]:
        """Return the number of channels also where it follows from the groups."""
        return super().effective() | {"channels": self._stage2()}

    def expand(self) -> Network:
        """Chain the stem, the stages and the classifier."""
        channels, stage2 = self.stem_width, self._stage2()
        if not uniform(self.scale == 1):
            channels = divisible(channels * self.scale, self.groups)
            stage2 = divisible(stage2 * self.scale, 4 * self.groups)
        layers = pooled_stem(channels, 3, self.stem_stride, pool=self.stem_pool)
        for number, units in enumerate(self.blocks):
            filters = stage2 * 2**number
            if uniform(filters <= channels):
                raise Infeasible(f"stage{number + 2}: must have more channels than its input")
            # The first 1x1 convolution is not grouped, because its input has few channels (section 3.2).
            first = self._halving(channels, filters, groups=1 if number == 0 else self.groups)
            other = chain(sum=Residual(self._unit(filters)), relu=ReLU())
            layers[f"stage{number + 2}"] = repeated(first, other, scaled(units, self.depth))
            channels = filters
        layers |= averaged_classifier(self.classes, self.dropout)
        return Network(Shape(3, self.input_size), chain(**layers))

    def _stage2(self) -> Int:
        if self.channels is not None:
            return self.channels
        groups = same(self.groups)
        if groups not in STAGE2:
            raise Infeasible(f"groups: the paper gives no channels for {groups} groups; set channels")
        return STAGE2[groups]

    def _halving(self, channels: Int, filters: Int, groups: Int) -> Chain:
        """Concatenate a unit with stride 2 and the averaged input, so that there are `filters` outputs."""
        body = self._unit(filters, filters - channels, 2, groups)
        return chain(both=concat(average=AveragePool(2), body=body), relu=ReLU())

    def _unit(self, filters: Int, out: Int | None = None, stride: int = 1, groups: Int | None = None) -> Chain:
        """Return a unit whose bottleneck has a quarter of the filters of its stage."""
        groups = self.groups if groups is None else groups
        inner = filters // 4
        if uniform(inner < 1):
            raise Infeasible("bottleneck: would have no channels")
        shuffle: dict[str, Layer] = {} if uniform(groups == 1) else {"shuffle": ChannelShuffle(groups)}
        return chain(
            reduce=conv_norm(inner, groups=groups, relu=ReLU()),
            **shuffle,
            depthwise=depthwise_norm(3, stride),
            expand=conv_norm(filters if out is None else out, groups=self.groups),
        )


class ShuffleNetV2(Space):
    """A design point of the ShuffleNet V2 family."""

    channels: Filters = Field(
        116, description="output channels of the first stage; every stage doubles them", examples=[8, 24, 36]
    )
    blocks: Blocks = Field((4, 8, 4), description="units in each stage", examples=[(1,), (2, 3)])
    depth: Multiplier = Field(1.0, description="multiplier of the units in each stage", examples=[0.4, 1.0, 1.5])
    stem_width: Filters = Field(24, description="filters in the first convolution", examples=[8, 24])
    stem_stride: Stride = Field(2, description="stride of the first convolution", examples=[1, 2])
    stem_pool: bool = Field(default=True, description="whether a max-pool with stride 2 follows the first convolution")
    head_width: Filters = Field(1024, description="filters in the last convolution", examples=[32, 100])
    dropout: Rate = Field(0.0, description="dropout rate before the classifier", examples=[0.0, 0.2])
    classes: Classes = Field(1000, description="number of classes", examples=[2, 10])
    input_size: Pixels = Field(224, description="image height and width in pixels", examples=[17, 32, 40])

    name: ClassVar[str] = "shufflenet_v2"
    source: ClassVar[str] = "Ma et al. 2018, arXiv:1807.11164"
    presets: ClassVar = {
        "x1_0": {},
        "x0_5": {"channels": 48},
        "x1_5": {"channels": 176},
        "x2_0": {"channels": 244, "head_width": 2048},
        "cifar": {
            "channels": 80,
            "blocks": (3, 4),
            "stem_stride": 1,
            "head_width": 128,
            "classes": 10,
            "input_size": 32,
        },
    }
    published: ClassVar = {
        f"x{scale}": f"ShuffleNet V2 {scale.replace('_', '.')}x" for scale in ("0_5", "1_0", "1_5", "2_0")
    }
    anchors: ClassVar = tuple(
        Anchor(preset, params, f"torchvision's shufflenet_v2_{preset}", macs=macs)
        for preset, params, macs in (
            ("x0_5", 1_366_792, 40_476_448),
            ("x1_0", 2_278_604, 144_907_992),
            ("x1_5", 3_503_624, 295_759_392),
            ("x2_0", 7_393_996, 583_253_464),
        )
    )

    impossible: ClassVar = (("channels: must be even, because units split them in two halves", {"channels": 117}),)

    def ranges(self) -> dict[str, Range]:
        """Vary channels and units."""
        return {"channels": Range(max(2, self.channels // 8 * 2), 2 * self.channels, 2), "depth": Range(0.5, 3.0)}

    def expand(self) -> Network:
        """Chain the stem, the stages, the last convolution and the classifier."""
        if uniform(self.channels % 2 != 0):
            raise Infeasible("channels: must be even, because units split them in two halves")
        layers = pooled_stem(self.stem_width, 3, self.stem_stride, pool=self.stem_pool)
        for number, units in enumerate(self.blocks):
            half = self.channels * 2**number // 2
            times = scaled(units, self.depth)
            layers[f"stage{number + 2}"] = repeated(_halving_unit(half), _split_unit(half), times)
        layers["head"] = conv_norm(self.head_width, relu=ReLU())
        layers |= averaged_classifier(self.classes, self.dropout)
        return Network(Shape(3, self.input_size), chain(**layers))


def _split_unit(half: Int) -> Chain:
    """Return a unit that convolves half of the channels and passes on the others."""
    branches = concat(kept=Slice(0, half), convolved=chain(split=Slice(half, 2 * half), convs=_branch(half, 1)))
    return chain(branches=branches, shuffle=ChannelShuffle(2))


def _halving_unit(half: Int) -> Chain:
    """Return a unit that convolves all channels in both branches, with stride 2."""
    short = chain(depthwise=depthwise_norm(3, 2), pointwise=conv_norm(half, relu=ReLU()))
    return chain(branches=concat(short=short, long=_branch(half, 2)), shuffle=ChannelShuffle(2))


def _branch(half: Int, stride: int) -> Chain:
    return chain(
        before=conv_norm(half, relu=ReLU()),
        depthwise=depthwise_norm(3, stride),
        after=conv_norm(half, relu=ReLU()),
    )
