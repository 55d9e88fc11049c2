"""How much time it saves to run frozen blocks once per image instead of in every epoch.

A SqueezeNet (`cifar`) is trained on the embedded data with a recipe that changes no image, on one thread, with some of
its first blocks frozen. Runs with and without features take turns, so that other load affects both.
"""

from __future__ import annotations

import statistics
from unittest.mock import patch

import torch
from safetensors.torch import save

from explorer.data import Dataset, find_source
from explorer.networks.blocks import blocks_of
from explorer.networks.network import Network
from explorer.spaces import find_space
from explorer.training.features import Features
from explorer.training.recipe import Budget, Recipe
from explorer.training.run import Run
from explorer.training.trainer import numerics, train_run, untrained
from explorer.training.treatments import Transfer

PAIRS = 5
BUDGET = Budget(images=2_000, epochs=8, validation=500)
RECIPE = Recipe(crop_padding=0, flip=False)


def seconds(network: Network, dataset: Dataset, frozen: int, weights: bytes) -> float:
    """Return the seconds of a run."""
    treatment = Transfer("0" * 64, frozen, weights=weights)
    run = Run(network, dataset.fingerprint, RECIPE.fitted(BUDGET), BUDGET, 0, numerics(), treatment)
    return train_run(run, dataset).measurement.seconds


def main() -> None:
    """Print a row for each number of frozen blocks: the median time, and the ratios of the pairs."""
    torch.set_num_threads(1)
    network, dataset = find_space("squeezenet").point("cifar").expand(), find_source("proxy").prepare()
    weights = save(untrained(network).state_dict())
    blocks = len(blocks_of(network))
    print(f"torch {torch.__version__}, {BUDGET.short} images, {PAIRS} pairs; median (lowest to highest)")
    whole = statistics.median(seconds(network, dataset, 0, weights) for _ in range(PAIRS))
    print(f"0 of {blocks} blocks frozen: {whole:.1f} s")
    for frozen in (4, 8, blocks):
        pairs = []
        for _ in range(PAIRS):
            once = seconds(network, dataset, frozen, weights)
            with patch.object(Features, "of", lambda *_: None):
                pairs.append((once, seconds(network, dataset, frozen, weights)))
        ratios = [once / again for once, again in pairs]
        print(
            f"{frozen} of {blocks} blocks frozen: {statistics.median(once for once, _ in pairs):.1f} s with features, "
            f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f}) times as long as without"
        )


if __name__ == "__main__":
    main()
