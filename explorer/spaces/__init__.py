"""The design spaces, one file each, and `space.py`, which says what a design space is; a file put here is found automatically."""

from __future__ import annotations

import importlib
import pkgutil

from explorer.errors import unknown
from explorer.spaces.space import Space


def all_spaces() -> dict[str, type[Space]]:
    """Every space by name, in alphabetical order."""
    modules = [importlib.import_module(f"{__name__}.{found.name}") for found in pkgutil.iter_modules(__path__)]
    spaces = [
        value
        for module in modules
        for value in vars(module).values()
        if isinstance(value, type)
        and issubclass(value, Space)
        and value is not Space
        and value.__module__ == module.__name__
    ]
    return {space.name: space for space in sorted(spaces, key=lambda space: space.name)}


def find_space(name: str) -> type[Space]:
    """The space of that name; an unknown name is an error that says the nearest."""
    spaces = all_spaces()
    if name not in spaces:
        raise unknown("space", name, spaces)
    return spaces[name]
