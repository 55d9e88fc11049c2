"""Folders of images as data sets."""

import numpy as np
import pytest
from pictures import fill, paint
from PIL import Image

from explorer.data import find_source
from explorer.errors import ExplorerError


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def root(tmp_path):
    return tmp_path / "pets"


def prepare(root):
    return find_source(str(root)).prepare()


def test_classes_are_the_sorted_sub_folders_and_a_tenth_is_set_aside(root):
    fill(root, ("dog", "cat", "ant"))
    source = find_source(str(root))
    assert (source.name, source.class_count) == ("pets", 3)
    dataset = source.prepare()
    assert (dataset.name, dataset.classes) == ("pets", ("ant", "cat", "dog"))
    assert dataset.images.shape == (54, 32, 32, 3)
    assert np.bincount(dataset.labels).tolist() == [18] * 3
    np.testing.assert_array_equal(dataset.images[-18:, 0, 0, 0], 0)  # "dog" was painted first
    names = dataset.images[:18, 0, 0, 1].tolist()
    assert names == sorted(names)


def test_images_added_later_hardly_change_the_split(root):
    fill(root, count=30)
    before = set(prepare(root).images[:, 0, 0, 1].tolist())
    fill(root, count=36)  # still three tenths of 30, rounded down
    after = set(prepare(root).images[:, 0, 0, 1].tolist())
    assert len(before - after) <= 1


@pytest.mark.parametrize("other", ["test", None])
def test_all_of_a_train_folder_is_used_and_other_splits_are_not_read(root, other):
    fill(root / "train")
    if other:
        paint(root / other / "cat" / "broken.png")
        (root / other / "cat" / "broken.png").write_bytes(b"")
    assert len(prepare(root).labels) == 40


def test_images_may_lie_deeper_and_other_files_are_ignored(root):
    fill(root, count=5)
    paint(root / "cat" / "images" / "deep.jpg")
    paint(root / "cat" / ".hidden.png")
    paint(root / "cat" / ".thumbnails" / "small.png")
    (root / "cat" / "notes.txt").write_text("no image")
    (root / "cat" / "paper.pdf").write_text("no image")
    (root / ".git").mkdir()
    (root / "README.md").touch()
    dataset = prepare(root)
    assert dataset.classes == ("cat", "dog")
    assert np.bincount(dataset.labels).tolist() == [6, 5]


@pytest.mark.parametrize(("width", "height"), [(96, 32), (32, 96), (300, 100), (15, 5)])
def test_the_central_square_is_taken(root, width, height):
    fill(root, count=3)
    side = min(width, height)
    image = Image.new("RGB", (width, height), (255, 0, 0))
    image.paste((0, 255, 0), ((width - side) // 2, (height - side) // 2, (width + side) // 2, (height + side) // 2))
    image.save(root / "cat" / "x.png")
    assert (prepare(root).images[3] == (0, 255, 0)).all()


def test_shrinking_averages(root):
    fill(root, count=3)
    checks = np.indices((64, 64)).sum(axis=0) % 2 * 255
    Image.fromarray(checks.astype(np.uint8)).save(root / "cat" / "x.png")
    assert set(prepare(root).images[3].ravel().tolist()) <= {127, 128}


def test_images_are_decoded_again_only_if_a_file_changed(root, monkeypatch):
    fill(root)
    first = prepare(root)
    with monkeypatch.context() as patch:
        patch.setattr("explorer.data.folder.read_square", None)
        assert prepare(root).folder == first.folder
    paint(root / "dog" / "001.png", (1, 2, 3), size=(9, 9))
    assert prepare(root).fingerprint != first.fingerprint


def test_a_broken_image_is_named(root):
    fill(root / "train")  # so that no image is set aside
    target = root / "train" / "dog" / "003.png"
    target.write_bytes(target.read_bytes()[:40])
    with pytest.raises(ExplorerError, match=r"dog/003\.png"):
        prepare(root)


def test_class_folders_are_needed(root):
    root.mkdir()
    with pytest.raises(ExplorerError, match=r"at least 2 classes.* has 0"):
        find_source(str(root))
    paint(root / "cat" / "x.png")
    with pytest.raises(ExplorerError, match=r"at least 2 classes.* has 1"):
        find_source(str(root))


def test_split_folders_are_not_mistaken_for_classes(root):
    paint(root / "train" / "x.png")
    paint(root / "test" / "x.png")
    with pytest.raises(ExplorerError, match="train has 0"):
        find_source(str(root))


def test_a_class_without_images_is_named(root):
    fill(root)
    (root / "eel").mkdir()
    with pytest.raises(ExplorerError, match="eel has none"):
        prepare(root)


def test_a_pool_too_small_for_validation_is_refused(root):
    fill(root, count=1)
    with pytest.raises(ExplorerError, match=r"at least 4 training images.* has 2"):
        prepare(root)


def test_photos_are_rotated_by_their_tag_and_16_bit_images_are_scaled(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for number in range(4):
            Image.new("RGB", (8, 8)).save(tmp_path / name / f"{number}.png")
    sideways = np.zeros((32, 32, 3), np.uint8)
    sideways[:, :16] = 200  # left half bright; the tag says that the left edge is the top
    tag = Image.Exif()
    tag[0x0112] = 6
    Image.fromarray(sideways).save(tmp_path / "a" / "0.png", exif=tag)
    ramp = np.linspace(0, 65535, 32 * 32).astype(np.uint16).reshape(32, 32)
    Image.fromarray(ramp).save(tmp_path / "a" / "1.png")
    images = find_source(str(tmp_path)).prepare().images
    assert any(np.array_equal(image[..., 0], ramp >> 8) for image in images)
    assert any((image[:16] == 200).all() and (image[16:] == 0).all() for image in images)


def test_a_broken_link_is_named(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for number in range(4):
            Image.new("RGB", (8, 8)).save(tmp_path / name / f"{number}.png")
    (tmp_path / "a" / "gone.png").symlink_to(tmp_path / "nowhere.png")
    with pytest.raises(ExplorerError, match=r"gone\.png is not: No such file"):
        find_source(str(tmp_path)).prepare()
