import os
import subprocess
import sys

import numpy as np
import pytest
import torch
import torch.fx.passes.shape_prop

from explorer.errors import Infeasible
from explorer.networks.layers import (
    BatchNorm,
    Conv,
    Cost,
    DropConnect,
    FullyConnected,
    GlobalAveragePool,
    MaxPool,
    ReLU,
    Shape,
    Slice,
)
from explorer.networks.modules import Averaged, Dropped
from explorer.networks.network import Network, Repeat, Residual, chain, concat
from explorer.spaces import all_spaces, find_space
from explorer.spaces.gating import Gate


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
def test_output_shape_matches_the_module(layer, size):
    try:
        expected = layer.output(Shape(3, size))
    except Infeasible:
        with pytest.raises(RuntimeError):
            layer.build(Shape(3, size))(torch.zeros(1, 3, size, size))
        return
    out = layer.build(Shape(3, size))(torch.zeros(1, 3, size, size))
    assert out.shape == (1, expected.channels, expected.size, expected.size)


def test_modules_of_combinators():
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


def test_digest_ignores_names_and_nesting():
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
def test_digest_differs_if_the_layers_differ(other):
    assert network(chain(a=Conv(4, 3), b=ReLU(), c=Conv(5, 1))).digest != network(other).digest


def test_digest_depends_on_the_input():
    body = chain(a=Conv(4, 3))
    assert network(body, 16).digest != network(body, 17).digest


