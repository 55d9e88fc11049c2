"""Compressed networks: sizes before training, the coded file and its decoder, and the command."""

import ast
import itertools
import json
import runpy
import subprocess
import sys
from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch
from PIL import Image
from torch import nn

from explorer.__main__ import main
from explorer.analysis.accuracies import paired_difference
from explorer.compression.constraints import Pruned, Sharing
from explorer.compression.decode import load
from explorer.compression.encoding import DECODER, Shared, encoded
from explorer.compression.sizes import (
    CODINGS,
    Compression,
    bitmap_bytes,
    dense_bytes,
    relative_bytes,
    total_kept,
    weights_of,
)
from explorer.errors import ExplorerError
from explorer.spaces import all_spaces, find_space
from explorer.storage.ledger import Ledger
from explorer.training.recipe import Budget, Recipe
from explorer.training.trainer import train, tune

BUDGET = Budget(images=192, epochs=1, validation=60)

PAPER = [
    "*conv3x3=0.33",
    *("fire8.*conv3x3=0.3", "fire9.*conv3x3=0.3", "fire6.*conv1x1=0.5", "fire8.*conv1x1=0.5"),
    *("fire7.squeeze.*=0.5", "fire9.squeeze.*=0.5", "conv10.*=0.2"),
]
"""Table 1 of the SqueezeNet paper, with 30 % in fire8, which its numbers need."""


@pytest.fixture(scope="module")
def squeezenet():
    return find_space("squeezenet").point("v1_0").expand()


def values_of(shared):
    return np.where(shared.codes < 0, np.float32(0), shared.book[shared.codes])


def random_file(network, compression):
    """A file with random weights in random places, which are the hardest to code."""
    rng = np.random.default_rng(0)
    layers = {f"body.{layer.path}.weight": layer for layer in weights_of(network)}
    tensors = {}
    for name, tensor in network.build().state_dict().items():
        tensors[name] = tensor.numpy()
        if name in layers:
            kept = compression.kept(layers[name])
            codes = np.full(layers[name].count, -1)
            codes[rng.permutation(len(codes))[:kept]] = rng.integers(2**compression.bits, size=kept)
            book = rng.normal(size=2**compression.bits).astype(np.float32)
            tensors[name] = Shared(codes.reshape(tensor.shape), book)
    return tensors, encoded(tensors)


# Sizes


def test_the_numbers_of_the_paper_and_of_the_released_file(squeezenet):
    compression = Compression.read(PAPER)
    assert total_kept(squeezenet, compression) == 421_098
    # The released file has 422,083 entries in 26 layers, and 675,763 bytes: 13 layers have an odd number of 4-bit gaps.
    entries = [1] * 13 + [2] * 12 + [422_083 - 13 - 24]
    assert len(weights_of(squeezenet)) == len(entries)
    assert relative_bytes(squeezenet, compression, entries) == 675_763


def test_our_file_is_smaller_than_the_paper_s(squeezenet):
    tensors, content = random_file(squeezenet, Compression.read(PAPER, 6))
    assert len(content) <= 468_302
    kept = sum((tensor.codes >= 0).sum() for tensor in tensors.values() if isinstance(tensor, Shared))
    assert kept == 421_098 - 3_976, "without biases"


@pytest.mark.parametrize("space", all_spaces().values())
def test_dense_bytes_are_those_of_the_module(space):
    network = space.point(next(reversed(space.presets))).expand()
    floats = [tensor.numel() for tensor in network.build().state_dict().values() if tensor.is_floating_point()]
    assert dense_bytes(network, Compression()) == 4 * sum(floats)
    assert sum(layer.count for layer in weights_of(network)) <= network.cost.params


@pytest.mark.parametrize("space", ["squeezenet", "resnet", "mobilenet_v2", "vit"])
def test_arrays_cost_the_same_as_single_points(space):
    family = find_space(space)
    ranges = family.point("cifar").ranges()
    rng = np.random.default_rng(0)
    key = "base_e" if space == "squeezenet" else "width"
    low, high = ranges[key].low, ranges[key].high
    values = rng.integers(int(low), int(high), 20) if isinstance(low, int) else rng.uniform(low, high, 20)
    values = values // 2 * 2 if space == "vit" else values
    compression = Compression.read(["0.5", "1x1=0.3333", "linear=0.07"], 5)
    together = family.points("cifar", **{key: values}).expand()
    for name, coding in CODINGS.items():
        found = coding(together, compression)
        alone = [coding(family.point("cifar", **{key: one.item()}).expand(), compression) for one in values]
        assert found.tolist() == alone, name


