"""Runs that start from the weights of other runs: studies of transfer and compression, from the file to the report."""

import hashlib
import json

import numpy as np
import pytest
import safetensors.torch
import torch

from explorer import compress, delete_study, export, sweep
from explorer.__main__ import main
from explorer.compression import decode
from explorer.data import find_source
from explorer.data.held_out import read_test_images
from explorer.errors import ExplorerError
from explorer.networks.blocks import blocks_of
from explorer.spaces import find_space
from explorer.storage.ledger import Ledger
from explorer.study.files import load_study
from explorer.study.plan import plan
from explorer.sweeping.planned import check_images, planned_runs, sources_of
from explorer.sweeping.preparation import prepare_study
from explorer.training.features import Features
from explorer.training.recipe import Budget, Recipe
from explorer.training.run import Run
from explorer.training.trainer import initialise, numerics, train_run
from explorer.training.treatments import Compress, Store, Transfer

RECIPE = Recipe(batch_size=32, warmup_images=64, learning_rate=0.05)
PLAIN = RECIPE.model_copy(update={"crop_padding": 0, "flip": False})
BUDGET = Budget(images=192, epochs=2, validation=60)

COMMON = """
title = "Stripes"
space = "squeezenet"
preset = "cifar"
data = "{data}"
seeds = 2
[fixed]
base_e = 8
incr_e = 8
fires = 3
pools = [1]
[budget]
images = 300
epochs = 4
validation = 100
[recipe]
batch_size = 32
warmup_images = 64
"""
TRANSFER = """
[transfer]
data = "proxy:0-4"
budget = { images = 300, epochs = 1 }
frozen = [0, 2]
epochs = [1, 2]
[[claims]]
form = "above"
claim = "Transfer beats training from scratch."
source = "a test"
higher = { start = "trained", frozen_blocks = 0, epochs = 2 }
lower = { start = "scratch", epochs = 2 }
"""
COMPRESSION = """
[compression]
density = [1, "3x3=0.3"]
bits = [4]
epochs = 2
[[claims]]
form = "no worse"
claim = "It loses nothing."
source = "a test"
points = { density = "3x3=0.3" }
than = { coding = "float32" }
margin = 0.9
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory, image_folder):
    """A folder with both studies, trained."""
    folder = tmp_path_factory.mktemp("starting")
    common = COMMON.format(data=image_folder)
    (folder / "moved.toml").write_text(common + TRANSFER)
    (folder / "smaller.toml").write_text(common + COMPRESSION)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert main(["sweep", "moved.toml", "-q", "--workers", "1"]) == 0
        assert main(["sweep", "smaller.toml", "-q", "--workers", "1"]) == 0
    return folder


@pytest.fixture
def here(folder, monkeypatch):
    monkeypatch.chdir(folder)
    return folder


def record_of(name):
    return Ledger("explorer.db").studies.load(name)


# One run


def network_of(space, **settings):
    return find_space(space).point("cifar", classes=3, **settings).expand()


def weights_of(network):
    torch.manual_seed(3)
    model = network.build()
    initialise(model)
    return safetensors.torch.save(model.state_dict())


def run_of(network, dataset, recipe, treatment):
    return Run(network, dataset.fingerprint, recipe, BUDGET, 0, numerics(), treatment)


@pytest.mark.parametrize(
    ("space", "settings"), [("squeezenet", {"base_e": 8, "incr_e": 8}), ("mobilenet_v2", {"width": 0.35})]
)
def test_features_of_frozen_blocks_give_the_same_network(stripes, monkeypatch, space, settings):
    network = network_of(space, **settings)
    blocks = len(blocks_of(network))
    for frozen in (1, blocks):
        run = run_of(network, stripes, PLAIN, Transfer("0" * 64, frozen, weights=weights_of(network)))
        cached = train_run(run, stripes)
        with monkeypatch.context() as patch:
            patch.setattr(Features, "of", classmethod(lambda *_: None))
            plain = train_run(run, stripes)
        assert cached.measurement.train_losses == pytest.approx(plain.measurement.train_losses, rel=1e-3)
        for (name, one), other in zip(
            cached.model.state_dict().items(), plain.model.state_dict().values(), strict=True
        ):
            assert torch.allclose(one.float(), other.float(), atol=2e-3), name


def test_features_are_not_used_where_images_change(stripes, monkeypatch):
    monkeypatch.setattr(Features, "of", classmethod(lambda *_: pytest.fail("features were computed")))
    network = network_of("squeezenet", base_e=8, incr_e=8)
    treatment = Transfer("0" * 64, 2, weights=weights_of(network))
    for change in ({"flip": True}, {"crop_padding": 1}, {"scale": 0.1}, {"cutout": 0.2}, {"ema": 0.9}):
        train_run(run_of(network, stripes, PLAIN.model_copy(update=change), treatment), stripes)


def test_the_file_of_a_run_has_exactly_the_measured_network(stripes, tmp_path):
    network = network_of("squeezenet", base_e=8, incr_e=8)
    weights = weights_of(network)
    for treatment in (Compress("0" * 64, ("0.4",), 5, weights=weights), Store("0" * 64, weights=weights)):
        trained = train_run(run_of(network, stripes, RECIPE, treatment), stripes)
        (tmp_path / "file").write_bytes(trained.file)
        state = decode.state_dict(tmp_path / "file", torch.tensor)
        for name, tensor in trained.model.state_dict().items():
            assert torch.equal(state[name], tensor), name
        right = trained.correct(stripes, stripes.split().validation[:60])
        assert np.array_equal(right, trained.measurement.correct)
    assert torch.equal(state["body.conv10.conv.weight"], safetensors.torch.load(weights)["body.conv10.conv.weight"])


def test_int8_runs_are_measured_from_the_file(stripes):
    pytest.importorskip("onnxruntime")
    import onnxruntime

    network = network_of("squeezenet", base_e=8, incr_e=8)
    trained = train_run(run_of(network, stripes, RECIPE, Store("0" * 64, "int8", weights=weights_of(network))), stripes)
    session = onnxruntime.InferenceSession(trained.file)
    mean, deviation = (np.array(values, np.float32) for values in (trained.mean, trained.deviation))
    places = stripes.split().validation[:60]
    images = ((stripes.images[places] - mean) / deviation).astype(np.float32).transpose(0, 3, 1, 2)
    predicted = session.run(["logits"], {"images": images})[0].argmax(1)
    same = (predicted == stripes.labels[places]) == trained.measurement.correct
    assert same.mean() > 0.95  # the images here were not resampled by the same products
    assert not trained.measurement.train_losses


def test_a_run_is_known_by_its_treatment_but_not_by_its_weights(stripes):
    network = network_of("squeezenet", base_e=8, incr_e=8)
    plain = run_of(network, stripes, RECIPE, None)
    assert "treatment" not in plain.settings
    kinds = [
        Transfer("0" * 64),
        Transfer("1" * 64),
        Transfer("0" * 64, 1),
        Transfer("0" * 64, body_rate=0.2),
        Transfer("0" * 64, head_rate=0.2),
        Compress("0" * 64),
        Compress("0" * 64, bits=4),
        Compress("0" * 64, ("0.5",)),
        Store("0" * 64),
        Store("0" * 64, "int8"),
    ]
    keys = [run_of(network, stripes, RECIPE, kind).key for kind in kinds]
    assert len({*keys, plain.key}) == len(kinds) + 1
    loaded = [run_of(network, stripes, RECIPE, kind.starting_from(b"weights")).key for kind in kinds]
    assert loaded == keys
    assert json.loads(json.dumps(run_of(network, stripes, RECIPE, kinds[7]).settings))["treatment"] == {
        "kind": "compress",
        "source": "0" * 64,
        "densities": ["0.5"],
        "bits": 8,
    }


# Studies


@pytest.mark.usefixtures("here")
def test_sources_are_trained_once_and_points_start_from_them():
    record = record_of("moved")
    assert (record.runs["state"] == "done").all()
    assert len(record.points) == 6
    ledger = Ledger("explorer.db")
    stored = {key: ledger.runs.find(key).settings for key in record.runs["key"]}
    sources = {settings["treatment"]["source"] for settings in stored.values() if "treatment" in settings}
    assert len(sources) == 2  # one for each seed
    assert ledger.weights.stored(sources) == sources
    seeds = {ledger.runs.find(key).settings["seed"]: key for key in sources}
    for settings in stored.values():
        if "treatment" in settings:
            assert settings["treatment"]["source"] == seeds[settings["seed"]]
    fingerprint = find_source("proxy:0-4").prepare().fingerprint
    assert {ledger.runs.find(key).data_fingerprint for key in sources} == {fingerprint}


@pytest.mark.usefixtures("here")
def test_the_stored_run_is_that_of_the_stored_weights(stripes):
    ledger, record = Ledger("explorer.db"), record_of("moved")
    key = record.runs.query("point == 2 and seed == 1")["key"].item()
    stored = ledger.runs.find(key)
    settings = stored.settings["treatment"]
    weights = ledger.weights.find(settings["source"])
    network = record.study.point({"frozen_blocks": 2}, classes=3).expand()
    treatment = Transfer(settings["source"], 2, weights=weights)
    budget = record.study.budget.model_copy(update={"epochs": 1})
    again = train_run(
        Run(network, stripes.fingerprint, record.study.recipe.fitted(budget), budget, 1, numerics(), treatment), stripes
    )
    assert again.measurement.accuracy == stored.accuracy
    assert np.array_equal(again.measurement.correct, stored.correct)
    start = safetensors.torch.load(weights)
    frozen = [f"body.{block}." for block in blocks_of(network)[:2]]
    for name, tensor in again.model.state_dict().items():
        if name.startswith(tuple(frozen)):
            assert torch.equal(tensor, start[name])


@pytest.mark.usefixtures("here")
def test_a_second_sweep_trains_nothing_and_longer_budgets_share_sources(capsys):
    assert main(["sweep", "moved.toml"]) == 0
    assert "0 runs to train, 12 stored already" in capsys.readouterr().out
    study = load_study("moved.toml")
    assert (
        len(sources_of(planned_runs(study, plan(study, 3), "f" * 64, origin=find_source("proxy:0-4").prepare()))) == 2
    )


@pytest.mark.usefixtures("here")
def test_compressed_points_have_the_bytes_of_their_files():
    frame = sweep("smaller.toml", progress=False)
    assert frame["coding"].tolist() == ["float32", "fine-tuned", "shared", "shared"]
    network = record_of("smaller").study.point({}, classes=3).expand()
    float32, tuned, dense, pruned = frame["file_bytes"]
    assert tuned == pytest.approx(float32, rel=0.01)
    assert 4 * network.cost.params < float32 < 4 * network.cost.params + 8_000
    assert pruned < dense < float32 / 2
    ledger, record = Ledger("explorer.db"), record_of("smaller")
    for _, row in record.runs.iterrows():
        settings = ledger.runs.find(row["key"]).settings
        source = ledger.runs.find(settings["treatment"]["source"]).settings
        assert source["budget"]["epochs"] == record.study.budget.epochs
        assert source["seed"] == settings["seed"]
        assert settings["budget"]["epochs"] == (2 if settings["treatment"]["kind"] == "compress" else 4)


def test_the_report_judges_and_shows_sizes_and_starts(here):
    page = (here / "reports" / "smaller" / "report.html").read_text()
    assert "Accuracy against file size" in page
    assert "A loss of up to 90 points counts as none." in page
    assert "front of file size" in page
    moved = (here / "reports" / "moved" / "report.html").read_text()
    assert "Accuracy against frozen blocks" in moved
    assert "the same networks, trained on proxy:0-4 (300 images x 1) with the seed of the run" in moved
    assert "Not certified: certificates are about networks trained from scratch." in moved
    assert "for the images that these points saw" in moved


def test_points_are_exported_as_they_were_trained(here):
    for name in ("moved", "smaller"):
        made = export(name, point="2", out=here / "out" / name)
        facts = json.loads((made.folder / "export.json").read_text())
        stored = record_of(name).runs.query("point == 2 and seed == 0")["accuracy"].item()
        assert facts["validation"]["accuracy"] == stored


def test_int8_points_are_files_not_torch_weights(here, image_folder):
    pytest.importorskip("onnxruntime")
    (here / "eight.toml").write_text(
        COMMON.format(data=image_folder) + "[compression]\ndensity = [1]\nint8 = true\nfloat32 = false\n"
    )
    frame = sweep("eight.toml", seeds=1, progress=False)
    assert frame["coding"].tolist() == ["int8", "shared"]
    with pytest.raises(ExplorerError, match=r"is an int8 file, not torch weights; `explorer compress eight@seeds1:0"):
        export("eight@seeds1", point="0")
    made = compress("eight@seeds1:0", int8=True, out=here / "out" / "eight")
    assert made.facts["bytes"] == pytest.approx(frame["file_bytes"].iloc[0], rel=0.01)
    assert made.facts["validation"]["accuracy"] == frame["accuracy"].iloc[0]


def test_an_export_is_a_start_and_must_not_change(here, image_folder):
    made = export("smaller", point="0", out=here / "out" / "start")
    table = f'[transfer]\nweights = "{made.folder}"\nfrozen = [1]\n'
    (here / "exported.toml").write_text(COMMON.format(data=image_folder) + table)
    frame = sweep("exported.toml", seeds=1, progress=False)
    assert frame["state"].tolist() == ["done", "done"]
    key = hashlib.sha256((made.folder / "weights.safetensors").read_bytes()).hexdigest()
    assert Ledger("explorer.db").weights.stored([key]) == {key}
    study = load_study("exported.toml")
    (made.folder / "weights.safetensors").write_bytes(b"other")
    with pytest.raises(ExplorerError, match="have changed since the study was read"):
        study.form.exported_weights({key})


def test_deleting_a_study_with_its_runs_deletes_weights_that_no_other_needs(here, image_folder):
    text = COMMON.format(data=image_folder) + COMPRESSION
    (here / "first.toml").write_text(text.replace("seeds = 2", "seeds = 1").replace("images = 300", "images = 290"))
    (here / "second.toml").write_text((here / "first.toml").read_text())
    for name in ("first", "second"):
        sweep(f"{name}.toml", progress=False)
    ledger = Ledger("explorer.db")
    sources = {ledger.runs.find(key).settings["treatment"]["source"] for key in record_of("first").runs["key"]}
    delete_study("first", runs=True)
    assert ledger.weights.stored(sources) == sources
    delete_study("second", runs=True)
    assert ledger.weights.stored(sources) == set()
    assert ledger.runs.results(sorted(sources)) == {}


@pytest.mark.usefixtures("here")
def test_studies_are_compared_by_what_their_points_trade(capsys):
    for words, message in (
        ("compare moved smaller", "--against train_seconds: not a cost of smaller, which has file_bytes"),
        ("compare smaller moved --against file_bytes", "--against file_bytes: not a cost of moved"),
    ):
        assert main(words.split()) == 2
        assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("frozen = [0, 2]", "frozen = [0, 9]"), "frozen = 9: must be 0"),
        (("frozen = [0, 2]", "frozen = [2, 2]"), "a value appears twice"),
        (("frozen = [0, 2]", "frozen = []"), "transfer.frozen"),
        (('data = "proxy:0-4"', ""), "either data, to train the networks on first, or weights"),
        (
            ('data = "proxy:0-4"', 'data = "proxy:0-4"\nweights = "moved.toml"'),
            "should be a folder written by `explorer export`",
        ),
        (('data = "proxy:0-4"', 'data = "proxy:0-14"'), "class 10 of proxy: it has 10 classes, 0 to 9"),
        (('data = "proxy:0-4"', 'data = "proxy:3"'), "choose at least two different classes"),
        (
            ("epochs = [1, 2]", "epochs = [1, 2]\nimages_per_class = [1000]"),
            "405 training images, but a run needs 3,000",
        ),
        (("frozen_blocks = 0", "frozen_blocks = 5"), "unknown value of frozen_blocks '5'"),
        (
            ("frozen_blocks = 0", "frozen = 0"),
            "'frozen'; did you mean 'frozen_blocks'",
        ),
        (('form = "above"', 'form = "rises with"\ncost = "file_bytes"'), "claim 1"),
    ],
)
def test_mistakes_in_transfer_are_one_line(here, image_folder, capsys, change, message):
    before, after = change
    text = COMMON.format(data=image_folder) + TRANSFER
    assert before in text
    (here / "wrong.toml").write_text(text.replace(before, after))
    code = main(["sweep", "wrong.toml", "--dry-run"])
    shown = capsys.readouterr()
    assert message in shown.err.replace("\n", " ") + " ".join(shown.out.split())
    assert "Traceback" not in shown.err
    assert code == 2 or "must be 0" in message  # only that point is left out


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("bits = [4]", "bits = [0]"), "bits = 0: must be 1 to 16"),
        (("bits = [4]", "bits = [17]"), "bits = 17: must be 1 to 16"),
        (("density = [1,", "density = [0,"), "density 0: must be above 0 and at most 1"),
        (("density = [1,", "density = [0.5, 0.50,"), "a value appears twice"),
        (("[compression]", "[vary]\nbits = [1, 2]\n[compression]"), "vary.bits: says how points are trained"),
        (("density = [1,", "density = [1.5,"), "density 1.5: must be above 0 and at most 1"),
        (("\nepochs = 2", "\nepochs = 1"), "compression.epochs = 1: should be greater than or equal to 2"),
        (('"3x3=0.3"]', '"5x5=0.3"]'), "5x5"),
        (("[compression]", '[transfer]\ndata = "proxy"\n[compression]'), "cannot be combined"),
    ],
)
def test_mistakes_in_compression_are_one_line(here, image_folder, capsys, change, message):
    before, after = change
    text = COMMON.format(data=image_folder) + COMPRESSION
    assert before in text
    (here / "wrong.toml").write_text(text.replace(before, after))
    main(["sweep", "wrong.toml", "--dry-run"])
    shown = capsys.readouterr()
    assert message in shown.err + shown.out
    assert "Traceback" not in shown.err


@pytest.mark.usefixtures("here")
def test_missing_packages_are_named_before_anything_is_trained(monkeypatch, capsys):
    monkeypatch.setattr("explorer.compression.packages.find_spec", lambda _: None)
    assert main(["sweep", "smaller.toml", "--storage", "none.db", "-q"]) == 2
    assert 'pip install "cnn-design-explorer[compression]"' in capsys.readouterr().err


# What must not happen


@pytest.mark.parametrize("data", ["proxy:0-3", "proxy:4,5", "proxy:0-9"])
def test_networks_are_not_measured_on_images_that_they_were_trained_on_first(data):
    study = load_study("transfer_depth", data=data)
    with pytest.raises(ExplorerError, match="of its validation images are training images of proxy:0,1,2,3,4"):
        prepare_study(study)


def test_data_are_split_once_however_many_runs_there_are(stripes, monkeypatch):
    study = load_study("squeeze_ratio", seeds=50)
    planned = planned_runs(study, plan(study, 3), stripes.fingerprint)
    split, calls = stripes.split(), []
    monkeypatch.setattr(type(stripes), "split", lambda _: calls.append(1) or split)
    with pytest.raises(ExplorerError, match="405 training images, but a run needs 10,000"):
        check_images(planned, stripes, None)
    assert len(planned) == 400
    assert len(calls) == 1


def test_a_network_from_scratch_has_one_rate_and_is_trained_once(here, image_folder):
    table = '[transfer]\ndata = "proxy:0-4"\nbody_rate = [0.1, 0.01]\nhead_rate = [1.0, 0.5]\n'
    (here / "rates.toml").write_text(COMMON.format(data=image_folder) + table)
    study = load_study("rates.toml")
    points = plan(study, 3)
    assert [point.metaparameters["start"] for point in points] == ["scratch", *["trained"] * 4]
    assert points[0].label == "from scratch"
    assert points[0].metaparameters["body_rate"] == 1.0
    assert len({point.label for point in points}) == 5
    keys = [one.run.key for one in planned_runs(study, points, "f" * 64).values()]
    assert len({*keys}) == len(keys) == 10


def test_a_source_that_another_study_has_trained_keeps_its_result(here, image_folder):
    plain = COMMON.format(data=image_folder).replace("images = 300", "images = 280").replace("seeds = 2", "seeds = 1")
    (here / "before.toml").write_text(plain + "[vary]\nsqueeze_ratio = [0.5]\n")
    sweep("before.toml", progress=False)
    ledger = Ledger("explorer.db")
    key = record_of("before").runs["key"].item()
    finished = ledger.runs.results([key])[key].finished
    (here / "after.toml").write_text(plain + "[compression]\nbits = [4]\n")
    frame = sweep("after.toml", progress=False)
    assert (frame["state"] == "done").all()
    assert ledger.weights.stored([key]) == {key}
    assert ledger.runs.results([key])[key].finished == finished
    assert record_of("before").runs["accuracy"].item() == frame["accuracy"].iloc[0]


def test_a_source_that_fails_leaves_the_other_points_alone(here, image_folder):
    text = (
        COMMON.format(data=image_folder).replace("seeds = 2", "seeds = 1")
        + "[compression]\n[vary]\nsqueeze_ratio = [0.5]\n"
    )
    (here / "diverges.toml").write_text(text.replace("warmup_images = 64", "warmup_images = 64\nlearning_rate = 1e30"))
    frame = sweep("diverges.toml", progress=False)
    assert frame["state"].tolist() == ["failed"] * 3
    assert frame["reason"].str.contains("the run that it starts from did not finish").all()
    again = sweep("diverges.toml", progress=False)
    assert again["state"].tolist() == ["failed"] * 3


def test_budgets_that_a_study_lists_are_not_overridden_in_silence():
    with pytest.raises(ExplorerError, match=r"epochs = 16: transfer_depth lists its own in transfer.epochs"):
        load_study("transfer_depth", epochs=16)
    with pytest.raises(ExplorerError, match=r"images = 500: transfer_small lists its own in transfer.images_per_class"):
        load_study("transfer_small", images=500)


@pytest.mark.parametrize("name", ["transfer_depth", "transfer_small", "compression_front"])
def test_trial_runs_are_short_in_all_parts(name):
    study = load_study(name, quick=True)
    origin = find_source(study.form.source_data).prepare() if study.form.source_data else None
    planned = planned_runs(study, plan(study, 5 if origin else 10), "f" * 64, origin=origin)
    runs = [run for one in planned.values() for run in one if run]
    assert max(run.seen for run in runs) <= 1_000
    assert len(planned) <= 24


def test_weights_of_another_network_are_refused_before_training(here, image_folder):
    made = export("smaller", point="0", out=here / "out" / "other")
    text = COMMON.format(data=image_folder).replace("base_e = 8", "base_e = 16")
    (here / "another.toml").write_text(text + f'[transfer]\nweights = "{made.folder}"\n')
    with pytest.raises(ExplorerError, match="the weights are not those of network"):
        sweep("another.toml", progress=False)


# Some classes of a data set


def test_some_classes_are_those_images_with_their_own_labels():
    whole, some = find_source("proxy").prepare(), find_source("proxy:7,2-3").prepare()
    assert some.classes == ("kind 2", "kind 3", "kind 7")
    places = np.flatnonzero(np.isin(whole.labels, [2, 3, 7]))
    assert np.array_equal(some.images, whole.images[places])
    assert np.array_equal(np.array([2, 3, 7])[some.labels], whole.labels[places])
    counts = np.bincount(some.labels[some.split().train[:300]])
    assert counts.tolist() == [100, 100, 100]
    named = find_source("proxy:kind 7,kind 2,kind 3").prepare()
    assert named.fingerprint == some.fingerprint


def test_some_classes_have_their_test_images():
    whole, some = (read_test_images(find_source(name)) for name in ("proxy", "proxy:4,9"))
    places = np.flatnonzero(np.isin(whole.labels, [4, 9]))
    assert np.array_equal(some.images, whole.images[places])
    assert np.array_equal(some.labels, (whole.labels[places] == 9).astype(int))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("proxy:10,1", "class 10 of proxy: it has 10 classes, 0 to 9"),
        ("proxy:1", "choose at least two different classes"),
        ("proxy:1,1", "choose at least two different classes"),
        ("proxy:", "choose at least two different classes"),
        ("proxy:kind 1,kind 11", "unknown class of proxy 'kind 11'; did you mean 'kind 1'?"),
        ("proxy:0-9999999999", "class 10 of proxy"),
        ("proxy:1,kind 1", "a class appears twice"),
        ("proxi:0-4", "unknown data set 'proxi:0-4'"),
    ],
)
def test_wrong_classes_are_named(name, message):
    with pytest.raises(ExplorerError) as error:
        find_source(name).prepare()
    assert message in str(error.value)


def test_a_study_of_some_classes_moves_to_another_data_set():
    study = load_study("transfer_depth", data="cifar10")
    assert (study.data, study.form.source_data, study.name) == ("cifar10:5-9", "cifar10:0-4", "transfer_depth@cifar10")
    other = load_study("transfer_depth", data="cifar10:1,2")
    assert (other.data, other.form.source_data) == ("cifar10:1,2", "cifar10:0-4")
    photos = load_study("transfer_depth", data="photos")
    assert (photos.data, photos.form.source_data) == ("photos", "proxy:0-4")


# Storage


def test_runs_with_different_columns_are_stored_together(tmp_path):
    ledger = Ledger(tmp_path / "x.db", create=True)
    same = {"network": "n", "data_fingerprint": "f", "settings": {}, "seed": 0, "finished": "", "host": {}}
    failed = {"key": "a", "state": "failed", "reason": "NaN", **same}
    done = {"key": "b", "state": "done", "reason": "", "accuracy": 0.5, "accuracies": [0.5], **same}
    weights = {"key": "c", "state": "done", "reason": "", "accuracy": 0.6, "weights": b"123", **same}
    with ledger.writing():
        for rows in ((failed, done, weights), (weights, done, failed)):
            ledger.runs.record(*rows)
            found = ledger.runs.results(["a", "b", "c"])
            assert [found[key].accuracy for key in "abc"] == [None, 0.5, 0.6]
            assert found["b"].accuracies == [0.5]
            assert found["a"].accuracies is None
    assert ledger.weights.find("c") == b"123"
    assert ledger.weights.stored(["a", "c"]) == {"c"}
