"""The graph that every stage after reading works on.

A `Graph` alone knows which node computes a value and which nodes read it: nodes and values may be
in several graphs. Constants are values, not nodes. All shapes are concrete and in ONNX's own
layout (images are NCHW).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any, Self, cast

import networkx
import numpy as np

from onnx2mvit.ir.preprocessing import ASSUMED, Preprocessing

LEAST_OPSET = 11
position = attrgetter("position")  # by which nodes are sorted


@dataclass(eq=False, slots=True, repr=False)
class Value:
    """One tensor: an input of the graph, a constant, or what a node computes.

    `shape` is None where nothing is known, `const` holds the array of a constant.
    """

    name: str
    shape: tuple[int, ...] | None = None
    dtype: np.dtype[Any] | None = None
    const: np.ndarray[Any, Any] | None = None

    def __repr__(self) -> str:
        kind = "const " if self.const is not None else ""
        return f"<{kind}{self.name} {list(self.shape) if self.shape is not None else '?'}>"


@dataclass(eq=False, slots=True, repr=False)
class Node:
    """One operator, or as a `Block` several, with ordered inputs; None is an absent input.

    `op` is the ONNX operator, with its domain before "::" if it is not ONNX's own, or the kind
    of the block. `scope` is torch's module path, as far as the exporter wrote one.
    `position` orders nodes topologically; a replacement takes the place of what it replaces.
    """

    op: str
    inputs: tuple[Value | None, ...]
    outputs: tuple[Value, ...]
    attrs: dict[str, Any] = field(default_factory=dict)
    name: str = ""
    scope: str = ""
    position: tuple[int, ...] = ()

    @property
    def output(self) -> Value:
        """The first output, for most operators the only one."""
        return self.outputs[0]

    def __repr__(self) -> str:
        where = self.scope or self.name
        return f"<{self.op} {where}>" if where else f"<{self.op}>"


# What rules keep of how a file says something, beside what that comes to at the traced size:
# positions as they are counted, the one of so many parts, that a size is given and no factor,
# that an axis has the length that is needed. ONNX has no such attributes.
STATEMENTS = frozenset(("stated", "part", "by_sizes", "traced"))


def statements(node: Node) -> dict[str, Any]:
    """Those of a node."""
    return {key: value for key, value in node.attrs.items() if key in STATEMENTS}


@dataclass(frozen=True)
class Source:
    """What a report says of the file that a graph was read from.

    `outputs` are the tensors at which it was cut, none where it is whole; `tensors` are the names
    of all that its nodes compute. `precision` is the coarsest type of floats that it computes in;
    a graph has float32 throughout. `merged` is how many sums of branches were made one convolution.
    `open_axes` are the axes of its first image that it leaves open, save for the batch.
    `squeezes` is true where it may drop the batch if that is one: a Squeeze says of which axes
    not. Then the file is run on several images at a time.
    `preprocessing` is what its images want, as it says itself, or a user; else an assumption.
    """

    file: str
    sha256: str
    opset: int
    producer: str
    nodes: int
    weights: str
    dynamic_batch: bool
    dynamic_size: bool
    outputs: tuple[str, ...] = ()
    tensors: frozenset[str] = frozenset()
    open_axes: tuple[int, ...] = ()
    squeezes: bool = False
    precision: str = "float32"
    merged: int = 0
    preprocessing: Preprocessing = ASSUMED

    @property
    def operators(self) -> int:
        """The opset of the operators in a graph; those of older files are brought to the first."""
        return max(self.opset, LEAST_OPSET)


class Graph:
    """Nodes and the values between them.

    `folded` is how many nodes were left once constants were folded, before any rule; `applied`
    how often each rule found its place. `pads_like_tensorflow` is true if the numbers of a
    convolution, in a file for one size, pad as only TensorFlow does: more at the end. At an odd
    size its padding and PyTorch's are the same for most convolutions, so what they do at others is
    for all of them to say.
    `batch_axes` says where an input has the batch: None where it has none; `channel_axes` where it
    has channels, as far as the file says so of itself.
    """

    def __init__(self, inputs: Iterable[Value], outputs: Iterable[Value], source: Source) -> None:
        self.inputs = list(inputs)
        self.outputs = list(outputs)
        self.source = source
        self.output_names = [value.name for value in self.outputs]
        self.batch_axes: dict[Value, int | None] = {
            value: 0 if value.shape else None for value in self.inputs
        }
        self.channel_axes: dict[Value, int] = {}
        self.folded = 0
        self.applied: Counter[str] = Counter()
        self.pads_like_tensorflow = False
        # Dictionaries are used as sets that keep their order.
        self._nodes: dict[Node, None] = {}
        self._by_op: defaultdict[str, dict[Node, None]] = defaultdict(dict)
        self._producers: dict[Value, Node] = {}
        # The node that computes a value; None for an input, a constant, and what is absent. It is
        # asked for millions of times in a large graph: the dictionary answers by itself.
        self.producer = cast(Callable[[Value | None], Node | None], self._producers.get)
        self._readers: defaultdict[Value, dict[Node, None]] = defaultdict(dict)

    @property
    def batch_size(self) -> int | None:
        """How many images it was read for; None where no input has a batch."""
        lengths = (
            value.shape[axis]
            for value, axis in self.batch_axes.items()
            if axis is not None and value.shape is not None
        )
        return next(lengths, None)

    def copy(self) -> Self:
        """Another graph of the same nodes and values."""
        return self.with_nodes(self)

    def with_nodes(self, nodes: Iterable[Node]) -> Self:
        """Another graph of the same values and these nodes, in topological order."""
        made = type(self)(self.inputs, self.outputs, self.source)
        made.output_names = list(self.output_names)
        made.batch_axes = dict(self.batch_axes)
        made.channel_axes = dict(self.channel_axes)
        made.folded, made.applied = self.folded, self.applied.copy()
        made.pads_like_tensorflow = self.pads_like_tensorflow
        for node in nodes:
            made.add(node)
        return made

    @property
    def nx(self) -> networkx.DiGraph[Node]:
        """Its nodes, with an edge to each that reads from another, for networkx's algorithms."""
        made: networkx.DiGraph[Node] = networkx.DiGraph()
        made.add_nodes_from(self._nodes)
        for value, producer in self._producers.items():
            made.add_edges_from((producer, reader) for reader in self._readers.get(value, ()))
        return made

    def __len__(self) -> int:
        return len(self._nodes)

    def __iter__(self) -> Iterator[Node]:
        """All nodes in topological order."""
        return iter(sorted(self._nodes, key=position))

    def of(self, ops: Iterable[str]) -> list[Node]:
        """The nodes of these operators in topological order."""
        return sorted((node for op in ops for node in self._by_op.get(op, ())), key=position)

    def has(self, ops: Iterable[str]) -> bool:
        """True if there is a node of each of these operators."""
        return all(self._by_op.get(op) for op in ops)

    def __contains__(self, node: Node) -> bool:
        return node in self._nodes

    def add(self, node: Node) -> None:
        """Adds a node."""
        self._nodes[node] = None
        self._by_op[node.op][node] = None
        for value in node.outputs:
            self._producers[value] = node
        for source in node.inputs:
            if source is not None:
                self._readers[source][node] = None

    def remove(self, node: Node) -> None:
        """Removes a node; its outputs are left without a producer."""
        del self._nodes[node]
        del self._by_op[node.op][node]
        for value in node.outputs:
            if self._producers.get(value) is node:
                del self._producers[value]
        for source in node.inputs:
            if source is not None and node in (readers := self._readers.get(source, {})):
                del readers[node]  # it may read a value twice
                if not readers:  # a weight that nobody reads is not held
                    del self._readers[source]

    def consumers(self, value: Value) -> list[Node]:
        """The nodes that read a value."""
        return list(self._readers.get(value, ()))

    def used_by_many(self, value: Value, limit: int) -> bool:
        """True if more than `limit` nodes read the value, without looking at each of them."""
        return len(self._readers.get(value, ())) > limit

    def is_output(self, value: Value) -> bool:
        """True if the graph hands this value out."""
        return value in self.outputs

    def collapse(self, nodes: Iterable[Node], node: Node) -> None:
        """Puts one node in the place of several; its outputs must be outputs of theirs."""
        for old in nodes:
            self.remove(old)
        self.add(node)

    def expand(self, node: Node, nodes: Iterable[Node]) -> None:
        """Puts several nodes in the place of one, the inverse of `collapse`.

        Some may be there already.
        """
        self.remove(node)
        for part in nodes:
            self.add(part)

    def redirect(self, old: Value, new: Value) -> None:
        """Lets everything that reads `old` read `new`."""
        for reader in self._readers.pop(old, ()):
            reader.inputs = tuple(new if value is old else value for value in reader.inputs)
            self._readers[new][reader] = None
        self.outputs = [new if value is old else value for value in self.outputs]

    def sweep(self) -> int:
        """Removes every node that nothing reads; how many these were."""
        wanted: set[Node] = set()
        stack: list[Value | None] = list(self.outputs)
        while stack:
            value = stack.pop()
            producer = None if value is None else self.producer(value)
            if producer is not None and producer not in wanted:
                wanted.add(producer)
                stack.extend(producer.inputs)
        unread = [node for node in self._nodes if node not in wanted]
        for node in unread:
            self.remove(node)
        return len(unread)
