"""Networks as ONNX and torch programs; stored runs as folders; sheets of their images, all as a user makes them."""

import json
import os
import re
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
from safetensors.torch import load_file

import explorer
from explorer.__main__ import main
from explorer.data import find_source
from explorer.errors import ExplorerError
from explorer.exporting import bundle, retraining
from explorer.exporting import preparing as preparing_code
from explorer.exporting.preparing import Preparing
from explorer.networks import programs
from explorer.networks.layers import Conv, Shape
from explorer.networks.network import Network, chain
from explorer.spaces import find_space
from explorer.storage.ledger import Ledger
from explorer.study.model import Study
from explorer.sweeping.resources import Resources
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
    assert session.get_inputs()[0].shape == ["batch", 3, network.input.size, network.input.size]
    assert session.get_outputs()[0].shape[0] == "batch"
    for count in (1, 3):
        images = some_images(network, count)
        (found,) = session.run(["logits"], {"images": images.numpy()})
        np.testing.assert_allclose(found, logits(module, images), rtol=1e-3, atol=1e-4)


def test_a_model_that_onnx_cannot_hold_is_refused(tmp_path):
    large = Network(Shape(3, 1), chain(wide=Conv(30_000, 1), wider=Conv(30_000, 1)))
    with pytest.raises(ExplorerError, match="ONNX files are limited to 2 GiB"):
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


FILES = {"network.py", "weights.safetensors", "network.onnx", "predict.py", "export.json", "best.csv", "README.md"}


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
    (record,) = run_studies([make_study(image_folder)], storage=path, resources=Resources(workers=1))
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
from PIL import Image
from safetensors.torch import load_file
torch.set_num_threads(1)
import network
model = network.build()
model.load_state_dict(load_file(sys.argv[1] + "/weights.safetensors"))
with torch.inference_mode():
    prepared = torch.cat([network.prepare(Image.fromarray(pixels)) for pixels in np.load(sys.argv[1] + "/images.npy")])
    np.savez(sys.argv[1] + "/found.npz", prepared=prepared.numpy(), logits=model.eval()(prepared).numpy())
print(network.__doc__)
print(network.labels)
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
    assert f"validation accuracy {run_row.accuracy:.2%} of 100 images, the same as stored, image by image" in out
    assert f"test accuracy {facts['test']['accuracy']:.2%} of 60 images (read now, for the only time)" in out
    for name in FILES:
        assert str(folder).encode() not in (folder / "made" / name).read_bytes(), name

    best = pd.read_csv(folder / "made" / "best.csv")
    assert list(best.columns) == bundle.BEST_COLUMNS
    assert best["point"].tolist() == [best_number()]

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
    assert "['across', 'along', 'askew']" in ended.stdout

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


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Photos as cameras, scanners and browsers write them, in one of two class folders."""
    folder = tmp_path_factory.mktemp("photos") / "a"
    folder.mkdir()
    folder.with_name("b").mkdir()
    rng = np.random.default_rng(0)
    coarse = Image.fromarray(rng.integers(0, 256, (9, 12, 3), dtype=np.uint8))
    wide = coarse.resize((320, 240), Image.Resampling.BICUBIC)
    wide.save(folder / "wide.jpg")
    turned = Image.Exif()
    turned[0x0112] = 6
    wide.save(folder / "turned.jpg", exif=turned)
    wide.convert("CMYK").save(folder / "print.jpg")
    wide.rotate(90, expand=True).save(folder / "high.webp")
    wide.convert("L").save(folder / "grey.png")
    wide.convert("1").save(folder / "bilevel.png")
    wide.quantize(16).save(folder / "palette.gif")
    wide.resize((32, 32)).save(folder / "as large.png")
    coarse.save(folder / "tiny.png")
    coarse.resize((33, 31)).save(folder / "odd.bmp")
    cut = wide.convert("RGBA")
    cut.putalpha(wide.convert("L"))
    cut.save(folder / "transparent.png")
    cut.convert("LA").save(folder / "grey transparent.png")
    deep = np.asarray(wide.convert("L")).astype(np.uint16) * 257
    Image.fromarray(deep).save(folder / "deep.png")
    Image.fromarray(deep).save(folder / "deep.tif")
    Image.fromarray((deep / 65_535).astype(np.float32)).save(folder / "floats.tif")
    wide.convert("P").save(folder / "palette transparent.png", transparency=0)
    return sorted(folder.iterdir())


def plain(path):
    """Whether Pillow's own conversion to RGB is all that there is to do."""
    with Image.open(path) as image:
        deep = image.mode.startswith(("I", "F"))
        return not deep and not image.has_transparency_data and not image.getexif()


