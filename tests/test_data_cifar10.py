"""CIFAR-10 from files in the official layouts, made here with random pixels, and from a local server."""

import contextlib
import functools
import hashlib
import http.server
import os
import pickle
import shutil
import struct
import sys
import tarfile
import threading
from pathlib import Path

import numpy as np
import pytest

from explorer.data import find_source
from explorer.data.cifar10 import CLASSES, Cifar10Source, Download
from explorer.data.dataset import cache_folder
from explorer.errors import ExplorerError

BINARY, PYTHON = "cifar-10-batches-bin", "cifar-10-batches-py"


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    yield
    shutil.rmtree(tmp_path)  # 150 MB for each data set, which pytest would keep for three sessions


def batch(number):
    """Random pixels (10000, 3072) that compress well, and labels, a thousand of each class."""
    rng = np.random.default_rng(number)
    pixels = np.repeat(rng.integers(0, 256, (10_000, 48), np.uint8), 64, axis=1)
    return pixels, rng.permutation(np.arange(10_000) % 10).astype(np.uint8)


def python2_pickle(pixels, labels):
    """The bytes that Python 2 with NumPy 1 wrote, opcode by opcode, as in the official files."""

    def text(value):
        return b"U" + bytes([len(value)]) + value

    array = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85" + text(b"b") + b"\x87R"
    shape = b"M" + struct.pack("<H", pixels.shape[0]) + b"M" + struct.pack("<H", pixels.shape[1]) + b"\x86"
    dtype = b"cnumpy\ndtype\n" + text(b"u1") + b"K\x00K\x01\x87R(K\x03" + text(b"|")
    dtype += b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    content = b"T" + struct.pack("<i", pixels.nbytes) + pixels.tobytes()
    array += b"(K\x01" + shape + dtype + b"\x89" + content + b"tb"
    numbers = b"](" + b"".join(b"K" + bytes([label]) for label in labels.tolist()) + b"e"
    name = text(b"batch_label") + text(b"training batch")
    return b"\x80\x02}(" + name + text(b"labels") + numbers + text(b"data") + array + b"u."


@pytest.fixture(scope="module")
def official(tmp_path_factory):
    """A folder with both unpacked layouts; 310 MB, deleted after the tests of this file."""
    folder = tmp_path_factory.mktemp("official")
    (folder / BINARY).mkdir()
    (folder / PYTHON).mkdir()
    for number in range(1, 6):
        pixels, labels = batch(number)
        np.hstack([labels[:, None], pixels]).tofile(folder / BINARY / f"data_batch_{number}.bin")
        (folder / PYTHON / f"data_batch_{number}").write_bytes(python2_pickle(pixels, labels))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def archives(official):
    """A folder with an archive of each layout, members in reverse order."""
    folder = official / "archives"
    folder.mkdir()
    for layout, name in ((BINARY, "cifar-10-binary.tar.gz"), (PYTHON, "cifar-10-python.tar.gz")):
        with tarfile.open(folder / name, "w:gz", compresslevel=1) as archive:
            for path in sorted((official / layout).iterdir(), reverse=True):
                archive.add(path, f"{layout}/{path.name}")
    return folder


@pytest.fixture
def copy(official, tmp_path):
    """Make a folder of links to the files of one layout, some replaced by other content."""

    def make(layout, **replaced):
        folder = tmp_path / layout
        folder.mkdir()
        for path in (official / layout).iterdir():
            content = replaced.get(path.stem, path)
            if isinstance(content, Path):
                (folder / path.name).symlink_to(content)
            elif content is not None:
                (folder / path.name).write_bytes(content)
        return folder

    return make


@pytest.fixture
def serve():
    """Start a local server for a folder and record its requests."""
    with contextlib.ExitStack() as stack:

        def start(folder):
            requests = []

            class Handler(http.server.SimpleHTTPRequestHandler):
                def log_message(self, *arguments):
                    requests.append(arguments)

            server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=folder))
            thread = threading.Thread(target=server.serve_forever)
            thread.start()
            stack.callback(thread.join)
            stack.callback(server.server_close)
            stack.callback(server.shutdown)
            return f"http://127.0.0.1:{server.server_port}/cifar-10-binary.tar.gz", requests

        yield start


def prepare(folder):
    return find_source("cifar10", folder).prepare()


def leftovers():
    return sorted(path.name for path in cache_folder().rglob("*") if path.is_file())


def test_the_binary_layout_is_read_as_published(official):
    dataset = prepare(official)
    assert (dataset.name, dataset.classes) == ("cifar10", CLASSES)
    assert dataset.images.shape == (50_000, 32, 32, 3)
    assert np.bincount(dataset.labels).tolist() == [5_000] * 10
    pixels, labels = batch(2)
    np.testing.assert_array_equal(dataset.labels[10_000:20_000], labels)
    for channel in range(3):  # planes of 1,024 bytes, rows first
        plane = pixels[7, 1024 * channel : 1024 * (channel + 1)].reshape(32, 32)
        np.testing.assert_array_equal(dataset.images[10_007, :, :, channel], plane)


