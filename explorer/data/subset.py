"""Some classes of a data set, such as `cifar10:0-4` or `cifar10:cat,dog`, as a data set of their own."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from explorer.data.dataset import Dataset, ImageBlock, cached, store
from explorer.data.source import Source
from explorer.errors import ExplorerError, unknown

FEWEST = 2


@dataclass(frozen=True)
class Subset:
    """Some classes of another data set, in their order there. Both parts of its split have equal class proportions.

    Attributes:
        whole: The other data set.
        chosen: Numbers (from 0) or names of classes, as text.
    """

    whole: Source
    chosen: tuple[str, ...]

    @classmethod
    def read(cls, whole: Source, text: str) -> Subset:
        """Read numbers, ranges of numbers and names of classes, separated by commas."""
        chosen: list[str] = []
        for part in text.split(","):
            ends = re.fullmatch(r"\s*(\d+)\s*-\s*(\d+)\s*", part)
            last = min(int(ends[2]), whole.class_count) if ends else 0
            chosen += map(str, range(int(ends[1]), last + 1)) if ends else [part.strip()]
        for one in chosen:
            if one.isdigit() and int(one) >= whole.class_count:
                raise ExplorerError(
                    f"class {one} of {whole.name}: it has {whole.class_count} classes, 0 to {whole.class_count - 1}"
                )
        if len({*chosen}) < len(chosen) or len(chosen) < FEWEST:
            raise ExplorerError(
                f"{whole.name}:{text}: choose at least two different classes, such as {whole.name}:0-4 or "
                f"{whole.name}:0,2,5"
            )
        return cls(whole, tuple(chosen))

    @property
    def name(self) -> str:
        """The name of the other data set, and the classes."""
        return f"{self.whole.name}:{','.join(self.chosen)}"

    @property
    def class_count(self) -> int:
        """The number of classes."""
        return len(self.chosen)

    def prepare(self) -> Dataset:
        """Return the training pool, which is copied from that of the other data set once."""
        whole = self.whole.prepare()
        numbers = self.numbers(whole.classes)
        key = f"subset {numbers} of {whole.fingerprint}"
        return cached(key, lambda: self._copied(key, whole, numbers))

    def numbers(self, classes: Sequence[str]) -> list[int]:
        """Return the numbers of the chosen classes in increasing order; raise `ExplorerError` for an unknown name."""
        found = []
        for one in self.chosen:
            if not one.isdigit() and one not in classes:
                raise unknown(f"class of {self.whole.name}", one, classes)
            found.append(int(one) if one.isdigit() else classes.index(one))
        if len({*found}) < len(found):
            raise ExplorerError(f"{self.name}: a class appears twice, by its number and by its name")
        return sorted(found)

    def _copied(self, key: str, whole: Dataset, numbers: Sequence[int]) -> Dataset:
        places = np.flatnonzero(np.isin(whole.labels, numbers))
        given = int((places >= len(whole.labels) - whole.given_validation).sum()) if whole.given_validation else 0
        classes = [whole.classes[number] for number in numbers]
        blocks = parts_of([(whole.images, whole.labels)], numbers)
        shape = (len(places), whole.size)
        return store(key, self.name, classes, shape, blocks, stratified=True, given_validation=given)


def parts_of(blocks: Sequence[ImageBlock], numbers: Sequence[int]) -> Iterator[ImageBlock]:
    """Yield the images of some classes, in blocks of at most 5,000, with labels that count these classes only."""
    for images, labels in blocks:
        places = np.flatnonzero(np.isin(labels, numbers))
        for start in range(0, len(places), 5_000):
            some = places[start : start + 5_000]
            yield images[some], np.searchsorted(numbers, labels[some]).astype(np.int64)
