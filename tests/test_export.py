"""Networks as ONNX and torch programs; stored runs as folders; sheets of their images, all as a user makes them."""

import json
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

import explorer
from explorer.__main__ import main
from explorer.errors import ExplorerError
from explorer.exporting import bundle, programs, retraining
from explorer.networks.layers import Conv, Shape
from explorer.networks.network import Network, chain
from explorer.spaces import find_space
from explorer.storage.ledger import Ledger
from explorer.study.model import Study
from explorer.sweeping.sweeping import run_studies
from explorer.training import trainer
from explorer.training.batches import Batches

POINTS = {
    "squeezenet": ("squeezenet", "v1_0", {"input_size": 48, "classes": 10}),
    "efficientnet": ("efficientnet", "cifar", {"drop_connect": 0.2, "dropout": 0.1}),
}


@pytest.fixture(scope="module", params=POINTS)
def network(request):
    space, preset, settings = POINTS[request.param]
    return find_space(space).point(preset, **settings).expand()


@pytest.fixture(scope="module")
def module(network):
    return trainer.untrained(network)


def some_images(network, count):
    size = network.input.size
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(count))


def logits(module, images):
    with torch.inference_mode():
        return module(images).numpy()


# A network as a file for other programs


def test_onnx_gives_the_same_logits_for_any_batch(network, module, tmp_path, capfd):
    onnxruntime = pytest.importorskip("onnxruntime")
    programs.save_onnx(module, network.input, tmp_path / "network.onnx")
    assert capfd.readouterr() == ("", "")
    assert [path.name for path in tmp_path.iterdir()] == ["network.onnx"]
    session = onnxruntime.InferenceSession(tmp_path / "network.onnx", providers=["CPUExecutionProvider"])
    for count in (1, 3):
        images = some_images(network, count)
        (found,) = session.run(["logits"], {"images": images.numpy()})
        np.testing.assert_allclose(found, logits(module, images), rtol=1e-3, atol=1e-4)


def test_a_model_that_onnx_cannot_hold_is_refused(tmp_path):
    large = Network(Shape(3, 1), chain(wide=Conv(30_000, 1), wider=Conv(30_000, 1)))
    with pytest.raises(ExplorerError, match="an ONNX file holds at most 2 GiB"):
        programs.check_onnx(tmp_path / "x.onnx", large)


LOAD = """
import sys
sys.modules["explorer"] = None  # importing it raises
import numpy as np, torch
model = torch.export.load("network.pt2").module()
for count in (1, 3):
    np.save(f"logits{count}.npy", model(torch.from_numpy(np.load(f"images{count}.npy"))).detach().numpy())
"""


def test_a_program_loads_where_the_explorer_is_not(network, module, tmp_path):
    programs.save_torch(module, network.input, tmp_path / "network.pt2")
    assert [path.name for path in tmp_path.iterdir()] == ["network.pt2"]
    for count in (1, 3):
        np.save(tmp_path / f"images{count}.npy", some_images(network, count).numpy())
    subprocess.run([sys.executable, "-c", LOAD], cwd=tmp_path, check=True)
    for count in (1, 3):
        found = np.load(tmp_path / f"logits{count}.npy")
        np.testing.assert_allclose(found, logits(module, some_images(network, count)), rtol=1e-3, atol=1e-4)


def test_files_name_no_folder_of_this_machine(network, module, tmp_path):
    programs.save_onnx(module, network.input, tmp_path / "network.onnx")
    programs.save_torch(module, network.input, tmp_path / "network.pt2")
    for path in tmp_path.iterdir():
        for folder in {sys.prefix, str(Path(explorer.__file__).parent.parent)}:
            assert folder.encode() not in path.read_bytes(), path


def test_untrained_is_what_a_run_starts_from_and_leaves_the_random_state(network):
    state = torch.random.get_rng_state()
    first, again = trainer.untrained(network), trainer.untrained(network)
    assert torch.equal(state, torch.random.get_rng_state())
    assert not first.training
    assert torch.equal(next(first.parameters()), next(again.parameters()))


