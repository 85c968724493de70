"""Why no pattern took a node: the closest one, how far it came, and the first difference."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from onnx2mvit.errors import UsageError
from onnx2mvit.ir.block import Block, BlockType
from onnx2mvit.ir.graph import Graph, Node
from onnx2mvit.ir.network import Network
from onnx2mvit.matcher.bindings import Complaint, Failure, Trace
from onnx2mvit.matcher.find import find
from onnx2mvit.matcher.pattern import Pattern

ENOUGH = 4  # a pattern of which less than a fourth is there is not close
RARE = 3  # an operator in no more patterns says something
NEARBY = 24  # so many nodes after one may be the last of a pattern that it belongs to
ALONE = "no larger block took it"

# What the blocks of a pattern are called in a sentence; operators go by their name.
NOUNS = {
    "Activation": "activation",
    "BatchNorm": "batch normalization",
    "Conv": "convolution",
    "Conv2D": "convolution",
    "ConvBnAct": "convolution",
    "Dense": "linear layer",
    "DepthwiseConv2D": "depthwise convolution",
    "GroupNorm": "group normalization",
    "LayerNorm": "layer normalization",
    "LayerNorm2d": "layer normalization",
    "MultiHeadAttention": "attention",
    "Rearrange": "Reshape",
}


class Explainer:
    """Tries every pattern at every node that could be its last, each pair once."""

    def __init__(self, graph: Graph, patterns: Iterable[BlockType]) -> None:
        self.graph = graph
        self.patterns = [pattern for pattern in patterns if isinstance(pattern, Pattern)]
        self.patterns_with = Counter(op for pattern in self.patterns for op in pattern.ops)
        self.traces: dict[tuple[str, Node], Trace] = {}

    def closest(self, node: Node) -> Failure | None:
        """The attempt that came furthest with this node in it, and its end; None without one."""
        best: Failure | None = None
        nearby = [node, *_downstream(self.graph, node, NEARBY)]
        for pattern in self.patterns:
            for root in nearby:
                if root.op not in pattern.roots:
                    continue
                for failure in self._trace(pattern, root).failures:
                    says = self._is_evidence(failure, node, pattern)
                    if says and _closeness(failure) > _closeness(best):
                        best = failure
        return best

    def _is_evidence(self, failure: Failure, node: Node, pattern: Pattern) -> bool:
        """True if an attempt says something about a node: it is one of the pattern's, or nearly so.

        That a sum is a sum says nothing: where another node is missing or differs, some of the
        pattern must be there. What stands in the place of one must read what the others read.
        """
        size = pattern.expression.size
        if node is failure.node and isinstance(failure.complaint, Complaint):
            read = {value for each in failure.nodes for value in each.inputs}
            beside = not read.isdisjoint(node.inputs) or failure.fitted > max(1, size / 2)
            return (failure.fitted > 0 or size == 1) and (beside or not failure.missing)
        least = 3 if failure.missing and self.patterns_with[node.op] > RARE else 2
        enough = failure.fitted >= max(least, size / ENOUGH)
        whole = not (failure.missing or isinstance(failure.complaint, Complaint))
        return node in failure.nodes and (enough or whole)

    def _trace(self, pattern: Pattern, root: Node) -> Trace:
        key = pattern.kind, root
        if key not in self.traces:
            trace = self.traces[key] = Trace(pattern.kind)
            found = find(pattern, self.graph, root, trace)
            if found is not None:  # it is a part of others alone, or it would have been taken
                bound = found[0].found
                trace.failures.clear()
                trace.note(bound, None, ALONE, whole=True)
        return self.traces[key]


def _closeness(failure: Failure | None) -> tuple[int, bool]:
    """What fits as a whole and is refused is closer than what ends after as many nodes."""
    return (-1, False) if failure is None else (failure.fitted, failure.whole)


def _downstream(graph: Graph, node: Node, limit: int) -> list[Node]:
    found: dict[Node, None] = {}
    queue = [node]
    while queue and len(found) < limit:
        for value in queue.pop(0).outputs:
            for reader in graph.consumers(value):
                if reader not in found:
                    found[reader] = None
                    queue.append(reader)
    return list(found)


def failures(graph: Graph, pattern: Pattern) -> list[tuple[Node, Failure]]:
    """Why a pattern does not hold at the nodes that could be its last, the closest first.

    Args:
        graph: lifted by the patterns that this one is made of, and by itself.
        pattern: the one that is asked for.
    """
    found = []
    for node in graph.of(pattern.roots):
        trace = Trace(pattern.kind)
        find(pattern, graph, node, trace)
        if trace.furthest is not None:
            found.append((node, trace.furthest))
    return sorted(found, key=lambda pair: -pair[1].fitted)


def made_of(pattern: Pattern, every: Sequence[Pattern]) -> list[Pattern]:
    """The patterns that a pattern is made of, however deep, in the order to apply them."""
    below: set[str] = set()
    wanted = [pattern]
    while wanted:
        ops = wanted.pop().ops - below
        parts = [part for part in every if part.kind in ops]
        below |= {part.kind for part in parts}
        wanted += parts
    return [part for part in every if part.kind in below]


@dataclass(frozen=True)
class Explanation:
    """What became of a node, and the pattern that came closest to it; "" where none did."""

    node: Node
    fate: str
    pattern: str = ""
    fitted: int = 0
    difference: str = ""
    where: str = ""

    @property
    def place(self) -> str:
        """The block, module or output by which the node is known."""
        return place_of(self.node)

    def as_dict(self) -> dict[str, Any]:
        """As plain values for JSON."""
        node = {"node": self.node.name or self.node.output.name, "op": self.node.op}
        rest = {name: getattr(self, name) for name in ("fate", "pattern", "fitted", "difference")}
        return {**node, "module": self.node.scope, **rest, "where": self.where}

    def sentence(self) -> str:
        """The closest pattern and the first difference, as one line."""
        if not self.pattern:
            return "no pattern has such a node at such a place"
        nodes = {0: "no node fits", 1: "1 node fits"}.get(self.fitted, f"{self.fitted} nodes fit")
        place = f" (at {self.where})" if self.where else ""
        return f"{self.pattern}: {nodes}, then {self.difference}{place}"


def explanations(network: Network, wanted: str | None = None) -> list[Explanation]:
    """For each node that no pattern took, or for the one that is called so, in the graph's order.

    A node goes by its name, its output's name or its module; a block at the top by its name.

    Raises:
        UsageError: there is none that is called so, or it lies inside of a block.
    """
    nodes = network.unrecognised if wanted is None else _called(network, wanted)
    # Another block may have taken what belongs to the one that this node is of.
    graphs = (network.graph, opened(network.graph, keep=nodes))
    explainers = [Explainer(graph, network.patterns) for graph in graphs]
    closest, inside = ([each.closest(node) for node in nodes] for each in explainers)
    return [
        _explanation(network, node, max(pair, key=_closeness))
        for node, *pair in zip(nodes, closest, inside, strict=True)
    ]


def opened(graph: Graph, keep: Sequence[Node]) -> Graph:
    """A graph in which blocks that are made of blocks which are no layers lie open."""
    made = graph.copy()
    for node in graph:
        if isinstance(node, Block) and node not in keep and any(c.children for c in node.children):
            made.expand(node, node.matched)
    return made


def _explanation(network: Network, node: Node, failure: Failure | None) -> Explanation:
    if isinstance(node, Block):
        fate = f"the block {node.name}, in no larger one"
    elif node in network.refused:
        fate = f"not converted: {network.refused[node]}"
    else:
        fate = "a single operator"
    if failure is None:
        return Explanation(node, fate)
    where = place_of(failure.node) if failure.node is not None else ""
    return Explanation(node, fate, failure.pattern, failure.fitted, in_words(failure), where)


def _called(network: Network, wanted: str) -> tuple[Node, ...]:
    found = [node for node in network.graph if wanted in _names(node)]
    if found:
        return tuple(found)
    for block in network.blocks:
        for inner in block.walk():
            nodes = inner.onnx_nodes()
            if wanted == inner.name or any(wanted in _names(node) for node in nodes):
                raise UsageError(f"{wanted!r} lies in the {block.kind} {block.name}: it was taken")
    raise UsageError(
        f"no node, module or block is called {wanted!r}: `inspect --graph` shows those that there "
        "are (what is folded or simplified away is none)"
    )


def _names(node: Node) -> set[str]:
    return {node.name, node.scope, *(value.name for value in node.outputs)} - {""}


def place_of(node: Node) -> str:
    """The name of a block, or the module of a node or else its output."""
    return (node.name if isinstance(node, Block) else node.scope) or node.output.name


def sentence(failure: Failure) -> str:
    """The pattern and the first difference, in one line: what messages and reports say."""
    return f"{failure.pattern}: {in_words(failure)}"


def in_words(failure: Failure) -> str:
    """The first difference as the end of a sentence."""
    complaint = failure.complaint
    if isinstance(complaint, str):
        return complaint.replace(
            "x is another value than before", "its input x is read twice, as two different values"
        )
    noun = NOUNS.get(complaint.op, complaint.op)
    said = complaint.role is None or noun.lower().startswith(complaint.role)
    it = f"its {noun}" if said else f"its {complaint.role} {noun}"
    node = complaint.node
    if node is None:
        return f"{it} is missing: its place is taken by an input or a constant"
    if complaint.keyword is not None:
        return f"{it} {_difference(node, complaint)}"
    if node.op != complaint.op:
        return f"{it} is missing: in its place is {_article(NOUNS.get(node.op, node.op))}"
    return f"{it} is used by another output than its first"


def _article(noun: str) -> str:
    return f"{'an' if noun[0].lower() in 'aeio' else 'a'} {noun}"


def _difference(node: Node, complaint: Complaint) -> str:
    key, found, expected = complaint.keyword, complaint.found, complaint.expected
    as_there = f" as {complaint.of}" if complaint.of not in ("", complaint.role) else ""
    wanted = "" if callable(expected) else f", not {_plain(expected)}{as_there}"
    params, channels = node.attrs, _channels(node)
    if key in ("depthwise", "group", "groups") and channels is not None:
        groups = channels if params.get("depthwise") else params.get("groups", params.get("group"))
        said = f"has group {groups} for {channels} channels"
        if key == "depthwise":
            return f"{said}: it is {'not ' if expected else ''}depthwise, and must{_be(expected)}"
        return said + wanted
    if key == "activation":
        followed = f"is followed by {found}" if found else "is followed by no activation"
        return followed + (", and must not be" if expected is None else wanted)
    if key == "kernel_size":
        return f"has a kernel of {found}×{found}" + (
            wanted if callable(expected) else f", not {expected}×{expected}{as_there}"
        )
    return f"has {key} {_plain(found)}{wanted}"


def _be(expected: Any) -> str:
    return " be" if expected else " not be"


def _plain(value: Any) -> str:
    return "none" if value is None else str(value)


def _channels(node: Node) -> int | None:
    shape = node.inputs[0].shape if node.inputs and node.inputs[0] is not None else None
    return shape[1] if shape is not None and len(shape) > 1 else None
