"""Xception (Chollet 2016, arXiv:1610.02357): separable convolutions with residuals, in three flows (figure 5).

A separable convolution is a depthwise one followed by a 1x1 convolution and batch norm, without a ReLU in between.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from explorer.networks.arrays import Int
from explorer.networks.layers import BatchNorm, Conv, DepthwiseConv, Layer, MaxPool, ReLU, Shape
from explorer.networks.network import Chain, Network, Repeat, Residual, chain
from explorer.spaces.parts import Widths, averaged_classifier, conv_norm, scaled
from explorer.spaces.space import Anchor, Classes, Multiplier, Pixels, Range, Rate, Space, Stride


class Xception(Space):
    """A design point of the Xception family."""

    width: Multiplier = Field(1.0, description="multiplier of all filters", examples=[0.5, 1.0, 1.3])
    middle: Annotated[Int, Field(ge=0, le=1000)] = Field(8, description="blocks of the middle flow", examples=[0, 1, 3])
    stem: Widths = Field((32, 64), description="filters of the first convolutions", examples=[(4,), (4, 8)])
    stem_stride: Stride = Field(2, description="stride of the first convolution", examples=[1, 2])
    stem_padding: Annotated[Int, Field(ge=0, le=1)] = Field(
        0, description="padding of the first convolutions", examples=[0, 1]
    )
    entry: Widths = Field(
        (128, 256, 728),
        description="filters of the entry flow's blocks, each of which halves the maps",
        examples=[(8,), (8, 12)],
    )
    exit: Widths = Field(
        (1024, 1536, 2048),
        description="filters of the exit flow: its block, then separable convolutions",
        examples=[(16,), (16, 24)],
    )
    dropout: Rate = Field(0.5, description="dropout rate before the classifier", examples=[0.0, 0.5])
    classes: Classes = Field(1000, description="number of classes", examples=[2, 10])
    input_size: Pixels = Field(299, description="image height and width in pixels", examples=[32, 40, 43])

    name: ClassVar[str] = "xception"
    source: ClassVar[str] = "Chollet 2016, arXiv:1610.02357"
    presets: ClassVar = {
        "published": {},
        "cifar": {
            "middle": 2,
            "stem": (16, 32),
            "stem_padding": 1,
            "entry": (40, 60),
            "exit": (80, 120),
            "dropout": 0.0,
            "classes": 10,
            "input_size": 32,
        },
    }
    published: ClassVar = {"published": "Xception"}
    anchors: ClassVar = (Anchor("published", 22_855_952, "timm's legacy_xception", macs=8_357_403_496),)

    impossible: ClassVar = (("conv1.conv: the feature map would shrink below one pixel", {"input_size": 2}),)

    def ranges(self) -> dict[str, Range]:
        """Vary filters and the middle flow."""
        return {"width": Range(0.25, 2.0), "middle": Range(0, max(4, 2 * self.middle))}

    def expand(self) -> Network:
        """Chain the first convolutions, the three flows and the classifier."""
        layers: dict[str, Layer] = {}
        for number, filters in enumerate(self.stem, start=1):
            conv = Conv(
                scaled(filters, self.width), 3, self.stem_stride if number == 1 else 1, self.stem_padding, bias=False
            )
            layers[f"conv{number}"] = chain(conv=conv, norm=BatchNorm(), relu=ReLU())
        for number, filters in enumerate(self.entry, start=1):
            channels = scaled(filters, self.width)
            # The input of the first block has been rectified by the convolution before it.
            layers[f"entry{number}"] = _halving(channels, channels, rectified=number == 1)
        middle = chain(**{f"separable{place}": _separable(channels) for place in (1, 2, 3)})
        layers["middle"] = Repeat(Residual(middle), self.middle)
        first, *others = (scaled(filters, self.width) for filters in self.exit)
        layers["exit"] = _halving(channels, first)
        for number, filters in enumerate(others, start=1):
            layers[f"separable{number}"] = chain(convs=_convs(filters), relu=ReLU())
        layers |= averaged_classifier(self.classes, self.dropout)
        return Network(Shape(3, self.input_size), chain(**layers))


def _convs(filters: Int) -> Chain:
    return chain(depthwise=DepthwiseConv(3), pointwise=Conv(filters, 1, bias=False), norm=BatchNorm())


def _separable(filters: Int, *, rectified: bool = False) -> Chain:
    """Return a ReLU, unless the input has been rectified, and a separable convolution."""
    return chain(**({} if rectified else {"relu": ReLU()}), convs=_convs(filters))


def _halving(inner: Int, filters: Int, *, rectified: bool = False) -> Residual:
    """Return a block that halves the maps: two separable convolutions and a max-pool, around a strided shortcut."""
    body = chain(
        separable1=_separable(inner, rectified=rectified),
        separable2=_separable(filters),
        pool=MaxPool(kernel=3, stride=2, padding=1, ceil=False),
    )
    return Residual(body, conv_norm(filters, 1, 2))
