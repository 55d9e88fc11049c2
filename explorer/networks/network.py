"""Network descriptions: layers joined by combinators, which are layers made of layers.

Tracing a description for an input shape returns a tree of `Node`s. Cost, torch module, layer table and canonical form
are all derived from that tree.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property, reduce
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from explorer.errors import Infeasible
from explorer.networks.arrays import Int, equal, largest, maximum, same, uniform, where
from explorer.networks.calls import Call, call
from explorer.networks.canonical import texts
from explorer.networks.layers import BYTES, MOST_MACS, TOO_LARGE, Cost, Layer, Shape, at_least_one_pixel

if TYPE_CHECKING:
    from torch import nn


MOST_BLOCKS = 10_000  # per repeat; more is a mistake, and tracing every block would take long
FEWEST_PIXELS = 2  # a side of the last feature maps
SMALL_MAPS = "The last feature maps have one pixel, so the strides are too large for these images"


@dataclass(frozen=True)
class Node:
    """A layer in its network: name, input and output shape, and the nodes of its parts, repeated `times` times."""

    name: str
    layer: Layer
    input: Shape
    output: Shape
    parts: tuple[Node, ...] = ()
    times: Int = 1

    @property
    def cost(self) -> Cost:
        """Cost of the layer or of all its parts."""
        # Not cached, because the arrays of all nodes for a chunk of points would not fit in the processor's caches.
        try:
            if not isinstance(self.layer, Combinator):
                return self.layer.cost(self.input, self.output)
            total = reduce(Cost.__add__, (part.cost for part in self.parts), Cost())
        except Infeasible as error:
            raise Infeasible(_named(self.name, self.layer, error)) from None
        return total * self.times if isinstance(self.times, np.ndarray) else total

    @property
    def weights(self) -> Int:
        """Number of weights: the params that inputs are multiplied by, so neither biases, norms nor positions."""
        if self.parts:
            total = sum((part.weights for part in self.parts), start=0)
            return total * self.times if isinstance(self.times, np.ndarray) else total
        cost = self.cost
        if any(isinstance(amount, int) and amount == 0 for amount in (cost.params, cost.macs)):
            return 0
        return cost.macs // self.output.pixels

    @property
    def accessed(self) -> Int:
        """Elements that the layer reads and writes. A combinator counts those of its parts and of joining them."""
        if not isinstance(self.layer, Combinator):
            return self.layer.accessed(self.input, self.output)
        parts = sum((part.accessed for part in self.parts), start=self.layer.joining(self))
        return parts * self.times if isinstance(self.times, np.ndarray) else parts

    def live(self, *, keep: bool = False) -> Int:
        """Return the peak number of feature-map elements in memory while the layer runs, including its input.

        Args:
            keep: Whether the input is needed afterwards and so cannot be freed or overwritten.
        """
        if isinstance(self.layer, Combinator):
            return self.layer.live(self, keep=keep)
        if self.layer.in_place and not keep:
            return self.output.elements
        return self.input.elements + self.output.elements + self.layer.working(self.input, self.output)

    def build(self, *, keep: bool = False) -> nn.Module:
        """Return the torch module, which does not overwrite its input with `keep`. Parameters are named after nodes."""
        if isinstance(self.layer, Combinator):
            parts = zip(self.parts, self.layer.kept(self, keep=keep), strict=True)
            return Call(self.layer.module, tuple((part.name, part.build(keep=kept)) for part, kept in parts)).made()
        return self.layer.build(self.input, keep=keep)

    def source(self, *, keep: bool = False) -> Call:
        """Return the call that creates the plain torch module, with calls for the parts."""
        if isinstance(self.layer, Combinator):
            parts = zip(self.parts, self.layer.kept(self, keep=keep), strict=True)
            return Call(self.layer.module, tuple((part.name, part.source(keep=kept)) for part, kept in parts))
        source = self.layer.source(self.input)
        return source.keeping_input() if keep else source

    @property
    def passes_on(self) -> bool:
        """Whether the output may be the input itself, as for a repeat of zero blocks."""
        if isinstance(self.layer, Chain | Repeat):
            return all(part.passes_on for part in self.parts)
        return self.layer.passes_on

    def in_order(self) -> Iterator[Node]:
        """Yield the nodes that run one after another: the parts of chains, and of chains in them."""
        for part in self.parts:
            if isinstance(part.layer, Chain):
                yield from part.in_order()
            else:
                yield part

    def rows(self, depth: int, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Node]]:
        """Yield the dotted path and node of each layer, down to `depth` levels."""
        for part in self.parts:
            here = (*path, part.name)
            if depth > 1 and part.parts:
                yield from part.rows(depth - 1, here)
            else:
                yield ".".join(here), part


class Combinator(Layer):
    """A layer made of layers. `module` is called with the modules of its parts, named as in `Call`."""

    module: ClassVar[str | Callable[..., nn.Module]]

    def parts(self) -> tuple[tuple[str, Layer], ...]:
        """Return the joined layers by name."""
        raise TypeError(f"{type(self).__name__} must implement parts")

    def trace(self, name: str, shape: Shape) -> Node:
        """Return the tree of nodes for an input of `shape`."""
        raise TypeError(f"{type(self).__name__} must implement trace")

    def live(self, node: Node, *, keep: bool) -> Int:
        """Return `Node.live`, running the parts in order."""
        raise TypeError(f"{type(self).__name__} must implement live")

    def kept(self, node: Node, *, keep: bool) -> list[bool]:
        """Return for each part whether its module must not overwrite its input, because training needs it.

        By default, the parts run one after another, and `keep` is for the input of the first one.
        """
        found = []
        for part in node.parts:
            found.append(keep)
            keep = keep and part.passes_on
        return found

    def joining(self, node: Node) -> Int:
        """Return the elements read and written to join the outputs of the parts."""
        return 0

    def canonical(self) -> list[Any]:
        return self.canonical_form([part.canonical() for _, part in self.parts()])

    def canonical_form(self, parts: list[list[Any]]) -> list[Any]:
        """Return the canonical form, given the parts' canonical forms."""
        return [self.kind, parts]

    def rebuilt(self, parts: tuple[tuple[str, Layer], ...]) -> Self:
        """Return a copy with other parts. By default, parts are the fields with these names."""
        return replace(self, **dict(parts))  # type: ignore[type-var]

    def at(self, place: int) -> Self:
        """Return the combinator with each part's version for this place, or itself if no part changes."""
        parts, changed = [], False
        for name, part in self.parts():  # a loop, since deep networks call this for every block
            moved = part.at(place)
            parts.append((name, moved))
            changed |= moved is not part
        return self.rebuilt(tuple(parts)) if changed else self

    def output(self, shape: Shape) -> Shape:
        return self.trace("", shape).output

    def cost(self, shape: Shape, out: Shape) -> Cost:
        return self.trace("", shape).cost

    def source(self, shape: Shape) -> Call:
        return self.trace("", shape).source()

    def build(self, shape: Shape, *, keep: bool = False) -> nn.Module:
        return self.trace("", shape).build(keep=keep)

    def _notations(self) -> list[str]:
        return [part.notation for _, part in self.parts() if part.notation]


