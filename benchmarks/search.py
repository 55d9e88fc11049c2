"""How many training images a search needs, on a recorded table of trained networks; results are in docs/measurements.md.

`table` writes the table from a storage: a certificate of SqueezeNet on CIFAR-10 with 160 points, two seeds, and 1, 2, 4
and 8 epochs of 5,000 images (`explorer certify squeezenet --data cifar10 --points 160 --budget 5000x1`). `compare` lets
each method search the table instead of training: it sees one seed, and the front that it reports is scored on the
other. A method's proposals are moved to the nearest point of the table that it has not trained.
"""

import argparse
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

import moocore
import numpy as np
import optuna
from numpy.typing import NDArray

from explorer.searching.designs import scaled_costs
from explorer.searching.policy import Policy
from explorer.searching.samplers import Sampler
from explorer.spaces import find_space
from explorer.study.form import DesignPoint
from explorer.study.model import Study
from explorer.study.plan import Point, planned_point
from explorer.study.search import SearchTable
from explorer.training.recipe import Budget, Recipe

TABLE = Path(__file__).parent / "search" / "squeezenet_cifar10.json"
COSTS = ("params", "macs")
GUESS = 0.1
RUNGS = (1, 2, 4, 8)
REPETITIONS = 30


@dataclass(frozen=True)
class Table:
    """Recorded networks: metaparameters, costs, and accuracies by (point, seed, rung)."""

    space: str
    preset: str
    images: int
    validation: int
    points: list[dict[str, Any]]
    accuracies: NDArray[np.float64]

    @classmethod
    def read(cls, path: Path = TABLE) -> "Table":
        given = json.loads(path.read_text())
        return cls(**given | {"accuracies": np.array(given["accuracies"])})

    @cached_property
    def study(self) -> Study:
        ranges = find_space(self.space).point(self.preset).ranges()
        search = {"ranges": {key: f"{low:g}..{high:g}" for key, (low, high) in ranges.items()}}
        return Study.model_validate(
            {"name": "table", "title": "table", "space": self.space, "preset": self.preset, "search": search}
        )

    @cached_property
    def networks(self) -> list[Point]:
        return [planned_point(self.study, 10, 0, DesignPoint(values, "")) for values in self.points]

    @cached_property
    def costs(self) -> NDArray[np.float64]:
        return np.array([scaled_costs(point, COSTS) for point in self.networks])

    @cached_property
    def places(self) -> NDArray[np.float64]:
        columns = {key: [values[key] for values in self.points] for key in self.points[0]}
        return np.hstack([axis.encode(columns[axis.name]) for axis in self.study.form.axes])

    def encoded(self, values: Mapping[str, Any]) -> NDArray[np.float64]:
        return np.hstack([axis.encode([values[axis.name]]) for axis in self.study.form.axes])

    def nearest(self, values: Mapping[str, Any], left: NDArray[np.bool_]) -> int:
        return int(np.where(left, np.square(self.places - self.encoded(values)).sum(axis=1), np.inf).argmin())

    def volume(self, found: list[int], seen: int) -> float:
        """The hypervolume, on the other seed, of the front among points that were trained in full on the seen one."""
        if not found:
            return 0.0
        shown = np.column_stack([-self.accuracies[found, seen, -1], self.costs[found]])
        front = np.array(found)[moocore.is_nondominated(shown)]
        scored = np.column_stack([-self.accuracies[front, 1 - seen, -1], self.costs[front]])
        return float(moocore.hypervolume(scored, ref=[-GUESS, *(self.costs.max(axis=0) + 1e-9)]))


