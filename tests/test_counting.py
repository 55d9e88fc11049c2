"""Counting foreign modules: two counters that agree, and closed forms; where they do not, no total."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from explorer.errors import ExplorerError
from explorer.networks.counting import count


class Made(nn.Module):
    """A module of parts and a function that joins them."""

    def __init__(self, forward, **parts):
        super().__init__()
        for name, part in parts.items():
            setattr(self, name, part)
        self.joined = forward

    def forward(self, *inputs):
        return self.joined(self, *inputs)


def weights(*sizes):
    return nn.Parameter(torch.zeros(*sizes))


def gated(net, x):
    return x * torch.sigmoid(net.excite(torch.relu(net.squeeze(x.mean((2, 3))))))[:, :, None, None]


def shuffled(net, x):
    x = functional.relu6(net.first(x))
    return net.second(x.view(len(x), 4, 2, *x.shape[2:]).transpose(1, 2).flatten(1, 2))


def einsum_attention(net, x):
    scores = torch.einsum("bnc,bmc->bnm", net.query(x), net.key(x)) / 4
    return torch.einsum("bnm,bmc->bnc", scores.softmax(-1), x)


def attended(net, x):
    tokens = x.flatten(2).transpose(1, 2)
    return net.attention(tokens, tokens, tokens, need_weights=False)[0]


IMAGE = (3, 16, 16)
TOKENS = (10, 8)
AGREED = {
    "convolution": (nn.Conv2d(3, 8, 3, padding=1), IMAGE, 8 * 27 * 256),
    "functional convolution": (
        Made(lambda net, x: functional.conv2d(x, net.filters), filters=weights(4, 3, 3, 3)),
        IMAGE,
        4 * 27 * 14 * 14,
    ),
    "strided and dilated": (nn.Conv2d(3, 8, 3, stride=2, dilation=2), IMAGE, 8 * 27 * 6 * 6),
    "grouped": (nn.Conv2d(6, 12, 1, groups=3), (6, 5, 5), 12 * 2 * 25),
    "depthwise separable": (
        nn.Sequential(nn.Conv2d(3, 3, 3, padding=1, groups=3), nn.BatchNorm2d(3), nn.ReLU(), nn.Conv2d(3, 7, 1)),
        IMAGE,
        3 * 9 * 256 + 21 * 256,
    ),
    "one dimension": (nn.Conv1d(3, 4, 5), (3, 20), 4 * 15 * 16),
    "three dimensions": (nn.Conv3d(2, 3, 3), (2, 5, 5, 5), 3 * 54 * 27),
    "transposed": (nn.ConvTranspose2d(3, 5, 2, stride=2), IMAGE, 3 * 5 * 4 * 256),
    "residual": (Made(lambda net, x: torch.relu(net.body(x) + x), body=nn.Conv2d(3, 3, 3, padding=1)), IMAGE, 81 * 256),
    "squeeze and excite": (Made(gated, squeeze=nn.Linear(3, 2), excite=nn.Linear(2, 3)), IMAGE, 12),
    "branches": (
        Made(lambda net, x: torch.cat([net.one(x), net.three(x), functional.max_pool2d(x, 3, 1, 1)], 1),
             one=nn.Conv2d(3, 2, 1), three=nn.Conv2d(3, 2, 3, padding=1)),
        IMAGE,
        (6 + 54) * 256,
    ),
    "channel shuffle": (
        Made(shuffled, first=nn.Conv2d(3, 8, 1), second=nn.Conv2d(8, 8, 1, groups=4)), IMAGE, (24 + 16) * 256
    ),
    "dense": (
        Made(lambda net, x: net.b(torch.cat([x, net.a(x)], 1)), a=nn.Conv2d(3, 4, 1), b=nn.Conv2d(7, 5, 1)),
        IMAGE,
        (12 + 35) * 256,
    ),
    "perceptron": (nn.Sequential(nn.Flatten(), nn.Linear(768, 10), nn.GELU(), nn.Linear(10, 4)), IMAGE, 7680 + 40),
    "linear on tokens": (nn.Sequential(nn.LayerNorm(8), nn.Linear(8, 6), nn.Dropout(0.5)), TOKENS, 480),
    "multi-head attention": (
        Made(attended, attention=nn.MultiheadAttention(8, 2, batch_first=True)),
        (8, 4, 4),
        16 * 8 * 8 * 4 + 2 * 16 * 16 * 8,
    ),
    "fused attention": (
        Made(lambda _, x: functional.scaled_dot_product_attention(x, x, x)), TOKENS, 2 * 10 * 10 * 8
    ),
    "einsum": (Made(einsum_attention, query=nn.Linear(8, 8), key=nn.Linear(8, 8)), TOKENS, 1280 + 2 * 10 * 10 * 8),
    "matrix products": (Made(lambda _, x: (x @ x.transpose(1, 2)).softmax(-1) @ x), TOKENS, 1600),
    "added products": (
        Made(lambda net, x: torch.baddbmm(net.bias, x, x.transpose(1, 2)), bias=weights(1, 10, 10)), TOKENS, 800
    ),
    "interpolation": (
        Made(lambda net, x: net.conv(functional.interpolate(x, (32, 32), mode="bilinear")), conv=nn.Conv2d(3, 2, 1)),
        IMAGE,
        6 * 1024,
    ),
    "one module twice": (
        Made(lambda net, x: net.conv(torch.relu(net.conv(x))), conv=nn.Conv2d(3, 3, 1)), IMAGE, 18 * 256
    ),
    "tied weights": (
        Made(lambda net, x: functional.linear(net.linear(x), net.linear.weight), linear=nn.Linear(8, 8)), TOKENS, 1280
    ),
}  # fmt: skip

REFUSED = {
    "recurrent": (Made(lambda net, x: net.cell(x)[0], cell=nn.LSTM(8, 4, batch_first=True)), TOKENS, "lstm"),
    "Fourier": (Made(lambda _, x: torch.fft.fft2(x).abs()), IMAGE, "aten::fft_fft2|aten::_fft_c2c|aten::_fft_r2c"),
    "distances": (Made(lambda _, x: torch.cdist(x, x)), TOKENS, "cdist"),
    "running sums": (Made(lambda _, x: x.cumsum(1)), TOKENS, "cumsum"),
}


@pytest.mark.parametrize("name", AGREED)
def test_both_counters_agree_with_the_closed_form(name):
    module, shape, macs = AGREED[name]
    counted = count(module, shape)
    assert counted.mismatches == ()
    assert counted.macs == macs
    assert counted.layers["macs"].sum() == counted.layers["fvcore"].sum() == macs
    assert counted.params == sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize("name", REFUSED)
def test_unknown_operators_are_named_and_there_is_no_total(name):
    module, shape, operator = REFUSED[name]
    counted = count(module, shape)
    assert counted.macs is None
    assert any(part in " ".join(counted.mismatches) for part in operator.split("|"))


def test_the_layers_are_those_of_the_module():
    inner = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU())
    layers = count(
        Made(lambda net, x: functional.conv2d(net.inner(x), net.filters), inner=inner, filters=weights(2, 4, 1, 1)),
        IMAGE,
    ).layers
    assert layers.to_dict("list") == {
        "layer": ["(model)", "inner.0"],
        "module": ["Made", "Conv2d"],
        "params": [8, 16],
        "macs": [8 * 256, 12 * 256],
        "fvcore": [8 * 256, 12 * 256],
    }


def test_the_module_keeps_its_mode_and_modules_that_fvcore_cannot_trace_are_explained():
    module = nn.Sequential(nn.Linear(8, 8), nn.Dropout(0.5))
    count(module, TOKENS)
    assert module.training
    with pytest.raises(ExplorerError, match="Made cannot be traced by fvcore: "):
        count(Made(lambda net, x: x @ net.vector, vector=weights(8)), TOKENS)


def test_inputs_that_do_not_fit_into_memory_are_explained():
    with pytest.raises(ExplorerError, match="Linear does not accept an input of 99999999x99999999: "):
        count(nn.Linear(8, 8), (99_999_999, 99_999_999))


@pytest.mark.parametrize("name", ["addmm_", "baddbmm_", "addmv_", "addr_"])
def test_products_in_place_are_not_taken_for_views(name):
    from explorer.networks.verification import without_products

    assert not without_products(f"aten::{name}")


@pytest.mark.parametrize("name", ["relu_", "hardtanh_", "zero_", "fill_", "view", "transpose", "mul_", "dropout_"])
def test_elementwise_operators_and_views_have_no_products(name):
    from explorer.networks.verification import without_products

    assert without_products(f"aten::{name}")


def test_several_inputs():
    assert count(Made(lambda net, x, y: net.linear(x) + y, linear=nn.Linear(8, 8)), TOKENS, TOKENS).macs == 640


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("nets.py", "must be a file or module and a name, such as networks.py:build"),
        ("missing.py:build", "missing.py does not exist"),
        ("nets.py:bild", "unknown name in nets.py 'bild'; did you mean 'build'?"),
        ("nets.py:number", "must be or return a torch.nn.Module, not int"),
        ("nets.py:fails", "nets.py:fails: RuntimeError: no weights"),
        ("nets.py:needs", "missing 1 required positional argument"),
        ("broken.py:build", "broken.py: NameError"),
        ("no.such.module:build", "ModuleNotFoundError: No module named 'no'"),
    ],
)
def test_mistakes_are_explained(target, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "nets.py").write_text(
        "from torch import nn\nnumber = 3\ndef build(): return nn.Conv2d(3, 4, 3)\n"
        "def fails(): raise RuntimeError('no weights')\ndef needs(width): return nn.Conv2d(3, width, 3)\n"
    )
    (tmp_path / "broken.py").write_text("build = nn.Conv2d")
    with pytest.raises(ExplorerError) as error:
        count(target, IMAGE)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_inputs_that_do_not_fit_are_explained():
    with pytest.raises(ExplorerError, match="Conv2d does not accept an input of 4x16x16: RuntimeError"):
        count(nn.Conv2d(3, 8, 3), (4, 16, 16))


def test_control_flow_that_depends_on_data_is_explained():
    with pytest.raises(ExplorerError, match="Made cannot be exported"):
        count(Made(lambda _, x: x if x.sum() > 0 else -x), IMAGE)


def test_a_module_in_a_file_may_import_its_neighbours(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "parts_of_it.py").write_text("WIDTH = 5\n")
    (tmp_path / "whole_of_it.py").write_text(
        "from torch import nn\nfrom parts_of_it import WIDTH\nclass Net(nn.Sequential):\n"
        "    def __init__(self): super().__init__(nn.Conv2d(3, WIDTH, 1))\n"
    )
    assert count("whole_of_it.py:Net", IMAGE).macs == 15 * 256
