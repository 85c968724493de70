"""The backtracking search for an expression, backwards from a value.

Expressions are a handful of elements and every step looks at one node, so an attempt costs a
bounded time and a whole rewrite is linear in the number of nodes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from onnx2mvit.ir.graph import Graph, Node, Value
from onnx2mvit.matcher.pattern import AnyOf, Chain, Each, Expr, Op, Var

COMMUTATIVE = frozenset({"Add", "Mul", "Max", "Min", "And", "Or", "Xor", "Equal", "Sum", "Mean"})


@dataclass(frozen=True, slots=True)
class Complaint:
    """How a node, None for an input or a constant, is not what an expression says of it.

    `found` and `expected` (a value, or a predicate that is not satisfied) are those of `keyword`;
    without one it is another operator, or another output than the first.
    """

    op: str
    role: str | None
    node: Node | None
    value: Value | None
    keyword: str | None = None
    found: Any = None
    expected: Any = None

    def __str__(self) -> str:
        wanted = f"{self.role} ({self.op})" if self.role else self.op
        if self.node is None:
            return f"{wanted} expected, but {self.value!r} is an input or a constant"
        if self.keyword is not None:
            instead = "" if callable(self.expected) else f", not {self.expected!r}"
            return f"{wanted}: {self.keyword} is {self.found!r}{instead}"
        if self.node.op != self.op:
            return f"{wanted} expected, found {self.node!r}"
        return f"{wanted}: another output than the first is used"


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a pattern does not hold: how many nodes fitted, where it ended and what was different.

    `whole` is true where all of the nodes fitted, but not their hyperparameters or their readers.
    """

    pattern: str
    fitted: int
    node: Node | None
    complaint: str | Complaint
    whole: bool = False

    @property
    def reason(self) -> str:
        """What was different, in short."""
        return str(self.complaint)

    def __str__(self) -> str:
        return f"{self.pattern}: {self.reason}"


@dataclass(slots=True)
class Trace:
    """Remembers the attempt that came furthest; reasons are only put into words when asked for."""

    pattern: str = ""
    furthest: Failure | None = None
    touched: set[Node] = field(default_factory=set)

    def note(
        self, fitted: int, node: Node | None, reason: str | Complaint, whole: bool = False
    ) -> None:
        """Keeps a failure if it came further than those before.

        At the same number of nodes a match that is `whole`, and refused, came further.
        """
        if self.furthest is None or (fitted, whole) > (self.furthest.fitted, False):
            self.furthest = Failure(self.pattern, fitted, node, reason, whole)


@dataclass(frozen=True, slots=True)
class Bindings:
    """What has been matched so far; never changed, so that backtracking costs nothing."""

    values: dict[Expr, Value | None]
    names: dict[str, Any]
    nodes: tuple[Node, ...]

    def bind(self, expr: Expr, value: Value | None, name: str | None, bound: Any) -> Bindings:
        """With an expression bound to a value, and `name` to what the match is to show for it."""
        names = {**self.names, name: bound} if name else self.names
        return Bindings({**self.values, expr: value}, names, self.nodes)

    def take(self, expr: Op, node: Node) -> Bindings:
        """With a node matched."""
        names = {**self.names, expr.role: node} if expr.role else self.names
        return Bindings({**self.values, expr: node.output}, names, (*self.nodes, node))


@dataclass(frozen=True, slots=True)
class Several:
    """What `each` found for every input of a node."""

    parts: tuple[Bindings, ...]


def search(
    expr: Expr,
    value: Value | None,
    graph: Graph,
    bound: Bindings,
    trace: Trace | None = None,
) -> Iterator[Bindings]:
    """All ways in which a value is what an expression says, on top of what is bound already."""
    if expr in bound.values and not isinstance(expr, Var):  # a variable has a reason to give
        if bound.values[expr] is value:
            yield bound
        return
    match expr:
        case AnyOf():
            yield from _any_of(expr, value, graph, bound, trace)
        case Var():
            yield from _variable(expr, value, graph, bound, trace)
        case Op():
            yield from _operator(expr, value, graph, bound, trace)
        case Chain():
            yield from _chain(expr, value, graph, bound, trace)


def _any_of(
    expr: AnyOf, value: Value | None, graph: Graph, bound: Bindings, trace: Trace | None
) -> Iterator[Bindings]:
    for alternative in expr.alternatives:
        for found in search(alternative, value, graph, bound, trace):
            yield found.bind(expr, value, None, None)


