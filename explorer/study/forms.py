"""The forms of a study: which points it has, what they are called, how they are thinned, and which figure shows them.

A form is a subclass of `Form` that is listed in `FORMS`. Its fields are the tables of a study file that it reads:
`points` is `[[points]]`. No other file asks which form a study has.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, ClassVar, NamedTuple, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import Field, model_validator
from pydantic.fields import FieldInfo

from explorer.errors import ExplorerError, unknown
from explorer.spaces import find_space
from explorer.spaces.simplex import Simplex
from explorer.spaces.space import Space, label
from explorer.study.coordinates import Choice, Coordinates, Number, coordinate, is_ordered
from explorer.study.values import Model, Value


class DesignPoint(NamedTuple):
    """A point that a study asks for: the metaparameters that it sets, its label, and its series, if it has one."""

    metaparameters: dict[str, Value]
    label: str
    series: str = ""


class Form(Model):
    """The points of a study: `own_points`, each combined with the grid of `vary`.

    A form implements `own_points` and `fewer`; the rest follows from them, and is overridden where it does not fit.
    """

    table: ClassVar[str]
    """The field, and the table of the file, that makes a study one of this form."""

    space: Annotated[str, Field(exclude=True)] = ""
    vary: dict[str, Annotated[list[Value], Field(min_length=1)]] = Field(default_factory=dict)

    def own_points(self) -> list[DesignPoint]:
        """The form's own points, which `vary` is combined with."""
        raise NotImplementedError

    def fewer(self, most: int) -> Self:
        """The form with at most `most` own points, spread over the same range."""
        raise NotImplementedError

    @property
    def figure(self) -> str:
        """The figure that shows the points first: `triangle`, `plane`, `series` or `points`."""
        return "points"

    @property
    def is_sample(self) -> bool:
        """Whether the points are drawn independently from a population."""
        return False

    @property
    def label_title(self) -> str:
        """What the labels say, where they are not just the values of the metaparameters."""
        return ""

    @property
    def design_space(self) -> type[Space]:
        """The space that the study explores."""
        return find_space(self.space)

    def design_points(self) -> Iterator[DesignPoint]:
        """All points, those of one own point together."""
        for own in self.own_points():
            for values in itertools.product(*self.vary.values()):
                text = ", ".join([*([own.label] if own.label else []), *map(label, values)])
                yield DesignPoint(own.metaparameters | dict(zip(self.vary, values, strict=True)), text, own.series)

    @property
    def size(self) -> int:
        """Number of points."""
        return math.prod(map(len, self.vary.values())) * len(self.own_points())

    @property
    def varied(self) -> dict[str, list[Value | None]]:
        """The metaparameters that differ between points, each with its distinct values in the order of their first use.

        A value is None where a point leaves the metaparameter to the preset.
        """
        rows = [own.metaparameters for own in self.own_points()]
        keys = dict.fromkeys(key for row in rows for key in row)
        return {key: list(dict.fromkeys(row.get(key) for row in rows)) for key in keys} | {
            key: [*values] for key, values in self.vary.items()
        }

    @property
    def axes(self) -> tuple[Number | Choice, ...]:
        """What tells points apart: the varied metaparameters, or what replaces them."""
        return tuple(coordinate(key, values) for key, values in self.varied.items())

    def columns(self, columns: Mapping[str, Any] | pd.DataFrame) -> dict[str, Any]:
        """The columns of `axes`, from columns of metaparameters."""
        return {key: columns[key] for key in self.varied}

    def metaparameters(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """The varied metaparameters of a design, from its values on `axes`."""
        return {key: row[key] for key in self.varied}

    @property
    def coordinates(self) -> Coordinates | None:
        """Coordinates of the points; None where no number varies, or a point leaves a metaparameter to the preset."""
        return Coordinates.of(self.axes) if self.complete else None

    @property
    def complete(self) -> bool:
        """Whether all points set the same metaparameters, and none leaves to the preset what another sets."""
        return not any(value is None for values in self.varied.values() for value in values)

    @property
    def summary(self) -> str:
        """What differs between points, with its values, in a line."""
        return _listing(self.varied)

    def named(self, values: Mapping[str, Any], point: Space) -> str:  # noqa: ARG002 (a form may use it)
        """The name of a point in a sentence; `values` are the metaparameters that it sets, `point` has all."""
        return ", ".join(f"{key} = {label(value)}" for key, value in values.items())

    def note(self, point: Space) -> str:  # noqa: ARG002 (nothing unless a form says otherwise)
        """How a published network's choice changes when it is moved into the study; empty where it does not."""
        return ""

    def check(self, preset: str, fixed: Mapping[str, Value]) -> None:
        """Raises `ExplorerError` if a metaparameter is in two tables, or the space does not accept a value."""
        own = [point.metaparameters for point in self.own_points()]
        given = {"fixed": set(fixed), "vary": set(self.vary)}
        given.setdefault(self.table, {key for point in own for key in point})
        for (name, keys), (other, others) in itertools.combinations(given.items(), 2):
            if keys & others:
                raise ExplorerError(f"{other}.{min(keys & others)}: stands under [{name}] as well")
        for table, keys in given.items():
            if table != "fixed" and "classes" in keys:
                raise ExplorerError(f"{table}.classes: the number of classes is that of the data")
        for point in own:
            self.design_space.point(preset, **{**fixed, **point})
        for key, values in self.vary.items():
            for value in values:
                self.design_space.point(preset, **{**fixed, **own[0], key: value})
            if len(set(map(label, values))) < len(values):
                raise ExplorerError(f"vary.{key} = {[label(value) for value in values]}: a value stands there twice")

    def thinned(self, most: int) -> Self:
        """The form with at most `most` points, evenly spread; the longest lists of `vary` are shortened first."""
        thin = self.fewer(most)
        lengths = {key: len(values) for key, values in self.vary.items()}
        while math.prod(lengths.values()) * len(thin.own_points()) > most and max(lengths.values(), default=1) > 1:
            lengths[max(lengths, key=lambda key: lengths[key])] -= 1
        vary = {
            key: [values[place] for place in _evenly(len(values), lengths[key])] for key, values in self.vary.items()
        }
        return thin.model_copy(update={"vary": vary})


class Grid(Form):
    """All combinations of the values in `[vary]`."""

    table = "vary"

    def own_points(self) -> list[DesignPoint]:
        """One, which sets nothing."""
        return [DesignPoint({}, "")]

    def fewer(self, most: int) -> Self:  # noqa: ARG002 (there is one)
        """The same."""
        return self

    @property
    def figure(self) -> str:
        """Two numbers make a plane."""
        sides = list(self.vary.values())
        numeric = all(len(side) > 1 and is_ordered(side) for side in sides)
        return "plane" if len(sides) == 2 and numeric else "points"  # noqa: PLR2004

    def check(self, preset: str, fixed: Mapping[str, Value]) -> None:
        """Something must vary."""
        if not self.vary:
            raise ExplorerError(f"nothing varies: one of the tables {', '.join(FORMS)} is required")
        super().check(preset, fixed)


class Listed(Form):
    """The points of `[[points]]`; those with the same `series` are joined by a line."""

    table = "points"
    points: list[dict[str, Value]]

    def own_points(self) -> list[DesignPoint]:
        """A point is called by its values, or by its series where it leaves all to the preset."""
        found = []
        for point in self.points:
            values = {key: value for key, value in point.items() if key != "series"}
            text, series = (
                " ".join(f"{key} {label(value)}" for key, value in values.items()),
                str(point.get("series", "")),
            )
            found.append(DesignPoint(values, text or series, series))
        return found

    def fewer(self, most: int) -> Self:
        """Some of the points."""
        return self.model_copy(update={"points": [self.points[place] for place in _evenly(len(self.points), most)]})

    @property
    def figure(self) -> str:
        """A line for each series."""
        return "series" if any(point.get("series") for point in self.points) else "points"

    def check(self, preset: str, fixed: Mapping[str, Value]) -> None:
        """Points differ and are not empty; their series are texts."""
        seen: list[dict[str, Value]] = []
        known = ["series", *self.design_space.model_fields]
        for number, point in enumerate(self.points, start=1):
            series = point.get("series", "")
            if not isinstance(series, str):
                raise ExplorerError(f"points: series = {label(series)}: should be text")
            if not point or point in seen:
                raise ExplorerError(f"points: point {number} {'stands there twice' if point else 'is empty'}")
            for key in point:
                if key not in known:
                    raise unknown(f"metaparameter of {self.space}", key, known)
            seen.append(point)
        super().check(preset, fixed)


class Triangle(Model):
    """The table `[simplex]`: a lattice of points whose product is the ratio, or points drawn evenly at random."""

    ratio: Annotated[float, Field(gt=0)] = 2.0
    steps: Annotated[int, Field(ge=1, le=1000)] | None = None
    draw: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    seed: Annotated[int, Field(ge=0)] = 0

    @model_validator(mode="after")
    def _one_of(self) -> Self:
        if (self.steps is None) == (self.draw is None):
            raise ValueError("should have either steps, for a lattice, or draw, for random points")
        return self


class OnSimplex(Form):
    """Points of `[simplex]`: factors whose product is held, described by their shares in it."""

    table = "simplex"
    simplex: Triangle

    @property
    def held(self) -> Simplex:
        """The factors; an error where the space has none."""
        simplex = self.design_space.simplex
        if simplex is None:
            raise ExplorerError(f"simplex: {self.space} has no metaparameters whose product is held")
        return simplex

    def own_points(self) -> list[DesignPoint]:
        """A point is called by its shares in percent: `20-40-40`."""
        shares = self._shares()
        factors = {key: column.tolist() for key, column in self.held.factors(shares, self.simplex.ratio).items()}
        return [
            DesignPoint(dict(zip(factors, values, strict=True)), "-".join(f"{100 * share:.3g}" for share in row))
            for values, row in zip(zip(*factors.values(), strict=True), shares, strict=True)
        ]

    def _shares(self) -> NDArray[np.float64]:
        """The share of each factor in the ratio, (points, factors)."""
        if self.simplex.steps is not None:
            return self.held.lattice(self.simplex.steps)
        return self.held.draw(self.simplex.draw or 0, np.random.default_rng(self.simplex.seed))

    def fewer(self, most: int) -> Self:
        """Fewer draws, or a lattice of fewer steps."""
        changes: dict[str, int] = {}
        if self.simplex.draw:
            changes["draw"] = min(most, self.simplex.draw)
        else:
            steps = range(self.simplex.steps or 1, 0, -1)
            changes["steps"] = next(n for n in steps if self.held.lattice_size(n) <= most or n == 1)
        return self.model_copy(update={"simplex": self.simplex.model_copy(update=changes)})

    @property
    def figure(self) -> str:
        """Three shares make a triangle."""
        whole = len(self.held.exponents) == 3 and not self.vary and self.simplex.ratio != 1  # noqa: PLR2004
        return "triangle" if whole else "points"

    @property
    def is_sample(self) -> bool:
        """Unless they are a lattice, or combined with other metaparameters."""
        return self.simplex.draw is not None and not self.vary

    @property
    def label_title(self) -> str:
        """The shares."""
        return f"{'-'.join(self.held.meanings.values())} shares, %"

    @property
    def axes(self) -> tuple[Number | Choice, ...]:
        """Shares instead of factors."""
        others = tuple(axis for axis in super().axes if axis.name not in self.held.exponents)
        return (*(Number(name, 0.0, 1.0) for name in self.held.share_names), *others)

    def columns(self, columns: Mapping[str, Any] | pd.DataFrame) -> dict[str, Any]:
        """Shares instead of factors."""
        factors = {key: columns[key] for key in self.held.exponents}
        return self.held.share_columns(factors) | {key: columns[key] for key in self.vary}

    def metaparameters(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """The factors that the shares have in this ratio."""
        shares = np.array([[row[name] for name in self.held.share_names]])
        factors = self.held.factors(shares, self.simplex.ratio)
        return {key: float(column[0]) for key, column in factors.items()} | {key: row[key] for key in self.vary}

    @property
    def coordinates(self) -> Coordinates | None:
        """None as well where the product is 1, which has no shares."""
        return None if self.simplex.ratio == 1 else Coordinates.of(self.axes, self.held, self.simplex.ratio)

    @property
    def summary(self) -> str:
        """The product that is held, and what else varies."""
        product = f"{self.held.formula} = {self.simplex.ratio:g}"
        held = f"{', '.join(self.held.exponents)}: {len(self.own_points())} points with {product}"
        return "; ".join(filter(None, [held, _listing(self.vary)]))

    def named(self, values: Mapping[str, Any], point: Space) -> str:
        """By shares: `40 % of the doubling to depth, 60 % to width, 0 % to resolution (alpha = ...)`."""
        if self.simplex.ratio == 1:
            return super().named(values, point)
        total = self.held.total(self.simplex.ratio ** getattr(point, self.held.coefficient))
        shares = dict(zip(self.held.meanings.values(), self.held.shares(values).tolist(), strict=True))
        # A corner is its own name.
        shares = {name: share for name, share in shares.items() if share > 1 - 1e-9} or shares
        parts = [f"{100 * share:.3g}\N{NO-BREAK SPACE}% to {name}" for name, share in shares.items()]
        return f"{', '.join(parts).replace(' to ', f' of {total} to ', 1)} ({super().named(values, point)})"

    def note(self, point: Space) -> str:
        """The published product, where it is not the ratio: only its shares are kept."""
        product = self.held.product({key: getattr(point, key) for key in self.held.exponents})
        if math.isclose(product, self.simplex.ratio, rel_tol=1e-9):
            return ""
        return f"{self.held.formula} = {product:.4g}; its shares are kept at {self.simplex.ratio:g}"

    def check(self, preset: str, fixed: Mapping[str, Value]) -> None:
        """The factors must act on the network."""
        super().check(preset, fixed)
        last = {key: values[-1] for key, values in self.vary.items()}
        self.design_space.check_simplex(preset, {**fixed, **last}, self.simplex.ratio)


FORMS: dict[str, type[Form]] = {form.table: form for form in (Grid, Listed, OnSimplex)}
"""The forms by the table of the file that makes a study one of them."""


def form_tables() -> dict[str, FieldInfo]:
    """The tables of a study file that forms read."""
    tables = {name: field for form in FORMS.values() for name, field in form.model_fields.items()}
    return {name: field for name, field in tables.items() if not field.exclude}


def form_of(tables: Mapping[str, Any]) -> Form:
    """The form that a study has by its tables; a table that is None or an empty list counts as not given."""
    given = {name: table for name, table in tables.items() if table is not None and table != []}
    chosen = [name for name in FORMS if name in given and name != Grid.table]
    if len(chosen) > 1:
        raise ExplorerError(f"{' and '.join(chosen)} cannot stand together")
    return FORMS[chosen[0] if chosen else Grid.table].model_validate(given)


def _listing(varied: Mapping[str, Sequence[Value | None]]) -> str:
    return "; ".join(
        f"{key}: {', '.join(label(value) for value in values if value is not None)}" for key, values in varied.items()
    )


def _evenly(count: int, most: int) -> list[int]:
    """At most so many places out of `count`, with both ends where there are two or more."""
    chosen = min(count, most)
    return [round(step * (count - 1) / max(1, chosen - 1)) for step in range(chosen)]