@dataclass(frozen=True)
class Several(Combinator):
    """A combinator of any number of named layers."""

    named: tuple[tuple[str, Layer], ...]

    def parts(self) -> tuple[tuple[str, Layer], ...]:
        return self.named

    def rebuilt(self, parts: tuple[tuple[str, Layer], ...]) -> Self:
        return type(self)(parts)


@dataclass(frozen=True)
class Chain(Several):
    """Layers one after another."""

    kind = "chain"
    module = "chain"

    @property
    def notation(self) -> str:
        return " > ".join(self._notations())

    def trace(self, name: str, shape: Shape) -> Node:
        nodes = []
        current = shape
        for part_name, part in self.named:
            nodes.append(trace(part_name, part, current))
            current = nodes[-1].output
        return Node(name, self, shape, current, tuple(nodes))

    def live(self, node: Node, *, keep: bool) -> Int:
        return _live_in_order(node, keep=keep)

    def canonical_form(self, parts: list[list[Any]]) -> list[Any]:
        return _chained(parts)


@dataclass(frozen=True)
class Concat(Several):
    """Layers side by side on the same input, with their output channels concatenated."""

    kind = "concat"
    module = "Concatenated"

    @property
    def notation(self) -> str:
        return "[" + " | ".join(self._notations()) + "]"

    def trace(self, name: str, shape: Shape) -> Node:
        nodes = tuple(trace(part_name, part, shape) for part_name, part in self.named)
        size = nodes[0].output.size
        for node in nodes[1:]:
            if not equal(node.output.size, size):
                raise ValueError(f"concat: {node.name} outputs {node.output}, but size {size} is needed")
        channels = sum((node.output.channels for node in nodes[1:]), nodes[0].output.channels)
        return Node(name, self, shape, Shape(channels, size), nodes)

    def kept(self, node: Node, *, keep: bool) -> list[bool]:
        return [True] * len(node.parts)  # outputs may be views of the input, and gradients may need it

    def joining(self, node: Node) -> Int:
        return 2 * node.output.elements  # every output is copied

    def live(self, node: Node, *, keep: bool) -> Int:
        # The input is kept until the last part has run, and each output is kept until it is copied.
        waiting: Int = 0
        most = 2 * node.output.elements + (node.input.elements if keep else 0)
        for part in node.parts:
            most = maximum(most, waiting + part.live(keep=keep or part is not node.parts[-1]))
            waiting = waiting + part.output.elements
        return most

    def canonical_form(self, parts: list[list[Any]]) -> list[Any]:
        return parts[0] if len(parts) == 1 else [self.kind, parts]


