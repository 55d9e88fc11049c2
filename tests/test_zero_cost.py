"""The zero-cost score against its definition, by hand and for the networks of every space."""

import math

import pytest
import torch

from explorer.networks.layers import BatchNorm, Conv, GlobalAveragePool, ReLU, Shape
from explorer.networks.network import Network, chain
from explorer.spaces import all_spaces
from explorer.training.trainer import untrained
from explorer.training.zero_cost import synflow


def test_the_flow_of_two_layers_by_hand():
    """Without biases, the flow through each of two layers is the same: the sum of the products of all paths."""
    body = chain(
        a=Conv(4, 1, bias=False), norm=BatchNorm(), relu=ReLU(), b=Conv(5, 1, bias=False), end=GlobalAveragePool()
    )
    network = Network(Shape(3, 6), body)
    first, second = (
        each.detach().abs().double().flatten(1) for each in untrained(network).parameters() if each.ndim == 4
    )
    assert synflow(network) == pytest.approx(math.log10(2 * float((second @ first).sum())), abs=1e-6)


@pytest.mark.parametrize("space", all_spaces().values(), ids=lambda space: space.name)
def test_every_family_has_a_score_that_is_reproducible(space):
    network = space.point("cifar").expand()
    state = torch.get_rng_state()
    assert math.isfinite(synflow(network))
    assert synflow(network) == synflow(network)
    assert torch.equal(torch.get_rng_state(), state)
