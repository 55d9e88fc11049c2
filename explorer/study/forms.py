"""The forms of a study. Each defines its points, their labels, how to thin them, and the figure that shows them.

A form is a subclass of `Form` that is listed in `FORMS`. Each field is a table that it reads from a study file. No
other file depends on the form of a study.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, Self

import numpy as np
import pandas as pd
from pydantic import Field, model_validator
from pydantic.fields import FieldInfo

from explorer.errors import ExplorerError, unknown
from explorer.spaces import find_space
from explorer.spaces.simplex import Simplex
from explorer.spaces.space import Space, label
from explorer.study.compression import Compressions
from explorer.study.coordinates import Choice, Coordinates, Number, is_ordered
from explorer.study.form import DesignPoint, Form, evenly, listing
from explorer.study.search import Search
from explorer.study.transfer import Transfers
from explorer.study.values import Model, Value


class Grid(Form):
    """All combinations of the values in `[vary]`."""

    table = "vary"

    def own_points(self) -> list[DesignPoint]:
        """Return one point that sets nothing."""
        return [DesignPoint({}, "")]

    def fewer(self, most: int) -> Self:  # noqa: ARG002 (there is only one)
        """Return the form itself."""
        return self

    @property
    def figure(self) -> str:
        """A plane if exactly two numbers vary."""
        sides = list(self.vary.values())
        numeric = all(len(side) > 1 and is_ordered(side) for side in sides)
        return "plane" if len(sides) == 2 and numeric else "points"  # noqa: PLR2004

    def check(self, preset: str, fixed: Mapping[str, Value]) -> None:
        """Also require that at least one metaparameter varies."""
        if not self.vary:
            raise ExplorerError(f"nothing varies; add one of the tables {', '.join(FORMS)}")
        super().check(preset, fixed)


class Listed(Form):
    """The points of `[[points]]`. A line joins points with the same `series`."""

    table = "points"
    points: list[dict[str, Value]]

    def own_points(self) -> list[DesignPoint]:
        """Label points by their values, or by their series if they set nothing."""
        found = []
        for point in self.points:
            values = {key: value for key, value in point.items() if key != "series"}
            text = " ".join(f"{key} {label(value)}" for key, value in values.items())
            series = str(point.get("series", ""))
            found.append(DesignPoint(values, text or series, series))
        return found

    def fewer(self, most: int) -> Self:
        """Return some of the points."""
        return self.model_copy(update={"points": evenly(self.points, most)})

    @property
    def figure(self) -> str:
        """A line for each series, if there are any."""
        return "series" if any(point.get("series") for point in self.points) else "points"

    def check(self, preset: str, fixed: Mapping[str, Value]) -> None:
        """Also require that points are distinct and not empty, and series are text."""
        known = ["series", *find_space(self.space).model_fields]
        for place, point in enumerate(self.points):
            series = point.get("series", "")
            if not isinstance(series, str):
                raise ExplorerError(f"points: series = {label(series)}: should be text")
            if not point or point in self.points[:place]:
                raise ExplorerError(f"points: point {place + 1} {'is a duplicate' if point else 'is empty'}")
            for key in point:
                if key not in known:
                    raise unknown(f"metaparameter of {self.space}", key, known)
        super().check(preset, fixed)


class Triangle(Model):
    """The table `[simplex]`: a lattice of points with the ratio as their product, or random points."""

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
    """The points of `[simplex]`: scaling factors with a fixed product, described by their shares of it."""

    table = "simplex"
    simplex: Triangle

    @property
    def _factors(self) -> Simplex:
        simplex = find_space(self.space).simplex
        if simplex is None:
            raise ExplorerError(f"simplex: {self.space} has no scaling factors with a fixed product")
        return simplex

    def own_points(self) -> list[DesignPoint]:
        """Label points by their shares in percent: `20-40-40`."""
        rng = np.random.default_rng(self.simplex.seed)
        steps = self.simplex.steps
        shares = self._factors.lattice(steps) if steps else self._factors.draw(self.simplex.draw or 0, rng)
        factors = {key: column.tolist() for key, column in self._factors.factors(shares, self.simplex.ratio).items()}
        return [
            DesignPoint(dict(zip(factors, values, strict=True)), "-".join(f"{100 * share:.3g}" for share in row))
            for values, row in zip(zip(*factors.values(), strict=True), shares, strict=True)
        ]

    def fewer(self, most: int) -> Self:
        """Return fewer random points, or a lattice with fewer steps."""
        changes: dict[str, int] = {}
        if self.simplex.draw:
            changes["draw"] = min(most, self.simplex.draw)
        else:
            steps = range(self.simplex.steps or 1, 0, -1)
            changes["steps"] = next(n for n in steps if self._factors.lattice_size(n) <= most or n == 1)
        return self.model_copy(update={"simplex": self.simplex.model_copy(update=changes)})

    @property
    def figure(self) -> str:
        """A triangle if there are three shares."""
        whole = len(self._factors.exponents) == 3 and not self.vary and self.simplex.ratio != 1  # noqa: PLR2004
        return "triangle" if whole else "points"

    @property
    def label_title(self) -> str:
        """The shares."""
        return f"{'-'.join(self._factors.meanings.values())} shares, %"

    @property
    def axes(self) -> tuple[Number | Choice, ...]:
        """The axes, with the factors expressed as shares."""
        others = tuple(axis for axis in super().axes if axis.name not in self._factors.exponents)
        return (*(Number(name, 0.0, 1.0) for name in self._factors.share_names), *others)

    def columns(self, columns: Mapping[str, Any] | pd.DataFrame) -> dict[str, Any]:
        """Convert factors to shares."""
        factors = {key: columns[key] for key in self._factors.exponents}
        return self._factors.share_columns(factors) | {key: columns[key] for key in self.vary}

    def metaparameters(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """Convert shares to factors."""
        shares = np.array([[row[name] for name in self._factors.share_names]])
        factors = self._factors.factors(shares, self.simplex.ratio)
        return {key: float(column[0]) for key, column in factors.items()} | {key: row[key] for key in self.vary}

    @property
    def coordinates(self) -> Coordinates | None:
        """Coordinates of the points; None if the product is 1, because there are no shares then."""
        return None if self.simplex.ratio == 1 else Coordinates.of(self.axes, self._factors, self.simplex.ratio)

    @property
    def summary(self) -> str:
        """The fixed product, and the other metaparameters that vary."""
        product = f"{self._factors.formula} = {self.simplex.ratio:g}"
        factors = f"{', '.join(self._factors.exponents)}: {len(self.own_points())} points with {product}"
        return "; ".join(filter(None, [factors, listing(self.vary)]))

    def named(self, values: Mapping[str, Any], point: Space) -> str:
        """Name a point by its shares: `40 % of the doubling to depth, 60 % to width (alpha = ...)`."""
        if self.simplex.ratio == 1:
            return super().named(values, point)
        total = self._factors.total(self.simplex.ratio ** getattr(point, self._factors.coefficient))
        shares = dict(zip(self._factors.meanings.values(), self._factors.shares(values).tolist(), strict=True))
        corner = {name: share for name, share in shares.items() if share > 1 - 1e-9}
        parts = [f"{100 * share:.3g}\N{NO-BREAK SPACE}% to {name}" for name, share in (corner or shares).items()]
        return f"{', '.join(parts).replace(' to ', f' of {total} to ', 1)} ({super().named(values, point)})"

    def note(self, point: Space) -> str:
        """Return the published product if it differs from the ratio."""
        product = self._factors.product({key: getattr(point, key) for key in self._factors.exponents})
        if math.isclose(product, self.simplex.ratio, rel_tol=1e-9):
            return ""
        return f"{self._factors.formula} = {product:.4g}; its shares are kept at {self.simplex.ratio:g}"

    def check(self, preset: str, fixed: Mapping[str, Value]) -> None:
        """Also require that the factors have an effect."""
        super().check(preset, fixed)
        last = {key: values[-1] for key, values in self.vary.items()}
        find_space(self.space).check_simplex(preset, {**fixed, **last}, self.simplex.ratio)


FORMS: dict[str, type[Form]] = {form.table: form for form in (Grid, Listed, OnSimplex, Search, Transfers, Compressions)}
"""The forms, keyed by the table that selects them."""


def form_tables() -> dict[str, FieldInfo]:
    """Return the tables of a study file that forms read."""
    tables = {name: field for form in FORMS.values() for name, field in form.model_fields.items()}
    return {name: field for name, field in tables.items() if not field.exclude}


def form_of(tables: Mapping[str, Any]) -> Form:
    """Return the form that the tables select. None and empty lists count as not given."""
    given = {name: table for name, table in tables.items() if table is not None and table != []}
    chosen = [name for name in FORMS if name in given and name != Grid.table]
    if len(chosen) > 1:
        raise ExplorerError(f"{' and '.join(chosen)} cannot be combined; use one of them")
    return FORMS[chosen[0] if chosen else Grid.table].model_validate(given)
