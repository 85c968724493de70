"""Finds where a pattern holds: rooted at one node, backwards from its output, with backtracking.

Expressions are a handful of elements and every step looks at one node, so an attempt costs a
bounded time and a whole rewrite is linear in the number of nodes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from onnx2mvit.graph import Graph, Node, Value
from onnx2mvit.pattern import AnyOf, Chain, Each, Expr, Mismatch, Op, Pattern, Rooted, Var, require

COMMUTATIVE = frozenset({"Add", "Mul", "Max", "Min", "And", "Or", "Xor", "Equal", "Sum", "Mean"})


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a pattern does not hold: how many nodes fitted, where it ended and what was different."""

    pattern: str
    fitted: int
    node: Node | None
    reason: str

    def __str__(self) -> str:
        return f"{self.pattern}: {self.reason}"


@dataclass(slots=True)
class Trace:
    """Remembers the attempt that came furthest; reasons are only put into words when asked for."""

    pattern: str = ""
    furthest: Failure | None = None
    touched: set[Node] = field(default_factory=set)

    def note(self, fitted: int, node: Node | None, reason: str, whole: bool = False) -> None:
        """Keeps a failure if it came further than those before.

        At the same number of nodes a match that is `whole`, and refused, came further.
        """
        if self.furthest is None or (fitted, whole) > (self.furthest.fitted, False):
            self.furthest = Failure(self.pattern, fitted, node, reason)


@dataclass(frozen=True, slots=True)
class _Bindings:
    """What has been matched so far; never changed, so that backtracking costs nothing."""

    values: dict[Expr, Value | None]
    names: dict[str, Any]
    nodes: tuple[Node, ...]

    def bind(self, expr: Expr, value: Value | None, name: str | None, bound: Any) -> _Bindings:
        names = {**self.names, name: bound} if name else self.names
        return _Bindings({**self.values, expr: value}, names, self.nodes)

    def take(self, expr: Op, node: Node) -> _Bindings:
        names = {**self.names, expr.role: node} if expr.role else self.names
        return _Bindings({**self.values, expr: node.output}, names, (*self.nodes, node))


@dataclass(frozen=True, slots=True)
class _Several:
    """What `each` found for every input of a node."""

    parts: tuple[_Bindings, ...]


class Match:
    """One place where an expression holds. Roles and variables are attributes.

    A role is a `Node`, or a `Block` if that node is one, or a tuple of them for a chain, or a
    tuple of matches for `each`; None where the alternative with it was not taken.
    A variable is a `Value`.
    """

    def __init__(self, rooted: Rooted, graph: Graph, root: Node, found: _Bindings) -> None:
        self.graph = graph
        self.root = root
        self.nodes = tuple(dict.fromkeys(found.nodes))  # two expressions may be one node
        self.bound: dict[str, Any] = {role: found.names.get(role) for role in rooted.roles}
        for role, bound in self.bound.items():
            if isinstance(bound, _Several):
                self.bound[role] = tuple(
                    Match(rooted, graph, part.nodes[0] if part.nodes else root, part)
                    for part in bound.parts
                )

    def __getattr__(self, name: str) -> Any:
        try:
            bound = self.__dict__["bound"][name]
        except KeyError:
            raise AttributeError(f"the pattern has no {name!r}") from None
        if isinstance(bound, Node):
            return bound.block or bound
        if isinstance(bound, tuple):
            return tuple(part.block or part if isinstance(part, Node) else part for part in bound)
        return bound

    def shape(self, role: str, rank: int) -> tuple[int, ...]:
        """The shape of a variable, or of what a role computes; Mismatch if its rank is another."""
        bound = self.bound[role]
        value = bound.output if isinstance(bound, Node) else bound
        shape: tuple[int, ...] = (value.shape if value is not None else None) or ()
        require(bool(shape), f"the shape of {role} is not known")
        require(len(shape) == rank, f"{role} has rank {len(shape)}, not {rank}")
        return shape

    def common(self, roles: tuple[str, ...], *params: str) -> dict[str, Any]:
        """The hyperparameters that these blocks share; raises Mismatch where they differ.

        What a block does not have (the epsilon of an absent normalization) is left out.
        """
        shared: dict[str, Any] = {}
        owner: dict[str, str] = {}
        for role in roles:
            block = getattr(self, role)
            for name in params:
                if block is None or name not in block.params:
                    continue
                value = block.params[name]
                require(
                    shared.setdefault(name, value) == value,
                    f"{owner.get(name)} has {name} {shared[name]!r}, {role} has {value!r}",
                )
                owner.setdefault(name, role)
        return shared


def matches(
    rooted: Rooted, graph: Graph, root: Node, trace: Trace | None = None
) -> Iterator[Match]:
    """All ways in which an expression holds with this node as its last."""
    empty = _Bindings({}, {}, ())
    for found in _value(rooted.expression, root.output, empty, trace):
        if found.nodes and found.nodes[0] is root:
            yield Match(rooted, graph, root, found)


