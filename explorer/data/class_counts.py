"""How many images of each class a run trains on and is measured on, and how that affects accuracies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from explorer.data.dataset import Dataset

STRONG_IMBALANCE = 5
"""Ratio of the largest class to the smallest that causes a warning."""
MOST_CLASSES = 12  # classes listed in a sentence


@dataclass(frozen=True)
class ClassCounts:
    """Images per class that a run trains on and is measured on."""

    classes: tuple[str, ...]
    training: tuple[int, ...]
    validation: tuple[int, ...]

    @classmethod
    def of(cls, dataset: Dataset, training: int, validation: int) -> Self:
        """Count the classes among the first `training` and `validation` images of the split."""
        split = dataset.split()
        parts = (split.train[:training], split.validation[:validation])
        counts = (np.bincount(dataset.labels[part], minlength=len(dataset.classes)) for part in parts)
        trained, measured = (tuple(found.tolist()) for found in counts)
        return cls(dataset.classes, trained, measured)

    @classmethod
    def read(cls, stored: Mapping[str, Any]) -> Self:
        """Return the counts from their stored form."""
        return cls(tuple(stored["classes"]), tuple(stored["training"]), tuple(stored["validation"]))

    @property
    def guess(self) -> float:
        """The accuracy of guessing, which means always naming the largest class in the validation images."""
        return max(self.validation) / sum(self.validation)

    @property
    def text(self) -> str:
        """The counts as text, such as `cat 90 + 30, dog 30 + 10 (training + validation images)`."""
        if len(self.classes) > MOST_CLASSES:
            return (
                f"{len(self.classes)} classes with {_range(self.training)} training and {_range(self.validation)} "
                "validation images"
            )
        rows = zip(self.classes, self.training, self.validation, strict=True)
        listed = ", ".join(f"{name} {trained:,} + {measured:,}" for name, trained, measured in rows)
        return f"{listed} (training + validation images)"

    @property
    def warnings(self) -> list[str]:
        """Reasons why accuracies may mislead: classes without images, or classes of very different sizes."""
        said = []
        for part, counts in (("training", self.training), ("validation", self.validation)):
            empty = [name for name, count in zip(self.classes, counts, strict=True) if not count]
            if empty:
                said.append(f"no {part} images of {_listed(empty)}")
        least, most = min(filter(None, self.training)), max(self.training)
        if most >= STRONG_IMBALANCE * least:
            largest, smallest = (self.classes[self.training.index(count)] for count in (most, least))
            said.append(
                f"the classes differ in size: {most:,} training images of {largest}, {least:,} of {smallest}; "
                f"guessing (always naming the largest class) is right for {self.guess:.1%} of the validation images"
            )
        return said


def _range(counts: Sequence[int]) -> str:
    return f"{min(counts):,}" if min(counts) == max(counts) else f"{min(counts):,} to {max(counts):,}"


def _listed(names: Sequence[str]) -> str:
    return ", ".join([*names[:MOST_CLASSES], *(["..."] if names[MOST_CLASSES:] else [])])
