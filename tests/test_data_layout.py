"""Which folders are splits and which are classes: images for testing are never trained on."""

import numpy as np
import pytest
from pictures import fill, paint

from explorer.data import find_source
from explorer.data.held_out import read_test_images
from explorer.data.layout import split_of
from explorer.errors import ExplorerError


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def root(tmp_path):
    return tmp_path / "pets"


def numbers(images):
    """The green values, which tell the images of `fill` apart."""
    return set(images[:, 0, 0, 1].tolist())


def refusal(root):
    with pytest.raises(ExplorerError) as error:
        find_source(str(root)).prepare()
    assert "\n" not in str(error.value)
    return str(error.value)


def test_the_folder_that_was_named_decides(tmp_path):
    """`v2/train` is a link to `../v1/train`, and both have test images of their own."""
    fill(tmp_path / "v1" / "train")
    fill(tmp_path / "v1" / "test", count=3, start=100)
    fill(tmp_path / "v2" / "test", count=3, start=200)
    (tmp_path / "v2" / "train").symlink_to("../v1/train")
    source = find_source(str(tmp_path / "v2"))
    assert source.name == "v2"
    assert numbers(read_test_images(source).images) == {200, 201, 202}
    assert numbers(source.prepare().images) == set(range(20))
    assert numbers(read_test_images(find_source(str(tmp_path / "v1"))).images) == {100, 101, 102}


def test_a_linked_data_set_has_the_name_of_the_link(tmp_path, monkeypatch):
    fill(tmp_path / "stored" / "a1b2" / "train")
    fill(tmp_path / "stored" / "a1b2" / "test", count=3, start=100)
    (tmp_path / "pets").symlink_to("stored/a1b2")
    source = find_source(str(tmp_path / "pets"))
    assert source.name == "pets"
    assert numbers(read_test_images(source).images) == {100, 101, 102}
    monkeypatch.chdir(tmp_path / "stored" / "a1b2")
    assert find_source("./").name == "a1b2"
    assert find_source("train/..").name == "a1b2"


def test_a_link_to_other_images_is_read_again(tmp_path):
    for name, start in (("one", 0), ("two", 50)):
        fill(tmp_path / name, start=start)
    (tmp_path / "pets").symlink_to("one")
    assert numbers(find_source(str(tmp_path / "pets")).prepare().images) <= set(range(20))
    (tmp_path / "pets").unlink()
    (tmp_path / "pets").symlink_to("two")
    assert numbers(find_source(str(tmp_path / "pets")).prepare().images) <= set(range(50, 70))


@pytest.mark.parametrize("test", ["Test", "TEST", "testing", "test_set", "TestImages", "holdout"])
@pytest.mark.parametrize("train", ["Train", "TRAIN", "training", "train_set", "TrainImages", "train2017"])
def test_splits_may_be_spelt_otherwise(root, train, test):
    fill(root / train)
    fill(root / test, count=3, start=100)
    source = find_source(str(root))
    assert (source.name, source.classes) == ("pets", ("cat", "dog"))
    assert numbers(source.prepare().images) == set(range(20))
    assert numbers(read_test_images(source).images) == {100, 101, 102}


@pytest.mark.parametrize("name", ["val", "Val", "VALID", "validation", "dev", "eval", "validation-set", "val2017"])
def test_a_validation_folder_holds_the_validation_images(root, name):
    fill(root / "train")
    fill(root / name, count=7, start=100)
    fill(root / "test", count=3, start=200)
    source = find_source(str(root))
    dataset = source.prepare()
    split = dataset.split()
    assert numbers(dataset.images[split.validation]) == set(range(100, 107))
    assert numbers(dataset.images[split.train]) == set(range(20))
    assert len(split.validation) == 14
    assert np.bincount(dataset.labels[split.validation][:4]).tolist() == [2, 2]
    assert numbers(read_test_images(source).images) == {200, 201, 202}


@pytest.mark.parametrize(
    "name", ["cat", "latest", "contest", "trained", "devices", "strain", "validity", "12", "attest"]
)
def test_other_words_are_no_splits(name):
    assert split_of(name) is None


@pytest.mark.parametrize("names", [("train", "Train"), ("Training", "train")])
def test_two_training_folders_are_refused(root, names):
    for name in names:
        fill(root / name)
    assert "has one training folder, but" in refusal(root)


def test_two_test_folders_are_refused(root):
    for name in ("train", "test", "Test"):
        fill(root / name)
    assert "has one test folder, but" in refusal(root)


@pytest.mark.parametrize("name", ["test", "Test", "val", "validation"])
def test_held_out_images_among_classes_are_refused(root, name):
    fill(root)
    fill(root / name)
    assert f"has {name!r}, which is the name of held-out images, among its class folders" in refusal(root)
    for path in (root / name).glob("*/*"):
        path.rename(root / name / f"{path.parent.name}-{path.name}")
    assert "is the name of held-out images" in refusal(root), "nor with images that are not sorted into classes"


def test_held_out_images_among_the_classes_of_a_split_are_refused(root):
    fill(root / "train", ("cat", "dog", "test"))
    assert "train has 'test', which is the name of held-out images" in refusal(root)


def test_test_folders_without_a_training_folder_are_refused(root):
    fill(root / "test")
    fill(root / "val")
    assert "has 'test' and 'val', which are names of held-out images" in refusal(root)