def test_every_layout_gives_the_same_data_set(official, archives, tmp_path):
    reference = prepare(official).fingerprint
    assert prepare(official / BINARY).fingerprint == reference
    assert prepare(official / PYTHON).fingerprint == reference
    assert prepare(archives).fingerprint == reference
    (tmp_path / "only").mkdir()
    (tmp_path / "only" / "cifar-10-python.tar.gz").symlink_to(archives / "cifar-10-python.tar.gz")
    assert prepare(tmp_path / "only").fingerprint == reference
    assert len(list((cache_folder() / "datasets").iterdir())) == 1


def test_files_are_read_only_once(official, monkeypatch):
    first = prepare(official)
    monkeypatch.setattr("explorer.data.cifar10.Files.blocks", None)
    assert prepare(official).folder == first.folder


def test_pickles_written_by_python_3_are_read_too(official, copy):
    pixels, labels = batch(1)
    for protocol in (2, 4):
        content = pickle.dumps({b"data": pixels, "labels": labels.tolist()}, protocol=protocol)
        folder = copy(PYTHON, data_batch_1=content)
        assert prepare(folder).fingerprint == prepare(official).fingerprint
        shutil.rmtree(folder)


class Payload:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path,)


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_a_malicious_pickle_is_refused_without_running_it(copy, tmp_path, protocol):
    content = pickle.dumps({"data": Payload(str(tmp_path / "ran")), "labels": []}, protocol=protocol)
    folder = copy(PYTHON, data_batch_1=content)
    with pytest.raises(ExplorerError, match=r"data_batch_1.*mkdir"):
        prepare(folder)
    assert not (tmp_path / "ran").exists()
    assert leftovers() == []


GLOBALS = [b"cbuiltins\neval\n", b"cnumpy\nfromfile\n", b"cnumpy.core.multiarray\nscalar\n", b"cos\nsystem\n"]


@pytest.mark.parametrize("name", GLOBALS)
def test_only_globals_that_arrays_need_are_accepted(copy, name):
    folder = copy(PYTHON, data_batch_1=b"\x80\x02" + name + b"U\x01x\x85R.")
    with pytest.raises(ExplorerError, match="pickle of arrays and nothing else"):
        prepare(folder)


# Content of the pickle, made from valid pixels and labels, and a part of the error message.
WRONG = {
    "objects": (lambda *_: np.array([None]), "pickle of arrays"),
    "list": (lambda _, labels: labels, "contains a list"),
    "keys": (lambda pixels, labels: {"data": pixels, "fine_labels": labels}, "lacks ['labels']"),
    "shape": (lambda pixels, labels: {"data": pixels[:, 3:], "labels": labels}, "(10000, 3069)"),
    "no array": (lambda _, labels: {"data": "pixels", "labels": labels}, "has str"),
    "few labels": (lambda pixels, labels: {"data": pixels, "labels": labels[1:]}, "10,000 integers"),
    "text labels": (lambda pixels, labels: {"data": pixels, "labels": ["1", *labels[1:]]}, "10,000 integers"),
    "large label": (lambda pixels, labels: {"data": pixels, "labels": [*labels[:9], 10, *labels[10:]]}, "record 9 "),
    "negative label": (lambda pixels, labels: {"data": pixels, "labels": [-1, *labels[1:]]}, "record 0 "),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_malformed_pickle_is_named_with_the_rule(copy, case):
    pixels, labels = batch(1)
    change, message = WRONG[case]
    folder = copy(PYTHON, data_batch_1=pickle.dumps(change(pixels, labels.tolist())))
    with pytest.raises(ExplorerError, match=r"data_batch_1\b") as caught:
        prepare(folder)
    assert message in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"no pickle", b"\x80\x02}(U\x04data"], ids=["empty", "text", "truncated"])
def test_a_damaged_pickle_is_named(copy, content):
    with pytest.raises(ExplorerError, match=r"pickle of arrays.*data_batch_1 is not"):
        prepare(copy(PYTHON, data_batch_1=content))


def test_a_missing_batch_is_found_before_anything_is_read(copy):
    folder = copy(BINARY, data_batch_4=None)
    with pytest.raises(ExplorerError, match=r"data_batch_4\.bin is missing"):
        find_source("cifar10", folder)


def test_a_truncated_batch_is_found_before_anything_is_read(copy):
    folder = copy(BINARY, data_batch_3=b"123")
    with pytest.raises(ExplorerError, match=r"30,730,000 bytes.*data_batch_3\.bin has 3"):
        find_source("cifar10", folder)


