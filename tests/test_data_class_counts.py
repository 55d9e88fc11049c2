"""Class counts: the guess level, and warnings of what makes accuracies misleading."""

from dataclasses import replace

import numpy as np
import pytest
from pictures import fill, paint
from records import make_record

from explorer.analysis import Findings
from explorer.data import find_source
from explorer.data.class_counts import ClassCounts
from explorer.data.dataset import store
from explorer.reporting.tables import how_measured


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def counts(root, training=1_000_000, validation=1_000_000):
    return ClassCounts.of(find_source(str(root)).prepare(), training, validation)


def test_guessing_is_always_naming_the_largest_class(tmp_path):
    """19 images of one class for each of the other."""
    fill(tmp_path / "train", ("cat",), count=190)
    fill(tmp_path / "train", ("dog",), count=10)
    found = counts(tmp_path)
    assert (found.classes, found.training, found.validation) == (("cat", "dog"), (95, 5), (95, 5))
    assert found.guess == 0.95
    assert found.text == "cat 95 + 95, dog 5 + 5 (training + validation images)"
    (warning,) = found.warnings
    assert warning.startswith("the classes differ in size: 95 training images of cat, 5 of dog")
    assert "is right for 95.0% of the validation images" in warning
    # Budgets take the first images, which have the classes in the same proportion.
    few = counts(tmp_path, training=40, validation=20)
    assert (few.training, few.validation) == ((38, 2), (19, 1))


def test_classes_without_images_are_named(tmp_path):
    fill(tmp_path / "train", ("cat", "dog"))
    paint(tmp_path / "train" / "eel" / "only.png")
    assert counts(tmp_path).warnings[0] == "no validation images of eel"
    fill(tmp_path / "val", ("cat",))
    assert counts(tmp_path).warnings[0] == "no validation images of dog, eel"
    assert counts(tmp_path, training=2).warnings[0] == "no training images of eel"


def test_equal_classes_have_no_warnings(tmp_path):
    fill(tmp_path, ("ant", "bee", "cow"))
    found = counts(tmp_path)
    assert found.warnings == []
    assert found.guess == pytest.approx(1 / 3)


def test_many_classes_are_summarised():
    names = tuple(f"class {number}" for number in range(100))
    found = ClassCounts(names, (90,) * 100, tuple(range(10, 110)))
    assert found.text == "100 classes with 90 training and 10 to 109 validation images"
    none = ClassCounts(names, (0,) * 50 + (9,) * 50, (1,) * 100)
    assert len(none.warnings[0]) < 200


def test_counts_of_built_in_data_are_those_of_their_random_split():
    labels = np.arange(400, dtype=np.int64) % 3
    dataset = store("key", "toy", ("a", "b", "c"), (400, 1), [(np.zeros((400, 1, 1, 3), np.uint8), labels)])
    found = ClassCounts.of(dataset, 200, 60)
    order = np.argsort(np.random.PCG64(0).random_raw(400), kind="stable")
    assert found.validation == tuple(np.bincount(labels[order[:60]]))
    assert found.training == tuple(np.bincount(labels[order[100:300]]))


def test_reports_say_the_classes_and_the_guess_level():
    record = make_record(images=20, seeds=1)
    assert how_measured(Findings(record))["Classes"] == "10 classes"
    assert how_measured(Findings(record))["Guessing"].startswith("always naming the largest class is right for 10.0")
    counted = replace(record, class_counts=ClassCounts(("cat", "dog"), (95, 5), (19, 1)))
    facts = how_measured(Findings(counted))
    assert facts["Classes"].startswith("cat 95 + 19, dog 5 + 1 (training + validation images); the classes differ")
    assert facts["Guessing"].startswith("always naming the largest class is right for 95.0")
    assert counted.guess == 0.95
