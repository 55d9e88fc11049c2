"""Building blocks for the tables in a study file."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict


class Model(BaseModel):
    """A table of a study file. It is frozen, and unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


def _plain(value: object) -> object:
    # Unlike lists, tuples can be hashed.
    return tuple(map(_plain, value)) if isinstance(value, list) else value


Value = Annotated[bool | int | float | str | tuple[Any, ...], BeforeValidator(_plain)]
"""The value of a metaparameter."""
