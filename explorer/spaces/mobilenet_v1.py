"""MobileNet (Howard et al. 2017, arXiv:1704.04861): a chain of depthwise separable convolutions.

The paper's width multiplier alpha is `width`, and its resolution multiplier rho is `input_size`.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field, Strict

from explorer.networks.arrays import Int
from explorer.networks.layers import Layer, ReLU, Shape
from explorer.networks.network import Chain, Network, chain
from explorer.spaces.parts import Stage, averaged_classifier, conv_norm, depthwise_norm, divisible, repeated, scaled
from explorer.spaces.space import Anchor, Classes, Divisor, Filters, Multiplier, Pixels, Range, Rate, Space, Stride


class MobileNetV1(Space):
    """A design point of the MobileNet family."""

    width: Multiplier = Field(1.0, description="multiplier of all filters, alpha", examples=[0.25, 0.6, 1.0])
    depth: Multiplier = Field(1.0, description="multiplier of the convolutions in each stage", examples=[0.4, 1.0, 1.5])
    stages: Annotated[tuple[Stage, ...], Strict(strict=False), Field(min_length=1, max_length=20)] = Field(
        (Stage(64, 1, 1), Stage(128, 2, 2), Stage(256, 2, 2), Stage(512, 6, 2), Stage(1024, 2, 2)),
        description="stages: filters, separable convolutions, stride",
        examples=[(Stage(16, 1, 1),), (Stage(8, 1, 2), Stage(24, 3, 2))],
    )
    stem_width: Filters = Field(32, description="filters in the first convolution", examples=[8, 24])
    stem_stride: Stride = Field(2, description="stride of the first convolution", examples=[1, 2])
    divisor: Divisor = Field(8, description="filters are rounded to multiples of this", examples=[1, 4, 8])
    dropout: Rate = Field(0.0, description="dropout rate before the classifier", examples=[0.0, 0.2])
    classes: Classes = Field(1000, description="number of classes", examples=[2, 10])
    input_size: Pixels = Field(224, description="image height and width in pixels", examples=[17, 32, 40])

    name: ClassVar[str] = "mobilenet_v1"
    source: ClassVar[str] = "Howard et al. 2017, arXiv:1704.04861"
    presets: ClassVar = {
        "x1_0": {},
        "x0_75": {"width": 0.75},
        "x0_5": {"width": 0.5},
        "x0_25": {"width": 0.25},
        "cifar": {
            "stages": (Stage(48, 1, 1), Stage(96, 2, 2), Stage(192, 3, 2)),
            "stem_width": 24,
            "stem_stride": 2,
            "divisor": 4,
            "classes": 10,
            "input_size": 32,
        },
    }
    published: ClassVar = {
        f"x{width}": f"MobileNet {width.replace('_', '.')}" for width in ("1_0", "0_75", "0_5", "0_25")
    }
    anchors: ClassVar = (
        Anchor("x1_0", 4_231_976, "timm's mobilenetv1_100", macs=568_740_352),
        Anchor("x1_0", 6_270_840, "timm's mobilenetv1_125", macs=879_516_800, metaparameters={"width": 1.25}),
    )

    def ranges(self) -> dict[str, Range]:
        """Vary width, depth and resolution."""
        size = self.input_size
        return {
            "width": Range(0.25, 2.0),
            "depth": Range(0.5, 3.0),
            "input_size": Range(max(1, size // 2), 3 * size // 2),
        }

    def expand(self) -> Network:
        """Chain the first convolution, the separable convolutions and the classifier."""
        stem = divisible(self.stem_width * self.width, self.divisor)
        layers: dict[str, Layer] = {"stem": conv_norm(stem, 3, self.stem_stride, relu=ReLU())}
        for number, stage in enumerate(self.stages, start=1):
            filters = divisible(stage.channels * self.width, self.divisor)
            first, times = _separable(filters, stage.stride), scaled(stage.repeats, self.depth)
            layers[f"stage{number}"] = repeated(first, _separable(filters), times)
        layers |= averaged_classifier(self.classes, self.dropout)
        return Network(Shape(3, self.input_size), chain(**layers))


def _separable(filters: Int, stride: Int = 1) -> Chain:
    return chain(depthwise=depthwise_norm(3, stride, relu=ReLU()), pointwise=conv_norm(filters, relu=ReLU()))
