"""A network description: layers joined by combinators, and the readings that everything else takes of it.

A combinator is a layer whose parts are layers. Tracing a description for an input shape gives a tree of `Node`s, and cost,
torch module, layer table and canonical form are all read off that one tree.
"""

from __future__ import annotations

import hashlib
import json
from abc import abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace
from functools import cached_property, reduce
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from explorer.errors import Infeasible
from explorer.networks.arrays import Int, equal, largest, maximum, uniform, where
from explorer.networks.calls import Call, call
from explorer.networks.layers import BYTES, MOST_MACS, Cost, Layer, Shape

if TYPE_CHECKING:
    from torch import nn


MOST_BLOCKS = 10_000  # in a repeat: beyond is a mistake, and would be traced block by block


@dataclass(frozen=True)
class Node:
    """A layer in its place: its name there, the shapes that go in and come out, and the nodes of its parts."""

    name: str
    layer: Layer
    input: Shape
    output: Shape
    parts: tuple[Node, ...] = ()
    times: Int = 1

    @property
    def cost(self) -> Cost:
        """The layer's own cost, or the sum over its parts, which stand `times` times.

        It is not kept: of a chunk of points, the arrays of all nodes together would not fit a processor's caches.
        """
        try:
            if not isinstance(self.layer, Combinator):
                return self.layer.cost(self.input, self.output)
            total = reduce(Cost.__add__, (part.cost for part in self.parts), Cost())
        except Infeasible as error:
            raise Infeasible(_named(self.name, self.layer, error)) from None
        return total * self.times if isinstance(self.times, np.ndarray) else total

    @property
    def accessed(self) -> Int:
        """Elements read and written by the layer, or by its parts and by joining them."""
        if not isinstance(self.layer, Combinator):
            return self.layer.accessed(self.input, self.output)
        parts = sum((part.accessed for part in self.parts), start=self.layer.joining(self))
        return parts * self.times if isinstance(self.times, np.ndarray) else parts

    def live(self, *, keep: bool = False) -> Int:
        """The most elements of feature maps that must be held at once while the layer runs, its input among them.

        `keep` says that something else needs the input afterwards, so that it can be neither freed nor written over.
        """
        if isinstance(self.layer, Combinator):
            return self.layer.live(self, keep=keep)
        if self.layer.in_place and not keep:
            return self.output.elements
        return self.input.elements + self.output.elements

    def build(self) -> nn.Module:
        """The torch module of this layer with all its parts; parameter names are the names of the nodes."""
        if isinstance(self.layer, Combinator):
            return Call(self.layer.module, tuple((part.name, part.build()) for part in self.parts)).made()
        return self.layer.build(self.input)

    def source(self) -> Call:
        """The same module as a call, with calls for all parts."""
        if isinstance(self.layer, Combinator):
            return Call(self.layer.module, tuple((part.name, part.source()) for part in self.parts))
        return self.layer.source(self.input)

    def canonical(self) -> list[Any]:
        """What is realised, without names: equal for two descriptions exactly when they compute the same function."""
        if isinstance(self.layer, Combinator):
            return self.layer.canonical_form([part.canonical() for part in self.parts])
        return [self.layer.kind, {field.name: getattr(self.layer, field.name) for field in fields(self.layer)}]  # type: ignore[arg-type]

    def rows(self, depth: int, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Node]]:
        """The nodes `depth` levels down, or those above that have no parts, each with its dotted path."""
        for part in self.parts:
            here = (*path, part.name)
            if depth > 1 and part.parts:
                yield from part.rows(depth - 1, here)
            else:
                yield ".".join(here), part


