from dataclasses import dataclass

import pytest

from explorer.networks.calls import call
from explorer.networks.layers import Conv, Cost, Layer, Shape
from explorer.networks.network import Network, chain
from explorer.networks.verification import CostMismatch, check_cost, verify
from explorer.spaces import find_space


@dataclass(frozen=True)
class Wrong(Layer):
    """A convolution of 2 filters that says it costs something else."""

    says: Cost
    kind = "wrong"

    def output(self, shape):
        return Shape(2, shape.size)

    def cost(self, shape, out):  # noqa: ARG002
        return self.says

    def source(self, shape):
        return call("nn.Conv2d", in_channels=shape.channels, out_channels=2, kernel_size=1, bias=False)


class Normalised(Layer):
    """Normalisation over neighbouring channels, which uses a pool of volumes."""

    kind = "normalised"

    def source(self, shape):  # noqa: ARG002
        return call("nn.LocalResponseNorm", size=2)


def network(*layers):
    return Network(Shape(3, 4), chain(**{f"layer{number}": layer for number, layer in enumerate(layers)}))


def operators(check):
    return check.operators.set_index("operator")


def test_our_counts_beside_those_of_fvcore():
    efficientnet = find_space("efficientnet").point("cifar", drop_connect=0.2).expand()
    check = check_cost(efficientnet)
    table = operators(check)
    assert table.index.tolist() == ["conv", "batch_norm", "add", "mean", "mul", "sigmoid", "silu"]
    assert table.loc["conv", ["ours", "fvcore", "difference"]].tolist() == [efficientnet.cost.macs] * 2 + [0]
    assert table.loc["batch_norm", "ours"] == 0
    assert table.loc["batch_norm", "difference"] == table.loc["batch_norm", "fvcore"] > 0
    assert table.loc["batch_norm", "note"] == "fvcore counts batch norm; the papers' FLOPs do not"
    assert table.loc["add", "calls"] == 4  # the residuals of the second stage
    assert table.loc[["add", "mean", "silu"], ["ours", "fvcore", "difference"]].isna().all(axis=None)
    assert table.loc["silu", "note"].startswith("no weights to multiply by")
    assert check.params == check.torch_params == efficientnet.cost.params
    assert check.mismatches == ()


@pytest.mark.parametrize("depth", [1, 2, 3, 9])
@pytest.mark.parametrize(
    ("space", "settings"), [("efficientnet", {}), ("squeezenet", {"bypass": "complex", "squeeze_ratio": 0.5})]
)
def test_layers_are_found_at_every_depth(space, settings, depth):
    described = find_space(space).point("cifar", **settings).expand()
    layers = check_cost(described).layers
    rows = described.rows(depth)
    assert [layers.get(path, 0) for path, _ in rows] == [node.cost.macs for _, node in rows]
    assert layers[""] == described.cost.macs


def test_mismatches_are_listed():
    right = Cost(params=6, macs=96)
    assert check_cost(network(Wrong(right))).mismatches == ()
    (params,) = check_cost(network(Wrong(Cost(params=7, macs=96)))).mismatches
    assert params == "params: the description has 7, the module 6"
    total, layer = check_cost(network(Conv(3, 1), Wrong(Cost(params=6, macs=95)))).mismatches
    assert total == "FLOPs: the description has 239, fvcore counts 240"
    assert layer == "layer1: the description has 95 FLOPs, fvcore counts 96"


def test_mistakes_that_cancel_are_found():
    pair = network(Conv(3, 1), Wrong(Cost(params=6, macs=95)), Wrong(Cost(params=4, macs=65)))
    with pytest.raises(CostMismatch, match=r"layer1: the description has 95 FLOPs, fvcore counts 96"):
        verify(pair)
    assert len(check_cost(pair).mismatches) == 2


def test_an_unknown_operator_is_a_mismatch():
    strange = network(Conv(2, 1), Normalised())
    with pytest.raises(CostMismatch, match="aten::avg_pool3d: unknown to fvcore and the explorer"):
        verify(strange)
    check = check_cost(strange)
    assert operators(check).loc["avg_pool3d", "note"] in check.mismatches[0]
