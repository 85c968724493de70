"""The backtracking search for an expression, backwards from a value.

Expressions are a handful of elements and every step looks at one node, so an attempt costs a
bounded time and a whole rewrite is linear in the number of nodes.
"""

from __future__ import annotations

from collections.abc import Iterator

from onnx2mvit.ir.graph import Graph, Node, Value
from onnx2mvit.matcher.bindings import Bindings, Complaint, MatchGroup, Trace
from onnx2mvit.matcher.expression import (
    AnyNumber,
    AnyOf,
    Chain,
    Commutative,
    Expr,
    ForEach,
    Op,
    Param,
    Rearrange,
    Var,
    subexpressions,
)
from onnx2mvit.matcher.rearrange import MOVES

LONGEST = 12  # nodes in a chain of Reshapes and Transposes
MOST_OPERANDS = 64  # of one sum or product
COMMUTATIVE = frozenset({"Add", "Mul", "Max", "Min", "And", "Or", "Xor", "Equal", "Sum", "Mean"})


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
        case Rearrange():
            yield from _rearrange(expr, value, graph, bound, trace)
        case Commutative():
            yield from _commutative(expr, value, graph, bound, trace)


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
    fitting = _fits(expr, node, value, bound)
    if node is None or isinstance(fitting, Complaint):
        if trace is not None and isinstance(fitting, Complaint):
            trace.note(len(bound.nodes), node, fitting)
        return
    taken = fitting.take(expr, expr.role, (node,), node)
    if len(expr.inputs) == 1 and isinstance(expr.inputs[0], ForEach):
        yield from _each(expr.inputs[0], node.inputs, graph, taken, trace)
        return
    given = len(node.inputs)
    if given > len(expr.inputs):
        if trace is not None:
            trace.note(len(bound.nodes), node, f"{node!r} has {given} inputs")
        return
    inputs = node.inputs + (None,) * (len(expr.inputs) - given)
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
    expr: ForEach,
    values: tuple[Value | None, ...],
    graph: Graph,
    bound: Bindings,
    trace: Trace | None,
) -> Iterator[Bindings]:
    parts: list[Bindings] = []
    nodes = bound.nodes
    for value in values:
        # `nodes` goes along so that a trace knows how many fitted before.
        empty = Bindings(nodes=nodes, params=bound.params, lengths=bound.lengths)
        part = next(search(expr.expression, value, graph, empty, trace), None)
        if part is None:
            return
        own = part.nodes[len(nodes) :]
        parts.append(Bindings(part.values, part.names, own, part.params, part.lengths))
        nodes = part.nodes
        bound = Bindings(bound.values, bound.names, bound.nodes, part.params, part.lengths)
    names = {**bound.names, expr.role: MatchGroup(tuple(parts))}
    yield Bindings(bound.values, names, nodes, bound.params, bound.lengths)


def _chain(
    expr: Chain, value: Value | None, graph: Graph, bound: Bindings, trace: Trace | None
) -> Iterator[Bindings]:
    links: list[Node] = []
    fitting: Bindings | Complaint = bound
    node: Node | None = None
    while value is not None:
        node = graph.producer(value)
        fitting = _fits(expr, node, value, bound)
        if node is None or isinstance(fitting, Complaint):
            break
        bound = fitting
        links.append(node)
        value = node.inputs[0]
    if not links:
        if trace is not None:
            reason = fitting if isinstance(fitting, Complaint) else "there is no node"
            trace.note(len(bound.nodes), node, reason)
        return
    taken = bound.take(expr, expr.role, tuple(links), tuple(reversed(links)))
    if trace is not None and isinstance(fitting, Complaint) and fitting.of:
        trace.note(len(taken.nodes), node, fitting)  # it is no link for that alone
    yield from search(expr.base, links[-1].inputs[0], graph, taken, trace)


def _rearrange(
    expr: Rearrange, value: Value | None, graph: Graph, bound: Bindings, trace: Trace | None
) -> Iterator[Bindings]:
    """The shortest chain first: what is beyond it may belong to a neighbour."""
    chain: list[Node] = []
    known = {name: length for name, length in bound.lengths.items() if name in expr.notation.names}
    known |= {name: length for name, length in expr.lengths.items() if isinstance(length, int)}
    node: Node | None = None
    misfit: str | None = None
    base = value
    while base is not None and len(chain) < LONGEST:
        node = graph.producer(base)
        if trace is not None and node is not None:
            trace.touched.add(node)
        if node is None or node.op not in MOVES or node.output is not base:
            break
        chain.append(node)
        base = node.inputs[0]
        for lengths in expr.notation.solutions(chain[::-1], known):
            fitting = _lengths(expr, lengths, bound)
            if not isinstance(fitting, Bindings):
                misfit = fitting or misfit
                continue
            taken = fitting.take(expr, expr.role, tuple(chain), chain[0])
            yield from search(expr.base, base, graph, taken, trace)
    if trace is None:
        return
    if not chain or not (bound.nodes or any(expr.notation.has_ranks(chain[0], n) for n in chain)):
        trace.note(len(bound.nodes), node, Complaint("Rearrange", expr.role, node, value))
    else:
        otherwise = f"its axes are not moved as in {expr.notation.text!r}"
        trace.note(len(bound.nodes), chain[0], misfit or otherwise)


