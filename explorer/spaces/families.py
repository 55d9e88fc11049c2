"""Networks of any family, for studies that compare families.

A design point names a network as text: a space, and settings such as `preset=resnet18` or `width=12`.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, Field

from explorer.errors import ExplorerError
from explorer.networks.arrays import same
from explorer.networks.network import Network
from explorer.spaces.space import Anchor, Classes, Space, read_value

CIFAR = "cifar"


def _known(network: str) -> str:
    try:
        _point(network)
    except ExplorerError as error:
        raise ValueError(str(error)) from None
    return network


class Families(Space):
    """A network of any other space. Its preset is `cifar` if it has one, unless it is given."""

    network: Annotated[str, AfterValidator(_known)] = Field(
        "squeezenet",
        description="space and settings, such as `vgg width=12`; preset cifar unless given",
        examples=[
            "squeezenet base_e=8",
            "mobilenet_v2 width=0.5 expansion=3",
            "vit heads=2",
            "resnet block=bottleneck",
        ],
    )
    classes: Classes = Field(10, description="number of classes", examples=[2, 10])

    name: ClassVar[str] = "families"
    source: ClassVar[str] = "all other spaces"
    presets: ClassVar = {CIFAR: {}}
    anchors: ClassVar = (
        Anchor(
            CIFAR,
            1_248_424,
            "table 1 of the SqueezeNet paper",
            macs=818_924_576,
            metaparameters={"network": "squeezenet preset=v1_0", "classes": 1000},
        ),
        Anchor(
            CIFAR,
            11_689_512,
            "torchvision's resnet18",
            macs=1_814_073_344,
            metaparameters={"network": "resnet preset=resnet18", "classes": 1000},
        ),
    )

    def expand(self) -> Network:
        """Return the network of the named point."""
        return _point(same(self.network), classes=self.classes).expand()


def _point(network: str, **settings: Any) -> Space:  # noqa: ANN401 (checked by the space)
    """Return the design point that a text names."""
    from explorer.spaces import find_space

    name, *texts = network.split() or [""]
    if name == Families.name:
        raise ExplorerError(f"{network!r}: must name one family")
    space = find_space(name)
    given: dict[str, Any] = {}
    for key, value in map(_setting, texts):
        if key in given:
            raise ExplorerError(f"{network!r}: {key} is given twice")
        given[key] = value
    if "classes" in given:
        raise ExplorerError(f"{network!r}: the data determine the number of classes; remove classes")
    preset = str(given.pop("preset")) if "preset" in given else CIFAR if CIFAR in space.presets else None
    return space.points(preset, **given, **settings)


def _setting(text: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    if not equals:
        raise ExplorerError(f"{text!r}: settings are given as key=value, such as width=12")
    return key, read_value(value)
