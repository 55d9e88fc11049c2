"""Data sets: memory-mapped training pools made from CIFAR-10, a procedural stand-in or a folder of images."""

from explorer.data.dataset import Dataset, Labelled, open_dataset
from explorer.data.source import Source
from explorer.data.sources import find_source, is_named, named_sources
from explorer.data.splitting import Split

__all__ = ["Dataset", "Labelled", "Source", "Split", "find_source", "is_named", "named_sources", "open_dataset"]
