"""Calls that create torch modules, as data that can be executed or printed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from operator import attrgetter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Call:
    """A class or function with its named arguments. Arguments with numbers as names are positional.

    `called` is a torch class such as `nn.Conv2d`, a name in `explorer.networks.modules`, or a class itself. Arguments
    are plain values, modules or calls.
    """

    called: str | Callable[..., nn.Module]
    arguments: tuple[tuple[str, Any], ...]

    def target(self) -> Callable[..., nn.Module]:
        """Return the class or function."""
        from explorer.networks import modules  # also provides `nn`

        found: Callable[..., nn.Module]
        found = attrgetter(self.called)(modules) if isinstance(self.called, str) else self.called
        return found

    def keeping_input(self) -> Call:
        """Return the call of a module that does not overwrite its input."""
        kept = tuple((name, False if name == "inplace" else value) for name, value in self.arguments)
        return Call(self.called, kept)

    def made(self) -> nn.Module:
        """Execute the call. Its arguments must not be calls themselves."""
        by_position = [value for name, value in self.arguments if name.isdigit()]
        return self.target()(*by_position, **{name: value for name, value in self.arguments if not name.isdigit()})


def call(called: str | Callable[..., nn.Module], **arguments: object) -> Call:
    """Return a call with these arguments."""
    return Call(called, tuple(arguments.items()))