def exported_names(preparing):
    """What the exported code defines."""
    names = {"__name__": "network"}
    exec(preparing_code.HEADER + preparing.code, names)  # noqa: S102
    return names


@pytest.mark.parametrize("size", [10, 32, 45])
def test_photos_are_prepared_as_they_were_for_training(photos, size):
    source = find_source(str(photos[0].parent.parent))
    ((pixels, labels),) = source.blocks([(path, 0) for path in photos])
    batches = Batches(SimpleNamespace(images=pixels, labels=labels), np.arange(len(photos)), size, torch.device("cpu"))
    (expected, _), *_ = batches.plain(len(photos))
    preparing = Preparing(["a", "b"], 32, Shape(3, size), batches.mean.tolist(), batches.deviation.tolist())
    names = exported_names(preparing)
    for path, one in zip(photos, expected, strict=True):
        from_path, from_text = names["prepare"](path), names["prepare"](str(path))
        with Image.open(path) as image:
            from_image = names["prepare"](image)
            from_bytes = names["prepare"](np.array(image.convert("RGB")))
        assert torch.equal(from_path, from_text)
        assert torch.equal(from_path, from_image)
        assert torch.equal(from_path, from_bytes) or not plain(path)
        assert from_path.shape == (1, 3, size, size)
        assert torch.allclose(from_path[0], one, atol=1e-4), path
    for path, square in zip(photos, pixels, strict=True):
        with Image.open(path) as image:
            assert (np.asarray(names["central_square"](image, 32)) == square).all(), path


def test_what_prepare_does_is_said():
    mean, deviation = (1.0, 2.0, 3.0), (4.0, 5.0, 6.0)
    for size, said in ((10, "resampled to 10 x 10 (area means)"), (45, "resampled to 45 x 45 (bilinear)"), (32, None)):
        text = Preparing(["a"], 32, Shape(3, size), mean, deviation).text
        assert (said in text) if said else ("resampled" not in text)
        assert "resized to 32 x 32 pixels" in text


@pytest.mark.parametrize(
    "labels",
    [
        ["a", "b"],
        [f"class number {n}, with a name in words" for n in range(300)],
        ["it's", 'a "cat"', "back\\slash", "two\nlines", "\N{SNOWMAN}", "\udce9", "{}", "# no", '"""'],
        ["x " * 200, "y" * 300],
    ],
)
def test_labels_can_be_any_text(labels):
    preparing = Preparing(labels, 32, Shape(3, 24), (1.0,) * 3, (2.0,) * 3)
    names = {}
    exec(compile((preparing_code.HEADER + preparing.code).encode("utf-8", "backslashreplace"), "x", "exec"), names)  # noqa: S102
    assert names["labels"] == labels
    assert json.loads(preparing.metadata["labels"]) == labels
    assert max(map(len, preparing.code.splitlines())) <= 120 or "y" * 300 in labels


# Photos, with the exported files alone


ALONE = """
import sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"explorer", "pandas", "scipy", "matplotlib", "optuna", "pydantic", "onnx"}:
            raise ModuleNotFoundError(f"{name} is not installed here")
sys.meta_path.insert(0, Refuse())
"""


