"""Finds where a pattern holds: rooted at one node, closed, and with sound hyperparameters."""

from __future__ import annotations

from typing import Any

from onnx2mvit.ir.block import Block
from onnx2mvit.ir.graph import Graph, Node, position
from onnx2mvit.matcher.bindings import Trace
from onnx2mvit.matcher.match import Match, matches
from onnx2mvit.matcher.pattern import Pattern
from onnx2mvit.matcher.rearrange import MOVES
from onnx2mvit.matcher.rooted import Mismatch


def find(
    pattern: Pattern, graph: Graph, root: Node, trace: Trace | None = None
) -> tuple[Match, dict[str, Any]] | None:
    """The first way in which a pattern holds, is closed, and has sound hyperparameters.

    Args:
        pattern: what is looked for.
        graph: where.
        root: the node that would be the last one of it.
        trace: is told how far a search that fails came.

    Returns:
        The match and its hyperparameters by name; None if there is none.
    """
    for match in matches(pattern, graph, root, trace):
        complaint = escapes(match) or shapeless(match)
        if complaint is None and not pattern.is_leaf:
            complaint = doubled(match)
        if complaint is None:
            try:
                return match, pattern.in_order(match.params | pattern.params(match))
            except Mismatch as mismatch:
                complaint = str(mismatch)
        if trace is not None:
            trace.note(match.found, root, complaint, whole=True)
    return None


def shared(match: Match) -> frozenset[Node]:
    """Moves of what the match reads that something outside of it reads as well: they stay there.

    An exporter writes once what a block and the network's pyramid both make of the same tokens.
    What is moves alone keeps none.
    """
    moves = [node for node in match.nodes if node.op in MOVES]
    if not moves or len(moves) == len(match.nodes):
        return frozenset()
    inside, graph = set(match.nodes), match.graph
    before: dict[Node, tuple[Node, ...]] = {}  # the moves at the beginning, and those up to them
    for node in sorted(moves, key=position):
        if node is not match.root:
            maker = graph.producer(node.inputs[0])
            if maker not in inside:
                before[node] = (node,)
            elif maker in before:
                before[node] = (*before[maker], node)
    return frozenset(
        move
        for node, chain in before.items()
        if graph.is_output(node.output) or not inside.issuperset(graph.consumers(node.output))
        for move in chain
    )


def escapes(match: Match) -> str | None:
    """Says which inner value is needed outside of the match; None if it is closed."""
    inside = set(match.nodes)
    graph, kept = match.graph, shared(match)
    for node in match.nodes:
        if node in kept:
            continue
        for value in node.outputs:
            if node is match.root and value is node.output:
                continue
            if graph.is_output(value):
                return f"its inner value {value.name!r} is an output of the graph"
            if graph.used_by_many(value, len(inside)):
                return f"its inner value {value.name!r} is used outside of it"
            for reader in graph.consumers(value):
                if reader not in inside:
                    return f"its inner value {value.name!r} is used outside of it, by {reader!r}"
    return None


def shapeless(match: Match) -> str | None:
    """Says which value has a shape that is not known; None if hyperparameters can be read."""
    for node in match.nodes:
        for value in (*node.inputs, node.output):
            if value is not None and value.shape is None:
                return f"the shape of {value.name!r} is not known"
    return None


def doubled(match: Match) -> str | None:
    """Says which block with weights has two roles; None if each has one.

    Exporters write once what two layers make with equal weights: the function of a pattern has a
    layer for each. (A leaf takes the weights of its blocks as its own, twice if need be.)
    """
    roles: dict[Block, str] = {}
    blocks = ((role, node) for role, node in match.named() if isinstance(node, Block))
    for role, block in blocks:
        again = roles.setdefault(block, role) != role
        if again and any(each.weights for each in block.walk()):
            return f"{roles[block]} and {role} are one block"
    return None
