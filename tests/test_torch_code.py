"""The generated code: it runs where only torch is, and builds the network that it was made from."""

import subprocess
import sys
from collections import OrderedDict

import pytest
import torch
from test_spaces import PRESETS, SPACES, random_points
from torch import nn

from explorer.errors import ExplorerError
from explorer.exporting.torch_code import MOST_PARAMETERS, WIDTH, code_of
from explorer.spaces import find_space
from explorer.training.trainer import untrained

# Presets in full depth; what makes them large otherwise is cut down.
SMALLER = {
    "squeezenet": {"input_size": 40, "classes": 7},
    "efficientnet": {"resolution": 40, "width": 0.2, "classes": 7},
}
MORE = [
    ("squeezenet", {"preset": "cifar", "bypass": "simple"}),
    ("squeezenet", {"preset": "cifar", "bypass": "complex"}),
    ("squeezenet", {"preset": "cifar", "pct3x3": 0.0}),
    ("squeezenet", {"preset": "cifar", "pct3x3": 1.0, "fires": 1, "pools": (), "dropout": 0.5}),
    ("efficientnet", {"preset": "cifar", "depth": 2.4, "drop_connect": 0.2}),
]
RUN = """
import sys
from pathlib import Path
sys.modules["explorer"] = None  # importing it raises
import torch
torch.set_num_threads(1)
for folder in sorted(Path(sys.argv[1]).iterdir()):
    names = {}
    exec((folder / "network.py").read_text(), names)
    network = names["build"]()
    network.load_state_dict(torch.load(folder / "weights.pt", weights_only=True))
    images, expected = torch.load(folder / "images.pt", weights_only=True)
    with torch.inference_mode():
        logits = network.eval()(images)
    assert torch.allclose(logits, expected, rtol=1e-4, atol=1e-5 * float(expected.abs().max())), folder
    assert list(network.state_dict()) == list(torch.load(folder / "weights.pt", weights_only=True)), folder
    print(folder.name, sum(parameter.numel() for parameter in network.parameters()))
"""


def networks():
    for space, preset in PRESETS:
        settings = SMALLER.get(space.name, {})
        yield f"{space.name}-{preset}", space.point(preset, **settings).expand()
    for number, (space, settings) in enumerate(MORE):
        preset = settings["preset"]
        others = {key: value for key, value in settings.items() if key != "preset"}
        yield f"more-{number}", find_space(space).point(preset, **others).expand()


@pytest.fixture(scope="module")
def written():
    """Each network with its module and its code, by name."""
    modules = {name: (network, untrained(network)) for name, network in networks()}
    return {name: (network, module, code_of(module)) for name, (network, module) in modules.items()}


