"""The design spaces, one per file. New files in this folder are found automatically.

Other packages add spaces by entry points of the group `explorer.spaces` (docs/extending.md).
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping
from functools import cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from explorer.errors import ExplorerError, unknown
from explorer.plugins import plugins
from explorer.spaces.space import Space, amount, label

if TYPE_CHECKING:
    import pandas as pd


GROUP = "explorer.spaces"


@cache
def all_spaces() -> Mapping[str, type[Space]]:
    """Return every space by name, in alphabetical order.

    Raises `ExplorerError` if an installed package has a space that cannot be used.
    """
    modules = [importlib.import_module(f"{__name__}.{found.name}") for found in pkgutil.iter_modules(__path__)]
    classes = dict.fromkeys(value for module in modules for value in vars(module).values() if _is_space(value))
    spaces: dict[str, type[Space]] = {}
    for where, space in [*((f"{each.__name__} in {each.__module__}", each) for each in classes), *plugins(GROUP)]:
        if not _is_space(space):
            raise ExplorerError(f"{where}: must be a subclass of explorer.spaces.space.Space, not {space!r}")
        name = getattr(space, "name", None)
        if name is None or name in spaces:
            rule = "must set `name`" if name is None else f"there is another space named {name!r}; rename one of them"
            raise ExplorerError(f"{where}: {rule}")
        spaces[name] = space
    return MappingProxyType(dict(sorted(spaces.items())))


def _is_space(value: object) -> bool:
    return isinstance(value, type) and issubclass(value, Space) and value is not Space


def find_space(name: str) -> type[Space]:
    """Return the space with this name. The error for an unknown name suggests the nearest one."""
    spaces = all_spaces()
    if name not in spaces:
        raise unknown("space", name, spaces)
    return spaces[name]


def list_spaces() -> pd.DataFrame:
    """List the design spaces, one row per metaparameter.

    Columns: `space`, `source`, `presets` (names), `metaparameter`, `default` (in the first preset, as text), `values`
    (the allowed values, such as `number > 0`), `meaning`.
    """
    import pandas as pd

    rows: list[tuple[Any, ...]] = []
    for space in all_spaces().values():
        about = (space.name, space.source, list(space.presets))
        for name, field in space.model_json_schema()["properties"].items():
            rows.append((*about, name, label(field.get("default")), _rule(field), field["description"]))
    columns = ["space", "source", "presets", "metaparameter", "default", "values", "meaning"]
    return pd.DataFrame(rows, columns=columns)


def _rule(schema: dict[str, Any]) -> str:
    if "enum" in schema:
        return " | ".join(schema["enum"])
    if "anyOf" in schema:
        return " | ".join(map(_rule, schema["anyOf"]))
    kinds = {"boolean": "yes | no", "array": "list", "null": "none", "string": "text"}
    kind = kinds.get(schema["type"], schema["type"])
    signs = {"minimum": ">=", "exclusiveMinimum": ">", "maximum": "<=", "exclusiveMaximum": "<"}
    limits = [f"{sign} {amount(schema[key])}" for key, sign in signs.items() if key in schema]
    return " ".join([kind, ", ".join(limits)]).strip()
