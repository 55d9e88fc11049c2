"""How many training images a search needs for a good front, on a recorded table of trained networks.

`table` writes the table from a storage that holds a certificate's studies: SqueezeNets on CIFAR-10, each trained with
two seeds for 1, 2, 4 and 8 epochs of 5,000 images.

    explorer certify squeezenet --data cifar10 --points 160 --budget 5000x1 --storage table.db
    python benchmarks/search.py table --storage table.db

`compare` lets each method search the table instead of training. It sees one seed. The front of its networks that have
all epochs is scored on the other seed, by hypervolume: accuracy above guessing, and doublings of params and
multiply-adds. The target is what random search has when it has trained half the table, the median of all repetitions.

    python benchmarks/search.py compare

- Training images are counted in the same way for all: rungs continue the trunk of the one below, and whatever has been
  trained is free. Rungs without trunks are printed beside, since NePS and syne-tune leave checkpoints to their users.
- explorer has its default rungs, a quarter of the epochs and all of them. NePS and syne-tune have 1, 2, 4 and 8 epochs.
- Samplers that learn (explorer's and Optuna's) propose metaparameters, which are moved to the nearest network of the
  table: for Optuna's, the nearest that is not trained yet; for explorer's, one that is trained counts as a repetition.
- Methods that draw at random (random search, NePS' `moasha` and syne-tune's `MOASHA`) go through the table in random
  order. After the last network they start again, until they have gone through the table and trained nothing new.
- NePS and syne-tune get costs in doublings, and all three objectives divided by their range, which raw ones are not.
  They halve the number of networks from rung to rung. Each runs in its own environment, made by pip on the first call.
- Optuna's samplers have their defaults. Published networks, which explorer would start from, are not in the table.
"""

import argparse
import json
import subprocess
import sys
import venv
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from functools import cached_property, partial
from itertools import pairwise
from pathlib import Path
from typing import Any, Self, TypeAlias

import moocore
import numpy as np
import optuna
import platformdirs
from numpy.typing import NDArray

from explorer.certification.making import certificate_of
from explorer.certification.model import COSTS, FACTORS
from explorer.searching.designs import EDGE, scaled_costs
from explorer.searching.policy import Policy
from explorer.searching.samplers import Sampler
from explorer.spaces import find_space
from explorer.storage.ledger import Ledger
from explorer.study.form import DesignPoint
from explorer.study.model import Study
from explorer.study.plan import Point, planned_point
from explorer.study.rungs import FACTOR
from explorer.study.search import SearchTable
from explorer.training.recipe import Budget, Recipe

TABLE = Path(__file__).parent / "search" / "squeezenet_cifar10.json"
STUDY = "certify_squeezenet@cifar10-images5000-epochs1"
ENVIRONMENTS = Path(platformdirs.user_cache_dir("cnn-design-explorer")) / "benchmarks"
PACKAGES = {
    "neps": ["neural-pipeline-search==0.17.0", "pandas==2.3.3"],  # does not run with pandas 3
    "syne_tune": ["syne-tune==0.16.0"],
}
CLASSES = 10
REPETITIONS = 30
FIRST = 6  # first proposals for each cost, as in a search
NEAR = 8  # networks about a cost that a first proposal is drawn from
TOP = len(FACTORS) - 1

Runs: TypeAlias = Iterator[tuple[int, int]]
"""What a method trains: row of the table, rung."""
BEYOND = 0.1
"""Doublings between the largest costs and the reference point that fronts are scored with."""