@pytest.fixture(scope="module")
def exported(tmp_path_factory, swept):
    """The folder of an exported network."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("exported"))
        made = explorer.export("small", point="0.5", out="made", storage=swept, keep_test=True)
        return made.folder.absolute()


def predict(exported, elsewhere, *paths):
    """Run `predict.py` in another folder, where the explorer and most packages cannot be imported."""
    (elsewhere / "site").mkdir(exist_ok=True)
    (elsewhere / "site" / "sitecustomize.py").write_text(ALONE)
    ended = subprocess.run(
        [sys.executable, exported / "predict.py", *paths],
        check=False,
        capture_output=True,
        text=True,
        cwd=elsewhere,
        env={**os.environ, "PYTHONPATH": str(elsewhere / "site"), "PYTHONIOENCODING": "cp1252"},
    )
    return ended.returncode, ended.stdout, ended.stderr


def test_photos_are_classified_with_the_exported_files_alone(exported, tmp_path, photos, image_folder):
    stripes = [image_folder / name / "007.png" for name in ("across", "along", "askew")]
    paths = [str(path) for path in (*stripes, *photos)]
    code, out, err = predict(exported, tmp_path, *paths)
    assert (code, err) == (0, "")
    names = {"__name__": "network"}
    exec((exported / "network.py").read_text(), names)  # noqa: S102
    model = names["build"]()
    model.load_state_dict(load_file(exported / "weights.safetensors"))
    lines = iter(out.splitlines())
    for path in paths:
        assert next(lines) == path
        with torch.inference_mode():
            expected = model.eval()(names["prepare"](path)).softmax(dim=1)[0].tolist()
        found = [next(lines).split() for _ in expected]
        assert {label for _, label in found} == {"across", "along", "askew"}
        shares = [float(share.rstrip("%")) / 100 for share, _ in found]
        assert shares == sorted(shares, reverse=True)
        for share, (_, label) in zip(shares, found, strict=True):
            assert share == pytest.approx(expected[names["labels"].index(label)], abs=1e-3)
    assert list(lines) == []
    assert len(Path(exported / "predict.py").read_text().splitlines()) < 30


def test_what_is_no_photo_is_one_line_and_the_others_are_classified(exported, tmp_path, photos):
    (tmp_path / "notes.txt").write_text("no photo")
    (tmp_path / "empty.jpg").write_bytes(b"")
    (tmp_path / "cut.jpg").write_bytes(photos[-1].read_bytes()[:700])
    (tmp_path / "folder").mkdir()
    Image.fromarray(np.full((40, 40), 1 << 20, np.int32)).save(tmp_path / "counts.tif")
    bad = ["missing.jpg", "notes.txt", "empty.jpg", "cut.jpg", "folder", "counts.tif"]
    code, out, err = predict(exported, tmp_path, *bad[:2], str(photos[0]), *bad[2:])
    assert code == 2
    assert out.splitlines()[0] == str(photos[0])
    assert len(out.splitlines()) == 4
    lines = err.splitlines()
    assert [line.partition(":")[0] for line in lines] == bad
    assert lines[0] == "missing.jpg: No such file or directory"
    assert lines[1].startswith("notes.txt: cannot identify image file")
    assert "whose range is unknown" in lines[-1]
    code, out, err = predict(exported, tmp_path)
    assert (code, out, err) == (1, "", "usage: python predict.py PHOTO [PHOTO ...]\n")


def test_onnx_says_what_goes_in_and_out(exported, photos):
    onnxruntime = pytest.importorskip("onnxruntime")
    session = onnxruntime.InferenceSession(exported / "network.onnx", providers=["CPUExecutionProvider"])
    (images,), (logits,) = session.get_inputs(), session.get_outputs()
    assert (images.name, images.shape) == ("images", ["batch", 3, 24, 24])
    assert (logits.name, logits.shape) == ("logits", ["batch", 3])
    metadata = session.get_modelmeta().custom_metadata_map
    facts = json.loads((exported / "export.json").read_text())
    assert json.loads(metadata["labels"]) == facts["data"]["classes"] == ["across", "along", "askew"]
    assert json.loads(metadata["mean"]) == facts["preprocessing"]["mean"]
    assert json.loads(metadata["deviation"]) == facts["preprocessing"]["std"]
    assert metadata["input_size"] == "24"
    assert metadata["prepare"] == facts["preprocessing"]["prepare"]
    names = {"__name__": "network"}
    exec((exported / "network.py").read_text(), names)  # noqa: S102
    model = names["build"]()
    model.load_state_dict(load_file(exported / "weights.safetensors"))
    for count in (1, 7):
        prepared = torch.cat([names["prepare"](path) for path in photos[:count]])
        (found,) = session.run(["logits"], {"images": prepared.numpy()})
        with torch.inference_mode():
            np.testing.assert_allclose(found, model.eval()(prepared).numpy(), rtol=1e-3, atol=1e-4)


def test_a_read_me_says_how_to_use_it_and_how_good_it_is(folder, monkeypatch):
    made = explorer.export("small", point="0.5", out="made")
    text = (folder / "made" / "README.md").read_text()
    assert text.startswith("# small, point 1 (0.5), seed 0\n")
    assert max(map(len, text.splitlines())) <= 120
    assert "python predict.py photo.jpg" in text
    assert set(re.findall(r"^- `([^`]+)`", text, re.MULTILINE)) == FILES - {"README.md"}
    rows = re.findall(r"^\| (\w+) \| (\d+) \| ([\d.]+)% \| ([\d.]+)% to ([\d.]+)% \|", text, re.MULTILINE)
    for kind, count, accuracy, low, high in rows:
        fact = made.facts[kind]
        p, n, z = fact["accuracy"], fact["images"], 1.959964
        centre, half = (
            (p + z**2 / (2 * n)) / (1 + z**2 / n),
            z / (1 + z**2 / n) * (p * (1 - p) / n + z**2 / (4 * n**2)) ** 0.5,
        )
        assert int(count) == n
        assert (float(accuracy), float(low), float(high)) == pytest.approx(
            (100 * p, 100 * (centre - half), 100 * (centre + half)), abs=0.051
        )
    assert [kind for kind, *_ in rows] == ["validation", "test"]
    # One of ours is replaced; one of the user's stays.
    monkeypatch.setattr(bundle, "onnx_obstacle", lambda _: "it takes a second each time")
    explorer.export("small", point="0.25", out="made", keep_test=True)
    text = (folder / "made" / "README.md").read_text()
    assert text.startswith("# small, point 0 (0.25), seed 0\n")
    assert "| test |" not in text
    (folder / "made" / "README.md").write_text("my own notes")
    made = explorer.export("small", point="0.5", out="made", keep_test=True)
    assert "README.md" not in made.files
    assert (folder / "made" / "README.md").read_text() == "my own notes"


# Images that have moved


@pytest.fixture
def moved(folder, image_folder):
    """The study's images in a new folder; where they were, there is nothing any more."""
    shutil.copytree(image_folder, folder / "new" / "photos")
    change("update ledger_studies set study = json_replace(study, '$.data', '/gone/stripes')")
    return folder / "new" / "photos"


