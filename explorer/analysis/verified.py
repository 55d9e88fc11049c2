"""The networks of a stored study that today's code still makes; no others are shown."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from explorer.errors import ExplorerError
from explorer.networks.network import Network
from explorer.storage.record import StudyRecord


@dataclass(frozen=True)
class VerifiedNetworks:
    """The networks that today's code makes as they were trained, by the number of their point."""

    networks: dict[int, Network]
    compared: int
    """How many were compared with what is stored."""
    trained: int
    """How many there are; of many, only some are compared."""

    @property
    def unchanged(self) -> bool:
        """Whether all of them are as they were trained."""
        return len(self.networks) == self.compared

    def note(self, left_out: str) -> str:
        """Why something is left out; empty if nothing need be."""
        if self.unchanged:
            return ""
        changed = f"{self.compared - len(self.networks):,} of {self.compared:,} networks"
        if self.compared < self.trained:
            changed += f" (a sample: the study has {self.trained:,})"
        return f"The code has changed since: {changed} are not those that were trained; {left_out}."


def verified_networks(record: StudyRecord, points: Iterable[int], trained: int | None = None) -> VerifiedNetworks:
    """Expand trained points with today's code, and keep the networks whose digest is the stored one.

    `trained` is the number of points that the given ones are a sample of; by default, they are all.
    """
    study, chosen, networks = record.study, list(points), {}
    stored, design_points = record.points.set_index("point")["network"], list(study.design_points())
    for number in chosen:
        settings = study.fixed | {"classes": record.classes} | design_points[number].metaparameters
        try:
            network = study.design_space.point(study.preset, **settings).expand()
        except ExplorerError:
            continue
        if network.digest == stored[number]:
            networks[number] = network
    return VerifiedNetworks(networks, len(chosen), len(chosen) if trained is None else trained)
