"""Splits of a training pool in which every part and every subset has the classes in the same proportion."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Places = NDArray[np.int64]

LARGEST_VALIDATION = 5_000
"""Validation images of a pool of 20,000 or more; smaller pools use a quarter of their images."""
ENOUGH_VALIDATION = 100
"""Images that small folders validate on, where a quarter would be fewer, but at most half of the pool."""


@dataclass(frozen=True, eq=False)
class Split:
    """Indices into a training pool: `train`, in seeded order, and `validation`; each image is in one of them."""

    train: Places
    validation: Places


def stratified_split(labels: Places, order: Places, given_validation: int = 0) -> Split:
    """Split a pool so that both parts and all their beginnings have the classes in the same proportion.

    Of a class with two images or more, each part gets at least one.

    Args:
        labels: Classes of the images, (n,).
        order: A random permutation of the images, (n,).
        given_validation: The number of images at the end of the pool that are the validation images; 0 to draw them.
    """
    if given_validation:
        held_out = order >= len(labels) - given_validation
    else:
        shares = _shares(np.bincount(labels), validation_images(len(labels)))
        held_out = _ranks(labels[order]) < shares[labels[order]]
    return Split(train=_interleaved(labels, order[~held_out]), validation=_interleaved(labels, order[held_out]))


def validation_images(count: int) -> int:
    """Return about how many images of a stratified pool are for validation."""
    return min(LARGEST_VALIDATION, max(count // 4, min(ENOUGH_VALIDATION, count // 2)))


def _shares(counts: Places, total: int) -> Places:
    """Divide `total` in proportion to the counts by largest remainders; leave and take at least one of two or more."""
    shares, remainders = np.divmod(counts * total, counts.sum())
    missing = total - int(shares.sum())
    shares[np.argsort(-remainders, kind="stable")[:missing]] += 1
    return np.clip(shares, np.minimum(1, counts // 2), np.maximum(0, counts - 1)).astype(np.int64)


def _interleaved(labels: Places, order: Places) -> Places:
    """Sort images so that every beginning has the classes in proportion: each at equal distances along the way."""
    found = labels[order]
    return order[np.argsort((2 * _ranks(found) + 1) / (2 * np.bincount(found)[found]), kind="stable")]


def _ranks(labels: Places) -> Places:
    """Return for each image how many of its class come before it."""
    ranks = np.empty(len(labels), np.int64)
    counts = np.bincount(labels)
    sorted_ = np.argsort(labels, kind="stable")
    ranks[sorted_] = np.arange(len(labels)) - np.repeat(np.cumsum(counts) - counts, counts)
    return ranks
