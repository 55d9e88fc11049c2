"""Design spaces: families of networks defined by metaparameters.

A space is a frozen pydantic model. Its fields are the metaparameters and their rules. `expand` turns a design point, or
a chunk of points as arrays, into a network description.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, NamedTuple, Self, get_args

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails

from explorer.errors import ExplorerError, Infeasible, unknown
from explorer.networks.arrays import Float, Int
from explorer.networks.layers import Cost
from explorer.networks.network import Network
from explorer.spaces.simplex import Simplex

Rate = Annotated[Float, Field(ge=0, lt=1)]
Classes = Annotated[Int, Field(ge=2, le=1_000_000)]
Filters = Annotated[Int, Field(ge=1, le=100_000)]
Kernel = Annotated[Int, Field(ge=1, le=99)]
Stride = Annotated[Int, Field(ge=1, le=99)]
Divisor = Annotated[Int, Field(ge=1, le=1024)]
Pixels = Annotated[Int, Field(ge=1, le=1_000_000)]
Multiplier = Annotated[Float, Field(gt=0, le=100)]


@dataclass(frozen=True)
class Anchor:
    """A published network with its exact counts. The contract tests check every anchor of every space."""

    preset: str
    params: int
    source: str
    macs: int | None = None
    metaparameters: Mapping[str, Any] = field(default_factory=dict)


class Range(NamedTuple):
    """The values of a metaparameter that are worth trying: from `low` to `high`, in steps if `step` is given."""

    low: float
    high: float
    step: int | None = None

    def __str__(self) -> str:
        # Texts of whole numbers must remain whole numbers when they are read.
        return "..".join(f"{one:g}" if isinstance(one, float) else str(one) for one in self if one is not None)


class Space(BaseModel):
    """A design point. Subclasses declare the metaparameters as fields and build the network in `expand`.

    The `examples` of a field are small values for testing its cost; choices and booleans need none. `published` has the
    names of presets as papers write them. `impossible` has points without a network (end of the error message, settings
    of the first preset). `recipe` has the settings with which studies of the space replace the default recipe's, where
    its networks need them to train. `derived` describes the quantities that `derive` computes. `simplex` holds the
    scaling factors with a fixed product, if there are any.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, arbitrary_types_allowed=True)

    name: ClassVar[str]
    source: ClassVar[str]
    presets: ClassVar[Mapping[str, Mapping[str, Any]]]
    anchors: ClassVar[tuple[Anchor, ...]] = ()
    published: ClassVar[Mapping[str, str]] = {}
    impossible: ClassVar[tuple[tuple[str, Mapping[str, Any]], ...]] = ()
    recipe: ClassVar[Mapping[str, Any]] = {}
    derived: ClassVar[Mapping[str, str]] = {}
    simplex: ClassVar[Simplex | None] = None

    def expand(self) -> Network:
        """Return the network description of the point; raise `Infeasible` if there is no such network."""
        raise TypeError(f"{type(self).__name__} must implement expand")

    def derive(self, cost: Cost) -> dict[str, Float]:  # noqa: ARG002 (for subclasses)
        """Compute the quantities in `derived` from the cost of the network."""
        return {}

    def notes(self, cost: Cost) -> tuple[str, ...]:  # noqa: ARG002 (for subclasses)
        """Return remarks on the point, one line each, given the cost of its network."""
        return ()

    @classmethod
    def population_note(cls, derived: Mapping[str, NDArray[np.float64]]) -> str:  # noqa: ARG003 (for subclasses)
        """Return a remark on a set of points, given their derived quantities, each of shape (points,)."""
        return ""

    @classmethod
    def published_name(cls, preset: str) -> str:
        """Return the name of a preset's network as papers write it."""
        return cls.published.get(preset, f"{cls.__name__} {preset}")

    def ranges(self) -> dict[str, Range]:
        """Return the range of each metaparameter that is worth varying around this point."""
        return {}

    def effective(self) -> dict[str, Any]:
        """Return the metaparameters that have an effect, without redundant ones."""
        return {key: getattr(self, key) for key in type(self).model_fields}

    @classmethod
    def preset(cls, name: str | None = None) -> dict[str, Any]:
        """Return the metaparameters that a preset sets; the first preset if no name is given."""
        name = next(iter(cls.presets)) if name is None else name
        if name not in cls.presets:
            raise unknown(f"preset of {cls.name}", name, cls.presets)
        return dict(cls.presets[name])

    @classmethod
    def check_simplex(cls, preset: str | None, settings: Mapping[str, Any], ratio: float) -> None:
        """Raise `ExplorerError` if the factors of the simplex have no effect, for example because their power is 0."""
        assert cls.simplex is not None
        corners = cls.simplex.factors(np.eye(len(cls.simplex.exponents)), ratio)
        rows = np.column_stack(list(corners.values())).tolist()
        points = [dict(settings) | dict(zip(corners, row, strict=True)) for row in rows]
        try:
            networks = {cls.point(preset, **point).expand().digest for point in points}
        except Infeasible:
            return
        if len(networks) == 1:
            power = cls.simplex.coefficient
            raise ExplorerError(f"{cls.name}: {', '.join(corners)} have no effect; set {power} = 1.0 or another power")

    @classmethod
    def point(cls, preset: str | None = None, /, **metaparameters: Any) -> Self:  # noqa: ANN401 (checked by pydantic)
        """Return the design point of a preset with some metaparameters replaced. Errors name key, value and rule."""
        try:
            return cls.model_validate(cls.preset(preset) | metaparameters)
        except ValidationError as error:
            raise cls.mistake(error.errors()[0]) from None

    @classmethod
    def points(cls, preset: str | None = None, /, **columns: Any) -> Self:  # noqa: ANN401 (checked by pydantic)
        """Return a chunk of design points. Any metaparameter may be a NumPy array; all arrays have the same length.

        Rules for numbers are ranges, so only the extremes of an array need checking.
        """
        arrays = {key: column for key, column in columns.items() if isinstance(column, np.ndarray)}
        low = columns | {key: column.min().item() for key, column in arrays.items()}
        high = columns | {key: column.max().item() for key, column in arrays.items()}
        cls.point(preset, **low)
        checked = cls.point(preset, **high)
        return checked.model_copy(update=arrays)

    @classmethod
    def mistake(cls, details: ErrorDetails) -> ExplorerError:
        """Return the one-line error for pydantic's first error about a metaparameter."""
        if not details["loc"]:
            return ExplorerError(f"{cls.name}: {rule(details)}")
        key = str(details["loc"][0])
        if details["type"] == "extra_forbidden":
            return unknown(f"metaparameter of {cls.name}", key, cls.model_fields)
        if details["type"] == "literal_error":
            return unknown(f"{key} of {cls.name}", label(details["input"]), get_args(cls.model_fields[key].annotation))
        path = ".".join(map(str, details["loc"]))
        return ExplorerError(f"{cls.name}: {path} = {label(details['input'])}: {rule(details)}")


