"""The base class of all forms of a study: points, labels, axes, and the figure that shows them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Annotated, Any, ClassVar, NamedTuple, Self

import pandas as pd
from pydantic import Field

from explorer.errors import ExplorerError
from explorer.networks.network import Network
from explorer.spaces import find_space
from explorer.spaces.space import Space, label
from explorer.study.coordinates import Choice, Coordinates, Number, coordinate
from explorer.study.values import Model, Value
from explorer.training.recipe import Budget
from explorer.training.run import Run


class DesignPoint(NamedTuple):
    """A point of a study: the metaparameters that it sets, its label, and its series if it has one."""

    metaparameters: dict[str, Value]
    label: str
    series: str = ""


class PlannedRun(NamedTuple):
    """A run to train, and the run whose weights it starts from, if any."""

    run: Run
    source: Run | None = None


class Form(Model):
    """The points of a study: `own_points`, each combined with the grid of `vary`.

    A form implements `own_points` and `fewer`, and overrides the other methods where the defaults do not fit.
    """

    table: ClassVar[str]
    """The field that selects this form, which is also the name of the table in the study file."""
    adds_seeds: ClassVar[bool] = False
    """Whether a point gets more seeds depending on results."""

    training: ClassVar[tuple[str, ...]] = ()
    """The columns of `varied` that say how a point is trained. All others are metaparameters of its network."""
    measures: ClassVar[tuple[str, ...]] = ()
    """Quantities measured in runs. If there are any, fronts trade accuracy against them, not against network costs."""
    over: ClassVar[str] = ""
    """The column that the lines of the main figure run over; by default, a cost."""

    baseline: ClassVar[tuple[str, Value, str] | None] = None
    """A column, its value for points that others are compared with, and what they are: dashed lines over `over`."""

    space: Annotated[str, Field(exclude=True)] = ""
    vary: dict[str, Annotated[list[Value], Field(min_length=1)]] = Field(default_factory=dict)

    def placed(self, space: str, preset: str, fixed: Mapping[str, Value]) -> Self:  # noqa: ARG002 (for subclasses)
        """Return the form of a study with this space, preset and fixed metaparameters."""
        return self.model_copy(update={"space": space})

    def extended(self, proposed: Sequence[Mapping[str, Value]]) -> Self:  # noqa: ARG002 (for subclasses)
        """Return the form with the points that a search has proposed. Other forms know their points from the start."""
        return self

    def own_points(self) -> list[DesignPoint]:
        """Return the form's own points."""
        raise NotImplementedError

    def fewer(self, most: int) -> Self:
        """Return the form with at most `most` own points. They cover the same range if possible."""
        raise NotImplementedError

    grows: ClassVar[bool] = False
    """Whether points are found while the study runs, as in a search."""

    @property
    def further(self) -> str:
        """The column that the lines of a further figure run over, by the names of `line`; empty for no such figure."""
        return ""

    def line(self, values: Mapping[str, Any]) -> str:  # noqa: ARG002 (for subclasses)
        """Return the name of a point without its value of `further`."""
        return ""

    @property
    def source_data(self) -> str:
        """The data of the runs that this study's runs start from, if these are not the study's own; otherwise empty."""
        return ""

    def exported_weights(self, needed: AbstractSet[str]) -> dict[str, bytes]:  # noqa: ARG002 (for subclasses)
        """Return exported weights that the runs start from, by SHA-256; `needed` has the keys of those to read."""
        return {}

    def check_installed(self) -> None:
        """Raise `ExplorerError` if training the points needs packages that are not installed."""

    def design(self, values: Mapping[str, Value]) -> dict[str, Value]:
        """Return those values of a point that are metaparameters of its network."""
        return {key: value for key, value in values.items() if key not in self.training}

    def obstacle(self, values: Mapping[str, Value], network: Network) -> str:  # noqa: ARG002 (for subclasses)
        """Return the reason why a network cannot be trained as a point asks; empty if it can."""
        return ""

    def starts_with_others(self, values: Mapping[str, Value]) -> bool:  # noqa: ARG002 (for subclasses)
        """Whether a point's run of a seed starts from the same trained weights as those of other points that do."""
        return False

    def seen(self, values: Mapping[str, Value], budget: Budget, classes: int) -> int:  # noqa: ARG002 (for subclasses)
        """Return the number of images that the runs of a point train on, on data with this number of classes."""
        return budget.seen

    @property
    def start_note(self) -> str:
        """What the runs start from, and how that is trained; empty if they train from scratch."""
        return ""

    @property
    def budget_note(self) -> str:
        """How the budgets of points differ; empty if all have that of the study."""
        return ""

    @property
    def own_budget(self) -> dict[str, str]:
        """The settings of the budget that points set themselves, with the keys of the study file that list them."""
        return {}

    def shortened(self, budget: Budget) -> Self:  # noqa: ARG002 (for subclasses)
        """Return the form of a trial run with this budget."""
        return self

    def on_data(self, before: str, after: str) -> Self:  # noqa: ARG002 (for subclasses)
        """Return the form of a study that moves from one data set to another one."""
        return self

    def planned(self, run: Run, values: Mapping[str, Value], origin: Run) -> PlannedRun:  # noqa: ARG002 (for subclasses)
        """Return the run of a point, and the run that trains the weights it starts from.

        This is only called for forms with `training`.

        Args:
            run: The run of the point's network from scratch, with the recipe and budget of the study.
            values: The values that the point sets.
            origin: The same network on `source_data`, if there is any, with a recipe that is not fitted to any data.
        """
        return PlannedRun(run)

    @property
    def costs(self) -> tuple[str, ...]:
        """The costs that a search trades accuracy against; empty for other studies."""
        return ()

    @property
    def figure(self) -> str:
        """The first figure of a report: `triangle`, `plane`, `series`, `front` or `points`."""
        return "points"

    @property
    def label_title(self) -> str:
        """The meaning of the labels, unless they are just the values of the metaparameters."""
        return ""

    def design_points(self) -> Iterator[DesignPoint]:
        """Yield all points, in the order of the own points."""
        labels = [list(map(label, values)) for values in self.vary.values()]
        for own in self.own_points():
            combined = zip(itertools.product(*self.vary.values()), itertools.product(*labels), strict=True)
            for values, texts in combined:
                text = ", ".join([own.label, *texts] if own.label else texts)
                yield DesignPoint(own.metaparameters | dict(zip(self.vary, values, strict=True)), text, own.series)

    @property
    def size(self) -> int:
        """Number of points."""
        return math.prod(map(len, self.vary.values())) * len(self.own_points())

    @property
    def varied(self) -> dict[str, list[Value | None]]:
        """The metaparameters that points set, with their distinct values. None means that the preset decides."""
        rows = [own.metaparameters for own in self.own_points()]
        keys = dict.fromkeys(key for row in rows for key in row)
        own = {key: list(dict.fromkeys(row.get(key) for row in rows)) for key in keys}
        return own | {key: [*values] for key, values in self.vary.items()}

    @property
    def axes(self) -> tuple[Number | Choice, ...]:
        """The coordinates: the varied metaparameters, or values that replace them."""
        return tuple(coordinate(key, values) for key, values in self.varied.items())

    def columns(self, columns: Mapping[str, Any] | pd.DataFrame) -> dict[str, Any]:
        """Convert columns of metaparameters to columns of `axes`."""
        return {key: columns[key] for key in self.varied}

    def metaparameters(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """Convert values on `axes` to metaparameters."""
        return {key: row[key] for key in self.varied}

    @property
    def coordinates(self) -> Coordinates | None:
        """Coordinates of the points; None if no number varies, or a point leaves a metaparameter to the preset."""
        return Coordinates.of(self.axes) if self.complete else None

    @property
    def complete(self) -> bool:
        """Whether all points set the same metaparameters."""
        return not any(value is None for values in self.varied.values() for value in values)

    @property
    def summary(self) -> str:
        """The varied metaparameters with their values, in one line."""
        return listing(self.varied)

    def named(self, values: Mapping[str, Any], point: Space) -> str:  # noqa: ARG002 (for subclasses)
        """Return the name of a point for a sentence. `values` are the metaparameters it sets, and `point` has all."""
        return ", ".join(f"{key} = {label(value)}" for key, value in values.items())

    def note(self, point: Space) -> str:  # noqa: ARG002 (for subclasses)
        """Describe how a published network changes when it is moved into the study; empty if it doesn't."""
        return ""

    def check(self, preset: str, fixed: Mapping[str, Value]) -> None:
        """Raise `ExplorerError` if a metaparameter is in two tables, or if the space does not accept a value."""
        for key in self.vary:
            if key in self.training:
                raise ExplorerError(f"vary.{key}: says how points are trained; set it in [{self.table}]")
        own = [point.metaparameters for point in self.own_points()]
        given = {"fixed": set(fixed), "vary": set(self.vary)}
        given.setdefault(self.table, {key for point in own for key in point})
        for (name, keys), (other, others) in itertools.combinations(given.items(), 2):
            if keys & others:
                raise ExplorerError(f"{other}.{min(keys & others)}: is also in [{name}]; remove one of them")
        for table, keys in given.items():
            if table != "fixed" and "classes" in keys:
                raise ExplorerError(f"{table}.classes: the data determine the number of classes; remove it")
        for point in [*own, *({**own[0], key: value} for key, values in self.vary.items() for value in values)]:
            find_space(self.space).point(preset, **{**fixed, **self.design(point)})
        for key, values in self.vary.items():
            if len(set(map(label, values))) < len(values):
                raise ExplorerError(f"vary.{key} = {[label(value) for value in values]}: a value appears twice")

    def thinned(self, most: int) -> Self:
        """Return the form with at most `most` points, evenly spread. The longest lists of `vary` shrink first."""
        thin = self.fewer(most)
        lengths = {key: len(values) for key, values in self.vary.items()}
        while math.prod(lengths.values()) * len(thin.own_points()) > most and max(lengths.values(), default=1) > 1:
            lengths[max(lengths, key=lambda key: lengths[key])] -= 1
        vary = {key: evenly(values, lengths[key]) for key, values in self.vary.items()}
        return thin.model_copy(update={"vary": vary})


def listing(varied: Mapping[str, Sequence[Value | None]]) -> str:
    """Return the varied metaparameters with their values, in one line."""
    texts = {key: [label(value) for value in values if value is not None] for key, values in varied.items()}
    return "; ".join(f"{key}: {', '.join(values)}" for key, values in texts.items())


def evenly(values: Sequence[Any], most: int) -> list[Any]:
    """Return at most `most` of the values, evenly spread, including both ends."""
    chosen = min(len(values), most)
    return [values[round(step * (len(values) - 1) / max(1, chosen - 1))] for step in range(chosen)]
