"""The backtracking search for an expression, backwards from a value.

Expressions are a handful of elements and every step looks at one node, so an attempt costs a
bounded time and a whole rewrite is linear in the number of nodes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import ClassVar

from onnx2mvit.ir.graph import Graph, Node, Value, position
from onnx2mvit.matcher.bindings import Bindings, Complaint, MatchGroup, Trace
from onnx2mvit.matcher.expression import (
    COMMUTATIVE,
    AnyOf,
    Chain,
    Commutative,
    Expr,
    ForEach,
    Op,
    Operand,
    Rearrange,
    Var,
)
from onnx2mvit.matcher.rearrange import LONGEST, MOVES

MOST_OPERANDS = 64  # of one sum or product

Values = tuple[Value | None, ...]
Found = tuple[tuple[Node | None, ...], ...]  # what each operand of a sum is, so far


class Search:
    """The search in one graph; what does not fit is noted in `trace`, if there is one."""

    def __init__(self, graph: Graph, trace: Trace | None = None) -> None:
        self.graph = graph
        self.trace = trace

    def __call__(self, expr: Expr, value: Value | None, bound: Bindings) -> Iterator[Bindings]:
        """All ways in which a value is what an expression says, beside what is bound already."""
        if isinstance(expr, Var):  # it has a reason to give where it is bound
            fitting = self._variable(expr, value, bound)
            return iter(() if fitting is None else (fitting,))
        if expr in bound.values:
            return iter((bound,) if bound.values[expr] is value else ())
        return self._SEARCHES[type(expr)](self, expr, value, bound)

    def _note(
        self, bound: Bindings, node: Node | None, why: str | Complaint, whole: bool = False
    ) -> None:
        if self.trace is not None:
            self.trace.note(bound, node, why, whole)

    def _any_of(self, expr: AnyOf, value: Value | None, bound: Bindings) -> Iterator[Bindings]:
        for alternative in expr.parts:
            for found in self(alternative, value, bound):
                yield found.bind(expr, value)

    def _variable(self, expr: Var, value: Value | None, bound: Bindings) -> Bindings | None:
        complaint = None
        if expr in bound.values:
            if bound.values[expr] is not value:
                complaint = "is another value than before"
        elif value is None:
            complaint = None if expr.optional else "is absent"
        elif expr.check is not None:
            complaint = expr.check(value)
        if complaint is None:
            return bound.bind(expr, value)
        if self.trace is not None:
            missing = value is None or value.const is None
            why = f"{expr.role} {complaint}"
            self.trace.note(bound, self.graph.producer(value), why, missing=missing)
        return None

    def _operator(self, expr: Op, value: Value | None, bound: Bindings) -> Iterator[Bindings]:
        node = self.graph.producer(value)
        if self.trace is None and (node is None or node.op != expr.op):
            return  # most end here, and nobody asks why
        fitting = bound.with_node(expr, node, value)
        if node is None or isinstance(fitting, Complaint):
            if isinstance(fitting, Complaint):
                self._note(bound, node, fitting)
            return
        taken = fitting.take(expr, (node,), node)
        if len(expr.parts) == 1 and isinstance(expr.parts[0], ForEach):
            yield from self._each(expr.parts[0], node.inputs, taken)
            return
        missing = len(expr.parts) - len(node.inputs)
        if missing < 0:
            self._note(bound, node, f"{node!r} has {len(node.inputs)} inputs")
            return
        inputs = node.inputs + (None,) * missing
        yield from self._inputs(expr.parts, inputs, taken)
        if node.op in COMMUTATIVE and len(inputs) == 2 and inputs[0] is not inputs[1]:
            yield from self._inputs(expr.parts, inputs[::-1], taken)

    def _inputs(
        self, exprs: tuple[Expr, ...], values: Values, bound: Bindings
    ) -> Iterator[Bindings]:
        for place, (expr, value) in enumerate(zip(exprs, values, strict=True), 1):
            if not isinstance(expr, Var):
                for first in self(expr, value, bound):
                    yield from self._inputs(exprs[place:], values[place:], first)
                return
            fitting = self._variable(expr, value, bound)
            if fitting is None:
                return
            bound = fitting
        yield bound

    def _each(self, expr: ForEach, values: Values, bound: Bindings) -> Iterator[Bindings]:
        parts: list[Bindings] = []
        nodes = bound.nodes
        for value in values:
            # `nodes` goes along so that a trace knows how many fitted before.
            empty = Bindings(nodes=nodes, params=bound.params)
            part = next(self(expr.parts[0], value, empty), None)
            if part is None:
                return
            parts.append(part._replace(nodes=part.nodes[len(nodes) :]))
            nodes, bound = part.nodes, bound._replace(params=part.params)
        names = {**bound.names, expr.role: MatchGroup(tuple(parts))}
        yield bound._replace(names=names, nodes=nodes)

    def _chain(self, expr: Chain, value: Value | None, bound: Bindings) -> Iterator[Bindings]:
        links: list[Node] = []
        fitting: Bindings | Complaint = bound
        node: Node | None = None
        while value is not None:
            node = self.graph.producer(value)
            fitting = bound.with_node(expr, node, value)
            if node is None or isinstance(fitting, Complaint):
                break
            bound, value = fitting, node.inputs[0]
            links.append(node)
        if not links:
            why = fitting if isinstance(fitting, Complaint) else "there is no node"
            self._note(bound, node, why)
            return
        taken = bound.take(expr, tuple(links), tuple(reversed(links)))
        if isinstance(fitting, Complaint) and fitting.of:
            self._note(taken, node, fitting)  # it is no link for that alone
        yield from self(expr.parts[0], links[-1].inputs[0], taken)

    def _rearrange(
        self, expr: Rearrange, value: Value | None, bound: Bindings
    ) -> Iterator[Bindings]:
        """The shortest chain first: what is beyond it may belong to a neighbour."""
        chain: list[Node] = []
        node: Node | None = None
        misfit: str | None = None
        base = value
        while base is not None and len(chain) < LONGEST:
            node = self.graph.producer(base)
            if node is None or node.op not in MOVES or node.output is not base:
                break
            chain.append(node)
            base = node.inputs[0]
            for lengths in expr.notation.solutions(chain[::-1], expr.known):
                fitting = bound.with_lengths(expr, lengths)
                if isinstance(fitting, Bindings):
                    yield from self(expr.parts[0], base, fitting.take(expr, chain, chain[0]))
                else:
                    misfit = fitting or misfit
        if self.trace is None:
            return
        if not chain or not (bound.nodes or any(expr.notation.fits(chain[0], n) for n in chain)):
            self._note(bound, node, Complaint("Rearrange", expr.role, node, value))
        else:
            otherwise = f"its axes are not moved as in {expr.notation.text!r}"
            self._note(bound, chain[0], misfit or otherwise)

    def _commutative(
        self, expr: Commutative, value: Value | None, bound: Bindings
    ) -> Iterator[Bindings]:
        node = self.graph.producer(value)
        if node is None or node.op not in expr.ops or node.output is not value:
            self._note(bound, node, Complaint(expr.ops[0], expr.role, node, value))
            return
        taken = bound.take(expr, (node,), node)
        yield from self._operands(expr, node.inputs, ((),) * len(expr.parts), taken)

    def _operands(
        self, expr: Commutative, values: Values, found: Found, bound: Bindings
    ) -> Iterator[Bindings]:
        """Each value is one of the operands, or is nested: then its own operands are."""
        if not values:
            yield from self._whole(expr, found, bound)
            return
        value, *rest = values
        node = self.graph.producer(value)
        for index, operand in enumerate(expr.parts):
            full = operand.most is not None and len(found[index]) >= operand.most
            if full or node in found[index]:
                continue
            fresh = bound if operand.most == 1 else _renewed(expr, operand, bound)
            now = (*found[:index], (*found[index], node), *found[index + 1 :])
            for part in self(operand.parts[0], value, fresh):
                yield from self._operands(expr, tuple(rest), now, part)
        count = len(values) + sum(map(len, found))
        nested = node is not None and node.op in expr.ops and node.output is value
        # What is an operand as it stands is no sum of others as well.
        nested = nested and not any(node in nodes for nodes in (bound.nodes, *found))
        if node is not None and nested and count < MOST_OPERANDS:
            taken = bound._replace(nodes=(*bound.nodes, node), nested=bound.nested + 1)
            yield from self._operands(expr, (*node.inputs, *rest), found, taken)

    def _whole(self, expr: Commutative, found: Found, bound: Bindings) -> Iterator[Bindings]:
        names = dict(bound.names)
        for operand, nodes in zip(expr.parts, found, strict=True):
            if len(nodes) < operand.least:
                reason = f"its sum has {len(nodes)} × {operand.name}, not {operand.least}"
                self._note(bound, bound.nodes[-1], reason, whole=True)
                return
            if operand.role:
                there = [node for node in nodes if node is not None]
                names[operand.role] = tuple(sorted(there, key=position))
        yield bound._replace(names=names)

    _SEARCHES: ClassVar[dict[type[Expr], Callable[..., Iterator[Bindings]]]] = {
        AnyOf: _any_of,
        Chain: _chain,
        Op: _operator,
        Rearrange: _rearrange,
        Commutative: _commutative,
    }


def _renewed(expr: Commutative, operand: Operand, bound: Bindings) -> Bindings:
    """Without what an operand was before, save for what others have as well."""
    others = {part for other in expr.parts if other is not operand for part in other.walk()}
    own = {part for part in operand.walk() if not isinstance(part, Var) and part not in others}
    return bound._replace(values={part: v for part, v in bound.values.items() if part not in own})
