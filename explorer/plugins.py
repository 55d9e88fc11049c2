"""Design spaces and data sets of other packages, which they declare as entry points (docs/extending.md)."""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points
from typing import Any

from explorer.errors import ExplorerError


def names(group: str) -> list[str]:
    """Return the names of a group's entry points, without importing anything."""
    return sorted(entry_points(group=group).names)


def plugins(group: str, name: str | None = None) -> list[tuple[str, Any]]:
    """Import the objects of a group's entry points, or only those with this name.

    Returns:
        Pairs of a description for messages and the object.

    Raises:
        ExplorerError: A package cannot be imported.
    """
    found = entry_points(group=group) if name is None else entry_points(group=group, name=name)
    if name is not None and len(found) > 1:
        packages = ", ".join(sorted(_described(entry) for entry in found))
        raise ExplorerError(f"{name}: several packages have it: {packages}; uninstall all but one")
    return [(_described(entry), _loaded(entry)) for entry in found]


def _loaded(entry: EntryPoint) -> object:
    try:
        return entry.load()
    except Exception as error:  # noqa: BLE001 (of a foreign package)
        raise broken(_described(entry), error) from None


def broken(where: str, error: Exception) -> ExplorerError:
    """Return the error for a package that raised an error of its own."""
    return ExplorerError(f"{where}: {type(error).__name__}: {error}; repair or uninstall the package")


def _described(entry: EntryPoint) -> str:
    package = entry.dist.name if entry.dist else "unknown"
    return f"{entry.name} of the installed package {package} ({entry.value})"
