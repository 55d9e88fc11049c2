"""SqueezeNet and EfficientNet in plain torch, modelled on torchvision's, with the sizes of a design point.

They use none of the explorer's descriptions and modules; `build` checks that params and multiply-adds agree.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from explorer.networks.verification import fvcore_count
from explorer.spaces.efficientnet import EfficientNet, Stage
from explorer.spaces.space import Space
from explorer.spaces.squeezenet import SqueezeNet


def build(point: Space) -> nn.Module:
    """Build the plain network of a design point; raises `ValueError` if its cost differs from the description's."""
    match point:
        case SqueezeNet():
            model = squeezenet(point)
        case EfficientNet():
            model = efficientnet(point)
        case _:
            raise ValueError(f"there is no plain network of {point.name}")
    described = point.expand()
    params = sum(parameter.numel() for parameter in model.parameters())
    macs = fvcore_count(model, described.input).macs
    if (params, macs) != (described.cost.params, described.cost.macs):
        raise ValueError(
            f"{point.name}: the plain network has {params:,} params and {macs:,} multiply-adds, the description "
            f"{described.cost.params:,} and {described.cost.macs:,}"
        )
    return model


def squeezenet(point: SqueezeNet) -> nn.Module:
    """SqueezeNet with batch norm and without bypasses."""
    stem = (point.stem_kernel, point.stem_stride, point.stem_padding)
    layers: list[nn.Module] = [_conv(3, point.stem_width, *stem, nn.ReLU(inplace=True))]
    channels = point.stem_width
    for number in range(1, point.fires + 2):
        if number > 1:
            expand = point.base_e + point.incr_e * ((number - 2) // point.freq)
            layers.append(Fire(channels, max(1, round(point.squeeze_ratio * expand)), expand, point.pct3x3))
            channels = expand
        if number in point.pools:
            layers.append(nn.MaxPool2d(3, 2, ceil_mode=True))
    layers += [nn.Dropout(point.dropout), nn.Conv2d(channels, point.classes, 1)]
    if point.classifier_relu:
        layers.append(nn.ReLU(inplace=True))
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())


class Fire(nn.Module):
    """Squeeze layer, then 1x1 and 3x3 expand filters in parallel."""

    def __init__(self, channels: int, squeeze: int, expand: int, pct3x3: float) -> None:
        super().__init__()
        side3x3 = round(pct3x3 * expand)
        self.squeeze = _conv(channels, squeeze, 1, 1, 0, nn.ReLU(inplace=True))
        self.expand1x1 = _conv(squeeze, expand - side3x3, 1, 1, 0, nn.ReLU(inplace=True))
        self.expand3x3 = _conv(squeeze, side3x3, 3, 1, 1, nn.ReLU(inplace=True))

    def forward(self, images: Tensor) -> Tensor:
        """Map (N, C, H, W) to (N, C', H, W)."""
        images = self.squeeze(images)
        return torch.cat([self.expand1x1(images), self.expand3x3(images)], 1)


def efficientnet(point: EfficientNet) -> nn.Module:
    """EfficientNet without drop-connect."""
    width = point.width_scale()
    channels = _filters(point.stem_width * width, point.divisor)
    layers: list[nn.Module] = [_conv(3, channels, 3, point.stem_stride, 1, nn.SiLU(inplace=True))]
    for stage in point.stages:
        filters = _filters(stage.channels * width, point.divisor)
        for place in range(math.ceil(stage.repeats * point.depth_scale())):
            layers.append(MBConv(channels, filters, stage, 1 if place else stage.stride))
            channels = filters
    head = _filters(point.head_width * width, point.divisor)
    layers.append(_conv(channels, head, 1, 1, 0, nn.SiLU(inplace=True)))
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(point.dropout), nn.Linear(head, point.classes)]
    return nn.Sequential(*layers)


class MBConv(nn.Module):
    """Expand, depthwise convolution, squeeze and excite, project."""

    def __init__(self, channels: int, filters: int, stage: Stage, stride: int) -> None:
        super().__init__()
        expanded = channels * stage.expansion
        kernel, padding = stage.kernel, stage.kernel // 2
        layers: list[nn.Module] = []
        if stage.expansion > 1:
            layers.append(_conv(channels, expanded, 1, 1, 0, nn.SiLU(inplace=True)))
        layers.append(_conv(expanded, expanded, kernel, stride, padding, nn.SiLU(inplace=True), groups=expanded))
        if stage.squeeze_excite:
            layers.append(SqueezeExcite(expanded, max(1, int(channels * stage.squeeze_excite))))
        self.layers = nn.Sequential(*layers, _conv(expanded, filters, 1, 1, 0))
        self.residual = stride == 1 and channels == filters

    def forward(self, images: Tensor) -> Tensor:
        """Map (N, C, H, W) to (N, C', H', W')."""
        made: Tensor = self.layers(images)
        return images + made if self.residual else made


class SqueezeExcite(nn.Module):
    """Scale each channel by a factor computed from the means of all channels."""

    def __init__(self, channels: int, squeezed: int) -> None:
        super().__init__()
        self.average = nn.AdaptiveAvgPool2d(1)
        self.squeeze = nn.Conv2d(channels, squeezed, 1)
        self.swish = nn.SiLU(inplace=True)
        self.excite = nn.Conv2d(squeezed, channels, 1)
        self.sigmoid = nn.Sigmoid()

    def forward(self, images: Tensor) -> Tensor:
        """Map (N, C, H, W) to the same shape."""
        factors: Tensor = self.sigmoid(self.excite(self.swish(self.squeeze(self.average(images)))))
        return images * factors


def _conv(
    channels: int, filters: int, kernel: int, stride: int, padding: int, *activation: nn.Module, groups: int = 1
) -> nn.Sequential:
    conv = nn.Conv2d(channels, filters, kernel, stride, padding, groups=groups, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(filters), *activation)


def _filters(exact: float, divisor: int) -> int:
    """Round to the nearest multiple of the divisor, but at most a tenth down."""
    rounded = max(divisor, int(exact + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * exact else rounded
