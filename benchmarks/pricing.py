"""Time pricing: points a second in arrays and with fvcore, in CPU time; and ten million points to a file."""

import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch

from explorer.networks.verification import fvcore_count
from explorer.pricing.enumeration import Block, enumeration
from explorer.pricing.prices import COUNTS, price_chunks
from explorer.spaces import all_spaces, find_space

REPEATS = 7
POINTS = 1_000_000
BUILT = 10
FILED = 10_000_000
RANGES = {
    "squeezenet": {"base_e": "8..512", "incr_e": "0..256", "squeeze_ratio": "0.05..1.0", "pct3x3": "0.1..0.9"},
    "efficientnet": {"depth": "0.25..3.0", "width": "0.25..3.0", "resolution": "112..600"},
}


def seconds(work: Callable[[], object]) -> float:
    """Return the CPU time of this process."""
    started = time.process_time()
    work()
    return time.process_time() - started


def spread(values: list[float], unit: str, form: str = ",.0f") -> str:
    """Format median and range."""
    low, middle, high = (format(value, form) for value in (min(values), statistics.median(values), max(values)))
    return f"{middle} {unit} ({low} to {high}, n = {len(values)})"


def price_blocks(space: str, blocks: list[Block]) -> None:
    """Price blocks that are already in memory."""
    for _ in price_chunks(find_space(space), None, blocks, COUNTS):
        pass


def build(space: str, points: list[dict[str, float]]) -> None:
    """Do what pricing replaces: build a module for each point and count it with fvcore."""
    for values in points:
        network = find_space(space).point(**values).expand()
        fvcore_count(network.build(), network.input.dimensions)


def compare(space: str) -> None:
    """Time both ways alternately, so that drifts of the machine's speed affect both."""
    family, ranges = find_space(space), RANGES[space]
    blocks = list(enumeration(family, None, ranges, sample=POINTS).blocks())
    fast, slow = [], []
    for repeat in range(REPEATS):
        drawn = next(enumeration(family, None, ranges, sample=BUILT, seed=repeat + 1).blocks())
        points = [{key: column[place].item() for key, column in drawn.items()} for place in range(BUILT)]
        fast.append(POINTS / seconds(lambda: price_blocks(space, blocks)))
        slow.append(BUILT / seconds(lambda points=points: build(space, points)))
    ratios = [one / other for one, other in zip(fast, slow, strict=True)]
    print(f"{space:13} priced in arrays      {spread(fast, 'points a second')}")
    print(f"{space:13} built, with fvcore    {spread(slow, 'points a second', '.1f')}")
    print(f"{space:13} ratio                 {spread(ratios, 'times')}")


def price_families() -> None:
    """Price random points of every family's own ranges, in arrays only."""
    for name, family in all_spaces().items():
        ranges = {key: str(ends) for key, ends in family.point().ranges().items()}
        if ranges:
            blocks = list(enumeration(family, None, ranges, sample=POINTS).blocks())
            speeds = [POINTS / seconds(partial(price_blocks, name, blocks)) for _ in range(REPEATS)]
            print(f"{name:13} {', '.join(ranges):36} {spread(speeds, 'points a second')}")


def describe() -> None:
    """Time expanding one large network, as `explorer describe` does."""
    family = find_space("efficientnet")
    times = [1000 * seconds(lambda: family.point("b7").expand().cost) for _ in range(3 * REPEATS)]
    print(f"{'b7':13} expanded and costed   {spread(times, 'ms', '.2f')}")


def write() -> None:
    """Run the command in its own process: enumerate, price, filter and write."""
    settings = [f"{key}={values}" for key, values in RANGES["squeezenet"].items()]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "points.parquet"
        options = ["--sample", str(FILED), "--where", "params < 1e7", "--out", str(path)]
        started = time.perf_counter()
        subprocess.run(  # noqa: S603
            [sys.executable, "-m", "explorer", "price", "squeezenet", *settings, *options],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        wall = time.perf_counter() - started
        size = path.stat().st_size / 2**20
    # Kilobytes on Linux, bytes on macOS.
    memory = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 2**20
    print(f"{FILED:,} points to Parquet: {wall:.1f} s, at most {memory:,.0f} MiB of memory, {size:,.0f} MiB written")


def main() -> None:
    """Run all benchmarks."""
    torch.set_num_threads(1)
    write()
    describe()
    price_families()
    for space in RANGES:
        compare(space)


if __name__ == "__main__":
    main()
