"""Test images of each data set, which are not in its training pool."""

import hashlib
import os
import pickle
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from explorer.data import find_source
from explorer.data.held_out import PROXY_COUNT, PROXY_FIRST, NoTestImages, read_test_images
from explorer.data.proxy import COUNT, make_block, make_pictures
from explorer.errors import ExplorerError

RECORD = 1 + 3 * 32 * 32


def read(name, data_dir=None):
    return read_test_images(find_source(str(name), data_dir))


def test_the_proxy_draws_more_images_of_the_same_kind():
    part = read("proxy")
    assert part.images.shape == (PROXY_COUNT, 32, 32, 3)
    assert (part.images.dtype, part.labels.dtype) == (np.uint8, np.int64)
    assert np.bincount(part.labels).tolist() == [PROXY_COUNT // 10] * 10
    pictures = make_pictures()
    np.testing.assert_array_equal(part.images[500:1000], make_block(pictures, PROXY_FIRST + 1)[0])
    assert COUNT // 500 < PROXY_FIRST  # no block number of the pool, nor the seed of its pictures
    # The same bytes on every machine: recorded test accuracies refer to these images.
    assert hashlib.sha256(part.images.tobytes()).hexdigest() == DIGEST
    seen = {image.tobytes() for number in range(3) for image in make_block(pictures, number)[0]}
    assert not seen & {image.tobytes() for image in part.images}
    assert abs(part.images.mean() - make_block(pictures, 0)[0].mean()) < 2


DIGEST = "815417f82b541e3b45d34f73c51f5fad71649744c366ac681aee9d59818a115d"


@pytest.fixture
def cifar10(tmp_path):
    """A folder of the binary layout whose training batches are all zeros."""
    folder = tmp_path / "cifar-10-batches-bin"
    folder.mkdir()
    for number in range(1, 6):
        with (folder / f"data_batch_{number}.bin").open("wb") as file:
            file.truncate(10_000 * RECORD)
    records = np.random.default_rng(0).integers(0, 256, (10_000, RECORD), np.uint8)
    records[:, 0] = np.arange(10_000) % 10
    records.tofile(folder / "test_batch.bin")
    yield folder, records
    for path in folder.iterdir():
        path.unlink()  # pytest would keep them for three sessions


def check(part, records):
    assert part.images.shape == (10_000, 32, 32, 3)
    assert part.labels.tolist() == records[:, 0].tolist()
    np.testing.assert_array_equal(part.images, records[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1))


def test_cifar_10_has_its_test_batch(cifar10):
    folder, records = cifar10
    check(read("cifar10", folder), records)


def test_the_test_batch_may_be_in_an_archive_or_a_pickle(cifar10, tmp_path):
    folder, records = cifar10
    (tmp_path / "archive").mkdir()
    with tarfile.open(tmp_path / "archive" / "cifar-10-binary.tar.gz", "w:gz", compresslevel=1) as archive:
        archive.add(folder / "test_batch.bin", "cifar-10-batches-bin/test_batch.bin")
    check(read("cifar10", tmp_path / "archive"), records)
    pickled = tmp_path / "cifar-10-batches-py"
    pickled.mkdir()
    for number in range(1, 6):
        (pickled / f"data_batch_{number}").touch()
    batch = {"data": records[:, 1:], "labels": records[:, 0].tolist()}
    (pickled / "test_batch").write_bytes(pickle.dumps(batch, protocol=2))
    check(read("cifar10", pickled), records)


def test_a_damaged_test_batch_is_an_error_and_a_missing_one_means_no_test_images(cifar10):
    folder, records = cifar10
    records[0, 0] = 1
    records.tofile(folder / "test_batch.bin")
    with pytest.raises(
        ExplorerError, match=r"the same number of test images per class, but .*test_batch\.bin has 999 to 1001"
    ):
        read("cifar10", folder)
    records[:5].tofile(folder / "test_batch.bin")
    with pytest.raises(ExplorerError, match="a CIFAR-10 batch has 30,730,000 bytes"):
        read("cifar10", folder)
    (folder / "test_batch.bin").unlink()
    with pytest.raises(NoTestImages, match=r"cifar10 has no test images here: .*test_batch\.bin is missing"):
        read("cifar10", folder)


def fill(folder, classes=("cat", "dog"), count=20, start=0):
    for shade, name in enumerate(classes):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for index in range(start, start + count):
            Image.new("RGB", (8, 8), (100 * shade, index, 0)).save(folder / name / f"{index:03d}.png")


def colours(images):
    return [tuple(colour) for colour in images[:, 0, 0, :2].tolist()]


def test_without_a_split_the_test_images_are_those_left_out_of_the_pool(tmp_path):
    fill(tmp_path / "pets", count=30)
    source = find_source(str(tmp_path / "pets"))
    part, pool = read_test_images(source), source.prepare()
    assert np.bincount(part.labels).tolist() == [3, 3]
    assert not set(colours(part.images)) & set(colours(pool.images))
    assert len({*colours(part.images), *colours(pool.images)}) == 60
    assert [red // 100 for red, _ in colours(part.images)] == part.labels.tolist()


def test_a_folder_with_a_split_has_its_own_test_images(tmp_path):
    fill(tmp_path / "pets" / "train")
    fill(tmp_path / "pets" / "test", classes=("cat", "dog"), count=4, start=100)
    part = read(tmp_path / "pets")
    assert colours(part.images) == [(100 * label, 100 + index) for label in (0, 1) for index in range(4)]
    assert part.labels.tolist() == [0] * 4 + [1] * 4
    assert part.images.shape[1:] == (32, 32, 3)  # as in the pool
    (tmp_path / "pets" / "test" / "eel").mkdir()
    with pytest.raises(ExplorerError, match=r"same classes as .*train, which has no 'eel'"):
        read(tmp_path / "pets")


def test_a_folder_may_have_no_test_images(tmp_path):
    fill(tmp_path / "few", count=9)
    with pytest.raises(NoTestImages, match="few has no test images: a tenth of each class is less than one image"):
        read(tmp_path / "few")
    fill(tmp_path / "split" / "train")
    with pytest.raises(NoTestImages, match=r"split has no test images: .*split has no test folder"):
        read(tmp_path / "split")
    (tmp_path / "split" / "test" / "dog").mkdir(parents=True)
    with pytest.raises(NoTestImages):
        read(tmp_path / "split")


def test_an_unknown_source_has_no_test_images():
    class Other:
        name = "other"

    with pytest.raises(NoTestImages, match="other has no test images"):
        read_test_images(Other())


@pytest.mark.skipif("EXPLORER_CIFAR10" not in os.environ, reason="EXPLORER_CIFAR10 names no folder with CIFAR-10")
def test_the_real_test_images_are_read():
    part = read("cifar10", Path(os.environ["EXPLORER_CIFAR10"]))
    assert np.bincount(part.labels).tolist() == [1000] * 10
    np.testing.assert_allclose(part.images.mean(axis=(0, 1, 2)) / 255, [0.4942, 0.4851, 0.4504], atol=0.005)
