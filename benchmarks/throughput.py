"""Training images a second, validation included: a plain loop, our trainer on one core, and our engine on all cores.

The plain loop is what one would write: a network of torch's own modules (the code that an export prints), PIL images,
a data set class, a DataLoader with two workers, float32 in torch's default layout, all validation images after every
epoch, one network after another. Our own module is trained in the same loop, too. All train the same networks with the
same recipe on the same images, alternately, so that drifts of the machine's speed affect all. Other load slows the
threads of the plain loop, which wait for each other, more than ours. `--data cifar10 --data-dir DIR` uses real images.
"""

import argparse
import os
import random
import statistics
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
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
from explorer.exporting.torch_code import code_of
from explorer.machine import cores, load
from explorer.networks.network import Network
from explorer.spaces import all_spaces, find_space
from explorer.sweeping.timing import BUSY
from explorer.training.crew import ENVIRONMENT
from explorer.training.engine import execute
from explorer.training.recipe import Budget, Recipe
from explorer.training.run import Run
from explorer.training.trainer import EVALUATION_BATCH, measure, numerics

UNTRAINED = {"families", "stacks"}  # a union of the others, and large layers that a study only times
NETWORKS = [
    ("squeezenet", {"squeeze_ratio": 0.125}),
    ("squeezenet", {"squeeze_ratio": 0.5}),
    ("squeezenet", {"squeeze_ratio": 1.0}),
    ("efficientnet", {"phi": 0.0}),
    ("efficientnet", {"phi": 1.0}),
    *((name, {}) for name in all_spaces() if name not in UNTRAINED | {"squeezenet", "efficientnet"}),
]
REPEATS = 3
IMAGES = Budget().images
WARM_UP = Budget(images=256, epochs=1, validation=500)  # not timed, and neither are the engine's first runs
RECIPE = Recipe()
T = TypeVar("T")
CORES = cores()


class Images(TorchDataset[tuple[Tensor, int]]):
    """Images of a data set as PIL images, augmented and normalised one by one."""

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


def both(network: Network, dataset: Dataset, budget: Budget, *, ours_first: bool) -> tuple[float, float]:
    """Return images a second of the plain loop with the plain network and with our module."""
    exec(code_of(network), code := {})  # noqa: S102
    builders = [code["build"], network.build]
    speeds = {}
    for timed in (WARM_UP, budget):
        for build in reversed(builders) if ours_first else builders:
            speeds[build] = plain(build(), network.input.size, dataset, timed)
    return speeds[builders[0]], speeds[builders[1]]


def plain(model: nn.Module, size: int, dataset: Dataset, budget: Budget) -> float:
    """Train a network as most people would and return training images a second."""
    split = dataset.split()
    training = Images(dataset, split.train[: budget.images].tolist(), size, augmented=True)
    validation = Images(dataset, split.validation[: budget.validation].tolist(), size, augmented=False)
    # Forked, as in an ordinary script. This process was spawned, and spawned loaders would import torch in every epoch.
    loader = partial(DataLoader, num_workers=2, multiprocessing_context="fork")
    batches = loader(training, RECIPE.batch_size, shuffle=True, drop_last=True)
    total = budget.epochs * len(batches) * RECIPE.batch_size
    optimiser = torch.optim.SGD(
        model.parameters(), RECIPE.learning_rate, RECIPE.momentum, weight_decay=RECIPE.weight_decay, nesterov=True
    )
    begun = time.perf_counter()
    seen = 0
    while seen < total:
        model.train()
        for images, labels in batches:
            for group in optimiser.param_groups:
                group["lr"] = RECIPE.rate(seen, total)
            loss = functional.cross_entropy(model(images), labels, label_smoothing=RECIPE.label_smoothing)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            seen += len(images)
        model.eval()
        with torch.no_grad():
            for images, labels in loader(validation, EVALUATION_BATCH):
                int((model(images).argmax(1) == labels).sum())
    return seen / (time.perf_counter() - begun)


def single(network: Network, dataset: Dataset, budget: Budget) -> float:
    """Return training images a second of our trainer on one core."""
    torch.set_num_threads(1)
    measure(network, dataset, RECIPE, WARM_UP, seed=0)
    return _trained(budget) / measure(network, dataset, RECIPE, budget, seed=0).seconds