def _lengths(expr: Rearrange, lengths: dict[str, int], bound: Bindings) -> Bindings | str | None:
    """With these lengths of axes, and of the variables that are said to be them.

    None where a variable has a value that it must not have, a sentence where it has two.
    """
    params = bound.params
    for name, param in expr.lengths.items():
        if not isinstance(param, Param):
            continue
        length = lengths[name]
        known, of = params.get(param.name, (length, f"the axis {name}"))
        if param.check is not None and not param.check(length):
            return None
        if known != length:
            return f"the {param.name} of its axis {name} is {length}, not {known} as that of {of}"
        params = {**params, param.name: (known, of)}
    return Bindings(bound.values, bound.names, bound.nodes, params, bound.lengths | lengths)


def _commutative(
    expr: Commutative, value: Value | None, graph: Graph, bound: Bindings, trace: Trace | None
) -> Iterator[Bindings]:
    node = graph.producer(value) if value is not None else None
    if trace is not None and node is not None:
        trace.touched.add(node)
    if node is None or node.op not in expr.ops or node.output is not value:
        if trace is not None:
            trace.note(len(bound.nodes), node, Complaint(expr.ops[0], expr.role, node, value))
        return
    taken = bound.take(expr, expr.role, (node,), node)
    found: tuple[tuple[Node | None, ...], ...] = ((),) * len(expr.operands)
    yield from _operands(expr, node.inputs, found, graph, taken, trace)


def _operands(
    expr: Commutative,
    values: tuple[Value | None, ...],
    found: tuple[tuple[Node | None, ...], ...],
    graph: Graph,
    bound: Bindings,
    trace: Trace | None,
) -> Iterator[Bindings]:
    """Each value is one of the operands, or is nested: then its own operands are."""
    if not values:
        yield from _whole(expr, found, bound, trace)
        return
    value, *rest = values
    node = graph.producer(value) if value is not None else None
    for index, operand in enumerate(expr.operands):
        several = isinstance(operand, AnyNumber)
        most = operand.most if isinstance(operand, AnyNumber) else 1
        if (most is not None and len(found[index]) >= most) or (several and node in found[index]):
            continue
        inner = operand.expression if isinstance(operand, AnyNumber) else operand
        fresh = _renewed(expr, operand, bound) if isinstance(operand, AnyNumber) else bound
        now = (*found[:index], (*found[index], node), *found[index + 1 :])
        for part in search(inner, value, graph, fresh, trace):
            yield from _operands(expr, tuple(rest), now, graph, part, trace)
    count = len(values) + sum(map(len, found))
    nested = node is not None and node.op in expr.ops and node.output is value
    if node is not None and nested and node not in bound.nodes and count < MOST_OPERANDS:
        taken = Bindings(
            bound.values, bound.names, (*bound.nodes, node), bound.params, bound.lengths
        )
        yield from _operands(expr, (*node.inputs, *rest), found, graph, taken, trace)


def _renewed(expr: Commutative, operand: AnyNumber, bound: Bindings) -> Bindings:
    """Without what an operand was before, save for what others have as well."""
    others = {
        part for other in expr.operands if other is not operand for part in subexpressions(other)
    }
    own = {
        part for part in subexpressions(operand) if not isinstance(part, Var) and part not in others
    }
    values = {part: value for part, value in bound.values.items() if part not in own}
    return Bindings(values, bound.names, bound.nodes, bound.params, bound.lengths)


def _whole(
    expr: Commutative,
    found: tuple[tuple[Node | None, ...], ...],
    bound: Bindings,
    trace: Trace | None,
) -> Iterator[Bindings]:
    names = dict(bound.names)
    for operand, nodes in zip(expr.operands, found, strict=True):
        least = operand.least if isinstance(operand, AnyNumber) else 1
        if len(nodes) < least:
            if trace is not None:
                wanted = operand.expression if isinstance(operand, AnyNumber) else operand
                what = getattr(wanted, "role", None) or getattr(wanted, "op", "operand")
                what = (operand.role if isinstance(operand, AnyNumber) else None) or what
                reason = f"its sum has {len(nodes)} × {what}, not {least}"
                trace.note(len(bound.nodes), bound.nodes[-1], reason, whole=True)
            return
        if isinstance(operand, AnyNumber) and operand.role:
            there = [node for node in nodes if node is not None]
            names[operand.role] = tuple(sorted(there, key=lambda node: node.position))
    yield Bindings(bound.values, names, bound.nodes, bound.params, bound.lengths)


def _fits(
    expr: Op | Chain, node: Node | None, value: Value | None, bound: Bindings
) -> Bindings | Complaint:
    """Compares one node with what is expected; what is bound then, or how it does not fit."""
    if node is None or node.op != expr.op or node.output is not value:
        return Complaint(expr.op, expr.role, node, value)
    for name, expected in expr.attrs.items():
        if isinstance(expected, Param):
            continue
        found = node.attrs.get(name)
        if not expected(found) if callable(expected) else found != expected:
            return Complaint(expr.op, expr.role, node, value, name, found, expected)
    return bound.unified(expr.op, expr.role, expr.attrs, node)