def test_a_layer_that_would_have_no_pixels_is_infeasible_even_if_it_does_not_say_so():
    class Vanishing(ReLU):
        def output(self, shape):
            return Shape(shape.channels, shape.size // 20)

    with pytest.raises(Infeasible, match=r"^deep\.last: the feature map would shrink below one pixel$"):
        _ = network(chain(deep=chain(last=Vanishing()))).cost


def test_digest_is_stable_between_versions():
    # Digests identify stored runs: if this changes, no earlier run is found.
    body = chain(a=Conv(4, 3, bias=False), b=BatchNorm(), c=ReLU(), d=MaxPool(), e=Residual(Conv(4, 1)))
    assert network(body).digest[:16] == "6cc24fc25f9cbc30"


def test_parts_and_shortcuts_must_match():
    with pytest.raises(ValueError, match="concat: b outputs 7x7x3"):
        _ = network(chain(both=concat(a=Conv(2, 1), b=Conv(3, 3, stride=2)))).cost
    with pytest.raises(ValueError, match="residual: the body outputs 16x16x4"):
        _ = network(chain(sum=Residual(Conv(4, 1)))).cost


def test_a_map_below_one_pixel_is_infeasible_and_the_layer_is_named():
    body = chain(stem=chain(conv=Conv(4, 3)), pool=MaxPool(), deep=chain(conv=Conv(4, 7)))
    with pytest.raises(Infeasible, match=r"^deep\.conv: the feature map would shrink below one pixel$"):
        _ = network(body, 8).cost


def test_rows_at_any_depth_sum_to_the_total():
    body = chain(stem=chain(conv=Conv(4, 3), relu=ReLU()), side=concat(a=Conv(2, 1), b=chain(c=Conv(3, 1), d=ReLU())))
    built = network(body)
    assert [name for name, _ in built.rows(1)] == ["stem", "side"]
    assert [name for name, _ in built.rows(2)] == ["stem.conv", "stem.relu", "side.a", "side.b"]
    assert [name for name, _ in built.rows(9)] == ["stem.conv", "stem.relu", "side.a", "side.b.c", "side.b.d"]
    for depth in (1, 2, 3):
        assert sum((node.cost for _, node in built.rows(depth)), Cost()) == built.cost
    assert built.rows(1)[1][1].layer.notation == "[1x1 2 | 1x1 3]"


def test_a_repeat_equals_a_chain_of_its_blocks():
    block = chain(conv=Conv(4, 3, padding=1), relu=ReLU())
    repeated = network(chain(stem=Conv(4, 1), blocks=Repeat(block, 3)))
    unrolled = network(chain(stem=Conv(4, 1), a=block, b=block, c=block))
    assert repeated.digest == unrolled.digest
    assert repeated.cost == unrolled.cost
    assert [name for name, _ in repeated.rows(2)] == ["stem", "blocks.0", "blocks.1", "blocks.2"]
    module = repeated.build()
    assert sum(parameter.numel() for parameter in module.parameters()) == repeated.cost.params
    assert network(chain(stem=Conv(4, 1), blocks=Repeat(block, 0))).digest == network(chain(stem=Conv(4, 1))).digest


def drop_rates(body):
    """Of each dropping module in the built network, by its dotted path."""
    modules = network(chain(stem=Conv(4, 1), blocks=body)).build().body.blocks.named_modules()
    return {path: part.rate for path, part in modules if isinstance(part, Dropped)}


DROP = DropConnect(0.25, growth=0.125)
HOLDERS = {
    "chain": (chain(drop=DROP), "drop"),
    "concat": (chain(both=concat(left=chain(conv=Conv(2, 1), drop=DROP), right=Conv(2, 1))), "both.left.drop"),
    "gate": (Gate(chain(average=GlobalAveragePool(), drop=DROP)), "gate.drop"),
    "residual": (Residual(Conv(4, 1), shortcut=chain(drop=DROP)), "shortcut.drop"),
    "residual in a concat": (concat(only=Residual(chain(drop=DROP))), "only.body.drop"),
}


@pytest.mark.parametrize("holder", HOLDERS)
def test_drop_rates_grow_in_a_repeat_inside_any_combinator(holder):
    block, path = HOLDERS[holder]
    assert drop_rates(Repeat(block, 3)) == {f"0.{path}": 0.25, f"1.{path}": 0.375, f"2.{path}": 0.5}


def test_drop_rates_grow_through_nested_repeats():
    def rates(body):
        return list(drop_rates(body).values())

    inner = Repeat(Residual(chain(conv=Conv(4, 1), drop=DROP)), 2)
    assert rates(Repeat(inner, 3)) == [0.25 + 0.125 * place for place in range(6)]
    assert rates(Repeat(chain(inner=concat(only=inner), own=DROP), 2)) == [0.25, 0.375, 0.25, 0.5, 0.625, 0.375]
    assert rates(Repeat(Repeat(inner, 2), 2)) == [0.25 + 0.125 * place for place in range(8)]


def test_a_layer_without_a_place_is_reused():
    block = Residual(chain(sides=concat(a=Conv(2, 1), b=Conv(2, 3, padding=1)), gate=Gate(GlobalAveragePool())))
    assert block.at(7) is block
    dropped = Residual(chain(drop=DROP), shortcut=Conv(4, 1))
    assert dropped.at(2) == Residual(chain(drop=DropConnect(0.5)), shortcut=Conv(4, 1))
    assert dropped.at(2).shortcut is dropped.shortcut


def test_a_repeat_takes_an_array_of_times():
    block = Residual(Conv(4, 3, padding=1))
    many = network(chain(stem=Conv(4, 1), blocks=Repeat(block, np.array([0, 1, 5])))).cost
    single = [network(chain(stem=Conv(4, 1), blocks=Repeat(block, times))).cost for times in (0, 1, 5)]
    assert many.params.tolist() == [cost.params for cost in single]
    assert many.macs.tolist() == [cost.macs for cost in single]


def test_a_repeat_has_a_limit():
    block = Conv(4, 3, padding=1)
    with pytest.raises(Infeasible, match=r"^blocks\.times: more than 10,000 blocks$"):
        _ = network(chain(stem=Conv(4, 1), blocks=Repeat(block, 10**9))).cost


def test_a_repeated_block_keeps_its_shape():
    with pytest.raises(ValueError, match="repeat: the block must keep the shape, but turns 16x16x3 into 16x16x4"):
        _ = network(chain(blocks=Repeat(Conv(4, 1), 2))).cost


def test_slices():
    halves = concat(kept=Slice(0, 2), worked=chain(part=Slice(2, 6), conv=Conv(3, 1)))
    split = network(chain(stem=Conv(6, 1), halves=halves, average=GlobalAveragePool()))
    module = split.build().eval()
    images = torch.randn(1, 3, 16, 16)
    stem = module.body.stem(images)
    worked = module.body.halves.worked.conv(stem[:, 2:])
    assert torch.allclose(module(images), torch.cat([stem[:, :2], worked], dim=1).mean(dim=(2, 3)), atol=1e-6)
    with pytest.raises(ValueError, match="slice: channels 2 to 7 of 6"):
        _ = network(chain(stem=Conv(6, 1), part=Slice(2, 7))).cost


def test_memory_access_by_hand():
    # ShuffleNet V2, section 2: a 1x1 convolution accesses hw(c1 + c2) + c1 c2 elements.
    conv = network(chain(conv=Conv(5, 1, bias=False)), size=8)
    assert conv.memory_access_bytes == 4 * (64 * (3 + 5) + 3 * 5)
    same = Conv(3, 3, padding=1, bias=False)
    weights, maps = 3 * 3 * 9, 2 * 3 * 64
    assert network(chain(sum=Residual(same)), size=8).memory_access_bytes == 4 * (weights + maps + 3 * 3 * 64)
    assert network(chain(two=Repeat(same, 2)), size=8).memory_access_bytes == 4 * 2 * (weights + maps)
    assert network(chain(both=concat(a=same, b=same)), size=8).memory_access_bytes == 4 * (
        2 * (weights + maps) + 2 * 6 * 64
    )


class Leaves(torch.fx.Tracer):
    """Traces down to modules without parts, and to the operators that join them."""

    def is_leaf_module(self, module, _):
        return not isinstance(module, torch.nn.Sequential) and not list(module.children())


OVERWRITING = ("Identity", "BatchNorm2d", "ReLU", "ReLU6", "SiLU", "Sigmoid", "Dropout")
IN_PLACE = (*(getattr(torch.nn, name) for name in OVERWRITING), Dropped)


def held_at_most(built):
    """The peak of live elements by brute force: torch's graph, with every map freed after its last use."""
    module = built.build().eval().body
    traced = torch.fx.GraphModule(module, Leaves().trace(module))
    torch.fx.passes.shape_prop.ShapeProp(traced).propagate(torch.zeros(1, 3, built.input.size, built.input.size))
    nodes = [node for node in traced.graph.nodes if node.op != "output" and "tensor_meta" in node.meta]
    sizes = {node: node.meta["tensor_meta"].shape.numel() for node in nodes}
    place = {node: number for number, node in enumerate(traced.graph.nodes)}
    last = {node: max((place[user] for user in node.users), default=place[node]) for node in nodes}
    most = 0
    for node in nodes:
        now = place[node]
        before = [other for other in nodes if place[other] < now and last[other] >= now]
        written_over = [other for other in before if last[other] == now and sizes[other] == sizes[node]]
        elementwise = node.op == "call_function" and node.target is not torch.cat
        elementwise |= node.op == "call_method" and node.target == "to"  # the type that it has already
        elementwise |= node.op == "call_module" and isinstance(traced.get_submodule(node.target), IN_PLACE)
        held = sum(sizes[other] for other in before)
        most = max(most, held + (0 if elementwise and written_over else sizes[node]))
    return most


SMALL = {
    "squeezenet": [{}, {"bypass": "simple"}, {"bypass": "complex", "pct3x3": 1.0}, {"batch_norm": True, "incr_e": 0}],
    "efficientnet": [{"preset": "b0", "resolution": 64}, {"preset": "cifar"}, {"preset": "cifar", "depth": 1.6}],
    **{name: [{"preset": "cifar"}] for name in all_spaces() if name not in {"squeezenet", "efficientnet"}},
}


@pytest.mark.parametrize(("space", "settings"), [(space, point) for space, points in SMALL.items() for point in points])
def test_peak_activation_memory_matches_torch_s_graph(space, settings):
    settings = dict(settings)
    built = find_space(space).point(settings.pop("preset", None), **settings).expand()
    if any(node.layer.working(node.input, node.output) for _, node in built.rows(99)):
        pytest.skip("torch's graph does not show the memory within an operator")
    assert built.peak_activation_bytes == 4 * held_at_most(built)


def test_peak_of_combinators_by_hand():
    wide, back = Conv(12, 1), Conv(3, 1)
    # The input waits for the sum: 3 + 12 + 3 maps of 64 pixels while the second convolution runs.
    assert network(chain(sum=Residual(chain(a=wide, b=back))), 8).peak_activation_bytes == 4 * 64 * (3 + 12 + 3)
    assert network(chain(a=wide, b=ReLU(), c=back), 8).peak_activation_bytes == 4 * 64 * (12 + 3)
    # Both outputs and their copy are held; the input is already freed.
    assert network(chain(both=concat(a=wide, b=wide)), 8).peak_activation_bytes == 4 * 64 * 48


def test_an_empty_repeat_needs_no_memory():
    body = chain(none=Repeat(Conv(3, 1), 0), conv=Conv(3, 1))
    assert network(chain(sum=Residual(body)), 8).peak_activation_bytes == 4 * 64 * (3 + 3)


def test_memory_of_arrays_matches_single_networks():
    block = Residual(chain(a=Conv(8, 1), b=BatchNorm(), c=Conv(4, 1)))
    times = np.array([0, 1, 2, 5])
    many = network(chain(stem=Conv(4, 1), blocks=Repeat(block, times)))
    for place, count in enumerate(times.tolist()):
        single = network(chain(stem=Conv(4, 1), blocks=Repeat(block, count)))
        assert many.memory_access_bytes[place] == single.memory_access_bytes
        assert np.broadcast_to(many.peak_activation_bytes, 4)[place] == single.peak_activation_bytes


@pytest.mark.parametrize("groups", [2, 3, 6])
def test_cost_of_a_grouped_convolution_by_hand(groups):
    cost = Conv(12, kernel=3, padding=1, bias=False, groups=groups).cost(Shape(6, 8), Shape(12, 8))
    assert cost == Cost(params=12 * 6 * 9 // groups, macs=12 * 6 * 9 * 64 // groups, activations=12 * 64)


def test_groups_must_divide_the_channels_and_the_layer_is_named():
    for channels, groups in ((6, 4), (8, 3)):
        with pytest.raises(Infeasible, match=r"^b: groups must divide the numbers of input and output channels$"):
            _ = network(chain(a=Conv(6, 1), b=Conv(channels, 1, groups=groups))).cost


def test_settings_added_later_keep_the_digests_of_networks_without_them():
    """The digest of the first version, which had neither groups nor other rules for pools."""
    body = chain(a=Conv(4, 3, bias=False, groups=1), b=MaxPool(3, 2, padding=0, ceil=True))
    assert network(body).digest == network(chain(a=Conv(4, 3, bias=False), b=MaxPool())).digest
    assert body.canonical()[1][0][1].keys() == {"channels", "kernel", "stride", "padding", "bias"}
    assert (
        network(chain(a=Conv(6, 1), b=Conv(6, 1, groups=2))).digest != network(chain(a=Conv(6, 1), b=Conv(6, 1))).digest
    )


@pytest.mark.parametrize("size", [7, 8, 9])
@pytest.mark.parametrize("layer", [MaxPool(3, 2, padding=1, ceil=False), MaxPool(2, 2, ceil=False)])
def test_pools_of_later_frameworks_match_the_module(layer, size):
    out = layer.build(Shape(3, size))(torch.zeros(1, 3, size, size))
    assert out.shape[1:] == layer.output(Shape(3, size)).dimensions


def test_a_fully_connected_layer_is_a_convolution_with_the_whole_map():
    shape = Shape(3, 4)
    assert FullyConnected(7).cost(shape, Shape(7, 1)) == Conv(7, kernel=4).cost(shape, Shape(7, 1))
    module, convolution = FullyConnected(7).build(shape), Conv(7, kernel=4).build(shape)
    convolution.weight.data = module.weight.data.view(7, 3, 4, 4)
    convolution.bias = module.bias
    images = torch.randn(2, 3, 4, 4)
    assert torch.allclose(module(images), convolution(images), atol=1e-5)


def test_the_final_size_is_that_of_the_maps_before_pooling():
    gate = Gate(chain(average=GlobalAveragePool(), conv=Conv(4, 1)))
    body = chain(
        stem=Conv(4, 3, stride=2, padding=1), gate=gate, deep=chain(pool=MaxPool(2, 2)), average=GlobalAveragePool()
    )
    assert network(body).final_size == 4
    assert network(chain(a=Conv(4, 3), b=FullyConnected(5))).final_size == 14
    assert network(chain(a=Conv(4, 3))).final_size == 14


def test_parts_side_by_side_do_not_overwrite_what_others_need():
    """A view of the input, a gradient that needs it, and a shortcut that starts with a layer in place."""
    views = chain(both=concat(a=Slice(0, 1), b=chain(cut=Slice(1, 3), relu=ReLU())), conv=Conv(2, 1))
    gradients = chain(both=concat(a=Conv(2, 1), b=chain(relu=ReLU(), conv=Conv(2, 1))))
    shortcuts = chain(sum=Residual(Conv(2, 1), chain(relu=ReLU(), conv=Conv(2, 1))))
    for body in (views, gradients, shortcuts):
        module, images = network(body).build(), torch.randn(2, 3, 16, 16, requires_grad=True)
        safe = network(body).build()
        safe.load_state_dict(module.state_dict())
        for part in safe.modules():
            if isinstance(part, torch.nn.ReLU):
                part.inplace = False
        made = module(images * 1)
        made.sum().backward()
        assert torch.allclose(made, safe(images * 1))


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_the_gradient_of_pooled_maps_keeps_their_layout(layout):
    """A gradient in another layout slows down the layers before."""
    maps = torch.randn(4, 8, 5, 5).to(memory_format=layout).requires_grad_()
    strides = []
    pooled = maps * 1
    pooled.register_hook(lambda gradient: strides.append(gradient.stride()))
    outputs = Averaged(1)(pooled)
    outputs.sum().backward()
    torch.testing.assert_close(outputs, torch.nn.AdaptiveAvgPool2d(1)(maps))
    torch.testing.assert_close(maps.grad, torch.full_like(maps, 1 / 25))
    assert strides == [maps.stride()]


NARROW = """
import torch
from explorer.networks.modules import Convolution
torch.set_num_threads(1)
for channels in (4, 6, 7, 8, 12):
    for stride, size in ((2, 20), (2, 19), (3, 12)):
        narrow = Convolution(channels, 8, 1, stride, bias=False).to(memory_format=torch.channels_last)
        images = torch.randn(128, channels, size, size).to(memory_format=torch.channels_last).requires_grad_()
        exact = torch.nn.Conv2d(channels, 8, 1, stride, bias=False).double()
        exact.load_state_dict(narrow.state_dict())
        copy = images.detach().double().requires_grad_()
        for _ in range(4):
            maps, exact_maps = narrow(images), exact(copy)
            gradient = torch.randn_like(maps)
            maps.backward(gradient)
            exact_maps.backward(gradient.double())
        torch.testing.assert_close(maps.double(), exact_maps, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(narrow.weight.grad.double(), exact.weight.grad, rtol=1e-3, atol=1e-3)
        torch.testing.assert_close(images.grad.double(), copy.grad, rtol=1e-4, atol=1e-4)
"""


def test_narrow_shortcuts_with_a_stride_are_trained_in_float32():
    """Without a way round oneDNN's gradient, the process dies on processors with AVX2."""
    environment = os.environ | {"ONEDNN_MAX_CPU_ISA": "AVX2", "MALLOC_CHECK_": "3"}
    run = subprocess.run([sys.executable, "-c", NARROW], env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