def test_a_label_above_nine_is_named_with_its_record(copy, official):
    content = bytearray((official / BINARY / "data_batch_1.bin").read_bytes())
    content[3073 * 17] = 200
    with pytest.raises(ExplorerError, match=r"record 17 of .*data_batch_1\.bin has 200"):
        prepare(copy(BINARY, data_batch_1=bytes(content)))


def test_a_changed_label_is_detected_by_the_class_counts(copy, official):
    content = bytearray((official / BINARY / "data_batch_5.bin").read_bytes())
    content[0] = (content[0] + 1) % 10
    with pytest.raises(ExplorerError, match=r"5,000 training images of each class.*has (4,999|5,001)"):
        prepare(copy(BINARY, data_batch_5=bytes(content)))
    assert leftovers() == []


def test_a_folder_without_the_files_is_an_error_and_not_a_download(tmp_path):
    with pytest.raises(ExplorerError, match=r"--data-dir must contain cifar-10-batches-bin.*contains none"):
        find_source("cifar10", tmp_path)
    with pytest.raises(ExplorerError, match="is not a folder"):
        find_source("cifar10", tmp_path / "missing")


def test_a_damaged_archive_is_named(archives, tmp_path):
    path = tmp_path / "cifar-10-binary.tar.gz"
    path.write_bytes((archives / path.name).read_bytes()[:1_000_000])
    with pytest.raises(ExplorerError, match=r"cifar-10-binary\.tar\.gz is not"):
        prepare(tmp_path)
    path.write_bytes(b"no archive")
    with pytest.raises(ExplorerError, match=r"cifar-10-binary\.tar\.gz is not"):
        prepare(tmp_path)


def test_an_archive_is_read_without_following_links_or_unpacking(tmp_path, official):
    path = tmp_path / "cifar-10-binary.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        link = tarfile.TarInfo("cifar-10-batches-bin/data_batch_1.bin")
        link.type = tarfile.SYMTYPE
        link.linkname = str(official / BINARY / "data_batch_1.bin")
        archive.addfile(link)
    with pytest.raises(ExplorerError, match=r"does not contain data_batch_1\.bin"):
        prepare(tmp_path)


def md5(path):
    return f"md5:{hashlib.md5(path.read_bytes()).hexdigest()}"  # noqa: S324 -- the published checksum is an MD5


def test_the_archive_is_downloaded_once_and_checked(archives, official, serve, capfd):
    url, requests = serve(archives)
    source = Cifar10Source(None, Download(url, md5(archives / "cifar-10-binary.tar.gz")))
    assert source.prepare().fingerprint == prepare(official).fingerprint
    assert len(requests) == 1
    source.prepare()
    assert len(requests) == 1
    assert capfd.readouterr() == ("", "")
    # find_source uses the archive in the cache.
    assert find_source("cifar10").prepare().fingerprint == prepare(official).fingerprint


def test_a_download_shows_its_progress(archives, serve, capfd, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    url, _ = serve(archives)
    Cifar10Source(None, Download(url, md5(archives / "cifar-10-binary.tar.gz"))).prepare()
    assert "100%" in capfd.readouterr().err


def test_a_wrong_checksum_leaves_nothing_behind(archives, serve):
    url, _ = serve(archives)
    with pytest.raises(ExplorerError, match="--data-dir"):
        Cifar10Source(None, Download(url, "md5:" + 32 * "0")).prepare()
    assert leftovers() == []


def test_a_failed_download_says_what_to_do(tmp_path, serve):
    url, _ = serve(tmp_path)  # answers 404
    closed = "http://127.0.0.1:9/cifar-10-binary.tar.gz"
    for address in (url, closed):
        with pytest.raises(ExplorerError, match="--data-dir") as caught:
            Cifar10Source(None, Download(address)).prepare()
        assert "\n" not in str(caught.value)
    assert leftovers() == []


def test_an_unwritable_cache_is_not_reported_as_a_network_error(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(ExplorerError, match="XDG_CACHE_HOME"):
        Cifar10Source(None, Download("http://127.0.0.1:9/x")).prepare()


def test_finding_the_source_downloads_nothing():
    source = find_source("cifar10")
    assert (source.name, source.class_count) == ("cifar10", 10)
    assert leftovers() == []


@pytest.mark.skipif("EXPLORER_CIFAR10" not in os.environ, reason="EXPLORER_CIFAR10 names no folder with CIFAR-10")
def test_the_real_images_are_read():
    dataset = prepare(Path(os.environ["EXPLORER_CIFAR10"]))
    means = dataset.images[::10].mean(axis=(0, 1, 2)) / 255
    np.testing.assert_allclose(means, [0.4914, 0.4822, 0.4465], atol=0.01)  # the published channel means
