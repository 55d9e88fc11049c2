"""The blocks of a network that transfer freezes or replaces: the parts with params, of which the last is the head."""

from __future__ import annotations

from explorer.networks.network import Network


def blocks_of(network: Network) -> list[str]:
    """Return the names of the blocks with params before the head, in order."""
    return _with_params(network)[:-1]


def head_of(network: Network) -> str:
    """Return the name of the head: the last block with params, which ends in the classes."""
    return _with_params(network)[-1]


def _with_params(network: Network) -> list[str]:
    return [node.name for node in network.trace.parts if node.cost.params]
