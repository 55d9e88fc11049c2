"""Stratified splits: every part and every subset has the classes in the same proportion."""

import numpy as np
import pytest

from explorer.data.dataset import store
from explorer.data.splitting import stratified_split, validation_images


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def split(counts, given_validation=0, seed=0):
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.repeat(np.arange(len(counts)), counts))
    return labels, stratified_split(labels, rng.permutation(len(labels)), given_validation)


COUNTS = [(1140, 60), (200, 200, 200), (5000, 500, 50, 5), (7, 11, 13, 17, 1), (3000,) * 10, (90, 5, 5)]


@pytest.mark.parametrize("counts", COUNTS)
def test_every_part_and_every_subset_has_the_proportions_of_the_pool(counts):
    labels, found = split(counts)
    shares = np.array(counts) / sum(counts)
    assert sorted([*found.train, *found.validation]) == list(range(len(labels)))
    for part in (found.train, found.validation):
        so_far = np.cumsum(np.eye(len(counts), dtype=int)[labels[part]], axis=0)
        within = np.bincount(labels[part], minlength=len(counts)) / len(part)
        # Whole images: each class is half an image off, and so is the length.
        off = np.abs(so_far - within * np.arange(1, len(part) + 1)[:, None])
        assert (off <= 0.5 + 0.5 * len(counts) * within + 1e-9).all()
        assert np.abs(np.bincount(labels[part], minlength=len(counts)) - shares * len(part)).max() <= 1.5


@pytest.mark.parametrize("counts", COUNTS)
def test_each_part_has_an_image_of_each_class_of_two_or_more(counts):
    labels, found = split(counts)
    in_training, in_validation = (
        np.bincount(labels[part], minlength=len(counts)) for part in (found.train, found.validation)
    )
    for count, training, validation in zip(counts, in_training, in_validation, strict=True):
        assert training >= 1
        assert validation >= min(1, count - 1)


@pytest.mark.parametrize(
    ("count", "expected"), [(4, 2), (162, 81), (200, 100), (399, 100), (400, 100), (1200, 300), (50_000, 5_000)]
)
def test_small_pools_validate_on_a_larger_share(count, expected):
    assert validation_images(count) == expected
    _, found = split((count // 2, count - count // 2))
    assert abs(len(found.validation) - expected) <= 1


def test_given_validation_images_are_used_and_sorted_like_others():
    labels, found = split((100, 50), given_validation=30)
    assert set(found.validation) == set(range(120, 150))
    assert set(found.train) == set(range(120))
    part = labels[found.train]
    assert abs((part[:40] == 0).mean() - (part == 0).mean()) < 0.05


def pool(labels, stratified):
    images = np.zeros((len(labels), 1, 1, 3), np.uint8)
    shape = (len(labels), 1)
    return store("key", "toy", ("a", "b"), shape, [(images, labels)], stratified=stratified)


def test_folders_have_other_fingerprints_than_the_same_images_split_at_random():
    labels = np.arange(40, dtype=np.int64) % 2
    drawn, stratified = pool(labels, stratified=False), pool(labels, stratified=True)
    assert drawn.fingerprint != stratified.fingerprint
    assert np.bincount(labels[stratified.split().validation]).tolist() == [10, 10]
    assert drawn.split().validation.tolist() == np.argsort(np.random.PCG64(0).random_raw(40))[:10].tolist()


def test_the_order_is_the_same_on_every_machine():
    labels = np.repeat(np.arange(2), (30, 10))
    found = pool(labels, stratified=True).split()
    assert found.validation.tolist() == EXPECTED
    assert labels[found.train].tolist() == [0, 1, 0, 0, 0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 1, 0, 0]


EXPECTED = [11, 3, 32, 20, 13, 2, 35, 21, 15, 1, 39, 18, 25, 31, 19, 17, 8, 36, 6, 24]
