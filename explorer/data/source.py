"""The protocol of data sources."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from explorer.data.dataset import Dataset


@runtime_checkable
class Source(Protocol):
    """A data set that can be prepared. Nothing is read, downloaded or generated before that."""

    @property
    def name(self) -> str:
        """Name of the data set in reports."""

    @property
    def class_count(self) -> int:
        """Number of classes, known without reading images."""

    def prepare(self) -> Dataset:
        """Return the data set from the cache, or read, download or generate it, which may take minutes."""