@pytest.mark.parametrize("names", [("train", "test"), ("Train", "Validation"), ("fold/train", "fold/test")])
def test_splits_inside_classes_are_refused(root, names):
    for name in ("cat", "dog"):
        for split in names:
            paint(root / name / split / "x.png")
    assert "images for testing must not be trained on, but the class folder" in refusal(root)


@pytest.mark.parametrize("names", [("cat_train", "cat_test"), ("TrainCats", "TestCats"), ("train-cats", "val-cats")])
def test_splits_in_the_names_of_classes_are_refused(root, names):
    fill(root, names)
    assert "look like splits, among its class folders" in refusal(root)


def test_a_class_may_be_called_train(root):
    fill(root, ("plane", "ship", "train"))
    assert find_source(str(root)).prepare().classes == ("plane", "ship", "train")
    paint(root / "train" / "steam" / "x.png")
    assert find_source(str(root)).prepare().classes == ("plane", "ship", "train")


def test_a_train_folder_that_may_be_a_class_or_a_split_is_refused(root):
    fill(root, ("plane", "ship"))
    fill(root / "train", ("diesel", "steam"))
    assert "may be a training split with the classes 'diesel' and 'steam', or a class" in refusal(root)


def test_folders_beside_splits_are_named(root):
    fill(root / "train")
    fill(root / "test", count=2)
    paint(root / "unlabelled" / "x.png")
    (root / "docs").mkdir()
    (note,) = find_source(str(root)).prepare().notes
    assert note == f"{root}/unlabelled is next to the training folder, so its images are not read"


def test_a_validation_folder_without_classes_is_named(root):
    fill(root / "train")
    paint(root / "val" / "x.png")
    (note,) = find_source(str(root)).prepare().notes
    assert note.endswith("val has no class folders, so validation images are taken from train")


@pytest.mark.parametrize("name", ["val", "test"])
def test_splits_must_have_the_classes_of_the_training_folder(root, name):
    fill(root / "train")
    fill(root / name, ("cat", "eel"))
    assert f"{name} must have the same classes as {root}/train, which has no 'eel'" in refusal(root)


def test_a_test_folder_without_classes_is_named(root):
    fill(root / "train")
    paint(root / "test" / "x.png")
    (note,) = find_source(str(root)).prepare().notes
    assert note.endswith("test has no class folders, so there are no test images")


@pytest.mark.parametrize(
    ("link", "target"), [("test", "train"), ("train/eel", "test/cat"), ("train/cat/x.png", "test/dog/000.png")]
)
def test_links_do_not_make_test_images_training_images(root, link, target):
    fill(root / "train")
    if link != "test":
        fill(root / "test")
    (root / link).symlink_to(root / target)
    assert "test images must not be training images, but" in refusal(root)


def test_links_do_not_make_validation_images_training_images(root):
    fill(root / "train")
    (root / "val").symlink_to("train")
    assert "validation images must not be training images, but" in refusal(root)
    (root / "val").unlink()
    (root / "val" / "cat").mkdir(parents=True)
    (root / "val" / "cat" / "x.png").hardlink_to(root / "train" / "cat" / "000.png")
    assert "validation images must not be training images, but" in refusal(root)


@pytest.mark.parametrize(
    ("outer", "inner"),
    [
        (("Entrainement", "prueba"), ("cat", "dog")),
        (("fold1", "fold2", "fold3"), ("cat", "dog")),
        (("cat", "dog"), ("Entrainement", "prueba")),
        (("cat", "dog"), ("indoor", "outdoor")),
    ],
)
def test_folders_that_share_sub_folders_are_refused(root, outer, inner):
    for name in outer:
        fill(root / name, inner)
    paint(root / outer[0] / "stray.png")
    said = refusal(root)
    assert all(repr(name) in said for name in (*outer, *map(str.lower, inner)))
    assert "name splits train and test, or put the images directly into a folder for each class" in said


def test_folds_in_a_training_folder_and_classes_that_differ_are_refused(root):
    fill(root / "train" / "a", ("cat", "dog"))
    fill(root / "train" / "b", ("Dog", "bird"))
    fill(root / "test", ("a", "b"))
    assert "has 'a' and 'b', which may be splits" in refusal(root)


def test_sub_folders_that_do_not_look_like_classes_are_read(root):
    for name in ("cat", "dog"):  # as in Tiny ImageNet
        paint(root / "one" / name / "images" / "0.png")
        paint(root / "one" / name / "images" / "1.png", (0, 0, 9))
    fill(root / "two" / "cat", ("siamese", "other"))
    fill(root / "two" / "dog", ("poodle", "boxer"))
    fill(root / "three", ("cat", "dog"))
    for name in ("cat", "dog"):
        fill(root / "three" / name, ("new", "newer"), count=2, start=50)
    for name in ("one", "two", "three"):
        assert find_source(str(root / name)).prepare().classes == ("cat", "dog")


def test_an_empty_validation_folder_is_refused(root):
    fill(root / "train")
    (root / "val" / "cat").mkdir(parents=True)
    assert "validation folders must contain images" in refusal(root)


def test_a_folder_inside_is_suggested(root):
    fill(root / "pets")
    assert f"did you mean {root}/pets?" in refusal(root)