def read_value(text: str) -> Any:  # noqa: ANN401 (of any metaparameter)
    """Read a number, a list, `true` or `false` as TOML has them; anything else is text."""
    try:
        found = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text
    return found if isinstance(found, bool | int | float | str | list) else text  # so 08:10:20 is not a time


def label(value: object) -> str:
    """Format a metaparameter's value for tables, plots and messages: `0.125`, `1.1487`, `simple`, `1-4-8` or `yes`."""
    if value is None:
        return ""
    if isinstance(value, float) and len(str(value)) > 8:  # noqa: PLR2004 (longer ones are computed, not chosen)
        return f"{value:.6g}"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        nested = any(isinstance(item, list | tuple) for item in value)
        return (", " if nested else "-").join(map(label, value))
    return str(value)


def cell(value: Any) -> Any:  # noqa: ANN401 (of any metaparameter)
    """Return a metaparameter's value for a frame or a file. Lists become labels; other values are unchanged."""
    return label(value) if isinstance(value, list | tuple) else value


def amount(value: float) -> str:
    """Format a cost or a ratio for messages and tables: `1,096,680` or `1.9`."""
    return f"{value:,.0f}" if value >= 1000 else f"{value:.4g}"  # noqa: PLR2004 (costs are whole numbers)


def rule(details: ErrorDetails) -> str:
    """Turn a pydantic error into the end of a sentence."""
    if details["type"] == "tuple_type":
        return "should be a list, such as [1,4,8]"
    message = details["msg"].removeprefix("Value error, ").removeprefix("Input ")
    return message[:1].lower() + message[1:]
