"""From a study to its design points: which are trained, which are dropped, and why."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Literal

import pandas as pd

from explorer.errors import ExplorerError, Infeasible
from explorer.networks.layers import Cost
from explorer.networks.network import Network
from explorer.networks.quantities import computed
from explorer.spaces.space import amount
from explorer.study.model import Range, Study
from explorer.training.recipe import Budget

QUICK_POINTS = 24
QUICK_WORK = 2e11  # images x MACs, summed over the points
QUICK_IMAGES = (16, 1_000)


@dataclass(frozen=True)
class Point:
    """A design point of a study: what it realises and what becomes of it.

    For an infeasible point `network` is None and `derived`, the quantities that the space derives, is empty. `same_as`
    is the number of the first point with the same network.
    """

    number: int
    metaparameters: dict[str, Any]
    label: str
    series: str
    state: Literal["planned", "infeasible", "over budget", "merged"]
    reason: str = ""
    network: Network | None = None
    derived: dict[str, Any] = field(default_factory=dict)
    same_as: int | None = None

    @property
    def cost(self) -> Cost:
        """The cost of the network that the point realises."""
        if self.network is None:
            raise ValueError(f"point {self.number} is infeasible and has no cost")
        return self.network.cost


def plan(study: Study, classes: int) -> list[Point]:
    """The points of a study in order, for data of so many classes.

    Raises `ExplorerError` where the study fixes another number of classes, or where no point is left to train.
    """
    settings = _with_classes(study, classes)
    first: dict[str, int] = {}
    points: list[Point] = []
    for number, asked in enumerate(study.design_points()):
        point = _point(study, settings, Point(number, *asked, "planned"))
        if point.state == "planned" and point.network is not None:
            twin = first.setdefault(point.network.digest, number)
            if twin != number:
                point = replace(point, state="merged", reason=f"the same network as {points[twin].label}", same_as=twin)
        points.append(point)
    if not first:
        raise ExplorerError(f"{study.name}: none of its {len(points)} points can be trained; {_nearest(study, points)}")
    return points


def quick(study: Study, classes: int, available: int) -> Study:
    """The study cut down to less than a minute: fewer points and images, one epoch, one seed. It shows that all works.

    `available` is the number of training images that the data has.
    """
    thin = study.thinned(QUICK_POINTS)
    work = sum(point.cost.macs for point in plan(thin, classes) if point.state == "planned")
    least, most = QUICK_IMAGES
    images = min(available, max(least, min(most, int(QUICK_WORK / work))))
    budget = Budget(images=images, epochs=1, validation=max(least, images // 2))
    return thin.model_copy(update={"budget": budget, "seeds": 1}).renamed(["quick"])


def points_frame(study: Study, points: list[Point], image_size: int | None = None) -> pd.DataFrame:
    """The points as `StudyRecord.points` describes them; `image_size` is that of the data, in pixels."""
    columns: dict[str, Any] = {"point": [point.number for point in points]}
    for key in study.varied:
        columns[key] = [point.metaparameters.get(key) for point in points]
    columns["label"] = [point.label for point in points]
    columns["series"] = [point.series for point in points]
    for name in study.design_space.derived:
        columns[name] = [point.derived.get(name) for point in points]
    sizes = [point.network.input.size if point.network else None for point in points]
    columns["input_pixels"] = pd.array(sizes, dtype="Int64")
    columns["image_pixels"] = pd.array([image_size] * len(points), dtype="Int64")
    columns["state"] = [point.state for point in points]
    columns["reason"] = [point.reason for point in points]
    columns["network"] = [point.network.digest if point.network else None for point in points]
    columns["same_as"] = pd.array([point.same_as for point in points], dtype="Int64")
    for quantity, compute in computed().items():
        amounts = [compute(point.network) if point.network else None for point in points]
        columns[quantity] = pd.Series(amounts, dtype="Int64")
    return pd.DataFrame(columns)


def _with_classes(study: Study, classes: int) -> dict[str, Any]:
    """The fixed metaparameters, with the number of classes taken from the data."""
    fixed = study.fixed.get("classes", classes)
    if fixed != classes:
        raise ExplorerError(f"{study.name}: fixed.classes = {fixed}: {study.data} has {classes} classes")
    return study.fixed | {"classes": classes}


def _point(study: Study, settings: dict[str, Any], point: Point) -> Point:
    try:
        design = study.design_space.point(study.preset, **settings | point.metaparameters)
        network = design.expand()
        derived = design.derive(network.cost)
    except Infeasible as error:
        return replace(point, state="infeasible", reason=str(error))
    point = replace(point, network=network, derived=derived)
    for key, limits in study.constraints.items():
        excess = _excess(key, _amount(point, key), limits)
        if excess:
            return replace(point, state="over budget", reason=excess)
    return point


def _amount(point: Point, key: str) -> float:
    """A cost or a derived quantity of a feasible point."""
    if key in point.derived:
        derived: float = point.derived[key]
        return derived
    assert point.network is not None
    return computed()[key](point.network)


def _excess(key: str, value: float, limits: Range) -> str:
    if limits.max is not None and value > limits.max:
        return f"{key} = {amount(value)}: at most {amount(limits.max)}"
    if limits.min is not None and value < limits.min:
        return f"{key} = {amount(value)}: at least {amount(limits.min)}"
    return ""


def _nearest(study: Study, points: list[Point]) -> str:
    """Why no point can be trained; of a limit that none meets, the value that comes nearest to it."""
    feasible = [point for point in points if point.network]
    for key, limits in study.constraints.items():
        if feasible and all(_excess(key, _amount(point, key), limits) for point in feasible):
            best = min(feasible, key=lambda point: _distance(_amount(point, key), limits))
            return f"the nearest to the limits of {key} is {best.label}: {best.reason}"
    return f"{points[0].label} is {points[0].state}: {points[0].reason}"


def _distance(value: float, limits: Range) -> float:
    above = value - limits.max if limits.max is not None else 0.0
    below = limits.min - value if limits.min is not None else 0.0
    return max(above, below)
