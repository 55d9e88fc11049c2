"""The generated code: it runs where only torch is, and builds the network that it describes."""

import ast
import subprocess
import sys
from dataclasses import dataclass

import pytest
import torch
from test_spaces import PRESETS, SPACES, random_points
from torch import nn

from explorer.exporting.torch_code import MOST_PARAMETERS, WIDTH, code_of
from explorer.networks.calls import call
from explorer.networks.layers import Conv, GlobalAveragePool, Layer, Shape, Slice
from explorer.networks.network import Combinator, Network, Node, Repeat, chain, concat, trace
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
    weights = torch.load(folder / "weights.pt", weights_only=True)
    network.load_state_dict(weights)
    images, expected = torch.load(folder / "images.pt", weights_only=True)
    with torch.inference_mode():
        logits = network.eval()(images)
    assert torch.allclose(logits, expected, rtol=1e-4, atol=1e-5 * float(expected.abs().max())), folder
    assert list(network.state_dict()) == list(weights), folder
    print(folder.name, sum(parameter.numel() for parameter in network.parameters()))
"""


class Scaler(nn.Module):
    """Multiplies by a learnt factor for each channel."""

    def __init__(self, channels: int, start: float) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.full((channels, 1, 1), start))

    def forward(self, images):
        return images * self.factor


class Difference(nn.Module):
    def __init__(self, one: nn.Module, other: nn.Module) -> None:
        super().__init__()
        self.one, self.other = one, other

    def forward(self, images):
        return self.one(images) - self.other(images)


@dataclass(frozen=True)
class Scale(Layer):
    """A layer kind that torch has no module for."""

    start: float
    kind = "scale"

    def source(self, shape):
        return call(Scaler, channels=shape.channels, start=self.start)


@dataclass(frozen=True)
class Subtract(Combinator):
    """A combinator of a new family."""

    one: Layer
    other: Layer
    kind = "subtract"
    module = Difference

    def parts(self):
        return (("one", self.one), ("other", self.other))

    def trace(self, name, shape):
        nodes = tuple(trace(part, layer, shape) for part, layer in self.parts())
        return Node(name, self, shape, nodes[0].output, nodes)

    def live(self, node, *, keep):
        raise NotImplementedError


TOY = Network(
    Shape(3, 9),
    chain(
        stem=Conv(8, 3),
        halves=concat(left=Slice(0, 3), right=chain(cut=Slice(3, 8), scale=Scale(0.5))),
        blocks=Repeat(Subtract(chain(conv=Conv(8, 1), scale=Scale(2.0)), Conv(8, 3, padding=1)), 3),
        average=GlobalAveragePool(),
    ),
)


LARGE = 20_000_000  # params; the code of larger presets is the same with other numbers


def networks():
    yield "toy", TOY
    for space, preset in PRESETS:
        settings = SMALLER.get(space.name, {})
        network = space.point(preset, **settings).expand()
        if network.cost.params < LARGE:
            yield f"{space.name}-{preset}", network
    for number, (space, settings) in enumerate(MORE):
        preset = settings["preset"]
        others = {key: value for key, value in settings.items() if key != "preset"}
        yield f"more-{number}", find_space(space).point(preset, **others).expand()


@pytest.fixture(scope="module")
def written():
    """Each network with its code, by name."""
    return {name: (network, code_of(network)) for name, network in networks()}


def test_the_code_gives_the_same_logits_where_only_torch_is(tmp_path, written):
    expected = {}
    for name, (network, code) in written.items():
        folder, module = tmp_path / name, untrained(network)
        folder.mkdir()
        (folder / "network.py").write_text(code)
        torch.save(module.state_dict(), folder / "weights.pt")
        images = torch.rand(2, 3, network.input.size, network.input.size, generator=torch.Generator().manual_seed(1))
        with torch.inference_mode():
            torch.save([images, module(images)], folder / "images.pt")
        expected[name] = sum(parameter.numel() for parameter in module.parameters())
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


def kinds(node):
    return {type(node.layer)}.union(*map(kinds, node.parts))


@pytest.mark.parametrize("space", SPACES)
def test_random_points_come_back(space, written):
    covered = set().union(*(kinds(network.trace) for network, _ in written.values()))
    for values, network in random_points(space, 8, seed=5):
        assert kinds(network.trace) <= covered
        module = network.build().eval()
        with torch.random.fork_rng():
            again = built(code_of(network)).eval()
        assert list(again.state_dict()) == list(module.state_dict()), values
        again.load_state_dict(module.state_dict())
        images = torch.rand(1, 3, network.input.size, network.input.size, generator=torch.Generator().manual_seed(0))
        with torch.inference_mode():
            assert torch.allclose(again(images), module(images), rtol=1e-4, atol=1e-5), values


@pytest.mark.parametrize("space", SPACES)
def test_the_code_trains_as_the_module_does(space):
    """Dropout, dropped bodies and batch statistics are the same too: the modules draw the same random numbers."""
    for values, network in random_points(space, 4, seed=6):
        module = network.build()
        with torch.random.fork_rng():
            again = built(code_of(network))
            again.load_state_dict(module.state_dict())
            images = torch.rand(3, 3, network.input.size, network.input.size)
            outputs = []
            for model in (module, again):
                torch.manual_seed(7)
                outputs.append(model.train()(images))
        assert torch.allclose(*outputs, rtol=1e-3, atol=1e-4), values


def test_the_code_is_short_and_plain(written):
    code = code_of(find_space("squeezenet").point("v1_0").expand())
    assert "fire9=fire(512, squeeze_out=64, expand_out=256)," in code
    assert len(code.splitlines()) < 80
    assert len(code_of(find_space("efficientnet").point("b0").expand()).splitlines()) < 180
    for _, code in written.values():
        assert max(map(len, code.splitlines())) <= WIDTH
        for ours in ("explorer", "Convolution", "Depthwise", "Rectifier", "Averaged"):
            assert ours not in code


def test_the_same_block_many_times_is_a_loop():
    code = code_of(find_space("efficientnet").point("cifar").expand())
    assert "others=nn.Sequential(*[others() for _ in range(4)])," in code


def test_modules_of_a_new_family_are_written_by_their_own_source():
    code = code_of(TOY, '"""A docstring."""', "SIZE = 3\n")
    assert code.startswith('"""A docstring."""\n')
    assert code.endswith("SIZE = 3\n")
    assert "scale=Scaler(channels=5, start=0.5)" in code
    assert code.count("class Difference(nn.Module)") == 1


def test_functions_stay_small_and_hide_no_names(written):
    """Parameters never have the name of a function, which they would hide, and are never too many."""
    for _, code in written.values():
        functions = [node for node in ast.parse(code).body if isinstance(node, ast.FunctionDef)]
        names = {function.name for function in functions}
        assert len(names) == len(functions)
        for function in functions:
            parameters = [argument.arg for argument in function.args.args]
            assert len(parameters) <= MOST_PARAMETERS
            assert not names & set(parameters)