class Combinator(Layer):
    """A layer made of layers; `module` is called with the modules of these by name, see `Call`."""

    module: ClassVar[str | Callable[..., nn.Module]]

    @abstractmethod
    def parts(self) -> tuple[tuple[str, Layer], ...]:
        """The layers that it joins, by name."""

    @abstractmethod
    def trace(self, name: str, shape: Shape) -> Node:
        """The tree of nodes for an input of `shape`."""

    @abstractmethod
    def live(self, node: Node, *, keep: bool) -> Int:
        """The most elements held at once while the parts run in order; see `Node.live`."""

    def joining(self, node: Node) -> Int:  # noqa: ARG002 (nothing unless a combinator says otherwise)
        """Elements read and written where the outputs of the parts are joined."""
        return 0

    def canonical_form(self, parts: list[list[Any]]) -> list[Any]:
        """The canonical form, given those of the parts."""
        return [self.kind, parts]

    def rebuilt(self, parts: tuple[tuple[str, Layer], ...]) -> Self:
        """The same combinator of other parts, which are fields of these names unless a combinator says otherwise."""
        return replace(self, **dict(parts))  # type: ignore[type-var]

    def at(self, place: int) -> Self:
        """The combinator of its parts as they stand there; itself where none of them changes."""
        parts, changed = [], False
        for name, part in self.parts():
            moved = part.at(place)
            parts.append((name, moved))
            changed |= moved is not part
        return self.rebuilt(tuple(parts)) if changed else self

    def output(self, shape: Shape) -> Shape:
        """The shape that comes out when `shape` goes in."""
        return self.trace("", shape).output

    def cost(self, shape: Shape, out: Shape) -> Cost:  # noqa: ARG002 (the trace makes it anew)
        """The sum over the parts."""
        return self.trace("", shape).cost

    def source(self, shape: Shape) -> Call:
        """The torch module with those of all parts, as a call."""
        return self.trace("", shape).source()

    def build(self, shape: Shape) -> nn.Module:
        """The torch module with those of all parts."""
        return self.trace("", shape).build()

    def _notations(self) -> list[str]:
        return [part.notation for _, part in self.parts() if part.notation]


@dataclass(frozen=True)
class Several(Combinator):
    """A combinator of any number of layers, each with a name."""

    named: tuple[tuple[str, Layer], ...]

    def parts(self) -> tuple[tuple[str, Layer], ...]:
        """The layers in order, by name."""
        return self.named

    def rebuilt(self, parts: tuple[tuple[str, Layer], ...]) -> Self:
        """The same combinator of other layers."""
        return type(self)(parts)


@dataclass(frozen=True)
class Chain(Several):
    """Layers one after another."""

    kind = "chain"
    module = "chain"

    @property
    def notation(self) -> str:
        """The parts in order."""
        return " > ".join(self._notations())

    def trace(self, name: str, shape: Shape) -> Node:
        """Each part takes what the one before it gives."""
        nodes = []
        current = shape
        for part_name, part in self.named:
            nodes.append(trace(part_name, part, current))
            current = nodes[-1].output
        return Node(name, self, shape, current, tuple(nodes))

    def live(self, node: Node, *, keep: bool) -> Int:
        """That of the parts in order."""
        return _live_in_order(node, keep=keep)

    def canonical_form(self, parts: list[list[Any]]) -> list[Any]:
        """Chains within chains are one chain, and a chain of one is that one."""
        return _chained(parts)


@dataclass(frozen=True)
class Concat(Several):
    """Layers side by side on the same input; their channels are put one after another."""

    kind = "concat"
    module = "Concatenated"

    @property
    def notation(self) -> str:
        """The parts between brackets."""
        return "[" + " | ".join(self._notations()) + "]"

    def trace(self, name: str, shape: Shape) -> Node:
        """Every part takes the same input; their outputs must agree in size."""
        nodes = tuple(trace(part_name, part, shape) for part_name, part in self.named)
        size = nodes[0].output.size
        for node in nodes[1:]:
            if not equal(node.output.size, size):
                raise ValueError(f"concat: {node.name} gives {node.output}, beside maps of size {size}")
        channels = sum((node.output.channels for node in nodes[1:]), nodes[0].output.channels)
        return Node(name, self, shape, Shape(channels, size), nodes)

    def joining(self, node: Node) -> Int:
        """Every output is copied."""
        return 2 * node.output.elements

    def live(self, node: Node, *, keep: bool) -> Int:
        """The parts run in order; the input waits for the last one, and the outputs for being copied."""
        waiting: Int = 0
        most = 2 * node.output.elements + (node.input.elements if keep else 0)
        for part in node.parts:
            most = maximum(most, waiting + part.live(keep=keep or part is not node.parts[-1]))
            waiting = waiting + part.output.elements
        return most

    def canonical_form(self, parts: list[list[Any]]) -> list[Any]:
        """One part alone is that part."""
        return parts[0] if len(parts) == 1 else [self.kind, parts]