def test_what_cannot_be_written_is_said_before_any_work(network, tmp_path, monkeypatch):
    with pytest.raises(ExplorerError, match=r"no/x\.pt2: cannot be written: folder .*no does not exist"):
        programs.check_file(tmp_path / "no" / "x.pt2")
    with pytest.raises(ExplorerError, match="it is a folder; add a file name"):
        programs.check_file(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr("os.access", lambda *_: False)
        with pytest.raises(ExplorerError, match="Permission denied"):
            programs.check_file(tmp_path / "x.pt2")
    monkeypatch.setattr(programs, "find_spec", lambda name: None if name == "onnxscript" else name)
    with pytest.raises(ExplorerError, match=r'ONNX needs onnxscript, .*pip install "cnn-design-explorer\[onnx\]"'):
        programs.check_onnx(tmp_path / "x.onnx", network)


def _full(*_):
    raise OSError(28, "No space left on device")


def test_a_file_is_replaced_whole_or_not_at_all(network, module, tmp_path, monkeypatch):
    path = tmp_path / "network.pt2"
    path.write_text("what stood there")
    with monkeypatch.context() as patch:
        patch.setattr("pathlib.Path.replace", _full)
        with pytest.raises(ExplorerError, match=r"network\.pt2: cannot be written: No space left on device"):
            programs.save_torch(module, network.input, path)
    assert path.read_text() == "what stood there"
    programs.save_torch(module, network.input, path)
    assert path.stat().st_size > 1000
    assert list(tmp_path.iterdir()) == [path]


# A run that a sweep's worker trained, exported


FILES = {"network.py", "weights.safetensors", "network.onnx", "export.json", "best.csv"}


def make_study(folder):
    return Study.model_validate(
        {
            "name": "small",
            "title": "t",
            "space": "squeezenet",
            "preset": "cifar",
            "data": str(folder),
            "seeds": 2,
            "fixed": {"base_e": 8, "incr_e": 8, "fires": 2, "pools": (1,), "stem_width": 8, "input_size": 24},
            # 0.501 makes the network of 0.5, and the last is over budget.
            "vary": {"squeeze_ratio": [0.25, 0.5, 0.501, 1.0]},
            "constraints": {"params": {"max": 1_000}},
            "budget": {"images": 192, "epochs": 2, "validation": 100},
            "recipe": {"batch_size": 32, "warmup_images": 64},
        }
    )


@pytest.fixture(scope="module")
def swept(tmp_path_factory, image_folder):
    """A storage with a small study, trained by a worker process."""
    path = tmp_path_factory.mktemp("swept") / "runs.db"
    (record,) = run_studies([make_study(image_folder)], storage=path, workers=1)
    assert record.points["state"].tolist() == ["planned", "planned", "merged", "over budget"]
    assert (record.runs["state"] == "done").all()
    return path


@pytest.fixture
def folder(tmp_path, monkeypatch, swept):
    """An own copy of the storage in the current folder."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(swept, tmp_path / "explorer.db")
    return tmp_path


def run(capsys, *arguments):
    code = main(list(arguments))
    out, err = capsys.readouterr()
    return code, out, err


def refused(capsys, *arguments):
    code, _, err = run(capsys, *arguments)
    assert code == 2, err
    assert err.startswith("explorer: ")
    assert err.count("\n") == 1
    return err


def change(statement, *values):
    with closing(sqlite3.connect("explorer.db")) as connection, connection:
        connection.execute(statement, values)


def key_of(point, seed):
    runs = Ledger("explorer.db").studies.load("small").runs.set_index(["point", "seed"])
    return runs.loc[(point, seed), "key"]


def best_number():
    runs = Ledger("explorer.db").studies.load("small").runs
    return int(runs.groupby("point")["accuracy"].apply(lambda values: values.astype(float).mean()).idxmax())


def forbidden(*_, **__):
    raise AssertionError("this must not happen here")


USE = """
import sys
sys.modules["explorer"] = None  # importing it raises
sys.path.insert(0, sys.argv[1])
import numpy as np, torch
from safetensors.torch import load_file
torch.set_num_threads(1)
import network
model = network.build()
model.load_state_dict(load_file(sys.argv[1] + "/weights.safetensors"))
with torch.inference_mode():
    prepared = network.prepare(torch.from_numpy(np.load(sys.argv[1] + "/images.npy")))
    np.savez(sys.argv[1] + "/found.npz", prepared=prepared.numpy(), logits=model.eval()(prepared).numpy())
print(network.__doc__)
"""


def test_an_export_is_whole_and_needs_nothing_but_torch(folder, capsys, stripes):
    code, out, err = run(capsys, "export", "small", "--out", "made", "--best", "1", "--point", "0.5")
    assert (code, err) == (0, "")
    assert {path.name for path in (folder / "made").iterdir()} == FILES
    facts = json.loads((folder / "made" / "export.json").read_text())
    run_row = Ledger("explorer.db").runs.find(key_of(1, 0))
    assert (facts["run"], facts["study"], facts["seed"]) == (run_row.key, "small", 0)
    assert facts["point"] == {"number": 1, "label": "0.5"}
    assert facts["validation"]["accuracy"] == run_row.accuracy
    assert facts["validation"]["images"] == 100
    assert facts["data"] == {
        "name": "stripes",
        "fingerprint": stripes.fingerprint,
        "classes": ["across", "along", "askew"],
    }
    assert facts["settings"] == run_row.settings
    assert facts["metaparameters"]["squeeze_ratio"] == 0.5
    assert facts["test"]["images"] == 60
    assert facts["versions"]["torch"] == torch.__version__
    used = stripes.images[stripes.split().train[:192]].reshape(-1, 3).astype(float)
    assert facts["preprocessing"]["mean"] == pytest.approx(used.mean(axis=0))
    assert facts["preprocessing"]["std"] == pytest.approx(used.std(axis=0))
    assert f"validation accuracy {run_row.accuracy:.2%} of 100 images, as stored, image by image" in out
    assert f"test accuracy {facts['test']['accuracy']:.2%} of 60 images (read now, for the only time)" in out
    for name in FILES:
        assert str(folder).encode() not in (folder / "made" / name).read_bytes(), name

    best = pd.read_csv(folder / "made" / "best.csv")
    assert list(best.columns) == bundle.BEST_COLUMNS
    assert best["standing"].tolist() == ["best"]

    # Elsewhere: the code, the weights and the bytes of images.
    places = stripes.split().validation[:100]
    np.save(folder / "made" / "images.npy", stripes.images[places])
    command = [sys.executable, "-I", "-c", USE, str(folder / "made")]
    ended = subprocess.run(command, check=False, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    found = np.load(folder / "made" / "found.npz")
    right = (found["logits"].argmax(axis=1) == stripes.labels[places]).mean()
    assert right == facts["validation"]["accuracy_float32"]
    assert abs(right - run_row.accuracy) <= 0.03
    for said in (
        "small, point 1 (0.5), seed 0",
        f"{facts['params']:,} params",
        f"{facts['macs']:,} FLOPs",
        "squeeze_ratio=0.5",
    ):
        assert said in ended.stdout
    assert f"{run_row.accuracy:.2%} of 100 images of stripes" in ended.stdout
    assert "across, along, askew" in ended.stdout

    onnxruntime = pytest.importorskip("onnxruntime")
    session = onnxruntime.InferenceSession(folder / "made" / "network.onnx", providers=["CPUExecutionProvider"])
    (logits,) = session.run(["logits"], {"images": found["prepared"]})
    np.testing.assert_allclose(logits, found["logits"], rtol=1e-3, atol=1e-4)


def test_the_same_from_python(folder, capsys):
    told = []
    made = explorer.export("small", point="0.5", out="made", keep_test=True, before_training=told.append)
    assert [task.run.key for task in told] == [key_of(1, 0)]
    assert {path.name for path in (folder / "made").iterdir()} == FILES == set(made.files)
    assert json.loads((folder / "made" / "export.json").read_text()) == json.loads(json.dumps(made.facts))
    best = pd.read_csv(folder / "made" / "best.csv", keep_default_na=False)
    pd.testing.assert_frame_equal(best, made.best, check_dtype=False)
    assert (made.facts["test"], made.test, made.tests) == (None, "test images: left unread", 0)

    sheet = explorer.images("small:0.5", count=5, out="here.png")
    code, out, _ = run(capsys, "images", "small:0.5", "--count", "5", "--out", "there.png")
    assert code == 0
    assert sheet.title in out
    assert (folder / "here.png").read_bytes() == (folder / "there.png").read_bytes()
    assert sheet.images.groupby("row", sort=False).size().loc[["right", "unsure"]].tolist() == [5, 5]


@pytest.mark.parametrize("size", [10, 32, 45])
def test_images_are_prepared_as_they_were_for_training(stripes, size):
    batches = Batches(stripes, np.arange(6), size, torch.device("cpu"))
    network = SimpleNamespace(input=Shape(3, size))
    trained = SimpleNamespace(mean=tuple(batches.mean.tolist()), deviation=tuple(batches.deviation.tolist()))
    task = SimpleNamespace(run=SimpleNamespace(network=network), dataset=stripes)
    names = {"torch": torch, "nn": torch.nn, "Tensor": torch.Tensor}
    exec(bundle._preparing(task, trained), names)  # noqa: S102
    prepared = names["prepare"](torch.from_numpy(stripes.images[:6]))
    assert torch.allclose(prepared, next(batches.plain(6))[0], atol=1e-4)


def test_the_test_images_are_read_once(folder, capsys, monkeypatch):
    monkeypatch.setattr(bundle, "onnx_obstacle", lambda _: "it takes a second each time")
    code, out, _ = run(capsys, "export", "small", "--seed", "1", "--keep-test")
    assert code == 0
    assert "test images: left unread" in out
    assert Ledger("explorer.db").tests.of("small").empty
    (name,) = [path.name for path in (folder / "export").iterdir()]
    assert name == f"small-point{best_number()}-seed1"
    assert json.loads((folder / "export" / name / "export.json").read_text())["test"] is None
    code, out, _ = run(capsys, "export", "small", "--seed", "1")
    assert "read now, for the only time" in out
    tests = Ledger("explorer.db").tests.of("small")
    assert tests[["point", "seed", "images"]].to_numpy().tolist() == [[best_number(), 1, 60]]
    accuracy, finished = tests["accuracy"][0], tests["finished"][0]
    with monkeypatch.context() as patch:
        patch.setattr(bundle, "read_test_images", forbidden)
        for more in ([], ["--keep-test"]):
            code, out, _ = run(capsys, "export", "small", "--seed", "1", "--out", "again", *more)
            assert code == 0
            assert f"test accuracy {accuracy:.2%} of 60 images (read on {finished}, not again)" in out
            facts = json.loads((folder / "again" / "export.json").read_text())
            assert facts["test"] == {"accuracy": accuracy, "images": 60, "finished": finished}
            for file in ("weights.safetensors", "network.py"):
                assert (folder / "again" / file).read_bytes() == (folder / "export" / name / file).read_bytes()
    out = run(capsys, "export", "small", "--seed", "0")[1]
    assert "2 runs of this study have been tested: choosing between them by test accuracy is no test" in out


def test_without_test_images_or_onnx_the_export_goes_on(folder, capsys, monkeypatch):
    from explorer.data.held_out import NoTestImages

    def none(_):
        raise NoTestImages("stripes has no test images")

    (folder / "made").mkdir()
    (folder / "made" / "network.onnx").write_text("of another run")
    monkeypatch.setattr(bundle, "read_test_images", none)
    monkeypatch.setattr(programs, "find_spec", lambda name: None if name == "onnx" else name)
    code, out, err = run(capsys, "export", "small", "--out", "made")
    assert (code, err) == (0, "")
    assert "stripes has no test images\n" in out
    assert "no network.onnx: ONNX needs onnx, which this environment lacks" in out
    assert {path.name for path in (folder / "made").iterdir()} == FILES - {"network.onnx"}
    assert json.loads((folder / "made" / "export.json").read_text())["test"] is None
    assert Ledger("explorer.db").tests.of("small").empty


# What stops an export


def test_an_accuracy_that_does_not_come_back_is_an_error_and_nothing_is_written(folder, capsys, monkeypatch):
    monkeypatch.setattr(bundle, "read_test_images", forbidden)
    stored = Ledger("explorer.db").runs.find(key_of(0, 0))
    change("update ledger_runs set accuracy = 0.987 where key = ?", stored.key)
    err = refused(capsys, "export", "small", "--point", "0")
    assert (
        "small, point 0 (0.25), seed 0: the stored validation accuracy is 0.987, "
        f"but training again gave {stored.accuracy}" in err
    )
    # The same accuracy of other images is another model, too.
    swap = [int(stored.correct.argmax()), int(stored.correct.argmin())]
    bits = stored.correct.copy()
    bits[swap] = bits[swap[::-1]]
    change(
        "update ledger_runs set accuracy = ?, correct = ? where key = ?",
        *(stored.accuracy, np.packbits(bits).tobytes(), stored.key),
    )
    err = refused(capsys, "export", "small", "--point", "0")
    assert f"the stored validation accuracy, {stored.accuracy}, but for other images" in err
    change("update ledger_runs set host = ? where key = ?", '{"name": "there", "isa": "ABACUS"}', stored.key)
    assert "(isa was ABACUS and is " in refused(capsys, "export", "small", "--point", "0")
    assert {path.name for path in folder.iterdir()} <= {"explorer.db", "explorer.db.lock"}
    assert Ledger("explorer.db").tests.of("small").empty


def test_another_run_here_is_refused_before_any_training(folder, capsys, monkeypatch, image_folder):
    monkeypatch.setattr(retraining, "train", forbidden)
    here = retraining.numerics()
    with monkeypatch.context() as patch:
        patch.setattr(retraining, "numerics", lambda: replace(here, torch="9.9", training_version=1))
        err = refused(capsys, "export", "small", "--point", "0")
    assert "small, point 0 (0.25), seed 0 would be another run now: " in err
    assert f"the version of the training code was {here.training_version} and is 1" in err
    assert f"numerics.torch was {here.torch} and is 9.9" in err
    # Other images under the same name.
    other = folder / "other" / "stripes"
    shutil.copytree(image_folder, other)
    for path in sorted((other / "across").iterdir())[:20]:
        path.unlink()
    change("update ledger_studies set study = json_replace(study, '$.data', ?)", str(other))
    assert "another run now: the data was " in refused(capsys, "export", "small", "--point", "0")
    assert not (folder / "export").exists()


def test_a_run_that_fails_the_second_time_is_an_error(folder, capsys, monkeypatch):
    from explorer.training.trainer import RunFailed

    def fails(*_):
        raise RunFailed("the loss")

    monkeypatch.setattr(retraining, "train", fails)
    assert "training again failed: the loss" in refused(capsys, "export", "small")
    assert not (folder / "export").exists()


def test_code_that_is_not_the_model_is_not_written(folder, capsys, monkeypatch):
    code_of = bundle.code_of
    monkeypatch.setattr(bundle, "read_test_images", forbidden)
    monkeypatch.setattr(bundle, "code_of", lambda *_: "def build():\n    raise ValueError('not today')\n")
    assert "network.py: the generated code does not run: not today" in refused(capsys, "export", "small")
    monkeypatch.setattr(bundle, "code_of", lambda *what: code_of(*what).replace("nn.ReLU(inplace=True)", "nn.SiLU()"))
    assert "give different logits" in refused(capsys, "export", "small")
    assert not (folder / "export").exists()


def test_nothing_is_exported_while_a_sweep_runs(folder, capsys, monkeypatch):
    monkeypatch.setattr(retraining, "train", forbidden)
    with Ledger("explorer.db").writing():
        assert "is writing to it" in refused(capsys, "export", "small")
    assert not (folder / "export").exists()


# Sheets of the images that a run was most and least sure of


def brute_force(stored, count):
    """Places by hand: (probability, place) of the right, of the wrong, of all."""
    entries = [
        (float(p), place, bool(right))
        for place, (p, right) in enumerate(zip(stored.top_probability, stored.correct, strict=True))
    ]
    right = sorted((-p, place) for p, place, right in entries if right)
    wrong = sorted((-p, place) for p, place, right in entries if not right)
    unsure = sorted((p, place) for p, place, _ in entries)
    return [[place for _, place in found[:count]] for found in (right, wrong, unsure)]


def test_the_sheet_shows_the_right_images(folder, capsys, monkeypatch, stripes):
    from explorer.exporting import image_sheet

    seen = {}
    draw = image_sheet.draw_sheet

    def watching(chosen, images, title):
        seen.update(chosen=chosen, images=images, title=title)
        return draw(chosen, images, title)

    monkeypatch.setattr(image_sheet, "draw_sheet", watching)
    key = key_of(1, 1)
    code, out, err = run(capsys, "images", key[:7].upper(), "--count", "5")
    assert (code, err) == (0, "")
    stored = Ledger("explorer.db").runs.find(key)
    assert seen["title"] == f"small, point 1 (0.5), seed 1: {stored.accuracy:.1%} of 100 validation images right"
    assert seen["title"] in out
    chosen, validation = seen["chosen"], stripes.split().validation[:100]
    expected = brute_force(stored, 5)
    assert [chosen.loc[chosen["row"] == row, "place"].tolist() for row in ("right", "wrong", "unsure")] == expected
    flat = validation[[place for places in expected for place in places]]
    np.testing.assert_array_equal(seen["images"], stripes.images[flat])
    assert chosen["class"].tolist() == [stripes.classes[label] for label in stripes.labels[flat]]
    assert chosen["right"].tolist() == stored.correct[[place for places in expected for place in places]].tolist()
    assert f"wrote images-{key[:8]}.png" in out
    with Image.open(f"images-{key[:8]}.png") as sheet:
        assert sheet.format == "PNG"
        assert "Software" not in sheet.info

    # The same run by its point, the one that another is merged into, in another file.
    for name in ("small:0.5:1", "small:point1:1", "small:0.501:1", "small:2:1", "small:0.5 = 0.501:1"):
        code, *_ = run(capsys, "images", name, "--count", "5", "--out", "other.png")
        assert code == 0, name
        assert (folder / "other.png").read_bytes() == (folder / f"images-{key[:8]}.png").read_bytes()


def test_a_sheet_is_drawn_row_by_row():
    from explorer.exporting.image_sheet import CELL_INCHES, DPI, ROW_INCHES, TOP_INCHES, draw_sheet
    from explorer.exporting.surest import surest

    correct = np.array([True, False, True, True, False, True])
    probability = np.array([0.9, 0.8, 0.9, 0.3, 0.2, 1.0], np.float16)
    chosen = surest(correct, probability, 3)
    assert chosen.groupby("row", sort=False)["place"].apply(list).to_dict() == {
        "right": [5, 0, 2],
        "wrong": [1, 4],
        "unsure": [4, 3, 1],
    }
    colours = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 0], [255, 0, 255], [0, 255, 255]], np.uint8)
    images = np.broadcast_to(colours[:, None, None], (6, 8, 8, 3))
    named = chosen.assign(**{"class": ["$a$", "b" * 50, "\N{SNOWMAN}", "", "e", "f", "g", "h"]})
    png = draw_sheet(named, images[chosen["place"]], "a title")
    assert draw_sheet(named, images[chosen["place"]], "a title") == png
    import io

    with Image.open(io.BytesIO(png)) as sheet:
        pixels = np.asarray(sheet.convert("RGB"))
    for line, row in enumerate(("right", "wrong", "unsure")):
        for column, place in enumerate(chosen.loc[chosen["row"] == row, "place"]):
            x = 0.15 + (column + 0.4) * CELL_INCHES[0]
            y = TOP_INCHES + line * (CELL_INCHES[1] + ROW_INCHES) + ROW_INCHES + 0.4
            assert pixels[int(y * DPI), int(x * DPI)].tolist() == colours[place].tolist(), (row, column)


def test_a_run_that_was_never_wrong_has_no_such_row():
    from explorer.exporting.image_sheet import draw_sheet
    from explorer.exporting.surest import surest

    chosen = surest(np.array([True, True]), np.array([0.5, 0.6], np.float16), 5)
    assert chosen["row"].tolist() == ["right"] * 2 + ["unsure"] * 2
    assert draw_sheet(chosen.assign(**{"class": "a"}), np.zeros((4, 8, 8, 3), np.uint8), "t").startswith(b"\x89PNG")


def test_images_of_other_data_are_refused(folder, capsys):
    change("update ledger_runs set data_fingerprint = ? where key = ?", "0" * 64, key_of(0, 0))
    assert "was measured on data with the fingerprint 000000000000, but stripes now has " in refused(
        capsys, "images", "small:0.25"
    )
    change("update ledger_runs set correct = null, top_probability = null, validation_images = null")
    assert "the images that it got right are not stored" in refused(capsys, "images", "small:0.5")
    change("delete from ledger_members")
    assert "its study is no longer stored" in refused(capsys, "images", Ledger("explorer.db").runs.keys()[0])
    assert {path.name for path in folder.iterdir()} == {"explorer.db"}


# Mistakes


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["export", "smal"], "'smal'; did you mean 'small'?"),
        (["export", "small", "--storage", "none.db"], "storage none.db: does not exist"),
        (["export", "small", "--point", "0.55"], "unknown point of small '0.55'; did you mean '0.5'?"),
        (
            ["export", "small", "--point", "9"],
            "unknown point of small '9'; give a number from 0 to 3, or a label such as",
        ),
        (["export", "small", "--point", "1.0"], "small, point 3 (1.0) was not trained: it is over budget: params = "),
        (["export", "small", "--seed", "2"], "has no seed 2; the study has seeds 0, 1"),
        (["export", "small", "--seed", "-1"], "Invalid value for '--seed'"),
        (["export", "small", "--best", "0"], "Invalid value for '--best'"),
        (["export", "small", "--out", "explorer.db/x"], "explorer.db/x: cannot be written: Not a directory"),
        (["export", "small", "--data-dir", "."], "--data-dir gives the folder of the 'cifar10' files"),
        (
            ["images", "small"],
            "run 'small': give the first 6 or more hexadecimal digits of its key, or STUDY:POINT[:SEED]",
        ),
        (["images", "abc"], "run 'abc': give the first 6 or more"),
        (["images", "abcdef012345"], "unknown run 'abcdef012345': no key in explorer.db starts with it"),
        (["images", "small:0.2"], "unknown point of small '0.2'; did you mean '0.25'?"),
        (["images", "small:0.5:7"], "small, point 1 (0.5) has no seed 7"),
        (["images", "smal:0.5"], "did you mean 'small'?"),
        (["images", "small:0.5", "--out", "no/x.png"], "no/x.png: cannot be written: folder no does not exist"),
        (["images", "small:0.5", "--count", "0"], "Invalid value for '--count'"),
    ],
)
def test_mistakes_are_one_line_and_nothing_is_written(folder, capsys, monkeypatch, arguments, message):
    monkeypatch.setattr(retraining, "train", forbidden)
    assert message in refused(capsys, *arguments)
    assert {path.name for path in folder.iterdir()} == {"explorer.db"}


def test_a_run_that_is_not_done_says_why(folder, capsys):
    change("update ledger_runs set state = 'failed', reason = 'the loss', accuracy = null where key = ?", key_of(1, 0))
    assert "small, point 1 (0.5), seed 0 is not done (failed: the loss); done is seed 1" in refused(
        capsys, "export", "small", "--point", "0.501"
    )
    change("delete from ledger_runs")
    assert "small: no runs have finished" in refused(capsys, "export", "small")
    assert "seed 0 is not done (missing); no other seed is done either" in refused(capsys, "images", "small:0.5")
    assert folder


def test_keys_that_begin_alike_are_told(folder, capsys):
    change("update ledger_runs set key = 'abcdef' || substr(key, 7)")
    assert "run 'abcdef': 4 keys start with it (abcdef" in refused(capsys, "images", "abcdef")
    assert "unknown run 'abcdefabcdff'" in refused(capsys, "images", "abcdefabcdff")
    assert folder
