import subprocess
import sys

import numpy as np
import pytest
import torch

from explorer.errors import ExplorerError
from explorer.exporting import programs as export
from explorer.networks.layers import Conv, Shape
from explorer.networks.network import Network, chain
from explorer.spaces import find_space
from explorer.training import trainer

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


def test_onnx_gives_the_same_logits_for_any_batch(network, module, tmp_path, capfd):
    onnxruntime = pytest.importorskip("onnxruntime")
    export.save_onnx(module, network.input, tmp_path / "network.onnx")
    assert capfd.readouterr() == ("", "")
    assert [path.name for path in tmp_path.iterdir()] == ["network.onnx"]
    session = onnxruntime.InferenceSession(tmp_path / "network.onnx", providers=["CPUExecutionProvider"])
    for count in (1, 3):
        images = some_images(network, count)
        (found,) = session.run(["logits"], {"images": images.numpy()})
        np.testing.assert_allclose(found, logits(module, images), rtol=1e-3, atol=1e-4)


LOAD = """
import sys
sys.modules["explorer"] = None  # importing it raises
import numpy as np, torch
model = torch.export.load("network.pt2").module()
for count in (1, 3):
    np.save(f"logits{count}.npy", model(torch.from_numpy(np.load(f"images{count}.npy"))).detach().numpy())
"""


def test_a_program_loads_where_the_explorer_is_not(network, module, tmp_path):
    export.save_torch(module, network.input, tmp_path / "network.pt2")
    assert [path.name for path in tmp_path.iterdir()] == ["network.pt2"]
    for count in (1, 3):
        np.save(tmp_path / f"images{count}.npy", some_images(network, count).numpy())
    subprocess.run([sys.executable, "-c", LOAD], cwd=tmp_path, check=True)
    for count in (1, 3):
        found = np.load(tmp_path / f"logits{count}.npy")
        np.testing.assert_allclose(found, logits(module, some_images(network, count)), rtol=1e-3, atol=1e-4)


def test_files_name_no_folder_of_this_machine(network, module, tmp_path):
    export.save_onnx(module, network.input, tmp_path / "network.onnx")
    export.save_torch(module, network.input, tmp_path / "network.pt2")
    for path in tmp_path.iterdir():
        for folder in {sys.prefix, export.__file__.removesuffix("/explorer/export.py")}:
            assert folder.encode() not in path.read_bytes(), path


def test_untrained_is_what_a_run_starts_from_and_leaves_the_random_state(network):
    state = torch.random.get_rng_state()
    first, again = trainer.untrained(network), trainer.untrained(network)
    assert torch.equal(state, torch.random.get_rng_state())
    assert not first.training
    assert torch.equal(next(first.parameters()), next(again.parameters()))


def test_a_file_is_replaced_whole_or_not_at_all(network, module, tmp_path, monkeypatch):
    path = tmp_path / "network.pt2"
    path.write_text("what stood there")
    with monkeypatch.context() as patch:
        patch.setattr("pathlib.Path.replace", _full)
        with pytest.raises(ExplorerError, match=r"network\.pt2: cannot be written: No space left on device"):
            export.save_torch(module, network.input, path)
    assert path.read_text() == "what stood there"
    export.save_torch(module, network.input, path)
    assert path.stat().st_size > 1000
    assert list(tmp_path.iterdir()) == [path]


def _full(*_):
    raise OSError(28, "No space left on device")


def test_what_cannot_be_written_is_said_before_any_work(network, tmp_path, monkeypatch):
    with pytest.raises(ExplorerError, match=r"no/x\.pt2: cannot be written: folder .*no does not exist"):
        export.check_file(tmp_path / "no" / "x.pt2")
    with pytest.raises(ExplorerError, match="it is a folder; add a file name"):
        export.check_file(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr("os.access", lambda *_: False)
        with pytest.raises(ExplorerError, match="Permission denied"):
            export.check_file(tmp_path / "x.pt2")
    monkeypatch.setattr(export, "find_spec", lambda name: None if name == "onnxscript" else name)
    with pytest.raises(ExplorerError, match=r'ONNX needs onnxscript, .*pip install "cnn-design-explorer\[onnx\]"'):
        export.check_onnx(tmp_path / "x.onnx", network)


def test_a_model_that_onnx_cannot_hold_is_refused(tmp_path):
    large = Network(Shape(3, 1), chain(wide=Conv(30_000, 1), wider=Conv(30_000, 1)))
    with pytest.raises(ExplorerError, match="an ONNX file holds at most 2 GiB"):
        export.check_onnx(tmp_path / "x.onnx", large)