def test_moved_images_can_be_named_again(moved, capsys):
    for command in (["export", "small"], ["images", "small:0.5"]):
        assert (
            "small: its images were in /gone/stripes, which is no longer a folder or an installed data set; "
            "pass the folder where they are now with --data" in refused(capsys, *command)
        )
    code, out, err = run(capsys, "images", "small:0.5", "--data", str(moved), "--out", "sheet.png")
    assert (code, err) == (0, "")
    code, out, err = run(capsys, "export", "small", "--point", "0.5", "--out", "made", "--data", "new/photos")
    assert (code, err) == (0, "")
    assert "as stored, image by image" in out
    assert {path.name for path in Path("made").iterdir()} == FILES
    assert json.loads(Path("made/export.json").read_text())["test"]["images"] == 60


def test_other_images_are_refused_with_both_fingerprints(moved, capsys, monkeypatch, stripes):
    monkeypatch.setattr(retraining, "train_run", forbidden)
    for path in sorted((moved / "across").iterdir())[:20]:
        path.unlink()
    other = find_source(str(moved)).prepare().fingerprint
    for command in (["export", "small"], ["images", "small:0.5"]):
        err = refused(capsys, *command, "--data", str(moved))
        assert f"--data {moved} must contain the images of small, but its fingerprint is {other[:12]}" in err
        assert f"the study was trained on {stripes.fingerprint[:12]}" in err
        assert "unknown data set 'none'" in refused(capsys, *command, "--data", "none")
        assert "is a file" in refused(capsys, *command, "--data", "explorer.db")
    assert not Path("export").exists()


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
    assert "2 runs of this study have been tested; don't choose between them by test accuracy" in out


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
    assert "no network.onnx: ONNX needs onnx, not installed here" in out
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
        f"but retraining gave {stored.accuracy}" in err
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
    assert f"the stored validation accuracy, {stored.accuracy}, but got different images right" in err
    change("update ledger_runs set host = ? where key = ?", '{"name": "there", "isa": "ABACUS"}', stored.key)
    assert "(isa was ABACUS and is " in refused(capsys, "export", "small", "--point", "0")
    assert {path.name for path in folder.iterdir()} <= {"explorer.db", "explorer.db.lock"}
    assert Ledger("explorer.db").tests.of("small").empty


