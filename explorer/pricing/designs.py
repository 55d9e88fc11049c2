"""The networks of many design points, with their digests and costs, which are computed as arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from explorer.errors import Infeasible
from explorer.networks.layers import Cost, Shape
from explorer.networks.network import Combinator, Network
from explorer.pricing.enumeration import Column, Part, column
from explorer.pricing.splitting import grouped_by_choice, priced_in_parts
from explorer.spaces.space import Space

FACTS = ("memory_access_bytes", "peak_activation_bytes", "final_size")
"""Properties of a network that are computed as arrays, besides its digest and cost."""


class PricedNetwork(Network):
    """The network of a design point whose digest, cost and `FACTS` are known.

    Its layers are expanded when they are needed. Thousands of networks with all their layers would take up hundreds of
    megabytes.
    """

    def __init__(self, design: Space, shape: Shape, digest: str, cost: Cost, **facts: int) -> None:
        vars(self).update(design=design, input=shape, digest=digest, cost=cost, **facts)

    @property
    def body(self) -> Combinator:
        """The layers."""
        design: Space = vars(self)["design"]
        return design.expand().body

    def __reduce__(self) -> tuple[type[Network], tuple[Shape, Combinator]]:
        return Network, (self.input, self.body)


@dataclass(frozen=True)
class PricedDesign:
    """The network of a design point, and the quantities that its space derives."""

    network: Network
    derived: dict[str, Any]


def priced_designs(designs: Sequence[Space]) -> list[PricedDesign | Infeasible]:
    """Return the networks of design points of one space, or the error of each infeasible point.

    Points with the same structure are priced together, as arrays. The results are identical to those of single points.
    """
    if not designs:
        return []
    found: dict[int, PricedDesign | Infeasible] = {}
    columns = {key: _column([getattr(design, key) for design in designs]) for key in type(designs[0]).model_fields}
    numbers = {key: values for key, values in columns.items() if isinstance(values, np.ndarray)}
    everywhere = np.arange(len(designs))
    for places, _ in grouped_by_choice(columns, len(designs)):
        for part, priced in priced_in_parts(places, partial(_priced, designs, numbers)):
            members = everywhere[part].tolist()
            found |= zip(members, [priced] * len(members) if isinstance(priced, Infeasible) else priced, strict=True)
    return [found[place] for place in range(len(designs))]


def _column(values: Sequence[Any]) -> Column:
    # In an array with floats, an integer would become a float, and its network would have a different digest.
    return column(values if len(set(map(type, values))) == 1 else list(map(repr, values)))


def _priced(designs: Sequence[Space], numbers: Mapping[str, NDArray[Any]], part: Part) -> list[PricedDesign]:
    """Price design points that differ only in numbers."""
    chosen = np.arange(len(designs))[part].tolist()
    varied = {key: values[part] for key, values in numbers.items()}
    together = designs[chosen[0]].model_copy(update={key: values for key, values in varied.items() if np.ptp(values)})
    network = together.expand()
    cost, shape, count = network.cost, network.input, len(chosen)
    derived = together.derive(cost)
    digests = network.digests()
    counts = (_each(amount, count) for amount in (shape.channels, shape.size, *astuple(cost)))
    facts = zip(*(_each(getattr(network, name), count) for name in FACTS), strict=True)
    columns = {key: _each(amount, count) for key, amount in derived.items()}
    found = []
    rows = zip(digests * (count // len(digests)), zip(*counts, strict=True), facts, strict=True)
    for place, (digest, (channels, size, *costs), known) in enumerate(rows):
        own = PricedNetwork(
            designs[chosen[place]], Shape(channels, size), digest, Cost(*costs), **dict(zip(FACTS, known, strict=True))
        )
        found.append(PricedDesign(own, {key: column[place] for key, column in columns.items()}))
    return found


def _each(amount: Any, count: int) -> list[Any]:  # noqa: ANN401 (a number or an array)
    return amount.tolist() if isinstance(amount, np.ndarray) else [amount] * count