@dataclass(frozen=True)
class Table:
    """Recorded networks.

    Attributes:
        space: The design space.
        preset: The preset whose ranges are searched.
        images: Training images of an epoch.
        validation: Images that accuracies are measured on.
        points: Metaparameters.
        accuracies: Accuracies, (points, seeds, rungs).
    """

    space: str
    preset: str
    images: int
    validation: int
    points: list[dict[str, Any]]
    accuracies: NDArray[np.float64]

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a table from JSON."""
        given = json.loads(path.read_text())
        return cls(**given | {"accuracies": np.array(given["accuracies"])})

    @cached_property
    def study(self) -> Study:
        """A search of the space."""
        ranges = find_space(self.space).point(self.preset).ranges()
        search = {"ranges": {key: f"{low:g}..{high:g}" for key, (low, high) in ranges.items()}}
        return Study.model_validate(
            {"name": "table", "title": "table", "space": self.space, "preset": self.preset, "search": search}
        )

    @cached_property
    def networks(self) -> list[Point]:
        """The points with their networks."""
        return [
            planned_point(self.study, CLASSES, row, DesignPoint(values, "")) for row, values in enumerate(self.points)
        ]

    @cached_property
    def costs(self) -> NDArray[np.float64]:
        """Costs in doublings, (points, costs)."""
        return np.array([scaled_costs(point, COSTS) for point in self.networks])

    @cached_property
    def largest(self) -> NDArray[np.float64]:
        """The costs of the reference point that fronts are scored with, (costs,)."""
        return self.costs.max(axis=0) + BEYOND

    @cached_property
    def places(self) -> NDArray[np.float64]:
        """Coordinates, (points, coordinates)."""
        return np.vstack([self.encoded(values) for values in self.points])

    def encoded(self, values: Mapping[str, Any]) -> NDArray[np.float64]:
        """Return the coordinates of metaparameters, (1, coordinates)."""
        return np.hstack([axis.encode([values[axis.name]]) for axis in self.study.form.axes])

    def nearest(self, values: Mapping[str, Any], among: Sequence[int]) -> int:
        """Return which of these rows is nearest to metaparameters."""
        return int(among[np.square(self.places[among] - self.encoded(values)).sum(axis=1).argmin()])

    def objectives(self, row: int, seen: int, rung: int) -> list[float]:
        """Return a network's accuracy at a rung, and its costs."""
        return [float(self.accuracies[row, seen, rung]), *self.costs[row].tolist()]

    def volume(self, rows: Sequence[int], seen: int) -> float:
        """Return the hypervolume on the other seed of the front on the seed that is seen."""
        shown = np.column_stack([-self.accuracies[rows, seen, -1], self.costs[rows]])
        front = np.array(rows)[moocore.is_nondominated(shown)]
        scored = np.column_stack([-self.accuracies[front, 1 - seen, -1], self.costs[front]])
        return float(moocore.hypervolume(scored, ref=[-1 / CLASSES, *self.largest]))

    @cached_property
    def budgets(self) -> list[Budget]:
        """The budgets of the rungs."""
        return [Budget(images=self.images, epochs=epochs) for epochs in FACTORS]

    def takes(self, rung: int, after: int = -1) -> int:
        """Return the training images of a rung, going on from an earlier one if there is one."""
        return Recipe().images_trained([self.budgets[rung]], self.budgets[after] if after >= 0 else None)


class TableDesigns:
    """The table as the designs of a search."""

    def __init__(self, table: Table, seed: int) -> None:
        self.table = table
        self.random = np.random.default_rng(seed)

    def first(self) -> Iterator[dict[str, Any]]:
        """Yield networks at even steps of each cost."""
        for amounts in self.table.costs.T:
            for wanted in np.linspace(amounts.min(), amounts.max(), FIRST):
                near = np.argsort(np.abs(amounts - wanted), kind="stable")[:NEAR]
                yield self.table.points[int(self.random.choice(near))]

    def point(self, number: int, values: Mapping[str, Any]) -> Point:
        """Return the nearest network of the table; its label is the row."""
        row = self.table.nearest(values, range(self.size))
        return Point(number, self.table.points[row], str(row), "", "planned", network=self.table.networks[row].network)

    def excess(self, point: Point) -> float:  # noqa: ARG002
        """Return 0, as there are no limits."""
        return 0.0

    def place(self, values: Mapping[str, Any]) -> NDArray[np.float64]:
        """Return coordinates, (coordinates,)."""
        return self.table.encoded(values)[0]

    def largest(self, costs: Sequence[str]) -> NDArray[np.float64]:  # noqa: ARG002
        """Return the costs of the search's own reference point, (costs,)."""
        return self.table.costs.max(axis=0) + EDGE

    @property
    def size(self) -> int:
        """Number of networks."""
        return len(self.table.points)

    def others(self, count: int) -> list[dict[str, Any]]:
        """Return random networks of the table."""
        return [self.table.points[row] for row in self.random.permutation(self.size)[:count]]