@dataclass(frozen=True)
class Residual(Combinator):
    """The sum of a body and a shortcut on the same input. Without a shortcut, the input itself is added."""

    body: Layer
    shortcut: Layer | None = None
    kind = "residual"
    module = "Summed"

    @property
    def notation(self) -> str:
        return f"{self.body.notation} + {self.shortcut.notation if self.shortcut else 'x'}"

    def parts(self) -> tuple[tuple[str, Layer], ...]:
        return (("body", self.body), *((("shortcut", self.shortcut),) if self.shortcut else ()))

    def trace(self, name: str, shape: Shape) -> Node:
        nodes = tuple(trace(part_name, part, shape) for part_name, part in self.parts())
        body, other = nodes[0].output, nodes[1].output if self.shortcut else shape
        if not body.equals(other):
            raise ValueError(f"residual: the body outputs {body}, but the shortcut {other}")
        return Node(name, self, shape, body, nodes)

    def kept(self, node: Node, *, keep: bool) -> list[bool]:
        return [True] * len(node.parts)

    def joining(self, node: Node) -> Int:
        return 3 * node.output.elements  # two are read and one is written

    def live(self, node: Node, *, keep: bool) -> Int:
        # The input is kept for the shortcut. The body's output is kept for the sum, which overwrites it.
        body = node.parts[0].live(keep=True)
        if self.shortcut is None:
            return maximum(body, node.input.elements + node.output.elements)
        shortcut = node.output.elements + node.parts[1].live(keep=keep)
        return maximum(maximum(body, shortcut), 2 * node.output.elements + (node.input.elements if keep else 0))


@dataclass(frozen=True)
class Repeat(Combinator):
    """A block that keeps the shape, repeated `times` times. `times` may be an array.

    If `times` is one number, this is a chain of that many blocks and has the chain's canonical form. In nested repeats,
    `before` counts the blocks before this repeat: block j of outer block i is at place i * times + j. Drop rates
    therefore keep growing.
    """

    block: Layer
    times: Int
    before: Int = 0
    kind = "repeat"
    module = "nn.Sequential"

    @property
    def notation(self) -> str:
        if isinstance(self.times, int) and not self.times:
            return ""
        return f"{self.times} x ({self.block.notation})"

    def parts(self) -> tuple[tuple[str, Layer], ...]:
        return (("block", self.block),)

    def trace(self, name: str, shape: Shape) -> Node:
        if largest(self.times) > MOST_BLOCKS and uniform(self.times > MOST_BLOCKS):
            raise Infeasible(f"times: more than {MOST_BLOCKS:,} blocks")
        block = trace("0", self.block, shape)
        if not block.output.equals(shape):
            raise ValueError(f"repeat: the block must keep the shape, but turns {shape} into {block.output}")
        if isinstance(self.times, np.ndarray):  # one node represents all blocks
            return Node(name, self, shape, shape, (block,), self.times)
        blocks = tuple(trace(str(place), self.block.at(self.before + place), shape) for place in range(self.times))
        return Node(name, self, shape, shape, blocks)

    def at(self, place: int) -> Repeat:
        return replace(self, before=place * self.times) if place else self

    def live(self, node: Node, *, keep: bool) -> Int:
        if not isinstance(node.times, np.ndarray):
            return _live_in_order(node, keep=keep)
        (block,) = node.parts
        first = block.live(keep=keep)
        later = block.live() + (node.input.elements if keep else 0)
        once = where(node.times > 0, first, node.input.elements)
        return where(node.times > 1, maximum(first, later), once)

    def canonical(self) -> list[Any]:
        return _chained([self.block.at(self.before + place).canonical() for place in range(same(self.times))])


