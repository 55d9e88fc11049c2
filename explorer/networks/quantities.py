"""The table of costs and measures: how each is computed, shown and used.

Registering a quantity is all it takes to add one:

    register(Quantity("int8_bytes", "int8 size", MIB, lambda network: network.cost.params, front=True))
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from explorer.networks.arrays import Int
    from explorer.networks.network import Network


class Unit(NamedTuple):
    """The unit to show amounts in: its name, its size in the stored unit, and the decimals in tables."""

    name: str
    scale: float
    decimals: int


COUNT = Unit("", 1.0, 0)  # axes add a prefix k, M or G
MIB = Unit("MiB", 2.0**20, 2)
MILLISECONDS = Unit("ms", 1e-3, 3)
PERCENT = Unit("%", 0.01, 1)


@dataclass(frozen=True)
class Quantity:
    """A cost or a measure.

    Args:
        key: Name in code, files, options and conditions, with the stored unit.
        noun: Name in sentences.
        unit: Unit to show it in.
        compute: Computes it for one image, as a whole number or an array; None if it is measured.
        title: Name on axes and in tables; the noun if empty.
        more_is_better: Direction on fronts.
        front: Whether there is a front of accuracy against it.
        figure: Name of the figure of that front. A computed quantity with a figure is also shown in short tables.
        ranked: Whether its ranking of points is compared with that of accuracy.
        budget: Whether `fit` has an option that limits it.
    """

    key: str
    noun: str
    unit: Unit = COUNT
    compute: Callable[[Network], Int] | None = None
    title: str = ""
    more_is_better: bool = False
    front: bool = False
    figure: str = ""
    ranked: bool = False
    budget: bool = False

    @property
    def main(self) -> bool:
        """Whether short tables and sentences show it."""
        return bool(self.compute and self.figure)

    @property
    def heading(self) -> str:
        """Heading of a column: `FLOPs (multiply-adds)`, `model size, MiB`."""
        return ", ".join(filter(None, (self.title or self.noun, self.unit.name)))

    def text(self, amount: float) -> str:
        """Format an amount in the unit of the heading."""
        return f"{amount / self.unit.scale:,.{self.unit.decimals}f}"

    def axis(self, largest: float = 0.0) -> tuple[float, str]:
        """Return divisor and title, such as `Params (k)`, of an axis up to `largest`."""
        name = self.title or self.noun
        name = name[:1].upper() + name[1:]
        scale, unit = prefixed(largest) if self.unit is COUNT else (self.unit.scale, self.unit.name)
        if not unit:
            return scale, name
        return scale, f"{name[:-1]}, {unit})" if name.endswith(")") else f"{name} ({unit})"


def prefixed(value: float) -> tuple[float, str]:
    """Return divisor and prefix to show a count with few digits: `1e6, "M"`."""
    return next((step for step in ((1e9, "G"), (1e6, "M"), (1e3, "k")) if value >= step[0]), (1.0, ""))


QUANTITIES: dict[str, Quantity] = {}
"""Quantities by key, in the order shown."""


def register(*quantities: Quantity) -> None:
    """Add quantities to the table."""
    QUANTITIES.update({quantity.key: quantity for quantity in quantities})


def computed() -> dict[str, Callable[[Network], Int]]:
    """Return the functions that compute quantities from a network, by key."""
    return {key: quantity.compute for key, quantity in QUANTITIES.items() if quantity.compute}


def main_costs() -> list[Quantity]:
    """Return the computed quantities that short tables and sentences show."""
    return [quantity for quantity in QUANTITIES.values() if quantity.main]


def main_amounts(network: Network) -> dict[str, Int]:
    """Return the main costs of a network, by key."""
    return {quantity.key: quantity.compute(network) for quantity in main_costs() if quantity.compute}


ACCURACY = Quantity("accuracy", "accuracy", PERCENT, title="validation accuracy", more_is_better=True)
LATENCY = Quantity("latency_seconds", "latency", MILLISECONDS, front=True, figure="front_latency")

_EVERYWHERE: dict[str, Any] = {"front": True, "ranked": True, "budget": True}
register(
    Quantity("params", "params", COUNT, lambda net: net.cost.params, figure="front_params", **_EVERYWHERE),
    Quantity(
        "macs", "FLOPs", COUNT, lambda net: net.cost.macs, "FLOPs (multiply-adds)", figure="front_macs", **_EVERYWHERE
    ),
    Quantity("activations", "activations", COUNT, lambda net: net.cost.activations, **_EVERYWHERE),
    Quantity("model_bytes", "model size", MIB, lambda net: net.cost.model_bytes, ranked=True, budget=True),
    Quantity("memory_access_bytes", "memory access", MIB, lambda net: net.memory_access_bytes, front=True, ranked=True),
    Quantity("peak_activation_bytes", "peak activations", MIB, lambda net: net.peak_activation_bytes, budget=True),
    LATENCY,
    ACCURACY,
)
