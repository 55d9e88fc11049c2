"""SqueezeNet (Iandola et al. 2016, arXiv:1602.07360), generated from its metaparameters (section 5.1 of the paper).

Fire module i, counted from 0, has e_i = base_e + incr_e * floor(i / freq) expand filters and squeeze_ratio * e_i
squeeze filters. Of the expand filters, pct3x3 * e_i are 3x3 and the rest are 1x1. Products are rounded to the nearest
integer, with halves going to even (the paper gives no rule). There is always at least one squeeze filter. An expand
side without filters is left out.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, Strict

from explorer.errors import Infeasible
from explorer.networks.arrays import Float, Int, maximum, nearest, same, uniform
from explorer.networks.layers import BatchNorm, Conv, Dropout, GlobalAveragePool, Layer, MaxPool, ReLU, Shape
from explorer.networks.network import Chain, Network, Residual, chain, concat
from explorer.spaces.space import Anchor, Classes, Kernel, Range, Rate, Space, Stride

Count = Annotated[Int, Field(ge=1, le=1_000_000)]


class SqueezeNet(Space):
    """A design point of the SqueezeNet family. Layers are numbered as in the paper: conv1, fire2, fire3, ..."""

    base_e: Count = Field(128, description="expand filters in the first fire module", examples=[8, 17, 32])
    incr_e: Annotated[Int, Field(ge=0, le=1_000_000)] = Field(
        128, description="expand filters added after every `freq` modules", examples=[0, 5, 32]
    )
    freq: Count = Field(2, description="fire modules between two increases", examples=[1, 2, 3])
    squeeze_ratio: Annotated[Float, Field(gt=0, le=1)] = Field(
        0.125, description="squeeze filters per expand filter", examples=[0.01, 0.125, 0.3, 0.5, 1.0]
    )
    pct3x3: Annotated[Float, Field(ge=0, le=1)] = Field(
        0.5, description="fraction of the expand filters that are 3x3", examples=[0.0, 0.01, 0.3, 0.5, 0.99, 1.0]
    )
    fires: Annotated[Int, Field(ge=1, le=1000)] = Field(8, description="fire modules", examples=[1, 3, 8])
    pools: Annotated[tuple[Annotated[int, Field(ge=1)], ...], Strict(strict=False)] = Field(
        (1, 4, 8),
        description="layers followed by a max-pool; 1 is conv1, 2 the first fire module",
        examples=[(), (1, 2), (1, 4), (1, 3, 5), (1, 4, 8)],
    )
    stem_width: Count = Field(96, description="filters in conv1", examples=[8, 24])
    stem_kernel: Kernel = Field(7, description="kernel size of conv1", examples=[1, 3, 7])
    stem_stride: Stride = Field(2, description="stride of conv1", examples=[1, 2, 3])
    stem_padding: Annotated[Int, Field(ge=0, le=99)] = Field(0, description="padding of conv1", examples=[0, 1, 3])
    bypass: Literal["none", "simple", "complex"] = Field(
        "none", description="connections around fire modules, as in figure 2 of the paper"
    )
    batch_norm: bool = Field(default=False, description="batch norm after every convolution except the last")
    dropout: Rate = Field(0.5, description="dropout rate before the last convolution", examples=[0.0, 0.5])
    classifier_relu: bool = Field(default=True, description="ReLU after the last convolution, as published")
    classes: Classes = Field(1000, description="number of classes", examples=[2, 10])
    input_size: Count = Field(224, description="image height and width in pixels", examples=[17, 32, 40])

    name: ClassVar[str] = "squeezenet"
    source: ClassVar[str] = "Iandola et al. 2016, arXiv:1602.07360"
    presets: ClassVar = {
        "v1_0": {},
        "v1_1": {"stem_width": 64, "stem_kernel": 3, "pools": (1, 3, 5)},
        "cifar": {
            "base_e": 32,
            "incr_e": 32,
            "squeeze_ratio": 0.5,
            "stem_width": 24,
            "stem_kernel": 3,
            "stem_padding": 1,
            "batch_norm": True,
            "dropout": 0.0,
            # In short runs, the final ReLU makes weak networks learn more slowly. At squeeze ratio 0.125, 4 epochs of
            # 10,000 CIFAR-10 images gave 35.1 % with it and 42.2 % without it (one seed).
            "classifier_relu": False,
            "classes": 10,
            "input_size": 32,
        },
    }
    published: ClassVar = {"v1_0": "SqueezeNet v1.0", "v1_1": "SqueezeNet v1.1"}
    anchors: ClassVar = (
        Anchor("v1_0", 1_248_424, "table 1 of the paper; MACs of torchvision's squeezenet1_0", macs=818_924_576),
        Anchor(
            "v1_0", 1_248_424, "ShuffleNet, table 6: 833 MFLOPs", macs=832_667_936, metaparameters={"input_size": 227}
        ),
        Anchor("v1_1", 1_235_496, "torchvision's squeezenet1_1", macs=349_151_936),
        Anchor("v1_0", 1_589_672, "figure 2 of the paper, computed by hand", metaparameters={"bypass": "complex"}),
    )

    def ranges(self) -> dict[str, Range]:
        """Vary the expand filters up to twice those of this point, and all ratios."""
        return {
            "base_e": Range(8, 2 * self.base_e),
            "incr_e": Range(0, 2 * self.incr_e),
            "freq": Range(1, 4),
            "squeeze_ratio": Range(0.05, 1.0),
            "pct3x3": Range(0.0, 1.0),
        }

    def expand(self) -> Network:
        """Chain conv1, the fire modules with pools and bypasses, and the classifier (convolution, global pooling)."""
        fires = same(self.fires)
        last = fires + 2
        misplaced = [number for number in self.pools if number >= last]
        if misplaced:
            raise Infeasible(f"pools: a pool after layer {misplaced[0]}, but the last fire module is layer {last - 1}")
        layers: dict[str, Layer] = {
            "conv1": self._conv(self.stem_width, self.stem_kernel, self.stem_stride, self.stem_padding)
        }
        channels = self.stem_width
        for number in range(1, last):
            if number > 1:
                expand_filters = self.base_e + self.incr_e * ((number - 2) // self.freq)
                layers[f"fire{number}"] = self._bypassed(self._fire(expand_filters), channels, expand_filters)
                channels = expand_filters
            if number in self.pools:
                layers[f"pool{number}"] = MaxPool(kernel=3, stride=2)
        if uniform(self.dropout > 0):
            layers["dropout"] = Dropout(self.dropout)
        classifier: dict[str, Layer] = {"conv": Conv(self.classes, kernel=1)}
        if self.classifier_relu:
            classifier["relu"] = ReLU()
        layers[f"conv{last}"] = chain(**classifier)
        layers["average"] = GlobalAveragePool()
        return Network(Shape(3, self.input_size), chain(**layers))

    def _fire(self, expand_filters: Int) -> Chain:
        squeeze = maximum(1, nearest(self.squeeze_ratio * expand_filters))
        side3x3 = nearest(self.pct3x3 * expand_filters)
        side1x1 = expand_filters - side3x3
        sides: dict[str, Layer] = {}
        if uniform(side1x1 > 0):
            sides["conv1x1"] = Conv(side1x1, kernel=1, bias=not self.batch_norm)
        if uniform(side3x3 > 0):
            sides["conv3x3"] = Conv(side3x3, kernel=3, padding=1, bias=not self.batch_norm)
        # Norm and ReLU act on each channel separately, so both sides can share them, which is faster.
        expand = chain(sides=concat(**sides), **self._norm(), relu=ReLU())
        return chain(squeeze=self._conv(squeeze, kernel=1), expand=expand)

    def _bypassed(self, fire: Chain, channels: Int, expand_filters: Int) -> Layer:
        """Add the input: directly where widths agree (simple), otherwise through a 1x1 convolution (complex)."""
        if self.bypass == "none":
            return fire
        if uniform(channels == expand_filters):
            return Residual(fire)
        if self.bypass == "complex":
            return Residual(fire, chain(**self._linear(expand_filters, kernel=1)))
        return fire

    def _norm(self) -> dict[str, Layer]:
        return {"norm": BatchNorm()} if self.batch_norm else {}

    def _conv(self, channels: Int, kernel: Int, stride: Int = 1, padding: Int = 0) -> Chain:
        return chain(**self._linear(channels, kernel, stride, padding), relu=ReLU())

    def _linear(self, channels: Int, kernel: Int, stride: Int = 1, padding: Int = 0) -> dict[str, Layer]:
        return {"conv": Conv(channels, kernel, stride, padding, bias=not self.batch_norm), **self._norm()}
