"""Splits of a training pool that keep the class proportions in every part and every subset."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Places = NDArray[np.int64]

LARGEST_VALIDATION = 5_000
"""Number of validation images in a pool of 20,000 or more. Smaller pools use a quarter of their images."""
ENOUGH_VALIDATION = 100
"""Minimum number of validation images in a small folder, limited to half of the pool."""


@dataclass(frozen=True, eq=False)
class Split:
    """Indices into a training pool, in `train` (in seeded order) or `validation`. Each image is in one of them."""

    train: Places
    validation: Places


def stratified_split(labels: Places, order: Places, given_validation: int = 0) -> Split:
    """Split a pool, keeping the class proportions in both parts and in all their prefixes.

    Each part gets at least one image of every class that has two or more.

    Args:
        labels: Classes of the images, (n,).
        order: A random permutation of the images, (n,).
        given_validation: Number of validation images at the end of the pool; 0 to draw them.
    """
    if given_validation:
        held_out = order >= len(labels) - given_validation
    else:
        shares = _shares(np.bincount(labels), validation_images(len(labels)))
        held_out = _ranks(labels[order]) < shares[labels[order]]
    return Split(train=_interleaved(labels, order[~held_out]), validation=_interleaved(labels, order[held_out]))


def validation_images(count: int) -> int:
    """Return the approximate number of validation images in a stratified pool."""
    return min(LARGEST_VALIDATION, max(count // 4, min(ENOUGH_VALIDATION, count // 2)))


def _shares(counts: Places, total: int) -> Places:
    """Divide `total` in proportion to the counts by largest remainders. Of two or more, take and leave at least one."""
    shares, remainders = np.divmod(counts * total, counts.sum())
    missing = total - int(shares.sum())
    shares[np.argsort(-remainders, kind="stable")[:missing]] += 1
    return np.clip(shares, np.minimum(1, counts // 2), np.maximum(0, counts - 1)).astype(np.int64)


def _interleaved(labels: Places, order: Places) -> Places:
    """Order images by spacing each class evenly, so every prefix keeps the class proportions."""
    found = labels[order]
    return order[np.argsort((2 * _ranks(found) + 1) / (2 * np.bincount(found)[found]), kind="stable")]


def _ranks(labels: Places) -> Places:
    """Return, for each image, the number of images of its class before it."""
    ranks = np.empty(len(labels), np.int64)
    counts = np.bincount(labels)
    sorted_ = np.argsort(labels, kind="stable")
    ranks[sorted_] = np.arange(len(labels)) - np.repeat(np.cumsum(counts) - counts, counts)
    return ranks