def test_a_bitmap_counts_a_bit_for_each_weight():
    network = find_space("vgg").point("cifar", width=8).expand()
    compression = Compression.read(["0.25"], 4)
    layers = weights_of(network)
    weights = sum(layer.count for layer in layers)
    exact = weights / 8 + weights / 4 * 4 / 8 + len(layers) * 4 * 16 + 4 * (network.cost.params - weights)
    statistics = sum(tensor.numel() for name, tensor in network.build().state_dict().items() if "running" in name)
    assert exact + 4 * statistics <= bitmap_bytes(network, compression) <= exact + 4 * statistics + 2 * len(layers)


# The file


@pytest.mark.parametrize("seed", range(20))
def test_a_file_decodes_to_what_was_encoded(tmp_path, seed):
    rng = np.random.default_rng(seed)

    def shared(shape, density, values):
        codes = rng.integers(values, size=shape)
        codes[rng.random(shape) > density] = -1
        return Shared(codes, rng.normal(size=values).astype(np.float32))

    tensors = {
        "first": shared((16, 3, 3, 3), rng.choice([1, 0.5, 0.002, 0]), int(rng.choice([1, 2, 64]))),
        "bias": rng.normal(size=5).astype(np.float32),
        "steps": np.array(7),
        "second": shared((60, 50), rng.random() ** 4, 2 ** int(rng.integers(1, 9))),
        "scale": np.float32([np.pi, -0.0, 1e-40]),
        "last": shared((2, 2), 1, 4),
        "none": np.empty((0, 3), np.float32),
    }
    (tmp_path / "weights.cnn").write_bytes(encoded(tensors))
    found = load(tmp_path / "weights.cnn")
    assert found.keys() == tensors.keys()
    for name, tensor in tensors.items():
        expected = values_of(tensor) if isinstance(tensor, Shared) else tensor
        shape, values = found[name]
        assert tuple(shape) == expected.shape
        assert np.array_equal(np.array(values, expected.dtype).reshape(shape), expected), name


def test_damaged_files_are_refused(tmp_path):
    path = tmp_path / "weights.cnn"
    content = encoded({"a": Shared(np.array([[0, -1], [1, 1]]), np.float32([1, 2])), "b": np.float32([3])})
    for place in range(len(content)):
        path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        with pytest.raises(ValueError, match=r"weights\.cnn is damaged"):
            load(path)
    for part in (b"", content[:-1], content[:40], content + b"\0", b"PK\x03\x04" + content):
        path.write_bytes(part)
        with pytest.raises(ValueError, match="damaged"):
            load(path)


def test_the_decoder_is_short_and_plain():
    text = DECODER.read_text()
    assert len(text.splitlines()) <= 60
    nodes = list(ast.walk(ast.parse(text)))
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module for node in nodes if isinstance(node, ast.ImportFrom)}
    assert names <= sys.stdlib_module_names


# Pruning and sharing


@pytest.fixture(scope="module")
def trained(stripes):
    point = find_space("squeezenet").point("cifar", classes=3, base_e=8, incr_e=8, stem_width=8, fires=3, pools=(1,))
    network = point.expand()
    recipe = Recipe(batch_size=32, warmup_images=64)
    return network, recipe, train(network, stripes, recipe, BUDGET, 0)


def test_the_largest_weights_are_kept_in_training(trained, stripes):
    network, recipe, model = trained
    compression = Compression.read(["3x3=0.3", "1x1=0.8"])
    before = {name: tensor.clone() for name, tensor in model.model.state_dict().items()}
    pruned = Pruned.smallest(model.model, network, compression)
    tuned = tune(
        model.model,
        model.training,
        model.using,
        stripes,
        recipe,
        Budget(images=192, epochs=1, validation=60),
        0,
        pruned,
    )
    for layer in weights_of(network):
        name = f"body.{layer.path}.weight"
        kept = before[name][pruned.masks[name]].abs()
        assert len(kept) == compression.kept(layer)
        assert kept.min() >= before[name][~pruned.masks[name]].abs().max()
        after = tuned.model.state_dict()[name]
        assert (after != 0).sum() == len(kept)
        assert not torch.equal(after[pruned.masks[name]], before[name][pruned.masks[name]]), "they are tuned"
    for name, tensor in model.model.state_dict().items():
        assert torch.equal(tensor, before[name]), "the given model is unchanged"


