"""Images a second, validation included, of a plain training loop, of our trainer on one core, and of our engine on all cores.

The plain loop is what one would write: PIL images, a data set class, a DataLoader with two workers, float32 in torch's default
layout, one network after another, measured on the validation images after each epoch. All three train the same
networks with the same recipe on the same images, in turn, so that a drift of the machine's speed meets them alike.
`--data cifar10 --data-dir DIR` takes real images.
"""

import argparse
import os
import random
import statistics
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from explorer.data import Dataset, find_source
from explorer.engine import SETTINGS, execute
from explorer.network import Network
from explorer.recipe import Budget, Recipe
from explorer.run import Run
from explorer.spaces import find_space
from explorer.training import measure, numerics

NETWORKS = [
    ("squeezenet", {"squeeze_ratio": 0.125}),
    ("squeezenet", {"squeeze_ratio": 0.5}),
    ("squeezenet", {"squeeze_ratio": 1.0}),
    ("efficientnet", {"phi": 0.0}),
    ("efficientnet", {"phi": 1.0}),
]
REPEATS = 3
BUDGET = Budget(images=10_000, epochs=2)
RECIPE = Recipe()
SPAWN = "distributed.nanny.pre-spawn-environ."
WORKER = {name.removeprefix(SPAWN): str(value) for name, value in SETTINGS.items() if name.startswith(SPAWN)}
T = TypeVar("T")
CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Images(TorchDataset[tuple[Tensor, int]]):
    """Some images of a data set as PIL images, augmented and normalised one by one."""

    def __init__(self, dataset: Dataset, places: Iterable[int], size: int, *, augmented: bool) -> None:
        self.items = [(Image.fromarray(dataset.images[place]), int(dataset.labels[place])) for place in places]
        self.size, self.augmented = size, augmented
        self.mean, self.deviation = torch.tensor([0.49, 0.48, 0.45]), torch.tensor([0.25, 0.24, 0.26])

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, place: int) -> tuple[Tensor, int]:
        image, label = self.items[place]
        if self.augmented:
            padding, size = RECIPE.crop_padding, image.width
            left, top = random.randint(0, 2 * padding), random.randint(0, 2 * padding)  # noqa: S311
            image = ImageOps.expand(image, padding).crop((left, top, left + size, top + size))
            if random.random() < 0.5:  # noqa: PLR2004, S311
                image = ImageOps.mirror(image)
        if image.width != self.size:
            image = image.resize((self.size, self.size), Image.Resampling.BILINEAR)
        pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1).float().div(255)
        return (pixels - self.mean[:, None, None]) / self.deviation[:, None, None], label