def _variable(
    expr: Var, value: Value | None, graph: Graph, bound: Bindings, trace: Trace | None
) -> Iterator[Bindings]:
    complaint = None
    if expr in bound.values:
        if bound.values[expr] is not value:
            complaint = "is another value than before"
    elif value is None:
        complaint = None if expr.optional else "is absent"
    elif expr.check is not None:
        complaint = expr.check(value)
    if complaint is None:
        yield bound.bind(expr, value, expr.name, value)
    elif trace is not None:
        producer = graph.producer(value) if value is not None else None
        trace.note(len(bound.nodes), producer, f"{expr.name} {complaint}")


def _operator(
    expr: Op, value: Value | None, graph: Graph, bound: Bindings, trace: Trace | None
) -> Iterator[Bindings]:
    node = graph.producer(value) if value is not None else None
    if trace is not None and node is not None:
        trace.touched.add(node)
    complaint = _fits(expr.op, expr.attrs, expr.role, node, value)
    if node is None or complaint is not None:
        if trace is not None:
            trace.note(len(bound.nodes), node, complaint or "there is no node")
        return
    if len(expr.inputs) == 1 and isinstance(expr.inputs[0], Each):
        yield from _each(expr.inputs[0], node.inputs, graph, bound.take(expr, node), trace)
        return
    given = len(node.inputs)
    if given > len(expr.inputs):
        if trace is not None:
            trace.note(len(bound.nodes), node, f"{node!r} has {given} inputs")
        return
    inputs = node.inputs + (None,) * (len(expr.inputs) - given)
    taken = bound.take(expr, node)
    yield from _inputs(expr.inputs, inputs, graph, taken, trace)
    if node.op in COMMUTATIVE and len(inputs) == 2 and inputs[0] is not inputs[1]:
        yield from _inputs(expr.inputs, inputs[::-1], graph, taken, trace)


def _inputs(
    exprs: tuple[Expr, ...],
    values: tuple[Value | None, ...],
    graph: Graph,
    bound: Bindings,
    trace: Trace | None,
) -> Iterator[Bindings]:
    if not exprs:
        yield bound
        return
    for first in search(exprs[0], values[0], graph, bound, trace):
        yield from _inputs(exprs[1:], values[1:], graph, first, trace)


def _each(
    expr: Each,
    values: tuple[Value | None, ...],
    graph: Graph,
    bound: Bindings,
    trace: Trace | None,
) -> Iterator[Bindings]:
    parts: list[Bindings] = []
    nodes = bound.nodes
    for value in values:
        # `nodes` goes along so that a trace knows how many fitted before.
        empty = Bindings({}, {}, nodes)
        part = next(search(expr.expression, value, graph, empty, trace), None)
        if part is None:
            return
        parts.append(Bindings(part.values, part.names, part.nodes[len(nodes) :]))
        nodes = part.nodes
    names = {**bound.names, expr.role: Several(tuple(parts))}
    yield Bindings(bound.values, names, nodes)


def _chain(
    expr: Chain, value: Value | None, graph: Graph, bound: Bindings, trace: Trace | None
) -> Iterator[Bindings]:
    links: list[Node] = []
    complaint: Complaint | None = None
    node: Node | None = None
    while value is not None:
        node = graph.producer(value)
        complaint = _fits(expr.op, expr.attrs, expr.role, node, value)
        if node is None or complaint is not None:
            break
        links.append(node)
        value = node.inputs[0]
    if not links:
        if trace is not None:
            trace.note(len(bound.nodes), node, complaint or "there is no node")
        return
    links.reverse()
    names = {**bound.names, expr.role: tuple(links)}
    values = {**bound.values, expr: links[-1].output}
    taken = Bindings(values, names, (*bound.nodes, *reversed(links)))
    yield from search(expr.base, links[0].inputs[0], graph, taken, trace)


def _fits(
    op: str, attrs: dict[str, Any], role: str | None, node: Node | None, value: Value | None
) -> Complaint | None:
    """Compares one node with what is expected; the complaint, or None if it fits."""
    if node is None or node.op != op or node.output is not value:
        return Complaint(op, role, node, value)
    for name, expected in attrs.items():
        found = node.attrs.get(name)
        if not expected(found) if callable(expected) else found != expected:
            return Complaint(op, role, node, value, name, found, expected)
    return None
