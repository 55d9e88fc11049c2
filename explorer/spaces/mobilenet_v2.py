"""MobileNetV2 (Sandler et al. 2018, arXiv:1801.04381): inverted residuals with linear bottlenecks.

Filters are rounded as in the released code, and widths below 1 do not narrow the last convolution.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from pydantic import Field, Strict

from explorer.networks.arrays import Int, equal, maximum, uniform
from explorer.networks.calls import Call, call
from explorer.networks.layers import Layer, Shape
from explorer.networks.network import Network, Residual, chain
from explorer.spaces.parts import Stage, averaged_classifier, conv_norm, depthwise_norm, divisible, repeated, scaled
from explorer.spaces.space import Anchor, Classes, Divisor, Filters, Multiplier, Pixels, Range, Rate, Space, Stride


@dataclass(frozen=True)
class ReLU6(Layer):
    """The rectifier with outputs of at most 6."""

    kind = "relu6"
    in_place = True

    def source(self, shape: Shape) -> Call:  # noqa: ARG002 (the same for every shape)
        """Return torch's module."""
        return call("nn.ReLU6", inplace=True)


class MobileNetV2(Space):
    """A design point of the MobileNetV2 family."""

    width: Multiplier = Field(1.0, description="multiplier of all filters", examples=[0.25, 0.6, 1.4])
    depth: Multiplier = Field(1.0, description="multiplier of the blocks in each stage", examples=[0.4, 1.0, 1.5])
    expansion: Annotated[Int, Field(ge=1, le=1000)] = Field(
        6, description="expanded filters per input filter, except in the first stage", examples=[1, 3, 6]
    )
    stages: Annotated[tuple[Stage, ...], Strict(strict=False), Field(min_length=1, max_length=20)] = Field(
        (
            Stage(16, 1, 1),
            Stage(24, 2, 2),
            Stage(32, 3, 2),
            Stage(64, 4, 2),
            Stage(96, 3, 1),
            Stage(160, 3, 2),
            Stage(320, 1, 1),
        ),
        description="stages: filters, blocks, stride",
        examples=[(Stage(16, 1, 1),), (Stage(8, 1, 1), Stage(8, 3, 2), Stage(12, 2, 2))],
    )
    stem_width: Filters = Field(32, description="filters in the first convolution", examples=[8, 24])
    stem_stride: Stride = Field(2, description="stride of the first convolution", examples=[1, 2])
    head_width: Filters = Field(1280, description="filters in the last convolution", examples=[32, 100])
    divisor: Divisor = Field(8, description="filters are rounded to multiples of this", examples=[1, 4, 8])
    dropout: Rate = Field(0.2, description="dropout rate before the classifier", examples=[0.0, 0.2])
    classes: Classes = Field(1000, description="number of classes", examples=[2, 10])
    input_size: Pixels = Field(224, description="image height and width in pixels", examples=[17, 32, 40])

    name: ClassVar[str] = "mobilenet_v2"
    source: ClassVar[str] = "Sandler et al. 2018, arXiv:1801.04381"
    presets: ClassVar = {
        "x1_0": {},
        "x0_35": {"width": 0.35},
        "x0_5": {"width": 0.5},
        "x0_75": {"width": 0.75},
        "x1_3": {"width": 1.3},
        "x1_4": {"width": 1.4},
        "cifar": {
            "stages": (Stage(16, 1, 1), Stage(24, 2, 2), Stage(48, 3, 2)),
            "stem_width": 16,
            "stem_stride": 2,
            "head_width": 192,
            "divisor": 4,
            "dropout": 0.0,
            "classes": 10,
            "input_size": 32,
        },
    }
    published: ClassVar = {
        f"x{width}": f"MobileNetV2 {width.replace('_', '.')}" for width in ("1_0", "0_35", "0_5", "0_75", "1_3", "1_4")
    }
    anchors: ClassVar = (
        *(
            Anchor(preset, params, f"torchvision's mobilenet_v2, width {preset[1:].replace('_', '.')}", macs=macs)
            for preset, params, macs in (
                ("x0_35", 1_677_128, 59_285_808),
                ("x0_5", 1_968_680, 97_131_840),
                ("x0_75", 2_636_424, 209_069_792),
                ("x1_0", 3_504_872, 300_774_272),
                ("x1_3", 5_386_792, 509_374_560),
                ("x1_4", 6_108_776, 582_195_824),
            )
        ),
        *(
            Anchor(
                "x1_0",
                3_504_872,
                f"torchvision's mobilenet_v2 at {size} px",
                macs=macs,
                metaparameters={"input_size": size},
            )
            for size, macs in ((192, 221_316_608), (160, 154_083_200), (128, 99_074_048), (96, 56_289_152))
        ),
    )

    def ranges(self) -> dict[str, Range]:
        """Vary width, depth, expansion and resolution."""
        size = self.input_size
        return {
            "width": Range(0.35, 2.0),
            "depth": Range(0.5, 3.0),
            "expansion": Range(1, 8),
            "input_size": Range(max(1, size // 2), 3 * size // 2),
        }

    def expand(self) -> Network:
        """Chain the first convolution, the inverted residuals, the last convolution and the classifier."""
        channels = self._filters(self.stem_width)
        layers: dict[str, Layer] = {"stem": conv_norm(channels, 3, self.stem_stride, relu=ReLU6())}
        for number, stage in enumerate(self.stages):
            filters = self._filters(stage.channels)
            expansion = self.expansion if number else 1
            first = _inverted_residual(channels, filters, stage.stride, expansion)
            other = _inverted_residual(filters, filters, 1, expansion)
            layers[f"stage{number + 1}"] = repeated(first, other, scaled(stage.repeats, self.depth))
            channels = filters
        head = maximum(self._filters(self.head_width), divisible(self.head_width, self.divisor))
        layers["head"] = conv_norm(head, relu=ReLU6())
        layers |= averaged_classifier(self.classes, self.dropout)
        return Network(Shape(3, self.input_size), chain(**layers))

    def _filters(self, filters: Int) -> Int:
        return divisible(filters * self.width, self.divisor)


def _inverted_residual(channels: Int, filters: Int, stride: int, expansion: Int) -> Layer:
    """Expand, convolve each channel, project; with a residual if the shape is kept."""
    body: dict[str, Layer] = {}
    if uniform(expansion > 1):
        body["expand"] = conv_norm(channels * expansion, relu=ReLU6())
    body["depthwise"] = depthwise_norm(3, stride, relu=ReLU6())
    body["project"] = conv_norm(filters)
    return Residual(chain(**body)) if stride == 1 and equal(channels, filters) else chain(**body)
