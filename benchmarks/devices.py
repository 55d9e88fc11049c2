"""Accuracy and training speed of every space's preset `cifar` on this machine's device, each trained twice.

`CUDA_VISIBLE_DEVICES=` trains on the processor instead of a GPU, on one core. All runs have the default recipe and
budget and seed 0, so the figures of two machines can be compared.
"""

import argparse
from pathlib import Path

import torch

from explorer.data import find_source
from explorer.spaces import all_spaces
from explorer.training.recipe import Budget, Recipe
from explorer.training.trainer import measure, numerics

WARM_UP = Budget(images=512, epochs=1, validation=500)


def main() -> None:
    """Print one line per space."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", default="cifar10")
    parser.add_argument("--data-dir", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    dataset, using = find_source(options.data, options.data_dir).prepare(), numerics()
    print(f"torch {using.torch}, {using.device}, {using.dtype}, {options.data}")
    for name, space in all_spaces().items():
        if "cifar" not in space.presets or not space.point("cifar").ranges():
            continue
        network = space.point("cifar", classes=len(dataset.classes)).expand()
        measure(network, dataset, Recipe(), WARM_UP, 0)
        first, second = (measure(network, dataset, Recipe(), Budget(), 0) for _ in range(2))
        same = (first.accuracy, first.train_losses) == (second.accuracy, second.train_losses)
        print(
            f"{name}: {first.accuracy:.1%}, {first.images_per_second:,.0f} images a second, "
            f"{'the same' if same else 'different'} when repeated"
        )


if __name__ == "__main__":
    main()
