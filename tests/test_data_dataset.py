"""Stored data sets: content, split, cache."""

import os
import pickle
import shutil

import numpy as np
import pytest

from explorer.data.dataset import cache_folder, cached, open_dataset, store
from explorer.errors import ExplorerError


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def blocks(count=40, size=4, step=16, seed=0):
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (count, size, size, 3), np.uint8)
    labels = np.arange(count, dtype=np.int64) % 3
    return [(images[start : start + step], labels[start : start + step]) for start in range(0, count, step)]


EXPECTED = [11, 3, 20, 13, 2, 21, 32, 15, 1, 18]  # validation part of 40 images with seed 0


def make(key="key", name="toy", classes=("a", "b", "c"), **changes):
    return store(key, name, classes, (40, 4), blocks(**changes))


def recall(key="key"):
    """What is stored, or None if it would be made."""
    return cached(key, lambda: None)


def test_a_stored_data_set_opens_with_the_same_content():
    dataset = make()
    again = open_dataset(dataset.folder)
    images, labels = (np.concatenate(parts) for parts in zip(*blocks(), strict=True))
    assert (again.name, again.classes, again.fingerprint) == ("toy", ("a", "b", "c"), dataset.fingerprint)
    np.testing.assert_array_equal(again.images, images)
    np.testing.assert_array_equal(again.labels, labels)
    assert (again.images.dtype, again.labels.dtype, again.size) == (np.uint8, np.int64, 4)
    assert cache_folder() in dataset.folder.parents


def test_what_is_stored_cannot_be_written_to():
    dataset = make()
    with pytest.raises(ValueError, match="read-only"):
        dataset.labels[0] = 0
    before = (dataset.folder / "images.npy").read_bytes()
    dataset.images[0] = ~dataset.images[0]
    dataset.images.flush()
    assert (dataset.folder / "images.npy").read_bytes() == before
    assert not np.array_equal(open_dataset(dataset.folder).images[0], dataset.images[0])


def test_a_pickle_contains_the_folder_and_not_the_images():
    dataset = make()
    sent = pickle.dumps(dataset)
    assert len(sent) < 1_000
    received = pickle.loads(sent)  # noqa: S301 -- our own bytes
    assert received.fingerprint == dataset.fingerprint
    assert isinstance(received.images, np.memmap)


def test_the_fingerprint_depends_on_the_content_and_not_on_the_name_or_the_blocks():
    reference = make().fingerprint
    assert make(name="other").fingerprint == reference
    assert make(step=7).fingerprint == reference
    assert make(seed=1).fingerprint != reference
    assert make(classes=("a", "b", "d")).fingerprint != reference
    (images, labels), *rest = blocks()
    assert store("key", "toy", ("a", "b", "c"), (40, 4), [(images, labels[::-1]), *rest]).fingerprint != reference


def test_the_same_content_is_kept_once_and_nothing_temporary_stays():
    first, second = make(key="one"), make(key="two")
    assert first.folder == second.folder
    assert [path.name for path in (cache_folder() / "datasets").iterdir()] == [first.folder.name]


def test_recall_finds_complete_data_sets_by_key():
    dataset = make()
    found = recall("key")
    assert found is not None
    assert found.fingerprint == dataset.fingerprint
    assert recall("another key") is None
    with (dataset.folder / "images.npy").open("r+b") as file:
        file.truncate(500)
    assert cached("key", make).images.shape == (40, 4, 4, 3)
    assert recall("key") is not None


NOTE = "the stored copy of toy was damaged and has been rebuilt from its source"


def damaged(path, place, bit):
    content = bytearray(path.read_bytes())
    content[place] ^= 1 << bit
    path.write_bytes(content)


@pytest.mark.parametrize("name", ["images.npy", "labels.npy", "meta.json"])
def test_any_flipped_bit_is_found_and_repaired(name):
    """In every byte of the headers, and in many of the images and labels."""
    expected = make()
    path = expected.folder / name
    whole = path.read_bytes()
    for place in [*range(128), *range(128, len(whole), 97), len(whole) - 1]:
        if place < len(whole):
            damaged(path, place, place % 8)
            found = cached("key", make)
            # A name or white space of meta.json is not what runs depend on.
            assert name == "meta.json" or found.notes == (f"{NOTE} ({expected.folder})",), place
            assert (found.fingerprint, found.classes) == (expected.fingerprint, expected.classes)
            np.testing.assert_array_equal(found.images, np.concatenate([images for images, _ in blocks()]))
            np.testing.assert_array_equal(found.labels, np.arange(40) % 3)
            path.write_bytes(whole)


