"""The plan of a study: the design points to train, and those that are dropped, with the reasons."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import pandas as pd

from explorer.errors import ExplorerError, Infeasible
from explorer.networks.layers import Cost
from explorer.networks.network import Network
from explorer.networks.quantities import computed
from explorer.pricing.designs import priced_designs
from explorer.spaces.space import amount
from explorer.study.form import DesignPoint
from explorer.study.model import TRIAL_IMAGES, Range, Study
from explorer.training.recipe import Budget

QUICK_POINTS = 24
QUICK_WORK = 2e11  # images x MACs, summed over the points
QUICK_IMAGES = (16, TRIAL_IMAGES)


@dataclass(frozen=True)
class Point:
    """A design point of a study: its network, and whether it is trained.

    `derived` holds the quantities that the space derives. For an infeasible point, it is empty and `network` is None.
    `same_as` is the number of the first point with the same network.
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
        """The cost of the network."""
        if self.network is None:
            raise ValueError(f"point {self.number} is infeasible and has no cost")
        return self.network.cost

    def quantity(self, key: str) -> float:
        """Return a computed or derived quantity of the network."""
        if key in self.derived:
            derived: float = self.derived[key]
            return derived
        assert self.network is not None
        return computed()[key](self.network)


def plan(study: Study, classes: int) -> list[Point]:
    """Return the points of a study in order, for data with this number of classes.

    Raises `ExplorerError` if the study fixes another number of classes, or if all points are dropped.
    """
    if study.fixed.get("classes", classes) != classes:
        fixed = study.fixed["classes"]
        raise ExplorerError(f"{study.name}: fixed.classes = {fixed}: {study.data} has {classes} classes")
    first: dict[tuple[object, ...], int] = {}
    points: list[Point] = []
    training = study.form.training
    for point in _points(study, classes, list(enumerate(study.design_points()))):
        twin = point.number
        if point.state == "planned" and point.network is not None:
            how = (point.metaparameters.get(key) for key in training)
            twin = first.setdefault((point.network.digest, *how), point.number)
        if twin == point.number:
            points.append(point)
        else:
            reason = f"the same network as {points[twin].label}"
            points.append(replace(point, state="merged", reason=reason, same_as=twin))
    if points and not first:
        raise ExplorerError(f"{study.name}: none of its {len(points)} points can be trained; {_nearest(study, points)}")
    return points


def quick(study: Study, classes: int, available: int) -> Study:
    """Cut a study down to a trial run of less than a minute, with fewer points and images and one seed.

    `available` is the number of training images in the data. If there are few, each is seen more than once.
    """
    thin = study.thinned(QUICK_POINTS)
    work = sum(point.cost.macs for point in plan(thin, classes) if point.state == "planned")
    least, most = QUICK_IMAGES
    images = max(least, min(most, int(QUICK_WORK / work)))
    used = min(images, available)
    budget = Budget(images=used, epochs=images // used, validation=max(least, images // 2))
    recipe = study.recipe.fitted(budget) if used < images else study.recipe
    form = thin.form.shortened(budget)
    changes = {"form": form, "budget": budget, "recipe": recipe, "seeds": 1, "until_decided": False}
    return thin.model_copy(update=changes).renamed(["quick"])


def points_frame(study: Study, points: list[Point], image_size: int | None = None) -> pd.DataFrame:
    """Return the points in the form of `StudyRecord.points`. `image_size` is the size of the images in pixels."""
    networks = [point.network for point in points]
    columns: dict[str, Any] = {"point": [point.number for point in points]}
    columns |= {key: [point.metaparameters.get(key) for point in points] for key in study.varied}
    columns |= {key: [getattr(point, key) for point in points] for key in ("label", "series")}
    columns |= {name: [point.derived.get(name) for point in points] for name in study.design_space.derived}
    columns["input_pixels"] = pd.Series([network and network.input.size for network in networks], dtype="Int64")
    columns["final_pixels"] = pd.Series([network and network.final_size for network in networks], dtype="Int64")
    columns["image_pixels"] = pd.array([image_size] * len(points), dtype="Int64")
    columns |= {key: [getattr(point, key) for point in points] for key in ("state", "reason")}
    columns["network"] = [network and network.digest for network in networks]
    columns["same_as"] = pd.array([point.same_as for point in points], dtype="Int64")
    for quantity, compute in computed().items():
        columns[quantity] = pd.Series([network and compute(network) for network in networks], dtype="Int64")
    return pd.DataFrame(columns)


def planned_point(study: Study, classes: int, number: int, asked: DesignPoint) -> Point:
    """Expand and price one point, and check it against the limits of the study."""
    (point,) = _points(study, classes, [(number, asked)])
    return point


def _points(study: Study, classes: int, asked: Sequence[tuple[int, DesignPoint]]) -> Iterator[Point]:
    designs = [study.point(point.metaparameters, classes=classes) for _, point in asked]
    for (number, own), found in zip(asked, priced_designs(designs), strict=True):
        point = Point(number, *own, "planned")
        if isinstance(found, Infeasible):
            yield replace(point, state="infeasible", reason=str(found))
        else:
            point = replace(point, network=found.network, derived=found.derived)
            excess = next(filter(None, (_excess(point, key, limits) for key, limits in study.constraints.items())), "")
            if obstacle := study.form.obstacle(point.metaparameters, found.network):
                yield replace(point, state="infeasible", reason=obstacle)
            else:
                yield replace(point, state="over budget", reason=excess) if excess else point


def _excess(point: Point, key: str, limits: Range) -> str:
    value = point.quantity(key)
    limit = limits.nearest(value)
    bound = "most" if value > limit else "least"
    return "" if value == limit else f"{key} = {amount(value)}: at {bound} {amount(limit)}"


def _nearest(study: Study, points: list[Point]) -> str:
    """Return the reason why no point can be trained, with the closest point if none meets a limit."""
    feasible = [point for point in points if point.network]
    for key, limits in study.constraints.items():
        if feasible and all(_excess(point, key, limits) for point in feasible):
            best = min(feasible, key=lambda point: abs(point.quantity(key) - limits.nearest(point.quantity(key))))
            return f"the closest to the limits of {key} is {best.label}: {best.reason}"
    return f"{points[0].label} is {points[0].state}: {points[0].reason}"