def plain(network: Network, dataset: Dataset) -> float:
    """Trains as most people would; returns training images a second."""
    split, size = dataset.split(), network.input.size
    training = Images(dataset, split.train[: BUDGET.images].tolist(), size, augmented=True)
    validation = Images(dataset, split.validation[: BUDGET.validation].tolist(), size, augmented=False)
    model = network.build()
    total = BUDGET.epochs * (BUDGET.images // RECIPE.batch_size) * RECIPE.batch_size
    optimiser = torch.optim.SGD(
        model.parameters(), RECIPE.learning_rate, RECIPE.momentum, weight_decay=RECIPE.weight_decay, nesterov=True
    )
    begun = time.perf_counter()
    loader = DataLoader(
        training, RECIPE.batch_size, shuffle=True, drop_last=True, num_workers=2, multiprocessing_context="fork"
    )
    held_out = DataLoader(validation, 500, num_workers=2, multiprocessing_context="fork")
    seen = 0
    for _ in range(BUDGET.epochs):
        model.train()
        for images, labels in loader:
            for group in optimiser.param_groups:
                group["lr"] = RECIPE.rate(seen, total)
            loss = functional.cross_entropy(model(images), labels, label_smoothing=RECIPE.label_smoothing)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            seen += len(images)
        model.eval()
        with torch.no_grad():
            sum(int((model(images).argmax(1) == labels).sum()) for images, labels in held_out)
    return seen / (time.perf_counter() - begun)


def trainer(network: Network, dataset: Dataset) -> float:
    """Our trainer in this process, on one core."""
    measured = measure(network, dataset, RECIPE, BUDGET, seed=0)
    return BUDGET.images * BUDGET.epochs / measured.seconds


def engine(network: Network, dataset: Dataset) -> tuple[float, float]:
    """Our engine on all cores: images a second from when every core has ended a run to the end, and seconds to start it."""
    runs = [(Run(network, dataset.fingerprint, RECIPE, BUDGET, seed, numerics()),) for seed in range(3 * CORES)]
    begun = time.perf_counter()
    ends, own = [], []
    for outcome in execute(runs, dataset.folder, CORES):
        ends.append(time.perf_counter())
        own.append(outcome.row["seconds"])
    images = (len(runs) - CORES) * BUDGET.images * BUDGET.epochs
    return images / (ends[-1] - ends[CORES - 1]), ends[0] - begun - own[0]


def peak() -> float:
    """Multiply-adds a second of one core in a large bfloat16 convolution, the best of 20."""
    torch.set_num_threads(1)
    conv = nn.Conv2d(256, 256, 3, padding=1, bias=False).to(dtype=torch.bfloat16, memory_format=torch.channels_last)
    images = torch.randn(32, 256, 32, 32).to(dtype=torch.bfloat16, memory_format=torch.channels_last)
    times = []
    with torch.inference_mode():
        for _ in range(20):
            begun = time.perf_counter()
            conv(images)
            times.append(time.perf_counter() - begun)
    return 32 * 32 * 32 * 256 * 256 * 9 / min(times)


def apart(work: Callable[..., T], *arguments: object, environment: dict[str, str] | None = None) -> T:
    """What `work` returns in a process of its own, with this environment beside what is there."""
    os.environ.update(environment or {})
    try:
        with ProcessPoolExecutor(1, get_context("spawn")) as process:
            return process.submit(work, *arguments).result()
    finally:
        for name in environment or {}:
            del os.environ[name]


def single(network: Network, dataset: Dataset) -> float:
    """Our trainer as in a worker: one thread."""
    torch.set_num_threads(1)
    return trainer(network, dataset)


def main() -> None:
    """Prints a row for each network: medians, with the range of the ratios."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", default="proxy")
    parser.add_argument("--data-dir", type=Path)
    options = parser.parse_args()
    source = find_source(options.data, options.data_dir)
    dataset = source.prepare()
    most = apart(peak)
    print(
        f"torch {torch.__version__}, {CORES} cores, {options.data}, {BUDGET.epochs} epochs of {BUDGET.images:,} images, n = {REPEATS}"
    )
    print(f"a large bfloat16 convolution: {2 * most / 1e9:,.0f} GFLOP/s a core")
    starts = []
    for space, metaparameters in NETWORKS:
        network = find_space(space).point("cifar", **metaparameters).expand()
        rows = []
        for _ in range(REPEATS):
            slow = apart(plain, network, dataset)
            one = apart(single, network, dataset, environment=WORKER)
            every, start = apart(engine, network, dataset)
            rows.append((slow, one, every))
            starts.append(start)
        slow, one, every = (statistics.median(column) for column in zip(*rows, strict=True))
        ratios = sorted(all_cores / plain_loop for plain_loop, _, all_cores in rows)
        share = 3 * network.cost.macs * one / most
        what = ", ".join(f"{key} {value:g}" for key, value in metaparameters.items())
        print(
            f"{space:12} {what:20} plain {slow:6,.0f}, one core {one:6,.0f}, engine {every:6,.0f} images a second; engine / plain "
            f"{statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f}); {share:.0%} of a core's peak"
        )
    print(f"the engine's start: {statistics.median(starts):.1f} s ({min(starts):.1f} to {max(starts):.1f})")


if __name__ == "__main__":
    main()
