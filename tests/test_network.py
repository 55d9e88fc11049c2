import numpy as np
import pytest
import torch

from explorer.errors import Infeasible
from explorer.layers import BatchNorm, Conv, Cost, GlobalAveragePool, MaxPool, ReLU, Shape, Slice
from explorer.network import Network, Repeat, Residual, chain, concat


def network(body, size=16):
    return Network(Shape(3, size), body)


def test_cost_of_a_convolution_by_hand():
    # 5 filters of 3x3x3 weights and a bias each, at 8x8 positions of a 16-pixel image with stride 2 and padding 1
    cost = Conv(5, kernel=3, stride=2, padding=1).cost(Shape(3, 16), Shape(5, 8))
    assert cost == Cost(params=5 * 27 + 5, macs=5 * 27 * 64, activations=5 * 64)


def test_costs_add_and_size_is_four_bytes_a_param():
    assert Cost(1, 2, 3) + Cost(10, 20, 30) == Cost(11, 22, 33)
    assert Cost(params=10).model_bytes == 40


@pytest.mark.parametrize("size", range(3, 40))
@pytest.mark.parametrize(
    "layer", [MaxPool(), MaxPool(2, 2), MaxPool(3, 1), Conv(4, 5, 3, 1), Conv(4, 3, 2), Conv(4, 1)]
)
def test_output_shape_is_the_module_s(layer, size):
    try:
        expected = layer.output(Shape(3, size))
    except Infeasible:
        with pytest.raises(RuntimeError):
            layer.build(Shape(3, size))(torch.zeros(1, 3, size, size))
        return
    out = layer.build(Shape(3, size))(torch.zeros(1, 3, size, size))
    assert out.shape == (1, expected.channels, expected.size, expected.size)


def test_module_computes_what_the_combinators_say():
    body = chain(
        both=concat(left=Conv(2, 1), right=Conv(3, 3, padding=1)),
        again=Residual(Conv(5, 1), Conv(5, 1)),
        same=Residual(Conv(5, 1)),
        average=GlobalAveragePool(),
    )
    module = network(body).build().eval()
    image = torch.randn(2, 3, 16, 16)
    parts = dict(module.body.named_children())
    both = torch.cat([parts["both"].left(image), parts["both"].right(image)], dim=1)
    again = parts["again"].body(both) + parts["again"].shortcut(both)
    same = parts["same"].body(again) + again
    assert torch.allclose(module(image), same.mean(dim=(2, 3)), atol=1e-6)


def test_hash_is_of_what_is_realised_and_not_of_names_or_nesting():
    flat = network(chain(a=Conv(4, 3), b=ReLU(), c=Conv(5, 1)))
    nested = network(chain(first=chain(x=Conv(4, 3), y=ReLU()), second=chain(z=Conv(5, 1))))
    lone = network(chain(side=concat(only=Conv(4, 3)), b=ReLU(), c=Conv(5, 1)))
    assert flat.digest == nested.digest == lone.digest


@pytest.mark.parametrize(
    "other",
    [
        chain(a=Conv(4, 3), b=Conv(5, 1), c=ReLU()),
        chain(a=Conv(4, 3, padding=1), b=ReLU(), c=Conv(5, 1)),
        chain(a=Conv(4, 3), b=ReLU(), c=Conv(5, 1, bias=False)),
        chain(a=Conv(4, 3), b=ReLU(), c=Residual(Conv(4, 1))),
        chain(a=Conv(4, 3), b=concat(x=ReLU(), y=ReLU()), c=Conv(5, 1)),
        chain(a=Conv(4, 3), norm=BatchNorm(), b=ReLU(), c=Conv(5, 1)),
    ],
)
def test_hash_differs_where_the_layers_do(other):
    assert network(chain(a=Conv(4, 3), b=ReLU(), c=Conv(5, 1))).digest != network(other).digest


def test_hash_depends_on_the_input():
    body = chain(a=Conv(4, 3))
    assert network(body, 16).digest != network(body, 17).digest


