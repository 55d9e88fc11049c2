"""Studies: a question in a file, checked before anything is trained."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from explorer.errors import ExplorerError
from explorer.spaces import find_space
from explorer.spaces.simplex import Simplex
from explorer.spaces.space import Space, label, rule
from explorer.study.claims import AnyClaim, CostName, Value
from explorer.training.identity import Later, identity, key_of
from explorer.training.recipe import Budget, Recipe


class Model(BaseModel):
    """What all parts of a study file share: frozen, and no key that is not declared."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class Range(Model):
    """Limits of a cost or ratio; what lies outside is over budget and not trained.

    In a file, `{ target = 2, tolerance = 0.05 }` stands for 1.9 to 2.1.
    """

    min: float | None = None
    max: float | None = None

    @model_validator(mode="before")
    @classmethod
    def _around(cls, given: Any) -> Any:  # noqa: ANN401 (whatever a file says)
        if not isinstance(given, dict) or not given.keys() & {"target", "tolerance"}:
            return given
        target, tolerance = given.get("target"), given.get("tolerance")
        if len(given) == 2 and isinstance(target, int | float) and isinstance(tolerance, int | float):  # noqa: PLR2004
            if tolerance >= 0:
                return {"min": target * (1 - tolerance), "max": target * (1 + tolerance)}
            raise ValueError(f"tolerance {tolerance:g} should not be negative")
        raise ValueError("should have min, max or both, or a target with a tolerance, such as 0.05 for 5 %")

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"min {self.min:g} is above max {self.max:g}")
        return self


class Triangle(Model):
    """Points on the simplex of a space, such as alpha * beta ** 2 * gamma ** 2 = 2: a lattice, or drawn evenly at random."""

    ratio: Annotated[float, Field(gt=0)] = 2.0
    steps: Annotated[int, Field(ge=1, le=1000)] | None = None
    draw: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    seed: Annotated[int, Field(ge=0)] = 0

    @model_validator(mode="after")
    def _one_of(self) -> Self:
        if (self.steps is None) == (self.draw is None):
            raise ValueError("should have either steps, for a lattice, or draw, for random points")
        return self

    def shares(self, simplex: Simplex) -> NDArray[np.float64]:
        """The share of each factor in the ratio, (points, factors)."""
        if self.steps is not None:
            return simplex.lattice(self.steps)
        return simplex.draw(self.draw or 0, np.random.default_rng(self.seed))


class Plot(Model):
    """How the curve is drawn: against which cost, and the published curve that stands beside it."""

    against: CostName = "params"
    published: str | None = None