@dataclass(frozen=True)
class Network:
    """A description: the input shape and the layers.

    Copies for other processes consist of the description only, without the tree and other properties computed from it.
    """

    input: Shape
    body: Combinator

    def __getstate__(self) -> dict[str, Any]:
        return {"input": self.input, "body": self.body}

    @cached_property
    def trace(self) -> Node:
        """The tree of nodes."""
        return self.body.trace("", self.input)

    @cached_property
    def cost(self) -> Cost:
        """The exact cost for one image. Raises `Infeasible` above 1e12 multiply-adds."""
        cost = self.trace.cost
        if largest(cost.macs) > MOST_MACS and uniform(cost.macs > MOST_MACS):
            raise Infeasible(TOO_LARGE)
        return cost

    @cached_property
    def memory_access_bytes(self) -> Int:
        """Bytes read and written for one image in float32, layer by layer: ShuffleNet V2's memory access cost."""
        return BYTES * self.trace.accessed

    @cached_property
    def flash_bytes(self) -> Int:
        """Bytes of the params on a microcontroller: 1 per weight (int8), and 4 (int32) per bias and per norm's param.

        Statistics of norms are folded into them.
        """
        weights = self.trace.weights
        return weights + BYTES * (self.cost.params - weights)

    @cached_property
    def ram_bytes(self) -> Int:
        """Peak bytes of int8 feature maps for one image: a quarter of `peak_activation_bytes`."""
        return self.trace.live()

    @cached_property
    def peak_activation_bytes(self) -> Int:
        """Peak bytes of float32 feature maps in memory for one image, when the layers run one by one.

        A map is freed after its last use. Batch norm and elementwise layers work in place where they can. A slice
        counts as a copy.
        """
        return BYTES * self.ram_bytes

    @cached_property
    def final_size(self) -> Int:
        """Side of the last feature maps in pixels, before global pooling or a fully connected layer."""
        ends = (node.input.size for node in self.trace.in_order() if node.layer.ends_maps)
        return next(ends, self.trace.output.size)

    def build(self) -> nn.Module:
        """Return a freshly initialised torch module, which turns images (N, C, H, W) into logits (N, classes)."""
        return call("chain", body=self.trace.build(), flatten=call("nn.Flatten").made()).made()

    def source(self) -> Call:
        """Return the call that creates the network from plain torch modules."""
        return call("chain", body=self.trace.source(), flatten=call("nn.Flatten"))

    def canonical(self) -> Iterator[str]:
        """Yield the layers as JSON: one text, or one for each point of a chunk. Equal networks have the same text."""
        return texts({"input": [self.input.channels, self.input.size], "layers": self.body.canonical()})

    def digests(self) -> list[str]:
        """Return the digests of all networks of a chunk, or only one if they are the same network."""
        return [hashlib.sha256(text.encode()).hexdigest() for text in self.canonical()]

    @cached_property
    def digest(self) -> str:
        """The network's identity: the SHA-256 of the canonical form, in hexadecimal."""
        (digest,) = self.digests()
        return digest

    def rows(self, depth: int = 1) -> list[tuple[str, Node]]:
        """Return the layer table: the dotted path and the node of each layer, `depth` levels down."""
        return list(self.trace.rows(depth))


def chain(**parts: Layer) -> Chain:
    """Return a chain of named layers."""
    return Chain(tuple(parts.items()))


def concat(**parts: Layer) -> Concat:
    """Return a concatenation of named layers."""
    return Concat(tuple(parts.items()))


def trace(name: str, layer: Layer, shape: Shape) -> Node:
    """Return the node of a layer for an input of `shape`. Errors start with the layer's path."""
    try:
        if isinstance(layer, Combinator):
            return layer.trace(name, shape)
        out = layer.output(shape)
        if out.size is not shape.size:
            at_least_one_pixel(out.size)
        return Node(name, layer, shape, out)
    except Infeasible as error:
        raise Infeasible(_named(name, layer, error)) from None
    except ValueError as error:
        raise ValueError(_named(name, layer, error)) from error


def _live_in_order(node: Node, *, keep: bool) -> Int:
    most, waiting = node.input.elements, 0
    # An empty part, such as a repeat of zero blocks, passes its input through.
    parts = [part for part in node.parts if part.parts or not isinstance(part.layer, Combinator)]
    for part in parts:
        most = maximum(most, part.live(keep=keep and part is parts[0]) + waiting)
        waiting = node.input.elements if keep else 0
    return most


def _chained(parts: list[list[Any]]) -> list[Any]:
    # Chains within chains are one chain, and a chain of one part is that part.
    flat = [inner for part in parts for inner in (part[1] if part[0] == Chain.kind else [part])]
    return flat[0] if len(flat) == 1 else [Chain.kind, flat]


def _named(name: str, layer: Layer, error: Exception) -> str:
    if not name:
        return str(error)
    return f"{name}.{error}" if isinstance(layer, Combinator) else f"{name}: {error}"
