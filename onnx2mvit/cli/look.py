"""For those who write patterns: what a graph looks like, and why a pattern does not hold in it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from onnx2mvit.errors import UsageError
from onnx2mvit.ir.block import Block
from onnx2mvit.ir.graph import Graph, Node, Value
from onnx2mvit.lifter.lift import lift
from onnx2mvit.lowering.lower import lower
from onnx2mvit.matcher.bindings import Failure, Trace
from onnx2mvit.matcher.find import find
from onnx2mvit.matcher.pattern import Pattern
from onnx2mvit.matcher.registry import builtin_patterns
from onnx2mvit.matcher.user_patterns import all_patterns
from onnx2mvit.reader.read import read


def look(path: Path, kind: str | None, files: Sequence[Path] = ()) -> Iterator[str]:
    """The lines that `inspect --graph` prints, or with a kind those of `inspect --why KIND`.

    `files` hold patterns of one's own.
    """
    every = all_patterns(files)
    graph = read(path)
    if kind is not None:
        return why_lines(graph, kind, every)
    return lines_of(lower(lift(graph, every)).graph)


def lines_of(graph: Graph) -> Iterator[str]:
    """One line for each node or block: number, what it reads, attributes, shape, torch's module.

    `7  Add(5, 2)  → [3, 64, 56, 56]  layer1.0` adds what lines 5 and 2 make. A constant is its
    shape, or its value if it is a single number; what is as usual is left out.
    """
    nodes = list(graph)
    numbers = {value: str(i) for i, node in enumerate(nodes) for value in node.outputs}
    for number, node in enumerate(nodes):
        reads = ", ".join(_operand(value, numbers) for value in node.inputs)
        usual = node.pattern.usual() if isinstance(node, Block) else {}
        shown = ", ".join(
            f"{key}={value}"
            for key, value in node.attrs.items()
            if value is not None and usual.get(key) != value
        )
        shape = list(node.output.shape) if node.output.shape is not None else "?"
        where = node.name if isinstance(node, Block) else node.scope
        parts = [f"{number:4}", f"{node.op}({reads})", shown, f"→ {shape}", where]
        yield "  ".join(part for part in parts if part)


def _operand(value: Value | None, numbers: dict[Value, str]) -> str:
    if value is None:
        return "-"
    if value.const is None:
        return numbers.get(value, value.name)
    return f"{value.const.item():g}" if value.const.size == 1 else str(list(value.const.shape))


def why_lines(graph: Graph, kind: str, every: Sequence[Pattern] | None = None) -> Iterator[str]:
    """How often a pattern holds, and what keeps it from holding elsewhere, the closest first."""
    count, failures = why_not(graph, kind, every)
    yield f"{kind} holds at {count} places"
    reasons: dict[str, list[str]] = {}
    for node, failure in failures:
        where = node.name if isinstance(node, Block) else node.scope
        reason = re.sub(r"<(\S+) [^>]*>", r"<\1>", failure.reason)  # without the module in it
        reasons.setdefault(reason, []).append(where or node.output.name)
    for reason, places in reasons.items():
        yield f"{len(places):4} ×  {reason}; first at {places[0]}"


def why_not(
    graph: Graph, kind: str, every: Sequence[Pattern] | None = None
) -> tuple[int, list[tuple[Node, Failure]]]:
    """How often a pattern holds in a graph that was read, and why it does not elsewhere.

    The graph is rewritten by the patterns that this one is made of, and by itself. For every
    node that could be its last, the attempt that came furthest is told, the best of them first.

    Raises:
        UsageError: there is no pattern of this kind.
    """
    patterns = {pattern.kind: pattern for pattern in every or builtin_patterns()}
    if kind not in patterns:
        raise UsageError(f"there is no pattern {kind!r}; there are {', '.join(sorted(patterns))}")
    pattern = patterns[kind]
    network = lower(lift(graph, [*made_of(pattern, every), pattern]))
    failures = []
    for node in network.graph.of(pattern.roots):
        trace = Trace(kind)
        find(pattern, network.graph, node, trace)
        if trace.furthest is not None:
            failures.append((node, trace.furthest))
    failures.sort(key=lambda pair: -pair[1].fitted)
    return len(network.graph.of([kind])), failures


def made_of(pattern: Pattern, every: Sequence[Pattern] | None = None) -> list[Pattern]:
    """The patterns that a pattern is made of, however deep, in the order to apply them."""
    every = every or builtin_patterns()
    below: set[str] = set()
    wanted = [pattern]
    while wanted:
        ops = wanted.pop().ops - below
        parts = [part for part in every if part.kind in ops]
        below |= {part.kind for part in parts}
        wanted += parts
    return [part for part in every if part.kind in below]
