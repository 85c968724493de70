"""Stage two: patterns turn the graph into a tree of blocks, from the bottom up.

Every match collapses its nodes into one block node, and higher patterns are written in terms of
blocks. Roots are tried from the output of the graph to its input, so that the longest form of a
block (with its activation, with its residual) is seen before the shorter ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

from onnx2mvit.base.collector import collector_paused
from onnx2mvit.errors import MALFORMED
from onnx2mvit.ir.block import Block
from onnx2mvit.ir.error_context import fault
from onnx2mvit.ir.graph import Graph, Node
from onnx2mvit.lifter.naming import name_blocks
from onnx2mvit.lowering.lower import Lowered, lower
from onnx2mvit.matcher.match import Match, find
from onnx2mvit.matcher.pattern import Pattern
from onnx2mvit.matcher.registry import builtin_patterns
from onnx2mvit.matcher.user_patterns import blamed, file_of, is_users


@dataclass(frozen=True)
class Coverage:
    """How many nodes of the simplified graph ended where."""

    nodes: int
    in_blocks: int
    single_ops: int
    unsupported: int

    @property
    def percent(self) -> float:
        """The share of nodes in blocks, in percent."""
        return 100.0 * self.in_blocks / self.nodes if self.nodes else 0.0


@dataclass(frozen=True)
class Network:
    """The result of rewriting: a graph of blocks, and the nodes that cannot be converted.

    A block with `code` is a single operator that no pattern took.
    """

    graph: Graph
    blocks: tuple[Block, ...]
    leftovers: tuple[Node, ...]
    patterns: tuple[Pattern, ...]
    lowered: Lowered

    @property
    def coverage(self) -> Coverage:
        """How much of the graph lies in blocks."""
        single = sum(1 for block in self.blocks if block.code is not None)
        in_blocks = sum(block.nodes for block in self.blocks) - single
        rest = len(self.leftovers)
        return Coverage(in_blocks + single + rest, in_blocks, single, rest)

    @property
    def unrecognised(self) -> tuple[Node, ...]:
        """The nodes that no pattern took, whether they can be converted by themselves or not."""
        return tuple(node for node in self.graph if node.block is None)

    @property
    def fixed_by(self) -> Block | None:
        """The first single operator that holds for the traced height and width alone."""
        return next((b for b in self.blocks if b.code is not None and b.code.fixed_size), None)


@collector_paused()
def rewrite(
    graph: Graph, patterns: Sequence[Pattern] | None = None, batch_axis: int | None = 0
) -> Network:
    """Collapses the graph into blocks, in place, and names them after torch's modules.

    What no pattern takes becomes single operators, as far as there are converters for them.
    `patterns` must be in the order of `registry.in_order`; all built-in ones by default.
    `batch_axis` is where the inputs have the batch, None for a model of one batch alone.
    """
    used = tuple(builtin_patterns() if patterns is None else patterns)
    for pattern in used:
        with _faults_of(pattern):
            _apply(graph, pattern)
    return _network(graph, used, batch_axis)


def _faults_of(pattern: Pattern) -> AbstractContextManager[None]:
    """A user's pattern is to blame for whatever it raises; what ours may raise is the file's."""
    what = f"the pattern {pattern.kind} failed while it was matched"
    return blamed(file_of(pattern), what) if is_users(pattern) else nullcontext()


def _apply(graph: Graph, pattern: Pattern) -> None:
    failures = () if is_users(pattern) else MALFORMED
    for root in reversed(graph.of(pattern.roots)):
        if root not in graph:
            continue
        try:
            if (found := find(pattern, graph, root)) is not None:
                _collapse(graph, pattern, *found)
        except failures as error:
            raise fault(root, pattern.kind, error) from error


def settled(network: Network) -> Network:
    """The network to be emitted: parts of blocks that no block took are operators again.

    They are left as they stand where the network cannot be converted, to say how far it came.
    """
    stranded = [node for node in network.graph if node.block and node.block.pattern.inner]
    if network.leftovers or not stranded:
        return network
    for node in stranded:
        assert node.block is not None
        network.graph.expand(node, node.block.matched)
    return _network(network.graph, network.patterns, 0)


def _network(graph: Graph, patterns: tuple[Pattern, ...], batch_axis: int | None) -> Network:
    lowered = lower(graph, batch_axis)
    found_blocks = (node.block or lowered.blocks.get(node) for node in graph)
    blocks = tuple(block for block in found_blocks if block is not None)
    name_blocks(blocks)
    leftovers = tuple(lowered.refused)
    return Network(graph, blocks, leftovers, patterns, lowered)


def _collapse(graph: Graph, pattern: Pattern, match: Match, params: dict[str, object]) -> None:
    inside = set(match.nodes)
    inputs = dict.fromkeys(
        value
        for node in sorted(match.nodes, key=lambda node: node.position)
        for value in node.inputs
        if value is not None and value.const is None and value.producer not in inside
    )
    block = Block(
        pattern=pattern,
        params=params,
        inputs=tuple(inputs),
        output=match.root.output,
        matched=match.nodes,
        weights=pattern.weights(match),
        children=() if pattern.is_leaf else _children(match),
    )
    node = Node(
        op=pattern.kind,
        inputs=tuple(inputs),
        outputs=(match.root.output,),
        block=block,
        position=match.root.position,
    )
    graph.collapse(match.nodes, node)


def _children(match: Match) -> tuple[Block, ...]:
    roles: dict[Node, str] = {}
    for role, bound in match.bound.items():
        if isinstance(bound, Node):
            roles[bound] = role
        elif isinstance(bound, tuple):
            roles.update({node: f"{role}.{index}" for index, node in enumerate(bound)})
    children = []
    for node in sorted(match.nodes, key=lambda node: node.position):
        if node.block is not None:
            node.block.role = roles.get(node, node.op.lower())
            children.append(node.block)
    return tuple(children)
