"""Stacks of 1x1 convolutions, which show what makes networks slow at equal multiply-adds.

Ma et al. 2018 (ShuffleNet V2, arXiv:1807.11164, section 2) measure their guidelines on such stacks. Here, a part of a
block is two convolutions with batch norm, from `width` channels to `ratio` times as many and back.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import Field

from explorer.networks.arrays import Int, same
from explorer.networks.layers import Layer, ReLU, Shape
from explorer.networks.network import Chain, Network, Repeat, Residual, chain
from explorer.spaces.parts import averaged_classifier, conv_norm, scaled
from explorer.spaces.space import Anchor, Classes, Filters, Multiplier, Pixels, Range, Space, Stride


class Stack(Space):
    """A stack of equal blocks between a first convolution and the classifier."""

    width: Filters = Field(128, description="channels between blocks", examples=[4, 8, 16])
    blocks: Annotated[Int, Field(ge=1, le=1000)] = Field(10, description="number of blocks", examples=[1, 2, 3])
    ratio: Multiplier = Field(1.0, description="channels inside a part per channel outside", examples=[0.5, 1.0, 3.0])
    groups: Filters = Field(1, description="groups of the convolutions in blocks", examples=[1, 2, 4])
    fragments: Annotated[int, Field(ge=1, le=100)] = Field(1, description="parts of a block", examples=[1, 2, 4])
    parallel: bool = Field(default=False, description="whether the parts run side by side and are added, or in a row")
    relu: bool = Field(default=True, description="whether a ReLU follows every convolution in blocks")
    shortcut: bool = Field(default=False, description="whether blocks add their input")
    stem_stride: Stride = Field(1, description="stride of the first convolution", examples=[1, 2])
    classes: Classes = Field(1000, description="number of classes", examples=[2, 10])
    input_size: Pixels = Field(56, description="image height and width in pixels", examples=[8, 17, 32])

    name: ClassVar[str] = "stacks"
    source: ClassVar[str] = "Ma et al. 2018, arXiv:1807.11164, section 2"
    presets: ClassVar = {"shufflenet_v2": {}, "cifar": {"width": 64, "classes": 10, "input_size": 32}}
    published: ClassVar = {"shufflenet_v2": "The stack of ShuffleNet V2's table 1"}
    anchors: ClassVar = (
        Anchor(
            "shufflenet_v2",
            3_456 + 256 + 10 * (2 * 128**2 + 2 * 256) + 129_000,
            "guideline G1, B = h w c1 c2 for each convolution, and batch norm",
            macs=56**2 * (3_456 + 10 * 2 * 128**2) + 128_000,
        ),
    )

    impossible: ClassVar = (("conv1.conv: groups must divide the numbers of input and output channels", {"groups": 3}),)

    def ranges(self) -> dict[str, Range]:
        """Vary width, blocks and ratio."""
        return {
            "width": Range(max(1, self.width // 4), 2 * self.width),
            "blocks": Range(max(1, self.blocks // 4), 2 * self.blocks),
            "ratio": Range(0.25, 12.0),
        }

    def effective(self) -> dict[str, Any]:
        """Leave out `parallel` if blocks have one part."""
        return {key: value for key, value in super().effective().items() if key != "parallel" or self.fragments > 1}

    def expand(self) -> Network:
        """Chain the first convolution, the blocks and the classifier."""
        part = chain(conv1=self._conv(scaled(self.width, self.ratio)), conv2=self._conv(self.width))
        block: Layer = part
        for _ in range(same(self.fragments) - 1):
            block = Residual(block, part) if same(self.parallel) else chain(first=block, second=part)
        block = Residual(block) if same(self.shortcut) else block
        layers: dict[str, Layer] = {"stem": conv_norm(self.width, 3, self.stem_stride, relu=ReLU())}
        layers["blocks"] = Repeat(block, self.blocks)
        layers |= averaged_classifier(self.classes, dropout=0.0)
        return Network(Shape(3, self.input_size), chain(**layers))

    def _conv(self, channels: Int) -> Chain:
        if same(self.relu):
            return conv_norm(channels, groups=self.groups, relu=ReLU())
        return conv_norm(channels, groups=self.groups)