def test_another_run_here_is_refused_before_any_training(folder, capsys, monkeypatch, image_folder):
    monkeypatch.setattr(retraining, "train_run", forbidden)
    here = retraining.numerics()
    with monkeypatch.context() as patch:
        patch.setattr(retraining, "numerics", lambda: replace(here, torch="9.9", training_version=1))
        err = refused(capsys, "export", "small", "--point", "0")
    assert "small, point 0 (0.25), seed 0 would be a different run now: " in err
    assert f"the version of the training code was {here.training_version} and is 1" in err
    assert f"numerics.torch was {here.torch} and is 9.9" in err
    # Other images under the same name.
    other = folder / "other" / "stripes"
    shutil.copytree(image_folder, other)
    for path in sorted((other / "across").iterdir())[:20]:
        path.unlink()
    change("update ledger_studies set study = json_replace(study, '$.data', ?)", str(other))
    assert "a different run now: the data was " in refused(capsys, "export", "small", "--point", "0")
    assert not (folder / "export").exists()


def test_a_run_that_fails_the_second_time_is_an_error(folder, capsys, monkeypatch):
    from explorer.training.trainer import RunFailed

    def fails(*_):
        raise RunFailed("the loss")

    monkeypatch.setattr(retraining, "train_run", fails)
    assert "retraining failed: the loss" in refused(capsys, "export", "small")
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
    monkeypatch.setattr(retraining, "train_run", forbidden)
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


