"""The bytes of compressed networks before any training, for one design point or arrays of them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from fractions import Fraction
from typing import TypeAlias

from explorer.errors import ExplorerError, unknown
from explorer.networks.arrays import Int, ceil_div
from explorer.networks.layers import BYTES, BatchNorm, Conv, DepthwiseConv, Layer
from explorer.networks.network import Network, Node

MOST_BITS = 16
BYTES_PER_PAIR = 19  # memory of kmeans1d per weight and value, measured
MOST_CLUSTERING_BYTES = 8 * 2**30
COUNT_BYTES = 4  # number of entries before each layer of the released file

Densities: TypeAlias = tuple[tuple[str, Fraction], ...]


@dataclass(frozen=True)
class Weights:
    """The weights of a layer, without biases: its dotted path, kind, their number, and how often it repeats.

    The kind is the size of a convolution's filters, such as `3x3`, or `depthwise` or `linear`.
    """

    path: str
    kind: str
    count: Int
    times: Int = 1


@dataclass(frozen=True)
class Compression:
    """What compression keeps: a density for layers by path or kind, and the bits of a code.

    Attributes:
        densities: Share of the weights to keep, by pattern. The last one that matches counts; by default, all are kept.
        bits: Bits of a code. All weights of a layer share at most `2 ** bits` values.
    """

    densities: Densities = ()
    bits: int = 8

    @classmethod
    def read(cls, densities: Sequence[str], bits: int = 8) -> Compression:
        """Read densities such as `0.5`, `3x3=0.33` or `fire9.*=0.3`, several also with commas between them.

        Raises `ExplorerError` if a density is not above 0 and at most 1, or the bits are not 1 to 16.
        """
        if not 1 <= bits <= MOST_BITS:
            raise ExplorerError(f"bits = {bits}: must be 1 to {MOST_BITS}")
        return cls(tuple(_density(text) for texts in densities for text in texts.split(",")), bits)

    def check(self, network: Network) -> None:
        """Raise `ExplorerError` if a pattern matches no layer of the network, or a layer is too large to cluster."""
        layers = weights_of(network)
        for layer in layers:
            need = BYTES_PER_PAIR * self.kept(layer) * min(2**self.bits, self.kept(layer))
            if need > MOST_CLUSTERING_BYTES:
                raise ExplorerError(
                    f"{layer.path}: to cluster {self.kept(layer):,} weights into {2**self.bits:,} values would take "
                    f"{need / 2**30:.0f} GiB of memory; use fewer bits or a lower density"
                )
        for pattern, _ in self.densities:
            if not any(_matches(pattern, layer) for layer in layers):
                known = {layer.path if "." in pattern else layer.kind for layer in layers}
                raise unknown("layer or kind of layer", pattern, known)

    def prunes(self, network: Network) -> bool:
        """Return whether any weight of the network is pruned."""
        return any(self.kept(layer) < layer.count for layer in weights_of(network))

    def density(self, layer: Weights) -> Fraction:
        """Return the share of a layer's weights to keep."""
        found = [density for pattern, density in self.densities if _matches(pattern, layer)]
        return found[-1] if found else Fraction(1)

    def kept(self, layer: Weights) -> Int:
        """Return the number of weights kept in a layer: density times weights, rounded up."""
        density = self.density(layer)
        return ceil_div(layer.count * density.numerator, density.denominator)


def _density(text: str) -> tuple[str, Fraction]:
    pattern, equals, number = text.strip().rpartition("=")
    try:
        density = Fraction(number)
    except (ValueError, ZeroDivisionError):
        density = Fraction(0)
    if not 0 < density <= 1 or re.search("[eE_/]", number) or (equals and not pattern):
        raise ExplorerError(
            f"density {text.strip()}: must be above 0 and at most 1, such as 0.5, or 3x3=0.33 for a kind"
        )
    return pattern or "*", density


def _matches(pattern: str, layer: Weights) -> bool:
    return pattern == layer.kind or fnmatchcase(layer.path, pattern)


def weights_of(network: Network) -> list[Weights]:
    """Return the layers with weights, in order."""
    return [
        Weights(path, _kind(node.layer), count, times)
        for path, node, times in _leaves(network.trace)
        if not isinstance(count := node.weights, int) or count > 0
    ]


def total_kept(network: Network, compression: Compression) -> Int:
    """Return the number of weights and biases after pruning, as papers count params after pruning."""
    kept = sum((compression.kept(one) * one.times for one in weights_of(network)), start=0)
    return kept + network.cost.params - network.trace.weights


def dense_bytes(network: Network, compression: Compression) -> Int:  # noqa: ARG001 (like the other codings)
    """Return the bytes of all weights, biases and statistics as float32."""
    return BYTES * (network.cost.params + _statistics(network))


def relative_bytes(network: Network, compression: Compression, entries: Iterable[Int] | None = None) -> Int:
    """Return the bytes of the released Deep Compression file: codes, and 4-bit gaps between kept weights.

    Gaps above 15 need entries without a weight, whose number depends on the weights; `entries` has the number of
    entries of each layer, which is at least the number of kept weights and by default equal to it.
    """
    layers = weights_of(network)
    counts = [compression.kept(one) for one in layers] if entries is None else list(entries)
    total = _plain_bytes(network)
    for layer, count in zip(layers, counts, strict=True):
        codes = ceil_div(count * compression.bits, 8) + ceil_div(count, 2)
        total += layer.times * (COUNT_BYTES + BYTES * 2**compression.bits + codes)
    return total


def bitmap_bytes(network: Network, compression: Compression) -> Int:
    """Return the bytes with one bit per weight for whether it is kept, and codes of fixed length."""
    total = _plain_bytes(network)
    for layer in weights_of(network):
        mask = 0 if compression.density(layer) == 1 else ceil_div(layer.count, 8)
        codes = ceil_div(compression.kept(layer) * compression.bits, 8)
        total += layer.times * (BYTES * 2**compression.bits + mask + codes)
    return total


CODINGS: dict[str, Callable[[Network, Compression], Int]] = {
    "float32": dense_bytes,
    "codes and 4-bit gaps": relative_bytes,
    "codes and a bitmap": bitmap_bytes,
}
"""The codings whose sizes follow from densities and bits alone, except for fillers in long gaps."""


def _plain_bytes(network: Network) -> Int:
    """Return the bytes of everything that is not pruned, as float32: biases, norms and their statistics."""
    return BYTES * (network.cost.params - network.trace.weights + _statistics(network))


def _statistics(network: Network) -> Int:
    """Count the running means and variances of batch norm, which are not params."""
    found = [
        2 * node.output.channels * times
        for _, node, times in _leaves(network.trace)
        if isinstance(node.layer, BatchNorm)
    ]
    return sum(found, start=0)


def _kind(layer: Layer) -> str:
    if isinstance(layer, DepthwiseConv):
        return "depthwise"
    return f"{layer.kernel}x{layer.kernel}" if isinstance(layer, Conv) else "linear"


def _leaves(node: Node, path: tuple[str, ...] = (), times: Int = 1) -> Iterator[tuple[str, Node, Int]]:
    """Yield the dotted path, node and number of repeats of each layer that has no parts."""
    for part in node.parts:
        here, repeats = (*path, part.name), times * node.times
        if part.parts:
            yield from _leaves(part, here, repeats)
        else:
            yield ".".join(here), part, repeats