class Study(Model):
    """A question: a space, what varies, what is held fixed, limits of cost, and how accuracy is measured."""

    name: Annotated[str, Field(min_length=1)]
    title: Annotated[str, Field(min_length=1)]
    space: str
    preset: str
    fixed: dict[str, Value] = {}
    vary: dict[str, Annotated[list[Value], Field(min_length=1)]] = {}
    simplex: Annotated[Triangle | None, Later(neutral=None)] = None
    points: Annotated[list[dict[str, Value]], Later(neutral=[])] = []
    constraints: dict[str, Range] = {}
    data: str = "proxy"
    recipe: Recipe = Recipe()
    budget: Budget = Budget()
    seeds: Annotated[int, Field(ge=1, le=1000)] = 3
    plot: Plot = Plot()
    claims: list[AnyClaim] = []
    text: str = ""

    @property
    def design_space(self) -> type[Space]:
        """The space that the study explores."""
        return find_space(self.space)

    @property
    def digest(self) -> str:
        """SHA-256, in hexadecimal, of all that decides the study's results but the data, which their fingerprint names."""
        beside = {"name", "title", "plot", "claims", "text", "data"}
        return key_of({key: value for key, value in identity(self).items() if key not in beside})

    @property
    def varied(self) -> Mapping[str, Sequence[Value | None]]:
        """The metaparameters that differ between points, each with its distinct values in the order of their first use.

        A value is None where a point leaves the metaparameter to the preset.
        """
        if not (self.points or self.simplex):
            return self.vary
        rows = list(self.grid())
        keys = dict.fromkeys(key for row in rows for key in row)
        return {key: list(dict.fromkeys(row.get(key) for row in rows)) for key in keys}

    @property
    def grid_size(self) -> int:
        """Number of design points before any is dropped."""
        return math.prod(map(len, self.vary.values())) * len(self.listed())

    def grid(self) -> Iterator[dict[str, Value]]:
        """The varied metaparameters of each design point: listed points or those of the simplex, and for each the grid of `vary`."""
        for listed in self.listed():
            for values in itertools.product(*self.vary.values()):
                yield listed | dict(zip(self.vary, values, strict=True))

    def labels(self) -> Iterator[tuple[str, str]]:
        """The series and the label of each design point, in the order of `grid`."""
        names = [(str(point.get("series", "")), _listed_label(point)) for point in self.points]
        if self.simplex:
            names = [
                ("", "-".join(f"{100 * share:.3g}" for share in row)) for row in self.simplex.shares(self.product_held)
            ]
        for series, name in names or [("", "")]:
            for values in itertools.product(*self.vary.values()):
                yield series, ", ".join([*([name] if name else []), *map(label, values)])

    @property
    def product_held(self) -> Simplex:
        """The metaparameters whose product the simplex of the study holds; an error where the space has none."""
        simplex = self.design_space.simplex
        if simplex is None:
            raise ExplorerError(f"simplex: {self.space} has no metaparameters whose product is held")
        return simplex

    def listed(self) -> list[dict[str, Value]]:
        """What `points` lists or the simplex holds, each to be combined with the grid of `vary`; one empty point without them."""
        if self.simplex is None:
            return [{key: value for key, value in point.items() if key != "series"} for point in self.points] or [{}]
        factors = self.product_held.factors(self.simplex.shares(self.product_held), self.simplex.ratio)
        return [
            dict(zip(factors, row, strict=True))
            for row in zip(*(values.tolist() for values in factors.values()), strict=True)
        ]

    def override(
        self,
        *,
        data: str | None = None,
        seeds: int | None = None,
        epochs: int | None = None,
        images: int | None = None,
    ) -> Self:
        """The study with other settings; each that differs becomes part of its name, `squeeze_ratio@cifar10-seeds5`."""
        budget = {key: value for key, value in {"images": images, "epochs": epochs}.items() if value is not None}
        try:
            changed = type(self).model_validate(
                self.model_dump()
                | {"budget": self.budget.model_dump() | budget}
                | ({} if data is None else {"data": data})
                | ({} if seeds is None else {"seeds": seeds})
            )
        except ValidationError as error:
            details = error.errors()[0]
            raise ExplorerError(f"{details['loc'][-1]} = {label(details['input'])}: {rule(details)}") from None
        parts = [] if changed.data == self.data else [data_label(changed.data)]
        parts += [f"images{changed.budget.images}"] if changed.budget.images != self.budget.images else []
        parts += [f"epochs{changed.budget.epochs}"] if changed.budget.epochs != self.budget.epochs else []
        parts += [f"seeds{changed.seeds}"] if changed.seeds != self.seeds else []
        return changed.renamed(parts)

    def renamed(self, parts: list[str]) -> Self:
        """The study under its name with `@` and the parts behind it, joined to those that it already has."""
        if not parts:
            return self
        base, _, before = self.name.partition("@")
        suffix = "-".join([before, *parts] if before else parts)
        return self.model_copy(update={"name": f"{base}@{suffix}"})


def data_label(data: str) -> str:
    """How a data set is called in a study's name: a built-in's own name, or the name of the folder."""
    return re.sub(r"[^A-Za-z0-9._]+", "_", Path(data).name).strip("._") or "data"


def _listed_label(point: Mapping[str, Value]) -> str:
    """How a listed point is called: its values by name, or its series where it leaves all to the preset."""
    values = " ".join(f"{key} {label(value)}" for key, value in point.items() if key != "series")
    return values or str(point.get("series", ""))


def thinned(study: Study, most: int) -> Study:
    """The study with at most `most` points, evenly spread; of lists to combine, the longest are shortened first."""
    changes: dict[str, Any] = {"points": [study.points[place] for place in _evenly(len(study.points), most)]}
    if study.simplex and study.simplex.draw:
        changes["simplex"] = study.simplex.model_copy(update={"draw": min(most, study.simplex.draw)})
    elif study.simplex and study.simplex.steps:
        steps = next(
            n for n in range(study.simplex.steps, 0, -1) if study.product_held.lattice_size(n) <= most or n == 1
        )
        changes["simplex"] = study.simplex.model_copy(update={"steps": steps})
    thin = study.model_copy(update=changes)
    lengths = {key: len(values) for key, values in study.vary.items()}
    while math.prod(lengths.values()) * len(thin.listed()) > most and max(lengths.values(), default=1) > 1:
        lengths[max(lengths, key=lambda key: lengths[key])] -= 1
    kept = {
        key: [study.vary[key][place] for place in _evenly(len(study.vary[key]), length)]
        for key, length in lengths.items()
    }
    return thin.model_copy(update={"vary": kept})


def _evenly(count: int, most: int) -> list[int]:
    """At most so many places out of `count`, with both ends where there are two or more."""
    chosen = min(count, most)
    return [round(step * (count - 1) / max(1, chosen - 1)) for step in range(chosen)]
