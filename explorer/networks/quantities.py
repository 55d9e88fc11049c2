"""The table of costs and measures: how each one is computed, shown and used.

To add a quantity, just register it:

    register(Quantity("int8_bytes", "int8 size", MIB, lambda network: network.cost.params, front=True))
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from explorer.errors import ExplorerError

if TYPE_CHECKING:
    from explorer.networks.arrays import Int
    from explorer.networks.network import Network


class Unit(NamedTuple):
    """A display unit: its name, its size in the stored unit, its decimals in tables, and the stored unit's name."""

    name: str
    scale: float
    decimals: int
    stored: str = ""


COUNT = Unit("", 1.0, 0)  # axes add a prefix k, M or G
KIB = Unit("KiB", 2.0**10, 1, "bytes")
MIB = Unit("MiB", 2.0**20, 2, "bytes")
MILLISECONDS = Unit("ms", 1e-3, 3, "seconds")
SECONDS = Unit("s", 1.0, 1, "seconds")
PERCENT = Unit("%", 0.01, 1, "fraction")


@dataclass(frozen=True)
class Quantity:
    """A cost or a measure.

    Args:
        key: Name in code, files, options and conditions, which includes the stored unit.
        noun: Name in sentences.
        unit: Display unit.
        compute: Function that computes it for one image, as an integer or an array; None if it is measured.
        title: Name on axes and in tables; the noun if empty.
        more_is_better: Direction on fronts.
        front: Whether to compute a front of accuracy against it.
        main: Whether short tables and sentences show it.
        ranked: Whether to compare how it ranks points with how accuracy ranks them.
        budget: Whether `fit` has an option that limits it.
        counts: The things counted, if the noun doesn't make that clear.
        run_column: For a quantity measured in runs, the column of runs whose mean over the seeds it is.
        aliases: Other spellings, in lower case.
    """

    key: str
    noun: str
    unit: Unit = COUNT
    compute: Callable[[Network], Int] | None = None
    title: str = ""
    more_is_better: bool = False
    front: bool = False
    main: bool = False
    ranked: bool = False
    budget: bool = False
    counts: str = ""
    run_column: str = ""
    aliases: tuple[str, ...] = ()

    @property
    def stored_unit(self) -> str:
        """The unit of amounts in frames and files: `multiply-adds`, `bytes`, `seconds`, `fraction`."""
        return self.unit.stored or self.counts or self.noun

    @property
    def heading(self) -> str:
        """The heading of a column: `FLOPs (multiply-adds)`, `model size, MiB`."""
        return ", ".join(filter(None, (self.title or self.noun, self.unit.name)))

    def text(self, amount: float) -> str:
        """Format an amount in the unit of the heading."""
        return f"{amount / self.unit.scale:,.{self.unit.decimals}f}"

    def axis(self, largest: float = 0.0) -> tuple[float, str]:
        """Return the divisor and title, such as `Params (k)`, for an axis up to `largest`."""
        name = self.title or self.noun
        name = name[:1].upper() + name[1:]
        scale, unit = prefixed(largest) if self.unit is COUNT else (self.unit.scale, self.unit.name)
        if not unit:
            return scale, name
        return scale, f"{name[:-1]}, {unit})" if name.endswith(")") else f"{name} ({unit})"


def prefixed(value: float) -> tuple[float, str]:
    """Return the divisor and prefix that show a count with few digits: `1e6, "M"`."""
    return next((step for step in ((1e9, "G"), (1e6, "M"), (1e3, "k")) if value >= step[0]), (1.0, ""))


