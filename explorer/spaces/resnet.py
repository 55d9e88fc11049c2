"""ResNet (He et al. 2015, arXiv:1512.03385), and ResNeXt (Xie et al. 2016, arXiv:1611.05431) with `groups`.

As in torchvision, bottlenecks have the stride in their 3x3 convolution, and a shortcut that changes the shape is a 1x1
convolution with batch norm (option B of the paper). Without shortcuts, this is the paper's plain network.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from explorer.networks.arrays import Int
from explorer.networks.layers import ReLU, Shape
from explorer.networks.network import Chain, Network, Residual, chain
from explorer.spaces.parts import Blocks, averaged_classifier, conv_norm, pooled_stem, repeated, scaled
from explorer.spaces.space import Anchor, Classes, Filters, Kernel, Multiplier, Pixels, Range, Rate, Space, Stride

EXPANSION = 4  # output filters of a bottleneck per filter of a basic block in the same stage


class ResNet(Space):
    """A design point of the ResNet family."""

    block: Literal["basic", "bottleneck"] = Field("basic", description="two 3x3 convolutions, or 1x1, 3x3 and 1x1")
    blocks: Blocks = Field((2, 2, 2, 2), description="blocks in each stage", examples=[(1,), (1, 2), (2, 1, 1)])
    depth: Multiplier = Field(1.0, description="multiplier of the blocks in each stage", examples=[0.4, 1.0, 1.5])
    width: Filters = Field(
        64, description="filters of the first stage's basic blocks; every stage doubles them", examples=[3, 8, 16]
    )
    bottleneck_ratio: Annotated[Multiplier, Field(le=10)] = Field(
        0.25, description="inner filters per output filter of bottlenecks", examples=[0.25, 0.5, 1.0]
    )
    groups: Filters = Field(1, description="groups of the 3x3 convolution in bottlenecks", examples=[1, 2, 4])
    shortcuts: bool = Field(default=True, description="whether blocks add their input; if not, the network is plain")
    stem_kernel: Kernel = Field(7, description="kernel size of the first convolution", examples=[1, 3, 7])
    stem_stride: Stride = Field(2, description="stride of the first convolution", examples=[1, 2])
    stem_pool: bool = Field(default=True, description="whether a max-pool with stride 2 follows the first convolution")
    dropout: Rate = Field(0.0, description="dropout rate before the classifier", examples=[0.0, 0.2])
    classes: Classes = Field(1000, description="number of classes", examples=[2, 10])
    input_size: Pixels = Field(224, description="image height and width in pixels", examples=[17, 32, 40])

    name: ClassVar[str] = "resnet"
    source: ClassVar[str] = "He et al. 2015, arXiv:1512.03385"
    presets: ClassVar = {
        "resnet18": {},
        "resnet34": {"blocks": (3, 4, 6, 3)},
        "resnet50": {"block": "bottleneck", "blocks": (3, 4, 6, 3)},
        "resnet101": {"block": "bottleneck", "blocks": (3, 4, 23, 3)},
        "resnet152": {"block": "bottleneck", "blocks": (3, 8, 36, 3)},
        "resnext50": {"block": "bottleneck", "blocks": (3, 4, 6, 3), "bottleneck_ratio": 0.5, "groups": 32},
        "cifar": {
            "blocks": (1, 1, 1),
            "width": 16,
            "stem_kernel": 3,
            "stem_stride": 2,
            "stem_pool": False,
            "classes": 10,
            "input_size": 32,
        },
    }
    published: ClassVar = {
        **{f"resnet{layers}": f"ResNet-{layers}" for layers in (18, 34, 50, 101, 152)},
        "resnext50": "ResNeXt-50 (32x4d)",
    }
    anchors: ClassVar = (
        *(
            Anchor(preset, params, f"torchvision's {preset}", macs=macs)
            for preset, params, macs in (
                ("resnet18", 11_689_512, 1_814_073_344),
                ("resnet34", 21_797_672, 3_663_761_408),
                ("resnet50", 25_557_032, 4_089_184_256),
                ("resnet101", 44_549_160, 7_801_405_440),
                ("resnet152", 60_192_808, 11_513_626_624),
            )
        ),
        Anchor("resnext50", 25_028_904, "torchvision's resnext50_32x4d"),
    )

    impossible: ClassVar = (
        (
            "stage1.first.sum.body.conv2.conv: groups must divide the numbers of input and output channels",
            {"block": "bottleneck", "groups": 3},
        ),
    )

    def ranges(self) -> dict[str, Range]:
        """Vary filters, blocks and resolution."""
        size = self.input_size
        return {
            "width": Range(max(1, self.width // 4), 2 * self.width),
            "depth": Range(0.5, 4.0),
            "input_size": Range(max(1, size // 2), 3 * size // 2),
        }

    def effective(self) -> dict[str, Any]:
        """Leave out the settings of bottlenecks if there are none."""
        unused = set() if self.block == "bottleneck" else {"bottleneck_ratio", "groups"}
        return {key: value for key, value in super().effective().items() if key not in unused}

    def expand(self) -> Network:
        """Chain the stem, the stages and the classifier."""
        layers = pooled_stem(self.width, self.stem_kernel, self.stem_stride, pool=self.stem_pool)
        for number, blocks in enumerate(self.blocks):
            filters = self.width * 2**number * (EXPANSION if self.block == "bottleneck" else 1)
            # The first block needs a convolution as its shortcut if it changes the shape: always, except in the first
            # stage of networks with basic blocks.
            first = self._block(filters, 1 if number == 0 else 2, changes=number > 0 or self.block == "bottleneck")
            layers[f"stage{number + 1}"] = repeated(first, self._block(filters), scaled(blocks, self.depth))
        layers |= averaged_classifier(self.classes, self.dropout)
        return Network(Shape(3, self.input_size), chain(**layers))

    def _block(self, filters: Int, stride: Int = 1, *, changes: bool = False) -> Chain:
        if self.block == "basic":
            body = chain(conv1=conv_norm(filters, 3, stride, relu=ReLU()), conv2=conv_norm(filters, 3))
        else:
            inner = scaled(filters, self.bottleneck_ratio)
            body = chain(
                conv1=conv_norm(inner, relu=ReLU()),
                conv2=conv_norm(inner, 3, stride, self.groups, relu=ReLU()),
                conv3=conv_norm(filters),
            )
        if not self.shortcuts:
            return chain(body=body, relu=ReLU())
        shortcut = conv_norm(filters, 1, stride) if changes else None
        return chain(sum=Residual(body, shortcut), relu=ReLU())