def test_clusters_have_the_least_squared_error():
    """As brute force finds over all ways to cut the sorted weights."""
    rng = np.random.default_rng(0)
    model = nn.Sequential(nn.Linear(10, 1))
    for _ in range(10):
        values = rng.normal(size=10)
        with torch.no_grad():
            model[0].weight.copy_(torch.tensor(values[None]))
        pruned = Pruned({"0.weight": torch.ones(1, 10, dtype=torch.bool)})
        sharing = Sharing.nearest(model, pruned, bits=2)
        sharing(model)
        ordered = np.sort(np.float32(values))
        cuts = itertools.combinations(range(1, 10), 3)
        least = min(
            sum(((part - part.mean()) ** 2).sum() for part in np.split(ordered, cut) if len(part)) for cut in cuts
        )
        found = ((model[0].weight.detach().numpy()[0] - np.float32(values)) ** 2).sum()
        assert found == pytest.approx(least, rel=1e-4)


def test_shared_weights_stay_shared_in_training(trained, stripes):
    network, recipe, model = trained
    pruned = Pruned.smallest(model.model, network, Compression.read(["0.5"]))
    sharing = Sharing.nearest(model.model, pruned, 3)
    tuned = tune(
        model.model,
        model.training,
        model.using,
        stripes,
        recipe,
        Budget(images=192, epochs=1, validation=60),
        0,
        sharing,
    )
    state = tuned.model.state_dict()
    for name, shared in sharing.shared(tuned.model).items():
        assert np.array_equal(state[name].numpy(), values_of(shared))
        assert len(np.unique(shared.book)) <= 8


# The command


STUDY = """
title = "Stripes"
space = "squeezenet"
preset = "cifar"
data = "{data}"
seeds = 1
[fixed]
base_e = 8
incr_e = 8
fires = 3
pools = [1]
[vary]
squeeze_ratio = [0.25, 0.5]
[budget]
images = 400
epochs = 3
validation = 100
[recipe]
batch_size = 32
warmup_images = 64
"""

CLEAN = """
import sys
sys.modules["explorer"] = None  # importing it raises
import torch
from decode import state_dict
from network import build
model = build()
model.load_state_dict(state_dict("weights.cnn", torch.tensor))
torch.save(model.eval()(torch.load("images.pt")), "logits.pt")
torch.save(model.state_dict(), "state.pt")
"""


@pytest.fixture(scope="module")
def compressed(tmp_path_factory, image_folder):
    folder = tmp_path_factory.mktemp("compressed")
    (folder / "stripes.toml").write_text(STUDY.format(data=image_folder))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert main(["sweep", "stripes.toml", "-q", "--workers", "1"]) == 0
        command = ["compress", "stripes:0.5", "--density", "3x3=0.4,1x1=0.7", "--bits", "5", "--epochs", "1"]
        assert main([*command, "--out", "made"]) == 0
    return folder


def test_a_compressed_network_runs_where_the_explorer_is_not(compressed):
    made = compressed / "made"
    images = torch.rand(3, 3, 32, 32)
    torch.save(images, made / "images.pt")
    subprocess.run([sys.executable, "-c", CLEAN], cwd=made, check=True)
    facts = json.loads((made / "compress.json").read_text())
    assert facts["bytes"] == (made / "weights.cnn").stat().st_size < facts["float32_bytes"] / 2
    state = torch.load(made / "state.pt")
    model = find_space("squeezenet").point(
        "cifar", classes=3, base_e=8, incr_e=8, fires=3, pools=(1,), squeeze_ratio=0.5
    )
    module = model.expand().build().eval()
    module.load_state_dict(state)
    with torch.inference_mode():
        assert torch.allclose(module(images), torch.load(made / "logits.pt"), atol=1e-5)
    for row in facts["layers"]:
        weights = state[f"body.{row['path']}.weight"]
        assert (weights != 0).sum() == row["kept"]
        assert len(weights.unique()) <= 2**5 + 1


