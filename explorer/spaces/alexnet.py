"""AlexNet (Krizhevsky et al. 2012, "ImageNet Classification with Deep Convolutional Neural Networks").

The preset `one_tower` is the version for one GPU (Krizhevsky 2014, arXiv:1404.5997), torchvision's `alexnet`.
`two_towers` is the published network, whose second, fourth and fifth convolutions have two groups. Local response
normalisation is left out; it has no params or multiply-adds.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import Field, Strict

from explorer.errors import Infeasible
from explorer.networks.arrays import Int, same
from explorer.networks.layers import BatchNorm, Conv, Layer, MaxPool, ReLU, Shape
from explorer.networks.network import Network, chain
from explorer.spaces.parts import Widths, hidden_classifier, scaled
from explorer.spaces.space import Anchor, Classes, Filters, Kernel, Multiplier, Pixels, Range, Rate, Space, Stride

GROUPED = (2, 4, 5)  # convolutions whose halves ran on different GPUs


class AlexNet(Space):
    """A design point of the AlexNet family. Convolutions are numbered from 1, as in the paper."""

    width: Multiplier = Field(1.0, description="multiplier of all filters", examples=[0.3, 0.5, 1.0])
    channels: Widths = Field(
        (64, 192, 384, 256, 256),
        description="filters of each convolution before scaling",
        examples=[(8, 16, 24), (16, 32, 32, 16, 16)],
    )
    groups: Annotated[Int, Field(ge=1, le=10_000)] = Field(
        1, description="groups of convolutions 2, 4 and 5; 2 as published", examples=[1, 2, 4]
    )
    pools: Annotated[tuple[Annotated[int, Field(ge=1)], ...], Strict(strict=False)] = Field(
        (1, 2, 5), description="convolutions followed by a max-pool", examples=[(), (1, 2), (1, 2, 5)]
    )
    stem_kernel: Kernel = Field(11, description="kernel size of the first convolution", examples=[3, 5, 11])
    stem_stride: Stride = Field(4, description="stride of the first convolution", examples=[1, 2, 4])
    stem_padding: Annotated[Int, Field(ge=0, le=99)] = Field(
        2, description="padding of the first convolution", examples=[0, 1, 2]
    )
    hidden: Filters = Field(4096, description="units of each hidden fully connected layer", examples=[16, 40])
    hidden_layers: Annotated[Int, Field(ge=0, le=100)] = Field(
        2, description="fully connected layers before the last one", examples=[0, 1, 2]
    )
    batch_norm: bool = Field(default=False, description="batch norm after every convolution")
    dropout: Rate = Field(0.5, description="dropout rate after each hidden layer", examples=[0.0, 0.5])
    classes: Classes = Field(1000, description="number of classes", examples=[2, 10])
    input_size: Pixels = Field(224, description="image height and width in pixels", examples=[32, 35, 64])

    name: ClassVar[str] = "alexnet"
    source: ClassVar[str] = "Krizhevsky et al. 2012, NIPS; Krizhevsky 2014, arXiv:1404.5997"
    presets: ClassVar = {
        "one_tower": {},
        "two_towers": {"channels": (96, 256, 384, 384, 256), "groups": 2, "stem_padding": 0, "input_size": 227},
        "cifar": {
            "channels": (10, 20, 32, 20, 20),
            "stem_kernel": 5,
            "stem_stride": 1,
            "hidden": 128,
            "hidden_layers": 1,
            "batch_norm": True,
            "dropout": 0.0,
            "classes": 10,
            "input_size": 32,
        },
    }
    published: ClassVar = {"one_tower": "AlexNet (one tower)", "two_towers": "AlexNet (two towers)"}
    anchors: ClassVar = (
        Anchor("one_tower", 61_100_840, "torchvision's alexnet", macs=714_188_480),
        Anchor("two_towers", 60_965_224, "the layers of the paper, computed by hand"),
    )

    impossible: ClassVar = (
        ("conv2.conv: groups must divide the numbers of input and output channels", {"groups": 7}),
        ("pools: a pool after convolution 6, but there are 5", {"pools": (1, 6)}),
    )

    def ranges(self) -> dict[str, Range]:
        """Vary the filters of the convolutions and the hidden layers."""
        return {"width": Range(0.25, 2.0), "hidden": Range(self.hidden // 4 or 1, 2 * self.hidden)}

    def effective(self) -> dict[str, Any]:
        """Leave out the settings of hidden layers if there are none."""
        unused = {"hidden", "dropout"} if self.hidden_layers == 0 else set()
        return {key: value for key, value in super().effective().items() if key not in unused}

    def expand(self) -> Network:
        """Chain the convolutions with pools, and the fully connected layers."""
        if misplaced := [number for number in self.pools if number > len(self.channels)]:
            raise Infeasible(f"pools: a pool after convolution {misplaced[0]}, but there are {len(self.channels)}")
        norm: dict[str, Layer] = {"norm": BatchNorm()} if self.batch_norm else {}
        layers: dict[str, Layer] = {}
        for number, filters in enumerate(self.channels, start=1):
            kernel, stride, padding = 3, 1, 1
            if number == 1:
                kernel, stride, padding = self.stem_kernel, self.stem_stride, self.stem_padding
            elif number == 2:  # noqa: PLR2004
                kernel, padding = 5, 2
            groups: Int = self.groups if number in GROUPED else 1
            conv = Conv(scaled(filters, self.width), kernel, stride, padding, groups=groups)
            layers[f"conv{number}"] = chain(conv=conv, **norm, relu=ReLU())
            if number in self.pools:
                layers[f"pool{number}"] = MaxPool(kernel=3, stride=2)
        layers |= hidden_classifier(self.classes, self.hidden, same(self.hidden_layers), self.dropout)
        return Network(Shape(3, self.input_size), chain(**layers))
