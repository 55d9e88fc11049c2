"""The networks of a stored study that the current code still reproduces. Only these networks are shown."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass

from explorer.errors import ExplorerError
from explorer.networks.network import Network
from explorer.pricing.designs import PricedDesign, priced_designs
from explorer.spaces.space import Space
from explorer.storage.record import StudyRecord


@dataclass(frozen=True)
class VerifiedNetworks:
    """The networks that the current code builds exactly as they were trained, by point number."""

    networks: dict[int, Network]
    trained: int
    """Number of trained networks, which were all compared."""

    @property
    def unchanged(self) -> bool:
        """Whether all networks match the trained ones."""
        return len(self.networks) == self.trained

    def note(self, left_out: str) -> str:
        """Return the reason why something is left out, or an empty string if nothing is."""
        if self.unchanged:
            return ""
        changed = f"{self.trained - len(self.networks):,} of {self.trained:,} networks"
        return f"The code has changed: {changed} no longer match the trained ones; {left_out}."


def verified_networks(record: StudyRecord, points: Iterable[int]) -> VerifiedNetworks:
    """Compute the networks of trained points with the current code, and keep those that match their stored digest."""
    study, chosen = record.study, list(points)
    design_points = list(study.design_points())
    stored = dict(zip(record.points["point"], record.points["network"], strict=True))
    designs: dict[int, Space] = {}
    for number in chosen:
        with suppress(ExplorerError):
            designs[number] = study.point(design_points[number].metaparameters, classes=record.classes)
    found = zip(designs, priced_designs(list(designs.values())), strict=True)
    networks = {number: design.network for number, design in found if isinstance(design, PricedDesign)}
    same = {number: network for number, network in networks.items() if network.digest == stored[number]}
    return VerifiedNetworks(same, len(chosen))
