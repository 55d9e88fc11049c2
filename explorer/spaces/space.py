"""Design spaces: families of networks defined by metaparameters.

A space is a frozen pydantic model: its fields are the metaparameters with their rules, and `expand` turns one design point,
or a chunk of them held in arrays, into a network description.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self, get_args

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails

from explorer.errors import ExplorerError, Infeasible, unknown
from explorer.networks.arrays import Float
from explorer.networks.layers import Cost
from explorer.networks.network import Network
from explorer.spaces.simplex import Simplex


@dataclass(frozen=True)
class Anchor:
    """A published network of a space with its exact counts; the contract tests check every anchor of every space."""

    preset: str
    params: int
    source: str
    macs: int | None = None
    metaparameters: Mapping[str, Any] = field(default_factory=dict)


class Space(BaseModel):
    """One design point of a family; subclasses declare the metaparameters as fields and build the network in `expand`.

    A field's `examples` are small values that its cost is tested on; choices and yes-or-no need none. `derived` names what
    `derive` computes, each with its meaning. `simplex` holds the metaparameters whose product may be held, where there are such.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, arbitrary_types_allowed=True)

    name: ClassVar[str]
    source: ClassVar[str]
    presets: ClassVar[Mapping[str, Mapping[str, Any]]]
    anchors: ClassVar[tuple[Anchor, ...]] = ()
    derived: ClassVar[Mapping[str, str]] = {}
    simplex: ClassVar[Simplex | None] = None

    def expand(self) -> Network:
        """The network description of the point; raises `Infeasible` where no network realises it."""
        raise TypeError(f"{type(self).__name__} does not say how it expands")

    def derive(self, cost: Cost) -> dict[str, Float]:  # noqa: ARG002 (nothing unless a space says otherwise)
        """The quantities that `derived` names, for the point and the cost of its network."""
        return {}

    def notes(self, cost: Cost) -> tuple[str, ...]:  # noqa: ARG002 (nothing unless a space says otherwise)
        """What there is to say of the point beside its layers, a line each, given the cost of its network."""
        return ()

    @classmethod
    def population_note(cls, derived: Mapping[str, NDArray[np.float64]]) -> str:  # noqa: ARG003 (for subclasses)
        """What there is to say of several points together, given the quantities of `derive`, (points,) each."""
        return ""

    @classmethod
    def published_name(cls, preset: str) -> str:
        """A preset as papers write it."""
        return preset

    def ranges(self) -> dict[str, tuple[float, float]]:
        """Where to look for networks around this point: lowest and highest value of what is worth varying, whole where both are."""
        return {}

    @classmethod
    def preset(cls, name: str | None = None) -> dict[str, Any]:
        """The metaparameters that a preset sets; the space's first preset where no name is given."""
        name = next(iter(cls.presets)) if name is None else name
        if name not in cls.presets:
            raise unknown(f"preset of {cls.name}", name, cls.presets)
        return dict(cls.presets[name])

    @classmethod
    def check_simplex(cls, preset: str | None, settings: Mapping[str, Any], ratio: float) -> None:
        """Raises `ExplorerError` where the factors of the simplex act on nothing, as where they are raised to the power 0."""
        assert cls.simplex is not None
        corners = cls.simplex.factors(np.eye(len(cls.simplex.exponents)), ratio)
        points = [
            dict(zip(corners, row, strict=True)) for row in zip(*(c.tolist() for c in corners.values()), strict=True)
        ]
        try:
            networks = {cls.point(preset, **{**settings, **point}).expand().digest for point in points}
        except Infeasible:
            return
        if len(networks) == 1:
            names = ", ".join(corners)
            raise ExplorerError(
                f"{cls.name}: {names} change nothing here; give {cls.simplex.coefficient} = 1.0, or another power"
            )

    @classmethod
    def point(cls, preset: str | None = None, /, **metaparameters: Any) -> Self:  # noqa: ANN401 (checked by pydantic)
        """The design point of a preset with some metaparameters replaced; errors name key, value and rule."""
        try:
            return cls.model_validate(cls.preset(preset) | metaparameters)
        except ValidationError as error:
            raise cls.mistake(error.errors()[0]) from None

    @classmethod
    def points(cls, preset: str | None = None, /, **columns: Any) -> Self:  # noqa: ANN401 (checked by pydantic)
        """A chunk of design points: NumPy arrays of equal length stand for metaparameters, beside plain values.

        The rules of numbers are ranges, so a column keeps them when its extremes do.
        """
        arrays = {key: column for key, column in columns.items() if isinstance(column, np.ndarray)}
        low = columns | {key: column.min().item() for key, column in arrays.items()}
        high = columns | {key: column.max().item() for key, column in arrays.items()}
        cls.point(preset, **low)
        checked = cls.point(preset, **high)
        return checked.model_copy(update=arrays)

    @classmethod
    def mistake(cls, details: ErrorDetails) -> ExplorerError:
        """The one-line error for what pydantic found wrong with a metaparameter."""
        if not details["loc"]:
            return ExplorerError(f"{cls.name}: {rule(details)}")
        key = str(details["loc"][0])
        if details["type"] == "extra_forbidden":
            return unknown(f"metaparameter of {cls.name}", key, cls.model_fields)
        if details["type"] == "literal_error":
            return unknown(f"{key} of {cls.name}", label(details["input"]), get_args(cls.model_fields[key].annotation))
        path = ".".join(map(str, details["loc"]))
        return ExplorerError(f"{cls.name}: {path} = {label(details['input'])}: {rule(details)}")


def label(value: object) -> str:
    """A metaparameter's value as tables, plots and messages show it: `0.125`, `1.1487`, `simple`, `1-4-8`, `yes`."""
    if value is None:
        return ""
    if isinstance(value, float) and len(str(value)) > 8:  # noqa: PLR2004 (characters: longer ones are computed, not chosen)
        return f"{value:.6g}"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        nested = any(isinstance(item, list | tuple) for item in value)
        return (", " if nested else "-").join(map(label, value))
    return str(value)


def amount(value: float) -> str:
    """A cost or a ratio as messages and tables show it: `1,096,680`, `1.9`."""
    return f"{value:,.0f}" if value >= 1000 else f"{value:.4g}"  # noqa: PLR2004 (from here on, whole numbers)


def rule(details: ErrorDetails) -> str:
    """What pydantic says of a value, as the end of a sentence."""
    if details["type"] == "tuple_type":
        return "should be a list, such as [1,4,8]"
    message = details["msg"].removeprefix("Value error, ").removeprefix("Input ")
    return message[:1].lower() + message[1:]