def test_digest_is_stable_between_versions():
    # A digest names stored runs for ever: a change here means that no earlier run is found again.
    body = chain(a=Conv(4, 3, bias=False), b=BatchNorm(), c=ReLU(), d=MaxPool(), e=Residual(Conv(4, 1)))
    assert network(body).digest[:16] == "6cc24fc25f9cbc30"


def test_sides_and_shortcuts_must_fit():
    with pytest.raises(ValueError, match="concat: b gives 7x7x3"):
        _ = network(chain(both=concat(a=Conv(2, 1), b=Conv(3, 3, stride=2)))).cost
    with pytest.raises(ValueError, match="residual: the body gives 16x16x4"):
        _ = network(chain(sum=Residual(Conv(4, 1)))).cost


def test_a_map_that_shrinks_away_is_infeasible_and_the_layer_is_named():
    body = chain(stem=chain(conv=Conv(4, 3)), pool=MaxPool(), deep=chain(conv=Conv(4, 7)))
    with pytest.raises(Infeasible, match=r"^deep\.conv: the feature map would shrink below one pixel$"):
        _ = network(body, 8).cost


def test_rows_go_as_deep_as_asked_and_always_sum_to_the_total():
    body = chain(stem=chain(conv=Conv(4, 3), relu=ReLU()), side=concat(a=Conv(2, 1), b=chain(c=Conv(3, 1), d=ReLU())))
    built = network(body)
    assert [name for name, _ in built.rows(1)] == ["stem", "side"]
    assert [name for name, _ in built.rows(2)] == ["stem.conv", "stem.relu", "side.a", "side.b"]
    assert [name for name, _ in built.rows(9)] == ["stem.conv", "stem.relu", "side.a", "side.b.c", "side.b.d"]
    for depth in (1, 2, 3):
        assert sum((node.cost for _, node in built.rows(depth)), Cost()) == built.cost
    assert built.rows(1)[1][1].layer.notation == "[1x1 2 | 1x1 3]"


def test_a_repeat_is_the_chain_of_its_blocks():
    block = chain(conv=Conv(4, 3, padding=1), relu=ReLU())
    repeated = network(chain(stem=Conv(4, 1), blocks=Repeat(block, 3)))
    unrolled = network(chain(stem=Conv(4, 1), a=block, b=block, c=block))
    assert repeated.digest == unrolled.digest
    assert repeated.cost == unrolled.cost
    assert [name for name, _ in repeated.rows(2)] == ["stem", "blocks.0", "blocks.1", "blocks.2"]
    module = repeated.build()
    assert sum(parameter.numel() for parameter in module.parameters()) == repeated.cost.params
    assert network(chain(stem=Conv(4, 1), blocks=Repeat(block, 0))).digest == network(chain(stem=Conv(4, 1))).digest


def test_a_repeat_takes_an_array_of_times():
    block = Residual(Conv(4, 3, padding=1))
    many = network(chain(stem=Conv(4, 1), blocks=Repeat(block, np.array([0, 1, 5])))).cost
    single = [network(chain(stem=Conv(4, 1), blocks=Repeat(block, times))).cost for times in (0, 1, 5)]
    assert many.params.tolist() == [cost.params for cost in single]
    assert many.macs.tolist() == [cost.macs for cost in single]


def test_a_repeated_block_keeps_its_shape():
    with pytest.raises(ValueError, match="repeat: the block makes 16x16x4 of 16x16x3"):
        _ = network(chain(blocks=Repeat(Conv(4, 1), 2))).cost


def test_slices_take_their_channels():
    halves = concat(kept=Slice(0, 2), worked=chain(part=Slice(2, 6), conv=Conv(3, 1)))
    split = network(chain(stem=Conv(6, 1), halves=halves, average=GlobalAveragePool()))
    module = split.build().eval()
    images = torch.randn(1, 3, 16, 16)
    stem = module.body.stem(images)
    worked = module.body.halves.worked.conv(stem[:, 2:])
    assert torch.allclose(module(images), torch.cat([stem[:, :2], worked], dim=1).mean(dim=(2, 3)), atol=1e-6)
    with pytest.raises(ValueError, match="slice: channels 2 to 7 of 6"):
        _ = network(chain(stem=Conv(6, 1), part=Slice(2, 7))).cost
