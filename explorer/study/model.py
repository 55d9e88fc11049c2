"""A study, which is a question about a design space. It is checked before anything is trained."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import (
    AfterValidator,
    Field,
    SerializeAsAny,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
    model_validator,
)

from explorer.data import is_named
from explorer.errors import ExplorerError
from explorer.files import is_text
from explorer.networks.identity import Later, identity, key_of
from explorer.networks.quantities import quantity_key, read_size
from explorer.spaces import all_spaces, find_space
from explorer.spaces.space import Space, label, rule
from explorer.study.claims import AnyClaim, CostName, Slower
from explorer.study.form import DesignPoint, Form
from explorer.study.forms import form_of, form_tables
from explorer.study.values import Model, Value
from explorer.training.recipe import Budget, Recipe

TRIAL_IMAGES = 1_000
"""A study with one seed, or one cut down with `--quick`, is a trial if no run sees more images than this."""
SEEDS_OF_ROUNDS = (3, 50)
"""Least and greatest number of seeds of a study that adds seeds until its claims are decided."""


class Range(Model):
    """Limits of a cost or ratio. Points outside are over budget and are not trained.

    A file may also use `{ target = 2, tolerance = 0.05 }` for 1.9 to 2.1, and sizes as text: `{ max = "500k" }`.
    """

    min: float | None = None
    max: float | None = None

    @model_validator(mode="before")
    @classmethod
    def _around(cls, given: Any) -> Any:  # noqa: ANN401 (any TOML value)
        if isinstance(given, dict):
            given = {key: read_size(value) if isinstance(value, str) else value for key, value in given.items()}
        if not isinstance(given, dict) or not given.keys() & {"target", "tolerance"}:
            return given
        target, tolerance = given.get("target"), given.get("tolerance")
        if len(given) == 2 and isinstance(target, int | float) and isinstance(tolerance, int | float):  # noqa: PLR2004
            if tolerance >= 0:
                return {"min": target * (1 - tolerance), "max": target * (1 + tolerance)}
            raise ValueError(f"tolerance {tolerance:g} must not be negative")
        raise ValueError("should have min, max or both, or a target with a tolerance, such as 0.05 for 5 %")

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"min {self.min:g} is above max {self.max:g}")
        return self

    def nearest(self, value: float) -> float:
        """Return the value within the limits that is closest to `value`."""
        if self.max is not None and value > self.max:
            return self.max
        return self.min if self.min is not None and value < self.min else value


class Plot(Model):
    """How to draw the curve: the cost on its axis, and a published curve to show with it."""

    against: CostName = "params"
    published: str | None = None


def _text(data: str) -> str:
    if not is_text(data):
        raise ExplorerError(f"data {data}: this path is not valid UTF-8 and cannot be stored; rename the folder")
    return data


class Study(Model):
    """The content of a study file: design space, points to train, their limits, data, recipe, budget and seeds."""

    name: Annotated[str, Field(min_length=1)]
    title: Annotated[str, Field(min_length=1)]
    space: str
    preset: str
    fixed: dict[str, Value] = Field(default_factory=dict)
    form: SerializeAsAny[Form]
    constraints: dict[str, Range] = Field(default_factory=dict)
    data: Annotated[str, AfterValidator(_text)] = "proxy"
    recipe: Recipe = Recipe()
    budget: Budget = Budget()
    seeds: Annotated[int, Field(ge=1, le=1000)] = 3
    until_decided: Annotated[bool, Later(neutral=False)] = False
    """Whether seeds are added round by round until the claims are decided. `seeds` is then the maximum."""
    plot: Plot = Plot()
    claims: list[AnyClaim] = Field(default_factory=list)
    text: str = ""

    @model_validator(mode="before")
    @classmethod
    def _gather(cls, given: Any) -> Any:  # noqa: ANN401 (any TOML value)
        # In files and in storage, the form's tables are at the same level as the other keys.
        if not isinstance(given, dict):
            return given
        tables = {key: given[key] for key in given.keys() & form_tables().keys()}
        if isinstance(limits := given.get("constraints"), dict):
            given = given | {"constraints": {quantity_key(str(key)): limit for key, limit in limits.items()}}
        if given.get("space") in all_spaces() and isinstance(recipe := given.get("recipe", {}), dict):
            given = given | {"recipe": {**find_space(given["space"]).recipe, **recipe}}
        form = given["form"] if "form" in given else form_of(tables)
        if isinstance(form, Form):
            form = form.placed(given.get("space", ""), given.get("preset", ""), given.get("fixed") or {})
            plot = given.get("plot", {})
            if form.measures and isinstance(plot, dict) and "against" not in plot:
                given = given | {"plot": {**plot, "against": form.measures[0]}}
        return {key: value for key, value in given.items() if key not in tables} | {"form": form}

    @model_serializer(mode="wrap")
    def _spread(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        settings: dict[str, Any] = dump(self)
        form: dict[str, Any] = settings.pop("form")
        return settings | form

    @property
    def design_space(self) -> type[Space]:
        """The space that the study explores."""
        return find_space(self.space)

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of everything that determines the results, except the data, which has its own fingerprint."""
        beside = {"name", "title", "plot", "claims", "text", "data"}
        settings = identity(self)
        settings |= settings.pop("form")
        return key_of({key: value for key, value in settings.items() if key not in beside})

    @property
    def varied(self) -> Mapping[str, Sequence[Value | None]]:
        """The metaparameters that points set, with their values; see `Form.varied`."""
        return self.form.varied

    @property
    def size(self) -> int:
        """Number of design points before any are dropped."""
        return self.form.size

    @property
    def adds_seeds(self) -> bool:
        """Whether points get more seeds depending on results, up to `seeds`. Intervals are then wider."""
        return self.until_decided or self.form.adds_seeds

    @property
    def latency_claims(self) -> list[Slower]:
        """The claims about latency."""
        return [claim for claim in self.claims if isinstance(claim, Slower)]

    @property
    def is_trial(self) -> bool:
        """Whether this is a trial run, with few images and either one seed or `--quick`.

        Accuracies of a trial run mean nothing. With one seed, only the budget counts, so renaming a study makes no
        difference.
        """
        return self.budget.seen <= TRIAL_IMAGES and (self.seeds == 1 or self.is_quick)

    @property
    def is_quick(self) -> bool:
        """Whether the study was cut down with `--quick`, which is part of its name."""
        return "quick" in self.name.partition("@")[2].partition("~")[0].split("-")

    def extended(self, proposed: Sequence[Mapping[str, Value]]) -> Self:
        """Return a search with the points that it has proposed; see `Form.extended`."""
        return self.model_copy(update={"form": self.form.extended(proposed)})

    def design_points(self) -> Iterator[DesignPoint]:
        """Yield the design points in order."""
        return self.form.design_points()

    def named(self, number: int) -> str:
        """Return a design point's name for use in a sentence."""
        values = next(islice(self.design_points(), number, None)).metaparameters
        return self.form.named(values, self.point(values))

    def point(self, values: Mapping[str, Value], **settings: Any) -> Space:  # noqa: ANN401 (values of metaparameters)
        """Return the point of the space that sets these values, with further metaparameters such as `classes`."""
        return self.design_space.point(self.preset, **self.fixed | settings | self.form.design(values))

    def thinned(self, most: int) -> Self:
        """Return the study with at most `most` points, evenly spread."""
        return self.model_copy(update={"form": self.form.thinned(most)})

    def override(
        self,
        *,
        data: str | None = None,
        seeds: int | None = None,
        epochs: int | None = None,
        images: int | None = None,
        until_decided: bool | None = None,
    ) -> Self:
        """Return the study with changed settings, which become part of its name: `squeeze_ratio@cifar10-seeds5`.

        A study of some classes of a data set keeps these classes on another one with a name: with `data="cifar10"`, one
        on `proxy:5-9` moves to `cifar10:5-9`.
        """
        for key, value in (("images", images), ("epochs", epochs)):
            if value is not None and key in self.form.own_budget:
                raise ExplorerError(
                    f"{key} = {value}: {self.name} lists its own in {self.form.own_budget[key]}; change its file"
                )
        before, _, classes = self.data.partition(":")
        moved = data
        if data and classes and is_named(self.data) and is_named(data) and ":" not in data:
            moved = f"{data}:{classes}"
        settings = {"data": moved, "seeds": seeds, "until_decided": until_decided}
        budget = {"images": images, "epochs": epochs}
        given = self.model_dump() | {key: value for key, value in settings.items() if value is not None}
        given["budget"] |= {key: value for key, value in budget.items() if value is not None}
        try:
            changed = type(self).model_validate(given)
        except ValidationError as error:
            details = error.errors()[0]
            raise ExplorerError(f"{details['loc'][-1]} = {label(details['input'])}: {rule(details)}") from None
        if data and is_named(data):
            changed = changed.model_copy(update={"form": changed.form.on_data(before, data.partition(":")[0])})
        folder = re.sub(r"[^A-Za-z0-9._]+", "_", Path(data or changed.data).name).strip("._") or "data"
        parts = [folder] if changed.data != self.data else []
        for key in ("images", "epochs"):
            value = getattr(changed.budget, key)
            parts += [f"{key}{value}"] if value != getattr(self.budget, key) else []
        parts += [f"seeds{changed.seeds}"] if changed.seeds != self.seeds else []
        parts += ["until-decided"] if changed.until_decided and not self.until_decided else []
        changed.check_rounds()
        return changed.renamed(parts)

    def check_rounds(self) -> None:
        """Raise `ExplorerError` if seeds should be added until claims are decided, but this cannot be done."""
        if not self.until_decided:
            return
        if not self.claims:
            raise ExplorerError(
                f"{self.name}: --until-decided adds seeds until the claims are decided, and this study has none; add "
                "[[claims]] to its file"
            )
        if self.is_quick:
            raise ExplorerError(f"{self.name}: trial runs decide no claims; drop --quick or --until-decided")
        least, most = SEEDS_OF_ROUNDS
        if not least <= self.seeds <= most:
            raise ExplorerError(
                f"{self.name}: seeds = {self.seeds}: --until-decided adds seeds to the first two, up to this number; "
                f"give --seeds {least} to {most}"
            )

    def fitted(self, training: int, validation: int) -> Self:
        """Adapt the study to data with these numbers of training and validation images.

        If there are fewer training images than the budget asks for, all of them are used for more epochs, and the
        recipe is adapted to their number. Otherwise, the study is unchanged.
        """
        budget = self.budget.fitted(training, validation)
        if budget == self.budget:
            return self
        return self.model_copy(update={"budget": budget, "recipe": self.recipe.fitted(budget)})

    def renamed(self, parts: list[str]) -> Self:
        """Return the study with parts added to its name after an `@`."""
        if not parts:
            return self
        base, _, before = self.name.partition("@")
        suffix = "-".join([before, *parts] if before else parts)
        return self.model_copy(update={"name": f"{base}@{suffix}"})