def find(
    pattern: Pattern, graph: Graph, root: Node, trace: Trace | None = None
) -> tuple[Match, dict[str, Any]] | None:
    """The first way in which a pattern holds, is closed, and has sound hyperparameters."""
    for match in matches(pattern, graph, root, trace):
        complaint = leak(match) or shapeless(match)
        if complaint is None:
            try:
                return match, pattern.params(match)
            except Mismatch as mismatch:
                complaint = str(mismatch)
        if trace is not None:
            trace.note(len(match.nodes), root, complaint, whole=True)
    return None


def leak(match: Match) -> str | None:
    """Says which inner value is needed outside of the match; None if it is closed."""
    inside = set(match.nodes)
    graph = match.graph
    for node in match.nodes:
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


def _value(
    expr: Expr, value: Value | None, bound: _Bindings, trace: Trace | None
) -> Iterator[_Bindings]:
    match expr:
        case AnyOf():
            yield from _any_of(expr, value, bound, trace)
        case Var():
            yield from _variable(expr, value, bound, trace)
        case Op():
            yield from _operator(expr, value, bound, trace)
        case Chain():
            yield from _chain(expr, value, bound, trace)


def _any_of(
    expr: AnyOf, value: Value | None, bound: _Bindings, trace: Trace | None
) -> Iterator[_Bindings]:
    if expr in bound.values:
        if bound.values[expr] is value:
            yield bound
        return
    for alternative in expr.alternatives:
        for found in _value(alternative, value, bound, trace):
            yield found.bind(expr, value, None, None)


def _variable(
    expr: Var, value: Value | None, bound: _Bindings, trace: Trace | None
) -> Iterator[_Bindings]:
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
        producer = value.producer if value is not None else None
        trace.note(len(bound.nodes), producer, f"{expr.name} {complaint}")


def _operator(
    expr: Op, value: Value | None, bound: _Bindings, trace: Trace | None
) -> Iterator[_Bindings]:
    if expr in bound.values:
        if bound.values[expr] is value:
            yield bound
        return
    node = value.producer if value is not None else None
    if trace is not None and node is not None:
        trace.touched.add(node)
    complaint = _fits(expr.op, expr.attrs, expr.role, node, value)
    if node is None or complaint is not None:
        if trace is not None:
            trace.note(len(bound.nodes), node, complaint or "there is no node")
        return
    if len(expr.inputs) == 1 and isinstance(expr.inputs[0], Each):
        yield from _each(expr.inputs[0], node.inputs, bound.take(expr, node), trace)
        return
    given = len(node.inputs)
    if given > len(expr.inputs):
        if trace is not None:
            trace.note(len(bound.nodes), node, f"{node!r} has {given} inputs")
        return
    inputs = node.inputs + (None,) * (len(expr.inputs) - given)
    taken = bound.take(expr, node)
    yield from _inputs(expr.inputs, inputs, taken, trace)
    if node.op in COMMUTATIVE and len(inputs) == 2 and inputs[0] is not inputs[1]:
        yield from _inputs(expr.inputs, inputs[::-1], taken, trace)


def _inputs(
    exprs: tuple[Expr, ...],
    values: tuple[Value | None, ...],
    bound: _Bindings,
    trace: Trace | None,
) -> Iterator[_Bindings]:
    if not exprs:
        yield bound
        return
    for first in _value(exprs[0], values[0], bound, trace):
        yield from _inputs(exprs[1:], values[1:], first, trace)


def _each(
    expr: Each, values: tuple[Value | None, ...], bound: _Bindings, trace: Trace | None
) -> Iterator[_Bindings]:
    parts: list[_Bindings] = []
    nodes = bound.nodes
    for value in values:
        # `nodes` goes along so that a trace knows how many fitted before.
        empty = _Bindings({}, {}, nodes)
        part = next(_value(expr.expression, value, empty, trace), None)
        if part is None:
            return
        parts.append(_Bindings(part.values, part.names, part.nodes[len(nodes) :]))
        nodes = part.nodes
    names = {**bound.names, expr.role: _Several(tuple(parts))}
    yield _Bindings(bound.values, names, nodes)


def _chain(
    expr: Chain, value: Value | None, bound: _Bindings, trace: Trace | None
) -> Iterator[_Bindings]:
    if expr in bound.values:
        if bound.values[expr] is value:
            yield bound
        return
    links: list[Node] = []
    complaint: str | None = None
    node: Node | None = None
    while value is not None:
        node = value.producer
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
    taken = _Bindings(values, names, (*bound.nodes, *reversed(links)))
    yield from _value(expr.base, links[0].inputs[0], taken, trace)


def _fits(
    op: str, attrs: dict[str, Any], role: str | None, node: Node | None, value: Value | None
) -> str | None:
    """Compares one node with what is expected; the complaint, or None if it fits."""
    wanted = f"{role} ({op})" if role else op
    if node is None:
        return f"{wanted} expected, but {value!r} is an input or a constant"
    if node.op != op:
        return f"{wanted} expected, found {node!r}"
    if node.output is not value:
        return f"{wanted}: another output than the first is used"
    actual = node.block.params if node.block is not None else node.attrs
    for name, expected in attrs.items():
        found = actual.get(name)
        if callable(expected):
            if not expected(found):
                return f"{wanted}: {name} is {found!r}"
        elif found != expected:
            return f"{wanted}: {name} is {found!r}, not {expected!r}"
    return None
