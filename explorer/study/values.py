"""What the tables of a study file are made of: values, and models that accept no other keys than their own."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict


class Model(BaseModel):
    """A table of a study file: frozen, and without keys that are not declared."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


def _plain(value: object) -> object:
    """Lists of a file become tuples, which can be compared, hashed and kept."""
    return tuple(map(_plain, value)) if isinstance(value, list) else value


Value = Annotated[bool | int | float | str | tuple[Any, ...], BeforeValidator(_plain)]
"""A metaparameter's value."""
