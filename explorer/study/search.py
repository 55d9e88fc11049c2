"""The form of a search. Its points are proposed while it runs, and each is trained at growing budgets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Annotated, Self

import numpy as np
from pydantic import AfterValidator, BeforeValidator, Field

from explorer.errors import ExplorerError, unknown
from explorer.networks.quantities import ACCURACY, LATENCY, computed, quantity_key
from explorer.pricing.enumeration import Axis, Coded, enumeration
from explorer.spaces import find_space
from explorer.spaces.space import label
from explorer.study.coordinates import Choice, Number
from explorer.study.form import DesignPoint, Form
from explorer.study.values import Model, Value

SAMPLERS = ("tpe", "gp", "nsga2", "nsga3", "qmc", "random")
MOST_RUNGS = 4


def _objective(name: str) -> str:
    key = quantity_key(name)
    if key == LATENCY.key:
        raise ExplorerError(
            f"objective {name}: a search cannot use it, because it is measured and not computed; search by macs or "
            "memory_access_bytes, then measure the points found with `explorer latency`"
        )
    if key not in (known := [ACCURACY.key, *computed()]):
        raise unknown("objective", name, known)
    return key


def _objectives(names: Sequence[str]) -> tuple[str, ...]:
    found = tuple(dict.fromkeys(map(_objective, names)))
    if ACCURACY.key not in found:
        raise ExplorerError(f"objectives {', '.join(names)}: must include accuracy; costs alone need no training")
    return (ACCURACY.key, *(key for key in found if key != ACCURACY.key))


def _sampler(name: str) -> str:
    if name.lower() not in SAMPLERS:
        raise unknown("sampler", name, SAMPLERS)
    return name.lower()


def _listed(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value


class SearchTable(Model):
    """The table `[search]`.

    Attributes:
        objectives: Accuracy and the costs to trade it against. The table of quantities has the direction of each.
        sampler: The Optuna sampler that proposes points.
        ranges: Where to search: for each metaparameter, a range as text such as `"8..64"`, or a list of values. By
            default, these are the space's ranges around the preset.
        rungs: Number of budgets. Each has four times the epochs of the one below, and the last is the study's budget.
        seed: Seed of the proposals.
    """

    objectives: Annotated[tuple[str, ...], BeforeValidator(_listed), AfterValidator(_objectives)] = (
        "accuracy",
        "params",
        "macs",
    )
    sampler: Annotated[str, AfterValidator(_sampler)] = "tpe"
    ranges: dict[str, Value] = Field(default_factory=dict)
    rungs: Annotated[int, Field(ge=1, le=MOST_RUNGS)] = 2
    seed: Annotated[int, Field(ge=0)] = 0

    @property
    def costs(self) -> tuple[str, ...]:
        """The objectives besides accuracy."""
        return self.objectives[1:]


class Search(Form):
    """The points that a search has proposed so far. They are stored with the study and do not change its digest."""

    table = "search"
    adds_seeds = True
    grows = True
    search: SearchTable
    proposed: Annotated[list[dict[str, Value]], Field(exclude=True)] = Field(default_factory=list)

    def placed(self, space: str, preset: str, fixed: Mapping[str, Value]) -> Self:
        """Also take the ranges from the space if there are none."""
        form = super().placed(space, preset, fixed)
        if self.search.ranges:
            return form
        ranges = find_space(space).point(preset, **fixed).ranges()
        table = {key: str(ends) for key, ends in ranges.items() if key not in fixed}
        return form.model_copy(update={"search": self.search.model_copy(update={"ranges": table})})

    def extended(self, proposed: Sequence[Mapping[str, Value]]) -> Self:
        """Return the search with these points."""
        return self.model_copy(update={"proposed": [dict(point) for point in proposed]})

    def own_points(self) -> list[DesignPoint]:
        """Label points by their values."""
        return [self.design_point(point) for point in self.proposed]

    @staticmethod
    def design_point(values: Mapping[str, Value]) -> DesignPoint:
        """Return a proposal as a point of the study."""
        return DesignPoint(dict(values), " ".join(f"{key} {label(value)}" for key, value in values.items()))

    def fewer(self, most: int) -> Self:  # noqa: ARG002 (a trial run has a smaller budget instead)
        """Return the search itself."""
        return self

    @property
    def costs(self) -> tuple[str, ...]:
        """The objectives besides accuracy."""
        return self.search.costs

    @property
    def figure(self) -> str:
        """The front."""
        return "front"

    @property
    def label_title(self) -> str:
        """The metaparameters."""
        return "design point"

    @property
    def varied(self) -> dict[str, list[Value | None]]:
        """The metaparameters that are searched, with the values proposed so far."""
        return {key: list(dict.fromkeys(point[key] for point in self.proposed)) for key in self.search.ranges}

    @property
    def axes(self) -> tuple[Number | Choice, ...]:
        """The ranges as coordinates."""
        return tuple(map(_coordinate, self.search_axes))

    @property
    def summary(self) -> str:
        """The ranges."""
        texts = {key: label(value) if isinstance(value, tuple) else value for key, value in self.search.ranges.items()}
        return ", ".join(f"{key} {text}" for key, text in texts.items())

    @cached_property
    def search_axes(self) -> tuple[Axis, ...]:
        """The ranges to draw from."""
        ranges = {key: list(value) if isinstance(value, tuple) else value for key, value in self.search.ranges.items()}
        return enumeration(find_space(self.space), None, ranges, sample=1).axes

    def check(self, preset: str, fixed: Mapping[str, Value]) -> None:
        """Require ranges that the space accepts and the data does not fix."""
        if self.vary:
            raise ExplorerError("vary and search cannot be combined; write lists of values in [search.ranges]")
        for key in self.search.ranges:
            if key == "classes":
                raise ExplorerError("search.ranges.classes: the data determine the number of classes; remove it")
            if key in fixed:
                raise ExplorerError(f"search.ranges.{key}: is also in [fixed]; remove one of them")
        ranges = {key: list(value) if isinstance(value, tuple) else value for key, value in self.search.ranges.items()}
        varied = {
            key
            for axis in enumeration(find_space(self.space), preset, {**fixed, **ranges}, sample=1).axes
            for key in axis.keys
        }
        if not varied:
            raise ExplorerError(f"{self.space}: nothing to search; give a range, such as key=8..64")
        constant = {axis.name for axis in self.axes if not axis.varies}
        if single := next((key for key in ranges if key not in varied or key in constant), None):
            raise ExplorerError(
                f"search.ranges.{single} = {label(ranges[single])}: is a single value; put it in [fixed]"
            )


def _coordinate(axis: Axis) -> Number | Choice:
    (key,) = axis.keys
    column = axis.extremes[key]
    if isinstance(column, Coded):
        return Choice(key, column.choices)
    numbers = np.asarray(column)
    whole = numbers.dtype.kind == "i"
    low, high = numbers.min().item(), numbers.max().item()
    return Number(key, low, high, whole)