def test_the_stated_accuracy_is_that_of_the_decoded_network(compressed, stripes):
    made = compressed / "made"
    facts = json.loads((made / "compress.json").read_text())
    assert facts["validation"]["images"] == 100
    names = runpy.run_path(str(made / "network.py"))
    model = names["build"]()
    model.load_state_dict({name: torch.tensor(v).reshape(s) for name, (s, v) in load(made / "weights.cnn").items()})
    model.eval()
    right = 0
    for place in stripes.split().validation[:100]:
        photo = names["prepare"](Image.fromarray(stripes.images[place]))
        with torch.inference_mode():
            right += int(model(photo).argmax() == stripes.labels[place])
    assert right / 100 == pytest.approx(facts["validation"]["accuracy"], abs=0.011)
    assert facts["validation"]["low"] <= facts["validation"]["difference"] <= facts["validation"]["high"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--density", "0"], "density 0: must be above 0 and at most 1"),
        (["--density", "3x3=1.5"], "density 3x3=1.5: must be above 0 and at most 1"),
        (["--density", "=0.5"], "density =0.5: must be above 0 and at most 1"),
        (["--density", "nan"], "density nan: must be above 0 and at most 1"),
        (["--density", "5x5=0.5"], "unknown layer or kind of layer '5x5'; choose one of: 1x1, 3x3"),
        (["--density", "fire3.squeeze=0.5"], "'fire3.squeeze'; did you mean 'fire3.squeeze.conv'?"),
        (["--bits", "0"], "bits = 0: must be 1 to 16"),
        (["--bits", "17"], "bits = 17: must be 1 to 16"),
        (["--epochs", "0"], "epochs = 0: must be at least 1"),
        (["--storage", "none.db"], "storage none.db: does not exist"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(compressed, monkeypatch, capsys, options, message):
    monkeypatch.chdir(compressed)
    assert main(["compress", "stripes", *options, "--out", "other"]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (compressed / "other").exists()
    assert main(["compress", "stripes", *options, "--dry-run"]) == 2
    assert capsys.readouterr().err == error, "a dry run refuses the same"


def test_int8_is_measured_by_onnxruntime(compressed, monkeypatch, stripes, capsys):
    onnxruntime = pytest.importorskip("onnxruntime")
    monkeypatch.chdir(compressed)
    assert main(["compress", "stripes:0.5", "--int8", "--out", "int8"]) == 0
    assert capsys.readouterr().err == ""
    facts = json.loads((compressed / "int8" / "compress.json").read_text())
    content = (compressed / "int8" / "network.int8.onnx").read_bytes()
    assert facts["bytes"] == len(content)
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    weights = [one for one in onnx.load_from_string(content).graph.initializer if len(one.dims) == 4]
    assert {one.data_type for one in weights} == {onnx.TensorProto.INT8}
    names = runpy.run_path(str(compressed / "made" / "network.py"))
    right = 0
    for place in stripes.split().validation[:100]:
        photo = names["prepare"](Image.fromarray(stripes.images[place])).numpy()
        right += int(session.run(["logits"], {"images": photo})[0].argmax() == stripes.labels[place])
    assert right / 100 == pytest.approx(facts["validation"]["accuracy"], abs=0.011)
    assert main(["compress", "stripes", "--int8", "--bits", "4"]) == 2
    assert "leave out density, bits and epochs" in capsys.readouterr().err


def test_a_dry_run_trains_nothing_and_gives_bytes(compressed, monkeypatch, capsys):
    monkeypatch.chdir(compressed)
    assert main(["compress", "stripes:0.5", "--density", "0.5", "--bits", "4", "--dry-run", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    record = Ledger("explorer.db").studies.load("stripes")
    (params,) = record.points.loc[record.points["label"] == "0.5", "params"]
    assert found["kept"] < params
    assert found["bytes"]["codes and a bitmap"] < found["bytes"]["float32"] / 3


def test_missing_packages_are_named(compressed, monkeypatch, capsys):
    monkeypatch.chdir(compressed)
    monkeypatch.setattr("explorer.compression.packages.find_spec", lambda _: None)
    assert main(["compress", "stripes"]) == 2
    assert 'pip install "cnn-design-explorer[compression]"' in capsys.readouterr().err


@pytest.mark.parametrize(("only_first", "only_second"), [(0.0, 0.0), (0.02, 0.02), (0.1, 0.05), (0.3, 0.0)])
@pytest.mark.parametrize("images", [50, 2000])
def test_the_interval_of_a_difference_covers_the_true_one(only_first, only_second, images):
    random = np.random.default_rng(0)
    drawn = random.random((500, images))
    covered = 0
    for row in drawn:
        first, second = row < only_first, (row >= only_first) & (row < only_first + only_second)
        both = row > 0.6
        found = paired_difference(first | both, second | both)
        assert found.low < found.high
        covered += found.low <= only_first - only_second <= found.high
    assert covered / 500 >= 0.93


def test_densities_are_exact_fractions():
    layer = weights_of(find_space("squeezenet").point("v1_0").expand())[0]
    assert Compression.read(["0.1"]).kept(replace(layer, count=10)) == 1
    assert Compression.read(["0.33"]).kept(replace(layer, count=9216)) == 3042
    with pytest.raises(ExplorerError):
        Compression.read(["1e-3"])
