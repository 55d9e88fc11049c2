"""The identity of a layer, run or study: its settings. It stays the same when later versions add settings."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from functools import cache
from typing import Any, get_type_hints

from pydantic import BaseModel


@dataclass(frozen=True)
class Later:
    """Marks a field that was added after keys were first stored: `blur: Annotated[float, Later(neutral=0)] = 0`.

    Keys omit the field as long as it has the neutral value, which means the earlier behaviour.
    """

    neutral: Any


def identity(value: Any) -> Any:  # noqa: ANN401 (any setting)
    """Turn a setting, including models and dataclasses in it, into plain data without neutral `Later` fields."""
    kind: type[Any] = type(value)
    if issubclass(kind, BaseModel) or is_dataclass(kind):
        parts = ((name, getattr(value, name), later) for name, later in settings_of(kind).items())
        return {name: identity(part) for name, part, later in parts if later is None or part != later.neutral}
    if isinstance(value, Mapping):
        return {name: identity(part) for name, part in value.items()}
    return [identity(part) for part in value] if isinstance(value, list | tuple) else value


@cache
def settings_of(kind: type[Any]) -> dict[str, Later | None]:
    """Return the fields of a model or a dataclass that belong to its identity, with the marks of later ones."""
    marks: dict[str, Sequence[Any]]
    if issubclass(kind, BaseModel):
        marks = {name: field.metadata for name, field in kind.model_fields.items() if not field.exclude}
    else:
        try:
            hints = get_type_hints(kind, include_extras=True)
        except NameError as error:
            # Types that are imported for type checkers only, or defined in a function.
            raise TypeError(f"{kind.__name__}: the types of its fields must be importable: {error}") from error
        marks = {field.name: getattr(hints[field.name], "__metadata__", ()) for field in fields(kind)}
    return {name: next((mark for mark in found if isinstance(mark, Later)), None) for name, found in marks.items()}


def key_of(settings: Mapping[str, Any]) -> str:
    """Return the SHA-256 (hex) of settings in plain data."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()
