"""Claims that a study is asked to judge: a few forms, each with the words of the claim and its source."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, ValidationInfo, model_validator

from explorer.errors import ExplorerError, unknown
from explorer.networks.quantities import QUANTITIES, computed
from explorer.study.values import Model, Value


def _known_cost(name: str, info: ValidationInfo) -> str:
    costs = [key for key in computed() if not QUANTITIES[key].more_is_better]
    if name not in costs:
        raise ExplorerError(f"{info.field_name} = {name}: {unknown('cost', name, costs)}")
    return name


CostName = Annotated[str, AfterValidator(_known_cost)]
"""A quantity that a network gives."""

Selector = Annotated[dict[str, Value], Field(min_length=1)]
"""Which points are meant: those with these values of metaparameters, `label` or `series`."""


class Claim(Model):
    """What is claimed, in words, and who claims it."""

    claim: Annotated[str, Field(min_length=1)]
    source: Annotated[str, Field(min_length=1)]


class Above(Claim):
    """Points are more accurate than others: each that `higher` names than each that `lower` names."""

    form: Literal["above"]
    higher: Selector
    lower: Annotated[list[Selector], Field(min_length=1)]

    @model_validator(mode="before")
    @classmethod
    def _one_or_several(cls, given: Any) -> Any:  # noqa: ANN401 (whatever a file says)
        if isinstance(given, dict) and isinstance(given.get("lower"), dict):
            return {**given, "lower": [given["lower"]]}
        return given


class Falls(Claim):
    """Below a value of a metaparameter that is a number, accuracy is lower than there."""

    form: Literal["falls"]
    over: str
    below: int | float
    where: dict[str, Value] = Field(default_factory=dict)


class LevelsOff(Claim):
    """Above a value of a metaparameter that is a number, accuracy gains no more than a margin (a fraction)."""

    form: Literal["levels off"]
    over: str
    at: int | float
    margin: Annotated[float, Field(ge=0, lt=1)] = 0.01
    where: dict[str, Value] = Field(default_factory=dict)


class BestAtEqualCost(Claim):
    """Wherever a series and others have points of near-equal cost, that of the series is the most accurate."""

    form: Literal["best at equal cost"]
    series: str
    cost: CostName


class RisesWith(Claim):
    """Over all points, accuracy is ordered as a cost is: Kendall's tau is above 0."""

    form: Literal["rises with"]
    cost: CostName


AnyClaim = Annotated[Above | Falls | LevelsOff | BestAtEqualCost | RisesWith, Field(discriminator="form")]

CLAIMS: dict[str, type[Claim]] = {
    "above": Above,
    "falls": Falls,
    "levels off": LevelsOff,
    "best at equal cost": BestAtEqualCost,
    "rises with": RisesWith,
}
"""The forms by name."""
