"""EfficientNet against its released rules and published figures."""

import math

import numpy as np
import pytest
import torch

from explorer.errors import ExplorerError, Infeasible
from explorer.networks.layers import DropConnect
from explorer.pricing.prices import price
from explorer.spaces import find_space
from explorer.spaces.efficientnet import RELEASED, Stage

EFFICIENTNET = find_space("efficientnet")

# Paper, table 2: FLOPs; B4 of the released code costs 4.6 % more than the paper says.
PAPER_FLOPS = {"b0": 0.39, "b1": 0.70, "b2": 1.0, "b3": 1.8, "b4": 4.2, "b5": 9.9, "b6": 19, "b7": 37}
REPEATS = {
    "b0": [1, 2, 2, 3, 3, 4, 1],
    "b1": [2, 3, 3, 4, 4, 5, 2],
    "b2": [2, 3, 3, 4, 4, 5, 2],
    "b3": [2, 3, 3, 5, 5, 6, 2],
    "b4": [2, 4, 4, 6, 6, 8, 2],
    "b7": [4, 7, 7, 10, 10, 13, 4],
}


def released_round_filters(filters, multiplier, divisor=8):
    """The rule of the released code, written again from its description."""
    exact = filters * multiplier
    nearest = max(divisor, int(exact + divisor / 2) // divisor * divisor)
    return nearest + divisor if nearest < 0.9 * exact else nearest


def stage_channels(network):
    return [node.output.channels for _, node in network.rows(1) if node.name.startswith("stage")]


@pytest.mark.parametrize("preset", PAPER_FLOPS)
def test_flops_match_the_paper(preset):
    macs = EFFICIENTNET.point(preset).expand().cost.macs
    assert macs / 1e9 == pytest.approx(PAPER_FLOPS[preset], rel=0.05)


@pytest.mark.parametrize("preset", REPEATS)
def test_repeats_are_rounded_up(preset):
    network = EFFICIENTNET.point(preset).expand()
    others = [len(node.parts[1].parts) for name, node in network.rows(1) if name.startswith("stage")]
    assert [1 + count for count in others] == REPEATS[preset]


@pytest.mark.parametrize("divisor", [4, 8])
def test_filters_are_rounded_as_released(divisor):
    for width in np.arange(0.05, 3, 0.013):
        network = EFFICIENTNET.point(width=float(width), depth=1.0, resolution=32, divisor=divisor).expand()
        assert stage_channels(network) == [
            released_round_filters(stage.channels, float(width), divisor) for stage in RELEASED
        ]


def test_table_1_of_the_paper():
    network = EFFICIENTNET.point("b0").expand()
    outputs = {name: (node.output.size, node.output.channels) for name, node in network.rows(1)}
    assert outputs["stem"] == (112, 32)
    sizes = [112, 56, 28, 14, 14, 7, 7]
    assert [outputs[f"stage{number}"] for number in range(1, 8)] == list(
        zip(sizes, [16, 24, 40, 80, 112, 192, 320], strict=True)
    )
    assert outputs["head"] == (7, 1280)


def test_squeeze_excite_is_a_quarter_of_the_block_s_input():
    rows = dict(EFFICIENTNET.point("b0").expand().rows(9))
    assert rows["stage2.first.excite.gate.squeeze"].layer.channels == 4  # of 16 filters, not of 96
    assert rows["stage3.others.0.body.excite.gate.squeeze"].layer.channels == 10


def test_drop_connect_rises_over_the_blocks_and_is_on_residuals_only():
    rows = EFFICIENTNET.point("b0").expand().rows(9)
    rates = [node.layer.rate for _, node in rows if isinstance(node.layer, DropConnect)]
    # Blocks 0 to 15; those that change the shape have no residual: the first of every stage but none else.
    expected = [0.2 * block / 16 for block in (2, 4, 6, 7, 9, 10, 12, 13, 14)]
    assert rates == pytest.approx(expected)
    assert not any(isinstance(node.layer, DropConnect) for _, node in EFFICIENTNET.point("cifar").expand().rows(9))


def test_drop_connect_keeps_the_mean_and_drops_whole_images():
    torch.manual_seed(0)
    module = DropConnect(0.25).build(None)
    images = torch.ones(4000, 2, 3, 3)
    dropped = module(images)
    values = dropped.flatten(1)
    assert ((values == values[:, :1]).all(dim=1)).all()
    assert values.unique().tolist() == pytest.approx([0, 1 / 0.75])
    assert float(dropped.mean()) == pytest.approx(1, abs=0.03)
    assert torch.equal(module.eval()(images), images)


def test_powers_of_phi():
    base = EFFICIENTNET.point("cifar")
    direct = EFFICIENTNET.point("cifar", depth=1.2**2, width=1.1**2, resolution=26)
    scaled = EFFICIENTNET.point("cifar", phi=2.0, alpha=1.2, beta=1.1, gamma=1.15)
    assert scaled.pixels() == round(20 * 1.15**2) == 26
    assert direct.expand().digest == scaled.expand().digest
    assert EFFICIENTNET.point("cifar", phi=0.0).expand().digest == base.expand().digest


# Paper, section 3.3 gives 1.2, 1.1 and 1.15; the exponents of the released networks are computed by hand.
@pytest.mark.parametrize(
    ("preset", "exponents"),
    [("b1", "0.52 0.00 0.49"), ("b3", "1.85 1.91 2.09"), ("b7", "6.21 7.27 7.05")],
)
def test_released_scalings_are_not_powers_of_one_phi(preset, exponents):
    point = EFFICIENTNET.point(preset)
    (scaling, ratio) = point.notes(point.expand().cost)
    depth, width, resolution = exponents.split()
    assert f"= 1.2 ** {depth}" in scaling
    assert f"= 1.1 ** {width}" in scaling
    assert f"= 1.15 ** {resolution}" in scaling
    assert "no single phi" in scaling
    assert "alpha * beta^2 * gamma^2 = 1.92" in ratio


def test_notes_recognise_a_single_phi():
    point = EFFICIENTNET.point("cifar", phi=1.5)
    scaling, ratio = point.notes(point.expand().cost)
    assert "no single phi" not in scaling
    derived = point.derive(point.expand().cost)
    assert ratio.endswith(f"nominal {derived['nominal_ratio']:.3g}, actual {derived['actual_ratio']:.3g}")


@pytest.mark.parametrize("parts", range(1, 12))
def test_a_whole_power_is_not_rounded_up_to_another_layer(parts):
    scaled = EFFICIENTNET.point("b0", alpha=2 ** (1 / parts), beta=1.0, gamma=1.0, phi=float(parts))
    assert scaled.scales()[0] == 2
    assert scaled.expand().digest == EFFICIENTNET.point("b0", depth=2.0).expand().digest


def test_nominal_and_actual_ratios():
    point = EFFICIENTNET.point("cifar", phi=1.0, alpha=2.0, beta=1.0, gamma=1.0)
    derived = point.derive(point.expand().cost)
    base = EFFICIENTNET.point("cifar").expand().cost
    assert derived["nominal_ratio"] == 2
    assert derived["actual_ratio"] == point.expand().cost.macs / base.macs
    assert derived["pixels"] == 20
    assert (derived["depth_scale"], derived["width_scale"]) == (2, 1)
    released = EFFICIENTNET.point("b3")
    ratio = released.derive(released.expand().cost)
    assert ratio["nominal_ratio"] == pytest.approx(1.4 * 1.2**2 * (300 / 224) ** 2)
    assert ratio["actual_ratio"] == pytest.approx(1_827_141_392 / 385_814_752)


def test_108_triples_on_a_grid_are_65_networks_at_32_pixels():
    steps = [1 + 0.05 * step for step in range(21)]
    triples = [
        (alpha, beta, gamma)
        for alpha in steps
        for beta in steps
        for gamma in steps
        if abs(alpha * beta**2 * gamma**2 - 2) <= 0.1
    ]
    networks = {
        EFFICIENTNET.point("b0", phi=1.0, alpha=alpha, beta=beta, gamma=gamma, base_resolution=32).expand().digest
        for alpha, beta, gamma in triples
    }
    assert (len(triples), len(networks)) == (108, 65)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"alpha": 1.2, "depth": 2.0}, "alpha has no effect: depth = 2.0 replaces alpha ** phi"),
        ({"gamma": 1.2, "resolution": 32}, "gamma has no effect: resolution = 32 replaces gamma ** phi"),
        ({"preset": "b3", "phi": 1.0}, "phi has no effect: depth, width and resolution replace its powers"),
        ({"depth": -1.0}, "depth = -1.0: should be greater than 0"),
        ({"stages": [[3, 1, 1, 16, 1]]}, "stages.0.5 = 3-1-1-16-1: field required"),
        ({"stages": [[4, 1, 1, 16, 1, 0.25]]}, "stages.0.0 = 4: the kernel must be odd"),
        ({"stages": [[3, 0, 1, 16, 1, 0.25]]}, "stages.0.1 = 0: should be greater than or equal to 1"),
        ({"stages": []}, "stages = : tuple should have at least 1 item after validation, not 0"),
    ],
)
def test_mistakes_are_named(settings, message):
    settings = dict(settings)
    with pytest.raises(ExplorerError) as error:
        EFFICIENTNET.point(settings.pop("preset", None), **settings)
    assert message in str(error.value)


