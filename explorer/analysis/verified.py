"""The networks of a stored study that the current code still reproduces. Only these networks are shown."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from explorer.errors import ExplorerError
from explorer.networks.network import Network
from explorer.storage.record import StudyRecord


@dataclass(frozen=True)
class VerifiedNetworks:
    """The networks that the current code builds exactly as they were trained, by point number."""

    networks: dict[int, Network]
    compared: int
    """Number of networks compared with the stored ones."""
    trained: int
    """Total number of networks. If there are many, only a sample is compared."""

    @property
    def unchanged(self) -> bool:
        """Whether all compared networks match the trained ones."""
        return len(self.networks) == self.compared

    def note(self, left_out: str) -> str:
        """Return the reason why something is left out, or an empty string if nothing is."""
        if self.unchanged:
            return ""
        changed = f"{self.compared - len(self.networks):,} of {self.compared:,} networks"
        if self.compared < self.trained:
            changed += f" (a sample: the study has {self.trained:,})"
        return f"The code has changed: {changed} no longer match the trained ones; {left_out}."


def verified_networks(record: StudyRecord, points: Iterable[int], trained: int | None = None) -> VerifiedNetworks:
    """Expand trained points with the current code, and keep the networks that match their stored digest.

    `trained` is the total number of points, if the given ones are only a sample.
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