def test_the_sheet_says_what_an_image_was_taken_for(folder, capsys, monkeypatch, stripes):
    from explorer.exporting import image_sheet

    drawn = []
    draw = image_sheet._draw
    monkeypatch.setattr(image_sheet, "_draw", lambda ax, pixels, lines: (drawn.append(lines), draw(ax, pixels, lines)))
    sheet = explorer.images("small:0.25", count=8, out="sheet.png").images
    ledger = Ledger("explorer.db")
    trained = retraining.retraining_task(ledger, ledger.studies.load("small"), 0, 0)
    places = stripes.split().validation[:100]
    predicted = trained.train().measurement.predicted
    assert ((predicted == stripes.labels[places]) == ledger.runs.find(key_of(0, 0)).correct).all()
    expected = [stripes.classes[label] for label in predicted[sheet["place"]]]
    assert sheet["taken_for"].tolist() == expected
    assert ((sheet["taken_for"] == sheet["class"]) == sheet["right"]).all()
    assert not sheet["right"].all()
    for lines, image in zip(drawn, sheet.to_dict(orient="records"), strict=True):
        share = f"{image['probability']:.1%}"
        if image["right"]:
            assert lines == [image["class"], share + " right" * (image["row"] == "unsure")]
        else:
            assert lines == [image["class"], "taken for", image["taken_for"], share]
    monkeypatch.setenv("COLUMNS", "200")
    out = run(capsys, "images", "small:0.25", "--count", "8")[1]
    wrong = sheet[sheet["row"] == "wrong"].iloc[0]
    assert f"{wrong['class']}, taken for {wrong['taken_for']} (" in out

    # Runs stored by older versions.
    change("update ledger_runs set predicted = null")
    assert (folder / "sheet.png").exists()
    drawn.clear()
    older = explorer.images("small:0.25", count=8, out="sheet.png").images
    assert older["taken_for"].isna().all()
    assert any(line.endswith("wrong") for _, line in drawn)
    code, out, _ = run(capsys, "images", "small:0.25", "--count", "8")
    assert code == 0
    assert "taken for" not in out


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
    named = chosen.assign(**{"class": ["$a$", "b" * 50, "\N{SNOWMAN}", "", "e", "f", "g", "h"], "taken_for": "i" * 30})
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
    assert draw_sheet(
        chosen.assign(**{"class": "a", "taken_for": "a"}), np.zeros((4, 8, 8, 3), np.uint8), "t"
    ).startswith(b"\x89PNG")


def test_images_of_other_data_are_refused(folder, capsys):
    change("update ledger_runs set data_fingerprint = ? where key = ?", "0" * 64, key_of(0, 0))
    assert "was measured on data with the fingerprint 000000000000, but stripes now has " in refused(
        capsys, "images", "small:0.25"
    )
    change("update ledger_runs set correct = null, top_probability = null, validation_images = null")
    assert "the images it got right are not stored" in refused(capsys, "images", "small:0.5")
    change("delete from ledger_members")
    assert "is not a point of a stored study" in refused(capsys, "images", Ledger("explorer.db").runs.keys()[0])
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
        (["export", "small", "--data-dir", "."], "--data-dir is the folder of the 'cifar10' files"),
        (
            ["images", "smal"],
            "hexadecimal digits of its key, or STUDY[:POINT[:SEED]]; did you mean the study 'small'?",
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
    monkeypatch.setattr(retraining, "train_run", forbidden)
    assert message in refused(capsys, *arguments)
    assert {path.name for path in folder.iterdir()} == {"explorer.db"}


@pytest.mark.usefixtures("folder")
def test_a_run_that_is_not_done_says_why(capsys):
    change("update ledger_runs set state = 'failed', reason = 'the loss', accuracy = null where key = ?", key_of(1, 0))
    assert "small, point 1 (0.5), seed 0 has not finished (failed: the loss); finished: seed 1" in refused(
        capsys, "export", "small", "--point", "0.501"
    )
    change("delete from ledger_runs")
    assert "small: no runs have finished" in refused(capsys, "export", "small")
    assert "seed 0 has not finished (missing); no other seed has finished either" in refused(
        capsys, "images", "small:0.5"
    )


@pytest.mark.usefixtures("folder")
def test_keys_that_begin_alike_are_told(capsys):
    change("update ledger_runs set key = 'abcdef' || substr(key, 7)")
    assert "run 'abcdef': 4 keys start with it (abcdef" in refused(capsys, "images", "abcdef")
    assert "unknown run 'abcdefabcdff'" in refused(capsys, "images", "abcdefabcdff")


def test_from_a_storage_that_cannot_be_written_test_images_stay_unread(folder, monkeypatch):
    access = os.access
    monkeypatch.setattr(
        os, "access", lambda path, mode: (mode != os.W_OK or Path(path).name != "explorer.db") and access(path, mode)
    )
    before = (folder / "explorer.db").read_bytes()
    made = explorer.export("small", point="0.25", out="made")
    assert made.test == "test images: left unread, because the storage is read-only"
    assert made.facts["test"] is None
    assert (folder / "explorer.db").read_bytes() == before