def test_an_absurd_network_is_infeasible():
    frame = price("efficientnet", width=[1.0, 100.0], resolution=10_000)
    assert frame["macs"].isna().tolist() == [False, True]
    assert "more than 1e+12 multiply-adds" in frame["infeasible"][1]


@pytest.mark.parametrize("axis", ["alpha", "beta", "gamma"])
def test_huge_powers_are_infeasible_and_do_not_overflow(axis):
    factors = {"alpha": 1.0, "beta": 1.0, "gamma": 1.0, axis: 8.0}
    with pytest.raises(Infeasible, match="more than 100 times the base network"):
        EFFICIENTNET.point("cifar", phi=20.0, **factors).expand()
    columns = {"alpha": 1.0, "beta": 1.0, "gamma": 1.0} | {axis: np.linspace(1, 8, 200)}
    frame = price("efficientnet", "cifar", phi=20.0, **columns)
    feasible = frame["infeasible"] == ""
    assert 0 < feasible.sum() < 200
    assert frame.loc[feasible, "macs"].between(1, 10**12).all()
    assert frame.loc[feasible, axis].max() < 100 ** (1 / 20) + 0.04


def test_ranges_follow_the_way_the_scaling_is_given():
    assert EFFICIENTNET.point("cifar").ranges().keys() == {"depth", "width", "resolution"}
    assert EFFICIENTNET.point("cifar", phi=1.0).ranges().keys() == {"alpha", "beta", "gamma"}
    assert EFFICIENTNET.point("cifar", alpha=1.3, width=2.0).ranges().keys() == {"phi", "gamma"}


def test_stages_are_data():
    mine = EFFICIENTNET.point("cifar", stages=[[3, 1, 1, 8, 1, 0.0], [3, 2, 4, 16, 2, 0.25]]).expand()
    assert mine.cost.params < EFFICIENTNET.point("cifar").expand().cost.params
    assert Stage(3, 2, 4, 16, 2, 0.25).repeats == 2


def test_the_macs_of_b7_are_an_integer_below_2_to_the_63():
    cost = EFFICIENTNET.point("b7").expand().cost
    assert isinstance(cost.macs, int)
    assert math.log2(cost.macs) < 63
