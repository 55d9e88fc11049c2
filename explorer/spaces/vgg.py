"""VGG (Simonyan and Zisserman 2014, arXiv:1409.1556).

Stages of equal convolutions, each followed by a 2x2 max-pool. Filters double from stage to stage, up to eight times the
first stage's. The paper's section 2.3 argues that two 3x3 convolutions replace one 5x5, and three replace one 7x7:
`kernel` and `convs` set both.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import Field

from explorer.errors import Infeasible
from explorer.networks.arrays import Int, same, uniform
from explorer.networks.layers import BatchNorm, Conv, Layer, MaxPool, ReLU, Shape
from explorer.networks.network import Chain, Network, chain
from explorer.spaces.parts import Blocks, hidden_classifier, repeated, scaled
from explorer.spaces.space import Anchor, Classes, Filters, Kernel, Multiplier, Pixels, Range, Rate, Space

MOST_DOUBLINGS = 3


class VGG(Space):
    """A design point of the VGG family."""

    convs: Blocks = Field((2, 2, 3, 3, 3), description="convolutions in each stage", examples=[(1,), (1, 2), (2, 1, 2)])
    depth: Multiplier = Field(1.0, description="multiplier of the convolutions in each stage", examples=[0.4, 1.0, 1.5])
    width: Filters = Field(64, description="filters in the first stage", examples=[3, 8, 16])
    kernel: Kernel = Field(3, description="kernel size of all convolutions", examples=[1, 3, 5])
    batch_norm: bool = Field(default=False, description="batch norm after every convolution")
    hidden: Filters = Field(4096, description="units of each hidden fully connected layer", examples=[16, 40])
    hidden_layers: Annotated[Int, Field(ge=0, le=100)] = Field(
        2, description="fully connected layers before the last one", examples=[0, 1, 2]
    )
    dropout: Rate = Field(0.5, description="dropout rate after each hidden layer", examples=[0.0, 0.5])
    classes: Classes = Field(1000, description="number of classes", examples=[2, 10])
    input_size: Pixels = Field(224, description="image height and width in pixels", examples=[17, 32, 40])

    name: ClassVar[str] = "vgg"
    source: ClassVar[str] = "Simonyan and Zisserman 2014, arXiv:1409.1556"
    presets: ClassVar = {
        "vgg16": {},
        "vgg11": {"convs": (1, 1, 2, 2, 2)},
        "vgg13": {"convs": (2, 2, 2, 2, 2)},
        "vgg19": {"convs": (2, 2, 4, 4, 4)},
        "vgg11_bn": {"convs": (1, 1, 2, 2, 2), "batch_norm": True},
        "vgg13_bn": {"convs": (2, 2, 2, 2, 2), "batch_norm": True},
        "vgg16_bn": {"batch_norm": True},
        "vgg19_bn": {"convs": (2, 2, 4, 4, 4), "batch_norm": True},
        "cifar": {
            "convs": (1, 1, 2),
            "width": 12,
            "batch_norm": True,
            "hidden_layers": 0,
            "dropout": 0.0,
            "classes": 10,
            "input_size": 32,
        },
    }
    published: ClassVar = {
        **{f"vgg{layers}": f"VGG-{layers}" for layers in (11, 13, 16, 19)},
        **{f"vgg{layers}_bn": f"VGG-{layers} with batch norm" for layers in (11, 13, 16, 19)},
    }
    anchors: ClassVar = tuple(
        Anchor(preset, params, f"torchvision's {preset}", macs=macs)
        for preset, params, macs in (
            ("vgg11", 132_863_336, 7_609_090_048),
            ("vgg13", 133_047_848, 11_308_466_176),
            ("vgg16", 138_357_544, 15_470_264_320),
            ("vgg19", 143_667_240, 19_632_062_464),
            ("vgg11_bn", 132_868_840, 7_609_090_048),
            ("vgg16_bn", 138_365_992, 15_470_264_320),
        )
    )

    recipe: ClassVar = {"clip_norm": 1.0}

    impossible: ClassVar = (
        ("kernel: must be odd, so that convolutions keep the size", {"kernel": 4}),
        ("pool4: the feature map would shrink below one pixel", {"input_size": 8}),
    )

    def ranges(self) -> dict[str, Range]:
        """Vary filters and convolutions."""
        return {"width": Range(max(1, self.width // 4), 2 * self.width), "depth": Range(0.5, 3.0)}

    def effective(self) -> dict[str, Any]:
        """Leave out the settings of hidden layers if there are none."""
        unused = {"hidden", "dropout"} if self.hidden_layers == 0 else set()
        return {key: value for key, value in super().effective().items() if key not in unused}

    def expand(self) -> Network:
        """Chain the stages and the fully connected layers."""
        if uniform(self.kernel % 2 == 0):
            raise Infeasible("kernel: must be odd, so that convolutions keep the size")
        layers: dict[str, Layer] = {}
        for number, convs in enumerate(self.convs):
            filters = self.width * 2 ** min(number, MOST_DOUBLINGS)
            conv = self._conv(filters)
            layers[f"stage{number + 1}"] = repeated(conv, conv, scaled(convs, self.depth))
            layers[f"pool{number + 1}"] = MaxPool(kernel=2, stride=2, ceil=False)
        layers |= hidden_classifier(self.classes, self.hidden, same(self.hidden_layers), self.dropout)
        return Network(Shape(3, self.input_size), chain(**layers))

    def _conv(self, filters: Int) -> Chain:
        conv = Conv(filters, self.kernel, padding=self.kernel // 2)
        return chain(conv=conv, **({"norm": BatchNorm()} if self.batch_norm else {}), relu=ReLU())
