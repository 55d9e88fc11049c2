"""Data sets: memory-mapped training pools made from CIFAR-10, a procedural stand-in or a folder of images."""

from explorer.data.dataset import Dataset, Labelled, open_dataset
from explorer.data.sources import BUILT_IN, Source, find_source
from explorer.data.splitting import Split

__all__ = ["BUILT_IN", "Dataset", "Labelled", "Source", "Split", "find_source", "open_dataset"]
