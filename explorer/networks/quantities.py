"""Every cost and measure, named once: how it is written, what it is used for, and how a network gives it.

Everything else reads `QUANTITIES` at the time it is needed, so registering a quantity is all it takes to add one:

    register(Quantity("int8_bytes", "int8 size", MIB, lambda network: network.cost.params, front=True))
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from explorer.networks.arrays import Int
    from explorer.networks.network import Network


class Unit(NamedTuple):
    """What amounts are shown in: its name, how much of what is stored it is, and the decimals in tables."""

    name: str
    scale: float
    decimals: int


COUNT = Unit("", 1.0, 0)  # with the prefixes k, M and G where there is room for a few digits only
MIB = Unit("MiB", 2.0**20, 2)
MILLISECONDS = Unit("ms", 1e-3, 3)
PERCENT = Unit("%", 0.01, 1)


@dataclass(frozen=True)
class Quantity:
    """A cost or a measure.

    Args:
        key: Its name in code, files, options and conditions, with the unit that it is stored in.
        noun: What it is called in a sentence.
        unit: What it is shown in.
        compute: What one image costs of it, a whole number or an array of them; None where it is measured.
        title: What axes and tables call it, where that is not the noun.
        more_is_better: Its direction on fronts.
        front: Whether points have a front of accuracy and it.
        figure: Name of the figure of that front. A computed quantity with a figure is also shown in short tables.
        ranked: Whether its order is compared with that of accuracies.
        budget: Whether `fit` takes a limit for it on the command line.

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
        """What stands above a column: `FLOPs (multiply-adds)`, `model size, MiB`."""
        return ", ".join(filter(None, (self.title or self.noun, self.unit.name)))

    def text(self, amount: float) -> str:
        """An amount in a table, in the unit of the heading."""
        return f"{amount / self.unit.scale:,.{self.unit.decimals}f}"

    def axis(self, largest: float = 0.0) -> tuple[float, str]:
        """For an axis up to `largest`: what to divide amounts by, and the title, such as `Params (k)`."""
        name = self.title or self.noun
        name = name[:1].upper() + name[1:]
        scale, unit = prefixed(largest) if self.unit is COUNT else (self.unit.scale, self.unit.name)
        if not unit:
            return scale, name
        return scale, f"{name[:-1]}, {unit})" if name.endswith(")") else f"{name} ({unit})"


def prefixed(value: float) -> tuple[float, str]:
    """What to divide a count by so that it is easy to read, and the prefix: `1e6, "M"`."""
    return next((step for step in ((1e9, "G"), (1e6, "M"), (1e3, "k")) if value >= step[0]), (1.0, ""))


QUANTITIES: dict[str, Quantity] = {}
"""All quantities by key, in the order in which they are shown."""


def register(*quantities: Quantity) -> None:
    """Adds quantities to the table."""
    QUANTITIES.update({quantity.key: quantity for quantity in quantities})


def computed() -> dict[str, Callable[[Network], Int]]:
    """The quantities that a network gives, by key."""
    return {key: quantity.compute for key, quantity in QUANTITIES.items() if quantity.compute}


def main_costs() -> list[Quantity]:
    """The computed quantities that short tables and sentences show."""
    return [quantity for quantity in QUANTITIES.values() if quantity.main]


def main_amounts(network: Network) -> dict[str, Int]:
    """What a network costs of the main quantities, by key."""
    return {quantity.key: quantity.compute(network) for quantity in main_costs() if quantity.compute}


ACCURACY = Quantity("accuracy", "accuracy", PERCENT, title="validation accuracy", more_is_better=True)
LATENCY = Quantity("latency_seconds", "latency", MILLISECONDS, front=True, figure="front_latency")

register(
    Quantity(
        "params",
        "params",
        COUNT,
        lambda net: net.cost.params,
        front=True,
        figure="front_params",
        ranked=True,
        budget=True,
    ),
    Quantity(
        "macs",
        "FLOPs",
        COUNT,
        lambda net: net.cost.macs,
        title="FLOPs (multiply-adds)",
        front=True,
        figure="front_macs",
        ranked=True,
        budget=True,
    ),
    Quantity(
        "activations", "activations", COUNT, lambda net: net.cost.activations, front=True, ranked=True, budget=True
    ),
    Quantity("model_bytes", "model size", MIB, lambda net: net.cost.model_bytes, ranked=True, budget=True),
    Quantity("memory_access_bytes", "memory access", MIB, lambda net: net.memory_access_bytes, front=True, ranked=True),
    Quantity("peak_activation_bytes", "peak activations", MIB, lambda net: net.peak_activation_bytes, budget=True),
    LATENCY,
    ACCURACY,
)
