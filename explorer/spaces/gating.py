"""Gates, which multiply channels by factors, and squeeze-and-excitation."""

from __future__ import annotations

from dataclasses import dataclass

from explorer.networks.arrays import Int, maximum
from explorer.networks.layers import Conv, GlobalAveragePool, Layer, Shape, Sigmoid, SiLU
from explorer.networks.network import Combinator, Node, chain, trace


@dataclass(frozen=True)
class Gate(Combinator):
    """Multiply each channel of the input by a factor that the gate computes from the input."""

    gate: Layer
    kind = "gate"
    module = "Gated"

    @property
    def notation(self) -> str:
        """The product, written with the notation of the gate."""
        return f"x * ({self.gate.notation})"

    def parts(self) -> tuple[tuple[str, Layer], ...]:
        """The gate."""
        return (("gate", self.gate),)

    def trace(self, name: str, shape: Shape) -> Node:
        """Trace the gate, which must output one pixel per input channel."""
        gate = trace("gate", self.gate, shape)
        if not gate.output.equals(Shape(shape.channels, 1)):
            raise ValueError(f"gate: {gate.output} for an input of {shape}")
        return Node(name, self, shape, shape, (gate,))

    def kept(self, node: Node, *, keep: bool) -> list[bool]:  # noqa: ARG002 (always)
        """Keep the input for the product."""
        return [True]

    def joining(self, node: Node) -> Int:
        """Count the input twice, because it is read and written, and the factors once."""
        return 2 * node.input.elements + node.input.channels

    def live(self, node: Node, *, keep: bool) -> Int:
        """Keep the input until the factors are known, when the product overwrites it."""
        product = node.input.elements * (2 if keep else 1) + node.input.channels
        return maximum(node.parts[0].live(keep=True), product)


def squeeze_excite(channels: Int, squeezed: Int) -> Gate:
    """Return the gate of squeeze-and-excitation (Hu et al. 2017, arXiv:1709.01507), with swish instead of ReLU."""
    return Gate(
        chain(
            average=GlobalAveragePool(),
            squeeze=Conv(squeezed, kernel=1),
            swish=SiLU(),
            excite=Conv(channels, kernel=1),
            sigmoid=Sigmoid(),
        )
    )