@dataclass(frozen=True)
class Residual(Combinator):
    """The sum of a body and a shortcut on the same input; no shortcut means the input itself."""

    body: Layer
    shortcut: Layer | None = None
    kind = "residual"
    module = "Summed"

    @property
    def notation(self) -> str:
        """The body, a plus, and the shortcut (`x` for the input itself)."""
        return f"{self.body.notation} + {self.shortcut.notation if self.shortcut else 'x'}"

    def parts(self) -> tuple[tuple[str, Layer], ...]:
        """Body and, where there is one, shortcut."""
        return (("body", self.body), *((("shortcut", self.shortcut),) if self.shortcut else ()))

    def trace(self, name: str, shape: Shape) -> Node:
        """Body and shortcut take the same input and must give the same shape."""
        nodes = tuple(trace(part_name, part, shape) for part_name, part in self.parts())
        body, other = nodes[0].output, nodes[1].output if self.shortcut else shape
        if not (equal(body.channels, other.channels) and equal(body.size, other.size)):
            raise ValueError(f"residual: the body gives {body}, the shortcut {other}")
        return Node(name, self, shape, body, nodes)

    def joining(self, node: Node) -> Int:
        """The sum reads both sides and writes one map."""
        return 3 * node.output.elements

    def live(self, node: Node, *, keep: bool) -> Int:
        """The input waits for the shortcut, and the body's output for the sum, which is written over it."""
        body = node.parts[0].live(keep=True)
        if self.shortcut is None:
            return maximum(body, node.input.elements + node.output.elements)
        shortcut = node.output.elements + node.parts[1].live(keep=keep)
        return maximum(maximum(body, shortcut), 2 * node.output.elements + (node.input.elements if keep else 0))


@dataclass(frozen=True)
class Repeat(Combinator):
    """A block that keeps its shape, several times in a row; how often may be an array.

    For a single number it is the chain of that many blocks, and has that chain's canonical form. `before` is the number of
    blocks before its first one where it stands in a repeat itself: block j of `times` in the outer block i is at place
    i * times + j, so what grows from block to block goes on growing.
    """

    block: Layer
    times: Int
    before: Int = 0
    kind = "repeat"
    module = "nn.Sequential"

    @property
    def notation(self) -> str:
        """How often, and what; nothing where it is not there at all."""
        if isinstance(self.times, int) and not self.times:
            return ""
        return f"{self.times} x ({self.block.notation})"

    def parts(self) -> tuple[tuple[str, Layer], ...]:
        """The block."""
        return (("block", self.block),)

    def trace(self, name: str, shape: Shape) -> Node:
        """A node for each time; for an array of numbers, one node that stands for all."""
        if largest(self.times) > MOST_BLOCKS and uniform(self.times > MOST_BLOCKS):
            raise Infeasible(f"times: more than {MOST_BLOCKS:,} blocks")
        block = trace("0", self.block, shape)
        if not (equal(block.output.channels, shape.channels) and equal(block.output.size, shape.size)):
            raise ValueError(f"repeat: the block makes {block.output} of {shape}")
        if isinstance(self.times, np.ndarray):
            return Node(name, self, shape, shape, (block,), self.times)
        blocks = tuple(trace(str(place), self.block.at(self.before + place), shape) for place in range(self.times))
        return Node(name, self, shape, shape, blocks)

    def at(self, place: int) -> Repeat:
        """The repeat behind `place` others of as many blocks."""
        return replace(self, before=place * self.times) if place else self

    def live(self, node: Node, *, keep: bool) -> Int:
        """That of the blocks in order."""
        if not isinstance(node.times, np.ndarray):
            return _live_in_order(node, keep=keep)
        (block,) = node.parts
        first = block.live(keep=keep)
        later = block.live() + (node.input.elements if keep else 0)
        once = where(node.times > 0, first, node.input.elements)
        return where(node.times > 1, maximum(first, later), once)

    def canonical_form(self, parts: list[list[Any]]) -> list[Any]:
        """That of a chain of the blocks."""
        return _chained(parts)


