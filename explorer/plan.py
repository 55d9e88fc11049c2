"""From a study to its design points: which are trained, which are dropped, and why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import pandas as pd

from explorer.errors import ExplorerError, Infeasible
from explorer.layers import QUANTITIES, Cost
from explorer.network import Network
from explorer.recipe import Budget
from explorer.space import label
from explorer.study import Range, Study, thinned

QUICK_POINTS = 24
QUICK_WORK = 2e11  # images x MACs, summed over the points
QUICK_IMAGES = (16, 1_000)


@dataclass(frozen=True)
class Point:
    """A design point of a study: what it realises and what becomes of it.

    `network` is None where the point is infeasible. `same_as` is the number of the first point with the same network.
    """

    number: int
    metaparameters: dict[str, Any]
    state: Literal["planned", "infeasible", "over budget", "merged"]
    reason: str = ""
    network: Network | None = None
    same_as: int | None = None

    @property
    def label(self) -> str:
        """The varied values as text."""
        return ", ".join(label(value) for value in self.metaparameters.values())

    @property
    def cost(self) -> Cost:
        """The cost of the network that the point realises."""
        if self.network is None:
            raise ValueError(f"point {self.number} is infeasible and has no cost")
        return self.network.cost


def plan(study: Study, classes: int) -> list[Point]:
    """The points of a study in grid order, for data of so many classes.

    Raises `ExplorerError` where the study fixes another number of classes, or where no point is left to train.
    """
    settings = _with_classes(study, classes)
    first: dict[str, int] = {}
    points: list[Point] = []
    for number, varied in enumerate(study.grid()):
        point = _point(study, settings, number, varied)
        if point.state == "planned" and point.network is not None:
            twin = first.setdefault(point.network.digest, number)
            if twin != number:
                reason = f"the same network as {points[twin].label}"
                point = Point(number, varied, "merged", reason, point.network, same_as=twin)
        points.append(point)
    if not first:
        raise ExplorerError(
            f"{study.name}: none of its {len(points)} points can be trained; {points[0].label} is {points[0].state}: "
            f"{points[0].reason}"
        )
    return points


def quick(study: Study, classes: int, available: int) -> Study:
    """The study cut down to less than a minute: fewer points and images, one epoch, one seed. It shows that all works.

    `available` is the number of training images that the data has.
    """
    thin = study.model_copy(update={"vary": thinned(study.vary, QUICK_POINTS)})
    work = sum(point.cost.macs for point in plan(thin, classes) if point.state == "planned")
    least, most = QUICK_IMAGES
    images = min(available, max(least, min(most, int(QUICK_WORK / work))))
    budget = Budget(images=images, epochs=1, validation=max(least, images // 2))
    return thin.model_copy(update={"budget": budget, "seeds": 1}).renamed(["quick"])


def points_frame(study: Study, points: list[Point]) -> pd.DataFrame:
    """The points as `StudyRecord.points` describes them."""
    costs = [point.cost if point.network else None for point in points]
    columns: dict[str, Any] = {"point": [point.number for point in points]}
    for key in study.vary:
        columns[key] = [point.metaparameters[key] for point in points]
    columns["label"] = [point.label for point in points]
    columns["state"] = [point.state for point in points]
    columns["reason"] = [point.reason for point in points]
    columns["network"] = [point.network.digest if point.network else None for point in points]
    columns["same_as"] = pd.array([point.same_as for point in points], dtype="Int64")
    for quantity in QUANTITIES:
        columns[quantity] = pd.Series([getattr(cost, quantity, None) for cost in costs], dtype="Int64")
    return pd.DataFrame(columns)


def _with_classes(study: Study, classes: int) -> dict[str, Any]:
    """The fixed metaparameters, with the number of classes taken from the data."""
    fixed = study.fixed.get("classes", classes)
    if fixed != classes:
        raise ExplorerError(f"{study.name}: fixed.classes = {fixed}: {study.data} has {classes} classes")
    return study.fixed | {"classes": classes}


def _point(study: Study, settings: dict[str, Any], number: int, varied: dict[str, Any]) -> Point:
    try:
        network = study.design_space.point(study.preset, **settings | varied).expand()
        cost = network.cost
    except Infeasible as error:
        return Point(number, varied, "infeasible", str(error))
    for quantity, limits in study.constraints.items():
        excess = _excess(quantity, getattr(cost, quantity), limits)
        if excess:
            return Point(number, varied, "over budget", excess, network)
    return Point(number, varied, "planned", "", network)


def _excess(quantity: str, value: int, limits: Range) -> str:
    if limits.max is not None and value > limits.max:
        return f"{quantity} = {value:,}: at most {limits.max:,.0f}"
    if limits.min is not None and value < limits.min:
        return f"{quantity} = {value:,}: at least {limits.min:,.0f}"
    return ""
