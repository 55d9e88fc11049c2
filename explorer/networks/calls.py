"""The call that makes a torch module, as data: it can be made, and printed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from operator import attrgetter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Call:
    """What is called, with which arguments by name; numbers as names mean by position.

    `called` is a class of torch as `nn.Conv2d`, a name in `explorer.networks.modules`, or a class itself. Arguments are plain
    values, modules or calls.
    """

    called: str | Callable[..., nn.Module]
    arguments: tuple[tuple[str, Any], ...]

    def target(self) -> Callable[..., nn.Module]:
        """The class or function that is called."""
        from explorer.networks import modules  # which imports `nn` too

        target: Callable[..., nn.Module] = (
            attrgetter(self.called)(modules) if isinstance(self.called, str) else self.called
        )
        return target

    def made(self) -> nn.Module:
        """The module that the call makes; no argument may be a call."""
        by_position = [value for name, value in self.arguments if name.isdigit()]
        return self.target()(*by_position, **{name: value for name, value in self.arguments if not name.isdigit()})


def call(called: str | Callable[..., nn.Module], **arguments: object) -> Call:
    """A call with these arguments."""
    return Call(called, tuple(arguments.items()))