@pytest.mark.parametrize("name", ["images.npy", "labels.npy", "meta.json"])
@pytest.mark.parametrize("content", [b"", b"\0" * 4000, b"[]", b'{"name": 1}', None])
def test_any_damaged_or_missing_file_is_repaired(name, content):
    folder = make().folder
    (folder / name).unlink() if content is None else (folder / name).write_bytes(content)
    assert cached("key", make).notes == (f"{NOTE} ({folder})",)
    assert cached("key", make).notes == ()


def test_other_images_under_the_same_name_are_found():
    """Valid in themselves, so only the fingerprint in the folder's name tells them apart."""
    first = make()
    second = make(key="other", seed=1)
    for name in ("images.npy", "labels.npy", "meta.json"):
        (first.folder / name).write_bytes((second.folder / name).read_bytes())
    assert cached("key", make).fingerprint == first.fingerprint


@pytest.mark.parametrize("content", [b"", b"nowhere", b"..", b"../..", b"\xff\xfe", b"\0", b"/"])
def test_a_damaged_pointer_is_written_again(content):
    dataset = make()
    (pointer,) = (cache_folder() / "sources").iterdir()
    pointer.write_bytes(content)
    assert cached("key", make).fingerprint == dataset.fingerprint
    assert recall() is not None


def test_what_cannot_be_made_again_is_an_error():
    folder = make().folder
    (folder / "images.npy").unlink()

    def refuse():
        raise ExplorerError("no network")

    with pytest.raises(ExplorerError, match="no network"):
        cached("key", refuse)


def test_a_deleted_cache_is_made_again():
    make()
    shutil.rmtree(cache_folder())
    assert cached("key", make).notes == ()


@pytest.mark.parametrize("name", ["images.npy", "labels.npy", "meta.json"])
def test_a_missing_or_damaged_file_is_named_with_its_folder(name):
    dataset = make()
    (dataset.folder / name).write_bytes(b"")
    with pytest.raises(ExplorerError, match=dataset.folder.name):
        open_dataset(dataset.folder)
    (dataset.folder / name).unlink()
    with pytest.raises(ExplorerError, match=name):
        open_dataset(dataset.folder)


def test_an_interruption_leaves_nothing_behind():
    def interrupted():
        yield blocks()[0]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store("key", "toy", ("a", "b", "c"), (40, 4), interrupted())
    assert list((cache_folder() / "datasets").iterdir()) == []
    assert recall("key") is None


@pytest.mark.parametrize("shape", [(41, 4), (40, 5)])
def test_blocks_must_add_up_to_the_announced_shape(shape):
    with pytest.raises(ValueError, match="toy"):
        store("key", "toy", ("a", "b", "c"), shape, blocks())


def test_the_error_for_an_unwritable_cache_says_how_to_move_it(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(ExplorerError, match="XDG_CACHE_HOME"):
        make()


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full to simulate a full disk")  # noqa: PTH110
def test_a_full_disk_is_an_error_too(monkeypatch):
    def write(*_):
        with open("/dev/full", "wb", buffering=0) as file:  # noqa: PTH123
            file.write(b"x")

    monkeypatch.setattr("explorer.data.dataset._write", write)
    with pytest.raises(ExplorerError, match="No space left"):
        make()


@pytest.mark.parametrize(("count", "validation"), [(4, 1), (40, 10), (19_999, 4_999), (20_000, 5_000), (50_000, 5_000)])
def test_the_split_is_a_partition_with_at_most_5000_validation_images(count, validation):
    labels = np.zeros(count, np.int64)
    dataset = store("key", "toy", ("a", "b"), (count, 1), [(np.zeros((count, 1, 1, 3), np.uint8), labels)])
    split = dataset.split()
    assert len(split.validation) == validation
    assert sorted([*split.train, *split.validation]) == list(range(count))
    assert split.train.dtype == split.validation.dtype == np.int64


def test_the_split_depends_on_the_seed_alone():
    dataset = make()
    # NumPy guarantees the PCG64 stream; a change here would silently change every measurement.
    assert dataset.split().validation.tolist() == EXPECTED
    np.testing.assert_array_equal(dataset.split(0).train, dataset.split().train)
    assert dataset.split(1).validation.tolist() != EXPECTED
    assert dataset.split().train.tolist() != sorted(dataset.split().train.tolist())
