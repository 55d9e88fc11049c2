"""SqueezeNet against its paper and against counts made with other code."""

import csv

import pytest

from explorer.errors import Infeasible
from explorer.spaces.squeezenet import SqueezeNet
from explorer.study.files import studies_folder

# Table 1 of the paper, "# parameters before pruning".
TABLE_1 = {
    "conv1": 14_208,
    "fire2": 11_920,
    "fire3": 12_432,
    "fire4": 45_344,
    "fire5": 49_440,
    "fire6": 104_880,
    "fire7": 111_024,
    "fire8": 188_992,
    "fire9": 197_184,
    "conv10": 513_000,
}

# Counted with hooks on independently written modules: base_e, incr_e, freq, SR, pct3x3, params, million MACs
# of networks for 32-pixel images with batch norm, a 3x3 stem of 24 filters and pools after conv1, fire4 and fire8.
COUNTED = [
    (32, 32, 2, 0.0625, 0.5, 25_794, 0.56),
    (32, 32, 2, 0.25, 0.5, 93_378, 1.727),
    (32, 32, 2, 0.75, 0.5, 273_602, 4.84),
    (32, 32, 2, 0.5, 0.01, 62_914, 1.164),
    (32, 32, 2, 0.5, 0.25, 122_050, 2.203),
    (32, 32, 2, 0.5, 0.99, 304_066, 5.404),
    (16, 8, 2, 0.5, 0.5, 22_194, 0.592),
    (48, 16, 1, 0.125, 0.75, 99_746, 1.992),
    (32, 32, 2, 0.125, 0.5, 48_322, 0.949),
    (32, 32, 2, 0.5, 0.5, 183_490, 3.284),
    (32, 32, 2, 1.0, 0.5, 363_714, 6.397),
    (16, 16, 2, 0.25, 0.5, 24_642, 0.561),
    (64, 32, 2, 0.25, 0.25, 111_426, 2.343),
    (48, 0, 2, 0.5, 0.5, 57_058, 1.928),
]


def published_sizes():
    with (studies_folder() / "published" / "squeezenet_fig3.csv").open() as file:
        rows = csv.DictReader(line for line in file if not line.startswith("#"))
        return [(row["metaparameter"], float(row["value"]), float(row["model_mib"])) for row in rows]


def test_table_1_of_the_paper():
    rows = {name: node.cost.params for name, node in SqueezeNet.point("v1_0").expand().rows()}
    assert {name: rows[name] for name in TABLE_1} == TABLE_1


def test_closed_forms_of_both_curves():
    for step in range(1, 9):
        ratio = step / 8
        assert SqueezeNet.point("v1_0", squeeze_ratio=ratio).expand().cost.params == 529_768 + 5_749_248 * ratio
        share = SqueezeNet.point("v1_0", squeeze_ratio=0.5, pct3x3=ratio).expand().cost.params
        assert share == 1_438_312 + 3_932_160 * ratio


@pytest.mark.parametrize(
    ("key", "value", "params"),
    [
        ("squeeze_ratio", 0.125, 1_248_424),
        ("squeeze_ratio", 0.25, 1_967_080),
        ("squeeze_ratio", 0.5, 3_404_392),
        ("squeeze_ratio", 0.75, 4_841_704),
        ("squeeze_ratio", 1.0, 6_279_016),
        ("pct3x3", 0.01, 1_478_248),
        ("pct3x3", 0.125, 1_929_832),
        ("pct3x3", 0.25, 2_421_352),
        ("pct3x3", 0.375, 2_912_872),
        ("pct3x3", 0.5, 3_404_392),
        ("pct3x3", 0.625, 3_895_912),
        ("pct3x3", 0.75, 4_387_432),
        ("pct3x3", 0.875, 4_878_952),
        ("pct3x3", 0.99, 5_330_536),
    ],
)
def test_figure_3_params(key, value, params):
    assert SqueezeNet.point("v1_0", **{"squeeze_ratio": 0.5, key: value}).expand().cost.params == params


@pytest.mark.parametrize(("key", "value", "mebibytes"), published_sizes())
def test_figure_3_model_sizes(key, value, mebibytes):
    size = SqueezeNet.point("v1_0", **{"squeeze_ratio": 0.5, key: value}).expand().cost.model_bytes
    assert size / 2**20 == pytest.approx(mebibytes, rel=0.035)


@pytest.mark.parametrize("row", COUNTED)
def test_counts_at_32_pixels(row):
    base_e, incr_e, freq, squeeze_ratio, pct3x3, params, mmacs = row
    point = SqueezeNet.point(
        "cifar", base_e=base_e, incr_e=incr_e, freq=freq, squeeze_ratio=squeeze_ratio, pct3x3=pct3x3
    )
    cost = point.expand().cost
    assert (cost.params, round(cost.macs / 1e6, 3)) == (params, mmacs)


def fire(number, **metaparameters):
    return dict(SqueezeNet.point(**metaparameters).expand().rows())[f"fire{number}"].layer.notation


def test_rounding_is_to_the_nearest_and_halves_to_even():
    assert fire(2, base_e=20, squeeze_ratio=0.125) == "1x1 2 > [1x1 10 | 3x3 10]"  # 2.5
    assert fire(2, base_e=28, squeeze_ratio=0.125) == "1x1 4 > [1x1 14 | 3x3 14]"  # 3.5
    assert fire(2, base_e=25, squeeze_ratio=1.0) == "1x1 25 > [1x1 13 | 3x3 12]"  # 12.5


def test_there_is_always_one_squeeze_filter():
    assert fire(2, base_e=8, squeeze_ratio=0.01) == "1x1 1 > [1x1 4 | 3x3 4]"


def test_an_empty_side_is_left_out():
    assert fire(2, base_e=8, pct3x3=0.0, squeeze_ratio=0.5) == "1x1 4 > [1x1 8]"
    assert fire(2, base_e=8, pct3x3=1.0, squeeze_ratio=0.5) == "1x1 4 > [3x3 8]"


def test_widths_follow_the_formula():
    point = SqueezeNet.point(base_e=10, incr_e=3, freq=3, squeeze_ratio=1.0, fires=8)
    widths = [node.output.channels for name, node in point.expand().rows() if name.startswith("fire")]
    assert widths == [10, 10, 10, 13, 13, 13, 16, 16]


def test_bypasses_are_where_figure_2_has_them():
    def bypassed(kind):
        rows = dict(SqueezeNet.point(bypass=kind).expand().rows())
        sums = {name: node for name, node in rows.items() if " + " in node.layer.notation}
        return {name: node.layer.notation.endswith(" + x") for name, node in sums.items()}

    assert bypassed("none") == {}
    assert bypassed("simple") == dict.fromkeys(["fire3", "fire5", "fire7", "fire9"], True)
    assert {name for name, identity in bypassed("complex").items() if not identity} == {
        "fire2",
        "fire4",
        "fire6",
        "fire8",
    }


def test_delaying_the_pools_costs_macs_but_no_params():
    early, late = (SqueezeNet.point("cifar", pools=pools).expand().cost for pools in ((1, 2, 3), (1, 6, 9)))
    assert early.params == late.params
    assert early.macs < late.macs


def test_a_pool_after_the_last_fire_module_is_infeasible():
    with pytest.raises(Infeasible, match="pools: a pool after layer 10, but the last fire module is layer 9"):
        SqueezeNet.point(pools=(1, 10)).expand()
