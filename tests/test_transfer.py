"""Transfer: frozen blocks, new heads, and the command from a folder of photos to an exported network."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from safetensors.torch import save, save_file

from explorer.__main__ import main
from explorer.errors import ExplorerError
from explorer.exporting.transferring import _source, transfer
from explorer.networks.blocks import blocks_of, head_of
from explorer.spaces import find_space
from explorer.training.recipe import Budget, Recipe
from explorer.training.run import Run
from explorer.training.trainer import initialise, numerics, train, train_run
from explorer.training.treatments import Transfer

RECIPE = Recipe(batch_size=32, warmup_images=64)
BUDGET = Budget(images=192, epochs=2, validation=60)
SPACES = {"squeezenet": {"base_e": 8, "incr_e": 8}, "mobilenet_v2": {"width": 0.35}, "vit": {"width": 12, "depth": 2}}


def network_of(space, classes=3):
    return find_space(space).point("cifar", classes=classes, **SPACES[space]).expand()


def weights_of(network, seed=5):
    """Weights and statistics that are not those of an untrained network."""
    torch.manual_seed(seed)
    model = network.build()
    initialise(model)
    for _, buffer in model.named_buffers():
        buffer.add_(1)
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def train_from(network, weights, dataset, recipe=RECIPE, seed=0, **settings):
    """Train a network that starts from weights."""
    treatment = Transfer("0" * 64, weights=save(dict(weights)), **settings)
    return train_run(Run(network, dataset.fingerprint, recipe, BUDGET, seed, numerics(), treatment), dataset)


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_frozen_blocks_keep_every_bit_and_all_others_learn(stripes, space, share):
    network = network_of(space)
    weights = weights_of(network_of(space, classes=7))
    blocks = blocks_of(network)
    frozen = round(share * len(blocks))
    after = train_from(network, weights, stripes, frozen=frozen).model.state_dict()
    changed = set()
    for name, tensor in after.items():
        block = name.split(".")[1]
        if block == head_of(network):
            assert tensor.shape != weights[name].shape
        elif block in blocks[:frozen]:
            assert torch.equal(tensor, weights[name]), name
        elif not name.endswith("num_batches_tracked") and not torch.equal(tensor, weights[name]):
            changed.add(block)
    assert changed == set(blocks[frozen:])


def test_from_the_weights_of_an_untrained_run_it_is_an_ordinary_run(stripes):
    network = network_of("mobilenet_v2")
    with torch.random.fork_rng():
        torch.manual_seed(4)
        model = network.build()
        initialise(model)
    same = train_from(network, model.state_dict(), stripes, seed=4, body_rate=1.0)
    assert same.measurement.train_losses == train(network, stripes, RECIPE, BUDGET, 4).measurement.train_losses


def test_the_body_has_its_own_learning_rate(stripes):
    network = network_of("squeezenet")
    weights = weights_of(network)

    def moved(rate):
        recipe = RECIPE.model_copy(update={"weight_decay": 0.0})
        after = train_from(network, weights, stripes, recipe, body_rate=rate).model.state_dict()
        name = f"body.{blocks_of(network)[0]}.conv.weight"
        return float((after[name] - weights[name]).norm())

    assert 0 < moved(1e-4) < moved(1e-2) / 50


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"base_e": 16}, "the weights are not those of network"),
        ({"fires": 4, "pools": (1,)}, "the weights are not those of network"),
    ],
)
def test_weights_of_another_network_are_refused(stripes, change, message):
    other = find_space("squeezenet").point("cifar", classes=3, **SPACES["squeezenet"] | change).expand()
    network = network_of("squeezenet")
    with pytest.raises(ExplorerError, match=message) as error:
        train_from(network, weights_of(other), stripes)
    assert network.digest[:12] in str(error.value)


def test_more_blocks_than_there_are_cannot_be_frozen(stripes):
    network = network_of("vit")
    count = len(blocks_of(network))
    for frozen in (-1, count + 1):
        with pytest.raises(ExplorerError, match=f"frozen = {frozen}: must be 0 to {count}"):
            train_from(network, weights_of(network), stripes, frozen=frozen)


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
squeeze_ratio = [0.5]
[budget]
images = 400
epochs = 3
validation = 100
[recipe]
batch_size = 32
warmup_images = 64
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory, image_folder):
    """A folder with an export, a stored run, and photos of two classes and of a new one."""
    folder = tmp_path_factory.mktemp("transfer")
    photos = folder / "photos"
    for number, name in enumerate(("across", "along")):
        (photos / name).mkdir(parents=True)
        for path in sorted((image_folder / name).iterdir())[: 60 + number]:
            shutil.copy(path, photos / name)
    (photos / "plain").mkdir()
    for number in range(60):
        grey = np.full((32, 32, 3), 60 + 2 * number, np.uint8)
        Image.fromarray(grey).save(photos / "plain" / f"{number}.png")
    (folder / "one" / "only").mkdir(parents=True)
    shutil.copy(photos / "plain" / "0.png", folder / "one" / "only")
    (folder / "stripes.toml").write_text(STUDY.format(data=image_folder))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert main(["sweep", "stripes.toml", "-q", "--workers", "1"]) == 0
        assert main(["export", "stripes", "--out", "exported", "-q"]) == 0
        options = ["--from", "exported", "--frozen", "2", "--epochs", "3", "--out", "made"]
        assert main(["transfer", "photos", *options]) == 0
    return folder


def test_the_best_way_is_exported_and_takes_photos(folder):
    made = folder / "made"
    facts = json.loads((made / "transfer.json").read_text())
    ways = pd.DataFrame(facts["ways"])
    assert ways["way"].tolist() == ["only the head", "with 2 of 4 blocks frozen", "all layers", "from scratch"]
    assert ways["trained_params"].is_monotonic_increasing
    assert ways["accuracy"].between(ways["low"], ways["high"]).all()
    assert facts["best"] == ways["way"].iloc[ways["accuracy"].argmax()]
    confusion = pd.read_csv(made / "confusion.csv", index_col="class")
    assert list(confusion.columns) == ["across", "along", "plain"]
    right = np.trace(confusion.to_numpy()) / confusion.to_numpy().sum()
    assert right == pytest.approx(ways["accuracy"].max())
    with Image.open(made / "images.png") as sheet:
        assert sheet.width > 100
    ran = subprocess.run(
        [sys.executable, "predict.py", "../photos/plain/3.png"], cwd=made, capture_output=True, text=True, check=True
    )
    assert {"across", "along", "plain"} <= set(ran.stdout.split())


def test_a_stored_run_is_retrained_and_transferred(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    assert main(["transfer", "photos", "--from", "stripes:0.5", "--epochs", "1", "--out", "again", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["facts"]["source"].startswith("stripes, point 0 (0.5), seed 0")
    exported = json.loads((folder / "exported" / "export.json").read_text())
    assert found["facts"]["metaparameters"]["base_e"] == exported["metaparameters"]["base_e"]
    assert found["confusion"]["classes"] == ["across", "along", "plain"]
    assert np.sum(found["confusion"]["counts"]) == found["facts"]["validation_images"]


def test_bad_input_is_one_line_and_writes_nothing(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    (folder / "broken").mkdir(exist_ok=True)
    (folder / "broken" / "export.json").write_text("{}")
    (folder / "listed").mkdir(exist_ok=True)
    (folder / "listed" / "export.json").write_text("[]")
    (folder / "listed" / "weights.safetensors").write_bytes((folder / "exported" / "weights.safetensors").read_bytes())
    for options, message in (
        (["photos", "--from", "broken"], "broken: is not an exported network, which has export.json"),
        (["photos", "--from", "photos"], "photos: is not an exported network, which has export.json"),
        (["photos", "--from", "strips:0.5"], "unknown study in explorer.db 'strips'; did you mean 'stripes'?"),
        (["photos", "--from", "exported", "--frozen", "9"], "frozen = 9: must be 0 to 4, the blocks before the head"),
        (["photos", "--from", "exported", "--epochs", "0"], "epochs = 0: must be at least 1"),
        (["one", "--from", "exported"], "class"),
        (["photos", "--from", "listed"], "listed: is not an exported network"),
        (["phots", "--from", "exported"], "phots"),
    ):
        assert main(["transfer", *options, "--out", "other"]) == 2
        error = capsys.readouterr().err
        assert message in error, options
        assert error.count("\n") == 1
        assert not (folder / "other").exists()


def test_a_head_for_more_classes_than_the_source_has(folder, monkeypatch):
    monkeypatch.chdir(folder)
    made = transfer("photos", "exported", epochs=1, out="more")
    assert made.confusion.shape == (3, 3)
    assert made.ways["frozen"].isna().sum() == 1


def test_an_export_is_not_overwritten(folder, monkeypatch):
    monkeypatch.chdir(folder)
    with pytest.raises(ExplorerError, match="exported: has another export"):
        transfer("photos", "exported", epochs=1, out="exported")


def test_metaparameters_that_exclude_each_other_are_not_passed_on(tmp_path):
    """An export of a scaled EfficientNet lists alpha, which must not be given beside depth."""
    space = find_space("efficientnet")
    point = space.point("cifar", depth=1.4, classes=4)
    values = {name: value for name, value in point.model_dump().items() if value is not None}
    facts = {"space": "efficientnet", "preset": "cifar", "metaparameters": values}
    (tmp_path / "export.json").write_text(json.dumps(facts))
    state = {name: tensor.contiguous() for name, tensor in point.expand().build().state_dict().items()}
    save_file(state, tmp_path / "weights.safetensors")
    network = _source(tmp_path, "none.db", None, None).network(classes=4)
    assert network.digest == point.expand().digest