def test_the_code_gives_the_same_logits_where_only_torch_is(tmp_path, written):
    expected = {}
    for name, (network, module, code) in written.items():
        folder = tmp_path / name
        folder.mkdir()
        (folder / "network.py").write_text(code)
        torch.save(module.state_dict(), folder / "weights.pt")
        images = torch.rand(2, 3, network.input.size, network.input.size, generator=torch.Generator().manual_seed(1))
        with torch.inference_mode():
            torch.save([images, module(images)], folder / "images.pt")
        expected[name] = network.cost.params
    command = [sys.executable, "-I", "-c", RUN, str(tmp_path)]
    ended = subprocess.run(command, check=False, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    assert dict(line.split() for line in ended.stdout.splitlines()) == {
        name: str(params) for name, params in expected.items()
    }


def built(code):
    names = {}
    exec(compile(code, "network.py", "exec"), names)  # noqa: S102
    return names["build"]()


@pytest.mark.parametrize("space", SPACES)
def test_random_points_come_back(space):
    for values, network in random_points(space, 8, seed=5):
        module = network.build().eval()
        with torch.random.fork_rng():
            again = built(code_of(module)).eval()
        assert list(again.state_dict()) == list(module.state_dict()), values
        again.load_state_dict(module.state_dict())
        images = torch.rand(1, 3, network.input.size, network.input.size, generator=torch.Generator().manual_seed(0))
        with torch.inference_mode():
            assert torch.allclose(again(images), module(images), rtol=1e-4, atol=1e-5), values


@pytest.mark.parametrize("space", SPACES)
def test_the_code_trains_as_the_module_does(space):
    """Dropout, dropped bodies and batch statistics are the same too: the code's modules draw the same random numbers."""
    for values, network in random_points(space, 4, seed=6):
        module = network.build()
        with torch.random.fork_rng():
            again = built(code_of(module))
            again.load_state_dict(module.state_dict())
            images = torch.rand(3, 3, network.input.size, network.input.size)
            outputs = []
            for model in (module, again):
                torch.manual_seed(7)
                outputs.append(model.train()(images))
        assert torch.allclose(*outputs, rtol=1e-3, atol=1e-4), values


def test_the_code_is_short_and_plain():
    code = code_of(find_space("squeezenet").point("v1_0").expand().build())
    assert "fire9=fire(512, squeeze_out=64, expand_out=256)," in code
    assert "explorer" not in code
    for ours in ("Convolution", "Depthwise", "Rectifier", "Averaged", "Summed", "Gated", "Sliced"):
        assert ours not in code
    assert len(code.splitlines()) < 80
    code = code_of(find_space("efficientnet").point("b0").expand().build())
    assert "nn.AdaptiveAvgPool2d(1)" in code
    assert len(code.splitlines()) < 180
    assert max(map(len, code.splitlines())) <= WIDTH + 5  # a line of a class's own source, too


def test_the_same_block_many_times_is_a_loop():
    code = code_of(find_space("efficientnet").point("cifar").expand().build())
    assert "others=nn.Sequential(*[stage_others() for _ in range(4)])," in code


class Scaled(nn.Module):
    """Keeps what it was made with, and makes a module of its own."""

    def __init__(self, channels: int, *, factor: float = 2.0, shift: bool = True) -> None:
        super().__init__()
        self.channels, self.factor = channels, factor
        self.shift = nn.Parameter(torch.zeros(channels)) if shift else None
        self.inner = nn.Conv2d(channels, channels, 1)

    def forward(self, images):
        return self.inner(images) * self.factor


class Branched(nn.Module):
    """Takes its modules by name."""

    def __init__(self, left: nn.Module, right: nn.Module) -> None:
        super().__init__()
        self.left, self.right = left, right

    def forward(self, images):
        return self.left(images) - self.right(images)


def test_modules_of_a_new_family_are_written_by_their_own_source():
    module = nn.Sequential(
        OrderedDict(
            {
                "a-b": Branched(Scaled(3, factor=0.5), Scaled(3)),
                "class": nn.Sequential(nn.Conv2d(3, 4, (3, 1), padding="same"), nn.LeakyReLU(0.2), nn.PReLU(4)),
                "last": nn.Sequential(
                    OrderedDict(linear=Scaled(4, shift=False), norm=nn.GroupNorm(2, 4, affine=False))
                ),
            }
        )
    )
    code = code_of(module, '"""A docstring."""', "SIZE = 3\n")
    assert code.startswith('"""A docstring."""\n')
    assert code.endswith("SIZE = 3\n")
    assert "Branched(left=Scaled(3, factor=0.5), right=Scaled(3))" in code
    again = built(code)
    again.load_state_dict(module.state_dict())
    images = torch.rand(2, 3, 5, 5)
    assert torch.equal(again(images), module(images))


class Forgetful(nn.Module):
    def __init__(self, secret) -> None:  # noqa: ARG002 (which is the point)
        super().__init__()


class Odd(nn.Module):
    def __init__(self, table) -> None:
        super().__init__()
        self.table = table


class Concatenated(nn.Module):
    """Has the name of another one."""


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (Forgetful(1), "body.odd: Forgetful cannot be written as code: it keeps no attribute 'secret'"),
        (Odd({"a": 1}), "body.odd: Odd cannot be written as code: its attribute 'table' is no plain value"),
        (Odd(float("inf")), "its attribute 'table' is no plain value"),
        (type("Made", (nn.Module,), {})(), "body.odd: Made cannot be written as code: its source is not there"),
        (Concatenated(), "body.odd: Concatenated cannot be written as code: another class has its name"),
    ],
)
def test_what_cannot_be_written_is_named(module, message):
    whole = find_space("squeezenet").point("cifar", fires=1, pools=()).expand().build()
    whole.body.add_module("odd", module)
    with pytest.raises(ExplorerError) as error:
        code_of(whole)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_functions_stay_small_and_hide_no_names(written):
    """Parameters never have the name of a function, which they would hide, and are never too many."""
    import ast

    for _, _, code in written.values():
        tree = ast.parse(code)
        functions = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
        names = {function.name for function in functions}
        for function in functions:
            parameters = [argument.arg for argument in function.args.args]
            assert len(parameters) <= MOST_PARAMETERS
            assert not names & set(parameters)