class TableDesigns:
    """The table as the designs of a search; proposals are moved to the nearest row."""

    def __init__(self, table: Table, random: np.random.Generator) -> None:
        self.table, self.random = table, random

    def first(self) -> Iterator[dict[str, Any]]:
        for cost in range(len(COSTS)):
            amounts = self.table.costs[:, cost]
            for wanted in np.linspace(amounts.min(), amounts.max(), 6):
                near = np.argsort(np.abs(amounts - wanted))[: len(amounts) // 20]
                yield self.table.points[int(self.random.choice(near))]

    def point(self, number: int, values: Mapping[str, Any]) -> Point:
        row = self.table.nearest(values, np.ones(self.size, dtype=bool))
        return Point(number, self.table.points[row], str(row), "", "planned", network=self.table.networks[row].network)

    def place(self, values: Mapping[str, Any]) -> NDArray[np.float64]:
        return self.table.encoded(values)[0]

    def largest(self, costs: Sequence[str]) -> NDArray[np.float64]:
        return self.table.costs.max(axis=0)

    @property
    def size(self) -> int:
        return len(self.table.points)

    def others(self, count: int) -> list[dict[str, Any]]:
        return [self.table.points[row] for row in self.random.permutation(self.size)[:count]]


Path_ = list[tuple[float, float]]
"""(images, hypervolume) after each run."""


def ours(table: Table, seen: int, repetition: int, sampler: str = "tpe") -> Path_:
    """Search with rungs, as `explorer search` does."""
    designs = TableDesigns(table, np.random.default_rng(repetition))
    search = SearchTable(objectives=("accuracy", *COSTS), sampler=sampler, seed=repetition, rungs=len(RUNGS))
    asked = Sampler(sampler, table.study.form.search_axes, len(COSTS), repetition)
    recipe, budgets = Recipe(), [Budget(images=table.images, epochs=epochs) for epochs in RUNGS]
    takes = [recipe.images_trained([one], below) for below, one in pairwise([None, *budgets])]
    policy = Policy(search, designs, asked, takes, guess=GUESS, seeds=1, validation_images=table.validation)
    images, path, found = 0, [], []
    most = table.images * RUNGS[-1] * len(table.points)
    while images < most and (step := policy.next(images / most)) is not None:
        row = int(step.point.label)
        images += takes[step.rung]
        policy.record(step, float(table.accuracies[row, seen, step.rung]))
        if step.rung == policy.top:
            found.append(row)
            path.append((images, table.volume(found, seen)))
    return path


def whole(table: Table, seen: int, repetition: int, sampler: str) -> Path_:
    """Every point in full, as Optuna's samplers propose them."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    asked = Sampler(sampler, table.study.form.search_axes, len(COSTS), repetition)
    study = optuna.create_study(directions=asked.directions, sampler=asked._sampler())  # noqa: SLF001
    left, found, path = np.ones(len(table.points), dtype=bool), [], []
    for run in range(1, len(table.points) // 2 + 1):
        trial = study.ask(asked.distributions)
        row = table.nearest({key: asked._read(key, value) for key, value in trial.params.items()}, left)  # noqa: SLF001
        left[row] = False
        found.append(row)
        study.tell(trial, [float(table.accuracies[row, seen, -1]), *table.costs[row].tolist()])
        path.append((run * table.images * RUNGS[-1], table.volume(found, seen)))
    return path


METHODS: dict[str, Callable[[Table, int, int], Path_]] = {
    "explorer search": ours,
    "explorer search, random": lambda *a: ours(*a, "random"),
    "random": lambda *a: whole(*a, "random"),
    "Optuna TPE": lambda *a: whole(*a, "tpe"),
    "Optuna NSGA-II": lambda *a: whole(*a, "nsga2"),
}


def reached(path: Path_, volume: float) -> float:
    return next((images for images, found in path if found >= volume), np.inf)


def compare(table: Table, methods: list[str], repetitions: int) -> None:
    for seen in (0, 1):
        paths = {name: [METHODS[name](table, seen, rep) for rep in range(repetitions)] for name in methods}
        target = float(np.median([path[-1][1] for path in paths["random"]]))
        print(f"seed {seen} seen; target hypervolume {target:.4f} (random search after half the table)")
        base = np.median([reached(path, target) for path in paths["random"]])
        for name, found in paths.items():
            images = np.array([reached(path, target) for path in found])
            low, middle, high = np.min(images), np.median(images), np.max(images)
            print(f"  {name:28} {middle:10,.0f} images ({low:,.0f} to {high:,.0f}), {middle / base:.2f} of random")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--table", type=Path, default=TABLE)
    parser.add_argument("--repetitions", type=int, default=REPETITIONS)
    parser.add_argument("--methods", nargs="*", default=list(METHODS))
    arguments = parser.parse_args()
    compare(Table.read(arguments.table), arguments.methods, arguments.repetitions)