def engine(network: Network, dataset: Dataset, budget: Budget) -> tuple[float, float, float]:
    """Measure our engine on all cores.

    Returns training images a second from when every core has finished a run to the end, seconds from the call to the
    start of the first run, and the largest peak memory of a worker in bytes.
    """
    runs = [(Run(network, dataset.fingerprint, RECIPE, budget, seed, numerics()),) for seed in range(3 * CORES)]
    begun = time.perf_counter()
    ends, rows = [], []
    for outcome in execute(runs, dataset.folder, CORES):
        ends.append(time.perf_counter())
        rows.append(outcome.row)
    speed = (len(runs) - CORES) * _trained(budget) / (ends[-1] - ends[CORES - 1])
    return speed, ends[0] - begun - rows[0]["seconds"], max(row["peak_memory_bytes"] for row in rows)


def peak() -> float:
    """Return the multiply-adds a second of one core in a large convolution of the trainer's type, the best of 20."""
    torch.set_num_threads(1)
    dtype: torch.dtype = getattr(torch, numerics().dtype)
    conv = nn.Conv2d(256, 256, 3, padding=1, bias=False, dtype=dtype).to(memory_format=torch.channels_last)
    images = torch.randn(32, 256, 32, 32, dtype=dtype).to(memory_format=torch.channels_last)
    times = []
    with torch.inference_mode():
        for _ in range(20):
            begun = time.perf_counter()
            conv(images)
            times.append(time.perf_counter() - begun)
    return 32 * 32 * 32 * 256 * 256 * 9 / min(times)


def apart(work: Callable[..., T], *arguments: object, environment: dict[str, str] | None = None) -> T:
    """Run `work` in its own process with extra environment variables and return its result."""
    os.environ.update(environment or {})
    try:
        with ProcessPoolExecutor(1, get_context("spawn")) as process:
            return process.submit(work, *arguments).result()
    finally:
        for name in environment or {}:
            del os.environ[name]


def _trained(budget: Budget) -> int:
    """Return the images that a run trains on, in whole batches."""
    return budget.epochs * (budget.images // RECIPE.batch_size) * RECIPE.batch_size


def _ratio(pairs: Iterable[tuple[float, float]]) -> str:
    ratios = sorted(ours / theirs for ours, theirs in pairs)
    return f"{statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"


def main() -> None:
    """Print a row for each network: medians, and ranges of the ratios."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", default="proxy")
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--images", type=int, default=IMAGES, help="training images; half as many validation images")
    parser.add_argument("--repeats", type=int, default=REPEATS)
    spaces = sorted({space for space, _ in NETWORKS})
    parser.add_argument("--spaces", nargs="+", choices=spaces, default=spaces, metavar="SPACE")
    options = parser.parse_args()
    budget = Budget(images=options.images, epochs=2, validation=options.images // 2)
    dataset = find_source(options.data, options.data_dir).prepare()
    if (used := load()) > BUSY:
        print(f"warning: this machine is busy ({used:.0%} of its cores are in use): it slows the plain loop most")
    most = apart(peak)
    print(
        f"torch {torch.__version__}, {CORES} cores, {options.data}, "
        f"{budget.epochs} epochs of {budget.images:,} images, n = {options.repeats}; "
        "median (lowest to highest); images a second"
    )
    print(f"a large {numerics().dtype} convolution: {2 * most / 1e9:,.0f} GFLOP/s a core")
    starts, memories = [], []
    for space, metaparameters in NETWORKS:
        if space not in options.spaces:
            continue
        network = find_space(space).point("cifar", **metaparameters).expand()
        rows = []
        for repeat in range(options.repeats):
            theirs, module = apart(partial(both, ours_first=repeat % 2 == 1), network, dataset, budget)
            one = apart(single, network, dataset, budget, environment=ENVIRONMENT)
            every, start, memory = apart(engine, network, dataset, budget)
            rows.append((theirs, module, one, every))
            starts.append(start)
            memories.append(memory / 2**20)
        theirs, module, one, every = (statistics.median(column) for column in zip(*rows, strict=True))
        share = 3 * network.cost.macs * one / most
        what = ", ".join(f"{key} {value:g}" for key, value in metaparameters.items())
        print(
            f"{space:12} {what:19} plain {theirs:6,.0f}, with our module {module:6,.0f}, "
            f"one core {one:6,.0f} ({share:.0%} of its peak), engine {every:6,.0f}; "
            f"engine / plain {_ratio((row[3], row[0]) for row in rows)}, "
            f"with our module {_ratio((row[3], row[1]) for row in rows)}; "
            f"our module / plain {_ratio((row[1], row[0]) for row in rows)}"
        )
    print(f"the engine's start: {statistics.median(starts):.1f} s ({min(starts):.1f} to {max(starts):.1f})")
    print(f"peak memory of a worker: {statistics.median(memories):,.0f} MiB (up to {max(memories):,.0f})")


if __name__ == "__main__":
    main()