def explorer_search(table: Table, seen: int, seed: int, sampler: str) -> Runs:
    """Search by the policy of `explorer search`."""
    search = SearchTable(objectives=("accuracy", *COSTS), sampler=sampler, seed=seed)
    asked = Sampler(sampler, table.study.form.search_axes, len(COSTS), seed)
    rungs = [FACTORS.index(FACTORS[TOP] // FACTOR**below) for below in reversed(range(search.rungs))]
    takes = [table.takes(rung, below) for below, rung in pairwise([-1, *rungs])]
    policy = Policy(
        search,
        TableDesigns(table, seed),
        asked,
        takes,
        guess=1 / CLASSES,
        seeds=1,
        validation_images=table.validation,
    )
    images, most = 0, table.takes(TOP) * len(table.points)
    while (step := policy.next(images / most)) is not None:
        row = int(step.point.label)
        yield row, rungs[step.rung]
        images += takes[step.rung]
        policy.record(step, float(table.accuracies[row, seen, rungs[step.rung]]))


def random_search(table: Table, seen: int, seed: int) -> Runs:  # noqa: ARG001
    """Train networks in full, in random order."""
    for row in np.random.default_rng(seed).permutation(len(table.points)):
        yield int(row), TOP


def optuna_search(table: Table, seen: int, seed: int, sampler: Callable[..., optuna.samplers.BaseSampler]) -> Runs:
    """Train in full what one of Optuna's samplers proposes."""
    axes = Sampler("random", table.study.form.search_axes, len(COSTS), seed)
    study = optuna.create_study(directions=axes.directions, sampler=sampler(seed=seed))
    left = list(range(len(table.points)))
    while left:
        trial = study.ask(axes.distributions)
        row = table.nearest(trial.params, left)
        left.remove(row)
        yield row, TOP
        study.tell(trial, table.objectives(row, seen, TOP))


@dataclass
class Package:
    """MO-ASHA of another package, in a process of its own."""

    name: str
    process: subprocess.Popen[str] = field(init=False)

    def __enter__(self) -> Self:
        folder = ENVIRONMENTS / self.name
        python = folder / "bin" / "python"
        if not (folder / "installed").exists():
            venv.create(folder, clear=True, with_pip=True)
            subprocess.run([python, "-m", "pip", "install", "-qq", *PACKAGES[self.name]], check=True)  # noqa: S603
            (folder / "installed").touch()
        script = Path(__file__).parent / "search" / "moasha.py"
        self.process = subprocess.Popen(  # noqa: S603
            [python, "-W", "ignore", script, self.name], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        return self

    def __exit__(self, *_: object) -> None:
        assert self.process.stdin
        self.process.stdin.close()
        self.process.wait()

    def runs(self, table: Table, seen: int, seed: int) -> Runs:
        """Search; rows are in random order, and start again after the last."""
        order = np.random.default_rng(seed).permutation(len(table.points))
        low, high = self._extent(table, seen)
        self._say([seed, list(FACTORS)])
        try:
            while True:
                number, epochs = self._hear()
                row, rung = int(order[number % len(order)]), FACTORS.index(epochs)
                yield row, rung
                self._say(((self._losses(table, row, seen, rung) - low) / (high - low)).tolist())
        finally:
            self._say(None)

    def _say(self, line: object) -> None:
        assert self.process.stdin
        with suppress(BrokenPipeError):
            print(json.dumps(line), file=self.process.stdin, flush=True)

    def _hear(self) -> tuple[int, int]:
        assert self.process.stdout
        line = self.process.stdout.readline()
        if not line:
            sys.exit(f"{self.name} failed; its errors are above, and its environment is {ENVIRONMENTS / self.name}")
        number, epochs = json.loads(line)
        return number, epochs

    @staticmethod
    def _losses(table: Table, row: int, seen: int, rung: int) -> NDArray[np.float64]:
        accuracy, *costs = table.objectives(row, seen, rung)
        return np.array([-accuracy, *costs])

    @staticmethod
    def _extent(table: Table, seen: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        accuracies = -table.accuracies[:, seen]
        return (
            np.array([accuracies.min(), *table.costs.min(axis=0)]),
            np.array([accuracies.max(), *table.costs.max(axis=0)]),
        )


Method: TypeAlias = Callable[[Table, int, int], Runs]
"""Takes the table, the seed that is seen, and a random seed."""

METHODS: dict[str, Method] = {
    "random search": random_search,
    "explorer search": partial(explorer_search, sampler="tpe"),
    "explorer search, random": partial(explorer_search, sampler="random"),
    "Optuna TPE": partial(optuna_search, sampler=optuna.samplers.TPESampler),
    "Optuna NSGA-II": partial(optuna_search, sampler=optuna.samplers.NSGAIISampler),
}
MOASHA = {"NePS moasha": "neps", "syne-tune MOASHA": "syne_tune"}


def images_needed(table: Table, seen: int, runs: Runs, target: float) -> tuple[float, float]:
    """Return the training images that reach a hypervolume, with and without trunks; infinite if it is not reached."""
    rungs: dict[int, int] = {}
    images, separate, idle = 0, 0, 0
    for row, rung in runs:
        before = rungs.get(row, -1)
        if rung <= before:
            idle += 1
            if idle > len(table.points):
                break
            continue
        idle = 0
        images += table.takes(rung, before)
        separate += table.takes(rung)
        rungs[row] = rung
        if rung == TOP and table.volume([row for row, at in rungs.items() if at == TOP], seen) >= target:
            return images, separate
    return np.inf, np.inf


def compare(table: Table, methods: Sequence[str], repetitions: int, seeds: Sequence[int]) -> None:
    """Print the training images that each method needs."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    half = len(table.points) // 2
    with ExitStack() as stack:
        chosen = {name: METHODS[name] for name in methods if name in METHODS}
        for name in [name for name in methods if name in MOASHA]:
            try:
                chosen[name] = stack.enter_context(Package(MOASHA[name])).runs
            except subprocess.CalledProcessError:
                print(f"{name} is left out: pip could not install it")
        for seen in seeds:
            orders = [[row for row, _ in random_search(table, seen, seed)] for seed in range(repetitions)]
            target = float(np.median([table.volume(order[:half], seen) for order in orders]))
            print(f"seed {seen} seen: hypervolume {target:.4f}; training images with trunks, and without:")
            base = 0.0
            for name, method in chosen.items():
                needed = np.array(
                    [images_needed(table, seen, method(table, seen, seed), target) for seed in range(repetitions)]
                )
                base = base or float(np.median(needed[:, 0]))
                print(f"  {name:24} {described(needed, base)}", flush=True)


def described(needed: NDArray[np.float64], base: float) -> str:
    """Return the images that repetitions needed with and without trunks, (repetitions, 2), as text."""
    middle, separate = np.median(needed, axis=0)
    spread = f"{needed[:, 0].min():,.0f} to {needed[:, 0].max():,.0f}"
    never = int(np.isinf(needed[:, 0]).sum())
    missed = f"; {never} of {len(needed)} never reach it" if never else ""
    return f"{middle:10,.0f} ({spread}), {middle / base:.2f} of random search; {separate:,.0f}{missed}"


def recorded(storage: Path, name: str) -> dict[str, Any]:
    """Return the table of a certificate's studies, as JSON has it."""
    studies = Ledger(storage).studies
    names = [name, *(f"{name}-x{factor}" for factor in FACTORS[1:])]
    if missing := set(names) - set(studies.names()):
        sys.exit(f"{storage}: has no study {min(missing)}")
    certificate = certificate_of([studies.load(each) for each in names])
    if (done := len(certificate.complete)) < len(certificate.points):
        sys.exit(f"{storage}: {done} of {len(certificate.points)} points have all their runs; train the others first")
    accuracies = np.full((len(certificate.points), certificate.seeds, len(FACTORS)), np.nan)
    for run in certificate.runs:
        accuracies[run.point, run.seed, FACTORS.index(run.factor)] = round(run.accuracies[-1], 4)
    return {
        "space": certificate.space,
        "preset": certificate.preset,
        "images": certificate.budget.images,
        "validation": certificate.validation_images,
        "points": [
            {key: float(f"{value:.6g}") if isinstance(value, float) else value for key, value in point.values.items()}
            for point in certificate.points
        ],
        "accuracies": accuracies.tolist(),
    }


def main() -> None:
    """Run a command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=["table", "compare"])
    parser.add_argument("--storage", type=Path, help="a storage with the certificate's studies (table)")
    parser.add_argument("--study", default=STUDY, help="the first of them")
    parser.add_argument("--table", type=Path, default=TABLE)
    parser.add_argument("--repetitions", type=int, default=REPETITIONS)
    parser.add_argument("--methods", nargs="+", choices=[*METHODS, *MOASHA], default=[*METHODS, *MOASHA])
    parser.add_argument("--seen", type=int, nargs="+", choices=[0, 1], default=[0, 1], help="seeds to search with")
    arguments = parser.parse_args()
    if arguments.command == "compare":
        compare(Table.read(arguments.table), arguments.methods, arguments.repetitions, arguments.seen)
        return
    if arguments.storage is None:
        parser.error("table: needs --storage")
    arguments.table.write_text(json.dumps(recorded(arguments.storage, arguments.study), separators=(",", ":")) + "\n")
    print(arguments.table)


if __name__ == "__main__":
    main()
