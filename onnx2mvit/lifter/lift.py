"""Patterns turn the graph into a tree of blocks, from the bottom up.

Every match collapses its nodes into one block node, and higher patterns are written in terms of
blocks. Roots are tried from the output of the graph to its input, so that the longest form of a
block (with its activation, with its residual) is seen before the shorter ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

from onnx2mvit.base.collector import collector_paused
from onnx2mvit.ir.block import Block
from onnx2mvit.ir.graph import Graph, Node, Value, position
from onnx2mvit.ir.network import Network
from onnx2mvit.matcher.find import find, shared
from onnx2mvit.matcher.match import Match, places
from onnx2mvit.matcher.pattern import Pattern
from onnx2mvit.matcher.registry import builtin_patterns
from onnx2mvit.matcher.rooted import Array
from onnx2mvit.matcher.user_patterns import blamed


@collector_paused()
def lift(graph: Graph, patterns: Sequence[Pattern] | None = None) -> Network:
    """Collapses what patterns recognise into blocks, in a graph of their own.

    Args:
        graph: as it was read; it is not changed.
        patterns: in the order of `registry.in_order`; all built-in ones by default.

    Returns:
        A network whose blocks have no names yet: lowering gives them.

    Raises:
        UnsupportedError: a node is not what the ONNX standard says of it.
        UsageError: a user's pattern raised something.
    """
    used = tuple(builtin_patterns() if patterns is None else patterns)
    lifted = graph.copy()
    for pattern in used:
        _apply(lifted, pattern)
    blocks = tuple(node for node in lifted if isinstance(node, Block))
    return Network(lifted, used, blocks)


def inline_fragments(network: Network) -> Network:
    """A network in which parts of blocks that no block took are their operators again."""
    fragments = _fragments(network.graph)
    if not fragments:
        return network
    graph = network.graph.copy()
    while fragments:  # in what is no block any more there may be further ones
        for block in fragments:
            graph.expand(block, block.matched)
        fragments = _fragments(graph)
    return replace(network, graph=graph)


def _fragments(graph: Graph) -> list[Block]:
    return [b for b in graph if isinstance(b, Block) and b.pattern.inner]


def _apply(graph: Graph, pattern: Pattern) -> None:
    with blamed(pattern, places(pattern, graph)) as roots:
        for root in roots:
            if (found := find(pattern, graph, root)) is not None:
                match, params = found
                kept = shared(match)
                block = _block(graph, pattern, match, params)
                graph.collapse((node for node in match.nodes if node not in kept), block)


def _block(graph: Graph, pattern: Pattern, match: Match, params: dict[str, object]) -> Block:
    inside = set(match.nodes)
    operands = pattern.operands(match)
    read = (
        value
        for node in sorted(match.nodes, key=position)
        for value in node.inputs
        if value is not None and value.const is None and graph.producer(value) not in inside
    )
    inputs = dict.fromkeys((*operands, *read))
    weights = pattern.weights(match)
    block = Block(
        op=pattern.kind,
        attrs=params,
        pattern=pattern,
        inputs=tuple(inputs),
        outputs=(match.root.output,),
        operands=operands,
        matched=match.nodes if pattern.is_leaf else _with_roles(match),
        weights=weights,
        position=match.root.position,
    )
    if weights:  # else the match need not be kept
        block.weights_from = partial(_weights, pattern, match)
    return block


def _weights(pattern: Pattern, match: Match, arrays: Mapping[Value, Array]) -> dict[str, Array]:
    return pattern.weights(match.with_constants(arrays))


def _with_roles(match: Match) -> tuple[Node, ...]:
    """The matched nodes, and the blocks among them with the role that they have in the match."""
    roles = {node: role for role, node in match.named()}
    return tuple(
        replace(node, role=roles.get(node, node.op.lower())) if isinstance(node, Block) else node
        for node in match.nodes
    )
