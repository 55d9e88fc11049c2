"""The claims that a study can judge, in several forms."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo

from explorer.errors import ExplorerError, unknown
from explorer.networks.quantities import QUANTITIES, computed, quantity_key
from explorer.study.values import Model, Value


def _known_cost(name: str, info: ValidationInfo) -> str:
    name = quantity_key(name)
    costs = [key for key in computed() if not QUANTITIES[key].more_is_better]
    # Whether the study's runs measure a quantity is checked when its file is read.
    if name not in costs and not (name in QUANTITIES and QUANTITIES[name].run_column):
        raise ExplorerError(f"{info.field_name} = {name}: {unknown('cost', name, costs)}")
    return name


CostName = Annotated[str, AfterValidator(_known_cost)]
"""A cost that can be computed from a network, or that some studies measure in their runs."""

MARGIN = 0.01
"""A loss or gain of accuracy up to this fraction (one point) is ignored."""

LATENCY_MARGIN = 0.1
"""Latencies that differ by up to this fraction count as equal, because repeated measurements differ that much."""

Selector = Annotated[dict[str, Value], Field(min_length=1)]
"""Values of metaparameters, `label` or `series` for selecting points."""


def _several(given: object) -> object:
    return [given] if isinstance(given, dict) else given


class Claim(Model):
    """The text of a claim and its source."""

    claim: Annotated[str, Field(min_length=1)]
    source: Annotated[str, Field(min_length=1)]


class Above(Claim):
    """All points selected by `higher` are more accurate than all points selected by `lower`."""

    form: Literal["above"]
    higher: Selector
    lower: Annotated[list[Selector], Field(min_length=1), BeforeValidator(_several)]

    @property
    def selectors(self) -> list[Selector]:
        """All selectors of the claim."""
        return [self.higher, *self.lower]


class NoWorse(Claim):
    """All points selected by `points` are at most a margin (a fraction) less accurate than all selected by `than`."""

    form: Literal["no worse"]
    points: Selector
    than: Annotated[list[Selector], Field(min_length=1), BeforeValidator(_several)]
    margin: Annotated[float, Field(ge=0, lt=1)] = MARGIN

    @property
    def selectors(self) -> list[Selector]:
        """All selectors of the claim."""
        return [self.points, *self.than]


class Falls(Claim):
    """Accuracy is lower below a value of a numeric metaparameter than at that value."""

    form: Literal["falls"]
    over: str
    below: int | float
    where: dict[str, Value] = Field(default_factory=dict)


class LevelsOff(Claim):
    """Above a value of a numeric metaparameter, accuracy rises by at most a margin (a fraction)."""

    form: Literal["levels off"]
    over: str
    at: int | float
    margin: Annotated[float, Field(ge=0, lt=1)] = MARGIN
    where: dict[str, Value] = Field(default_factory=dict)


class BestAtEqualCost(Claim):
    """Among points with nearly equal cost, the point of one series is always the most accurate."""

    form: Literal["best at equal cost"]
    series: str
    cost: CostName


class RisesWith(Claim):
    """Accuracy increases with a cost across all points: Kendall's tau is above 0."""

    form: Literal["rises with"]
    cost: CostName


class Slower(Claim):
    """All points selected by `slower` have longer latencies than all points selected by `faster`, by over a margin."""

    form: Literal["slower"]
    slower: Selector
    faster: Annotated[list[Selector], Field(min_length=1), BeforeValidator(_several)]

    @property
    def selectors(self) -> list[Selector]:
        """All selectors of the claim."""
        return [self.slower, *self.faster]


AnyClaim = Annotated[
    Above | NoWorse | Falls | LevelsOff | BestAtEqualCost | RisesWith | Slower, Field(discriminator="form")
]

CLAIMS: dict[str, type[Claim]] = {
    "above": Above,
    "no worse": NoWorse,
    "falls": Falls,
    "levels off": LevelsOff,
    "best at equal cost": BestAtEqualCost,
    "rises with": RisesWith,
    "slower": Slower,
}
"""The forms of claims by name."""
