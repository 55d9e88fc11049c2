"""The space of all families: a design point names a network of any other space."""

import pytest

from explorer.errors import ExplorerError
from explorer.pricing.prices import price
from explorer.spaces import all_spaces, find_space

FAMILIES = [name for name in all_spaces() if name != "families"]


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_is_at_its_small_preset_by_default(name):
    asked = find_space("families").point(network=name).expand()
    assert asked.digest == find_space(name).point("cifar", classes=10).expand().digest


def test_settings_and_presets_are_read():
    found = find_space("families").point(network="resnet preset=resnet34 blocks=[1,2] block=bottleneck shortcuts=false")
    other = find_space("resnet").point("resnet34", blocks=(1, 2), block="bottleneck", shortcuts=False, classes=10)
    assert found.expand().digest == other.expand().digest


def test_lists_of_networks_are_priced():
    networks = ["vgg width=8", "shufflenet_v2 channels=5", "vit"]
    frame = price("families", network=networks)
    assert frame["params"].isna().tolist() == [False, True, False]
    assert frame["infeasible"][1] == "channels: must be even, because units split them in two halves"


@pytest.mark.parametrize(
    ("network", "message"),
    [
        ("resnett width=3", "families: network = resnett width=3: unknown space 'resnett'; did you mean 'resnet'?"),
        ("resnet widht=3", "unknown metaparameter of resnet 'widht'; did you mean 'width'?"),
        ("resnet width=0", "resnet: width = 0: should be greater than or equal to 1"),
        ("resnet 12", "'12': settings are given as key=value, such as width=12"),
        ("resnet width=8 width=9", "width is given twice"),
        ("resnet classes=5", "the data determine the number of classes; remove classes"),
        ("resnet preset=18", "unknown preset of resnet '18'; "),
        ("families", "'families': must name one family"),
        ("", "unknown space ''; choose one of"),
    ],
)
def test_mistakes_are_explained(network, message):
    with pytest.raises(ExplorerError) as error:
        find_space("families").point(network=network)
    assert message in str(error.value)