@dataclass(frozen=True)
class Network:
    """A description: what goes in, and the layers that it goes through."""

    input: Shape
    body: Combinator

    @cached_property
    def trace(self) -> Node:
        """The tree of nodes that all readings share."""
        return self.body.trace("", self.input)

    @cached_property
    def cost(self) -> Cost:
        """Exact cost of one image; raises `Infeasible` where it is absurd, more than 1e12 multiply-adds."""
        cost = self.trace.cost
        if largest(cost.macs) > MOST_MACS and uniform(cost.macs > MOST_MACS):
            raise Infeasible(f"more than {MOST_MACS:.0e} multiply-adds")
        return cost

    @property
    def memory_access_bytes(self) -> Int:
        """Bytes read and written for one image in float32, layer by layer: ShuffleNet V2's memory access cost."""
        return BYTES * self.trace.accessed

    @property
    def peak_activation_bytes(self) -> Int:
        """The most bytes of feature maps held at once for one image in float32, where layers run one by one.

        A map is freed when nothing needs it any more, and batch norm and what is elementwise work in place where they can. A slice
        counts as a copy.
        """
        return BYTES * self.trace.live()

    def build(self) -> nn.Module:
        """A freshly initialised torch module: (N, C, H, W) images to (N, classes) logits."""
        return call("chain", body=self.trace.build(), flatten=call("nn.Flatten").made()).made()

    def source(self) -> Call:
        """The call that makes the same module of plain torch modules, which are calls in it."""
        return call("chain", body=self.trace.source(), flatten=call("nn.Flatten"))

    @cached_property
    def canonical(self) -> str:
        """The realised layers as JSON, the same text for equal networks."""
        realised = {"input": [self.input.channels, self.input.size], "layers": self.trace.canonical()}
        return json.dumps(realised, sort_keys=True, separators=(",", ":"))

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the canonical form, in hexadecimal: the network's identity."""
        return hashlib.sha256(self.canonical.encode()).hexdigest()

    def rows(self, depth: int = 1) -> list[tuple[str, Node]]:
        """The layer table: dotted path and node of each layer, `depth` levels down."""
        return list(self.trace.rows(depth))


def chain(**parts: Layer) -> Chain:
    """A chain of named layers."""
    return Chain(tuple(parts.items()))


def concat(**parts: Layer) -> Concat:
    """Named layers side by side."""
    return Concat(tuple(parts.items()))


def trace(name: str, layer: Layer, shape: Shape) -> Node:
    """The node of a layer for an input of `shape`, with its name before the reason where it is infeasible."""
    try:
        if isinstance(layer, Combinator):
            return layer.trace(name, shape)
        return Node(name, layer, shape, layer.output(shape))
    except Infeasible as error:
        raise Infeasible(_named(name, layer, error)) from None


def _live_in_order(node: Node, *, keep: bool) -> Int:
    """Each part holds its input, and from the second part on there is also that of the node where it is kept."""
    most, waiting = node.input.elements, 0
    # A part without parts of its own, such as a repeat of no blocks, hands its input on.
    parts = [part for part in node.parts if part.parts or not isinstance(part.layer, Combinator)]
    for part in parts:
        most = maximum(most, part.live(keep=keep and part is parts[0]) + waiting)
        waiting = node.input.elements if keep else 0
    return most


def _chained(parts: list[list[Any]]) -> list[Any]:
    """The canonical form of a chain: those of its parts, without chains within chains; of one part, that part's."""
    flat = [inner for part in parts for inner in (part[1] if part[0] == Chain.kind else [part])]
    return flat[0] if len(flat) == 1 else [Chain.kind, flat]


def _named(name: str, layer: Layer, error: Infeasible) -> str:
    """The reason with the dotted path of the layer before it, a name for each level that it passes."""
    if not name:
        return str(error)
    return f"{name}.{error}" if isinstance(layer, Combinator) else f"{name}: {error}"