def counted(number: int, noun: str) -> str:
    """Format a number with its noun: `1 seed`, `3 seeds`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


QUANTITIES: dict[str, Quantity] = {}
"""Quantities by key, in display order."""


def register(*quantities: Quantity) -> None:
    """Add quantities to the table."""
    QUANTITIES.update({quantity.key: quantity for quantity in quantities})


def quantity_key(name: str) -> str:
    """Return the key of the quantity with this key, noun or alias in any case, or else the name unchanged.

    `FLOPs` means multiply-adds here, like in the papers of the spaces.
    """
    wanted = _spelt(name)
    for key, quantity in QUANTITIES.items():
        if wanted in map(_spelt, (key, quantity.noun, *quantity.aliases)):
            return key
    return name


def hyphenated() -> list[str]:
    """Return the aliases with a hyphen, which expressions would parse as a minus sign."""
    return [alias for quantity in QUANTITIES.values() for alias in quantity.aliases if "-" in alias]


def _spelt(name: str) -> str:
    return re.sub(r"[\s_-]+", "_", name.strip().lower())


FRACTIONS = ("low", "high", "spread", "guess", "probability")
"""Columns that hold fractions, besides the quantities."""


def units(names: Iterable[str]) -> dict[str, str]:
    """Return the unit of each column of a frame that has one."""
    found = {}
    for name in names:
        if name in QUANTITIES:
            found[name] = QUANTITIES[name].stored_unit
        elif name.endswith("_seconds") or name == "seconds":
            found[name] = "seconds"
        elif name.endswith("_share") or name in FRACTIONS:
            found[name] = "fraction"
        elif name == "fvcore":
            found[name] = QUANTITIES["macs"].stored_unit
    return found


_NUMBER = r"([+]?(?:\d{1,3}(?:,\d{3})+(?:\.\d*)?|\d[\d_]*\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)"
_COUNTED = r"(?:b|bytes?|macs?|flops?|params?|mult-?adds?|madds?|images?)"
_SIZE = re.compile(rf"{_NUMBER}\s*(?:([kKmMgGtT])(i?))?\s*(?i:{_COUNTED})?")
_POWERS = {"k": 1, "m": 2, "g": 3, "t": 4}


def read_size(text: str | float) -> float:
    """Read a number such as `500k`, `20M`, `1.5G`, `1MB`, `512KiB`, `5e5` or `500_000`.

    k, M, G and T are powers of 1,000; Ki, Mi, Gi and Ti are powers of 1,024. Raises `ExplorerError` for anything else.
    """
    found = _SIZE.fullmatch(str(text).strip())
    size = 0.0
    if found:
        size = float(found[1].replace("_", "").replace(",", "")) * (1024 if found[3] else 1000) ** _POWERS.get(
            (found[2] or "").lower(), 0
        )
    if not 0 < size < math.inf:
        raise ExplorerError(f"{str(text)!r}: a limit must be a number above 0, such as 500k, 20M, 1.5G or 5e5")
    return size


def read_count(name: str, text: str | int) -> int:
    """Read a whole number such as `10000`, `10,000` or `10k`; raise `ExplorerError` for anything else."""
    if isinstance(text, int) or re.fullmatch(r"\s*[+-]?\d+\s*", text):
        return int(text)
    try:
        size = read_size(text)
    except ExplorerError:
        size = 0.5
    if not size.is_integer():
        raise ExplorerError(f"{name} = {text}: should be a whole number, such as 10000 or 10k")
    return int(size)


def computed() -> dict[str, Callable[[Network], Int]]:
    """Return the functions that compute quantities from a network, by key."""
    return {key: quantity.compute for key, quantity in QUANTITIES.items() if quantity.compute}


def main_costs() -> list[Quantity]:
    """Return the computed quantities that short tables and sentences show."""
    return [quantity for quantity in QUANTITIES.values() if quantity.main and quantity.compute]


def main_amounts(network: Network) -> dict[str, Int]:
    """Return the main costs of a network, by key."""
    return {quantity.key: quantity.compute(network) for quantity in main_costs() if quantity.compute}


ACCURACY = Quantity("accuracy", "accuracy", PERCENT, title="validation accuracy", more_is_better=True)
LATENCY = Quantity("latency_seconds", "latency", MILLISECONDS, front=True, main=True)

_EVERYWHERE: dict[str, Any] = {"front": True, "ranked": True, "budget": True}
register(
    Quantity(
        "params",
        "params",
        COUNT,
        lambda net: net.cost.params,
        main=True,
        aliases=("parameter", "parameters", "weights"),
        **_EVERYWHERE,
    ),
    Quantity(
        "macs",
        "FLOPs",
        COUNT,
        lambda net: net.cost.macs,
        "FLOPs (multiply-adds)",
        main=True,
        counts="multiply-adds",
        aliases=("flop", "mac", "mult-adds", "multiply-adds", "mult-add", "multiply-add", "multadds", "madds"),
        **_EVERYWHERE,
    ),
    Quantity("activations", "activations", COUNT, lambda net: net.cost.activations, **_EVERYWHERE),
    Quantity("model_bytes", "model size", MIB, lambda net: net.cost.model_bytes, ranked=True, budget=True),
    Quantity("memory_access_bytes", "memory access", MIB, lambda net: net.memory_access_bytes, front=True, ranked=True),
    Quantity("peak_activation_bytes", "peak activations", MIB, lambda net: net.peak_activation_bytes, budget=True),
    Quantity("flash_bytes", "int8 size", KIB, lambda net: net.flash_bytes, budget=True, aliases=("flash",)),
    Quantity("ram_bytes", "int8 peak activations", KIB, lambda net: net.ram_bytes, budget=True, aliases=("ram",)),
    LATENCY,
    Quantity("file_bytes", "file size", KIB, run_column="file_bytes", aliases=("bytes on disk",)),
    Quantity("train_seconds", "training time", SECONDS, run_column="seconds"),
    ACCURACY,
)
