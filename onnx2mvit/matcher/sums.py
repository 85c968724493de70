"""The search for sums and products: any operands, in any order and however they are nested."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from onnx2mvit.ir.graph import Node, Value, position
from onnx2mvit.matcher.bindings import Bindings, Complaint, Search, Step, Values
from onnx2mvit.matcher.expression import Commutative, Expr, Operand, Var

MOST_OPERANDS = 64  # of one sum or product

Found = tuple[tuple[Node | None, ...], ...]  # what each operand of a sum is, so far


def sums(expr: Commutative, step: Callable[[Expr], Step]) -> Step:
    """The search for a sum; `step` makes that for what an operand is."""
    steps = [step(operand.parts[0]) for operand in expr.parts]
    own = [frozenset(_own(expr, operand)) for operand in expr.parts]

    def whole(search: Search, value: Value | None, bound: Bindings) -> Iterator[Bindings]:
        node = search.graph.producer(value)
        if node is None or node.op not in expr.ops or node.output is not value:
            search.note(bound, node, Complaint(expr.ops[0], expr.role, node, value))
            return
        taken = bound.take(expr.role, (node,), node)
        yield from operands(search, node.inputs, ((),) * len(expr.parts), taken)

    def operands(
        search: Search, values: Values, found: Found, bound: Bindings
    ) -> Iterator[Bindings]:
        """Each value is one of the operands, or is nested: then its own operands are."""
        if not values:
            yield from _complete(search, expr, found, bound)
            return
        value, *rest = values
        node = search.graph.producer(value)
        for index, operand in enumerate(expr.parts):
            full = operand.most is not None and len(found[index]) >= operand.most
            if full or node in found[index]:
                continue
            fresh = bound if operand.most == 1 else bound.forget(own[index])
            now = (*found[:index], (*found[index], node), *found[index + 1 :])
            for part in steps[index](search, value, fresh):
                yield from operands(search, tuple(rest), now, part)
        count = len(values) + sum(map(len, found))
        nested = node is not None and node.op in expr.ops and node.output is value
        # What is an operand as it stands is no sum of others as well.
        nested = nested and not any(node in nodes for nodes in (bound.nodes, *found))
        if node is not None and nested and count < MOST_OPERANDS:
            taken = bound._replace(nodes=(*bound.nodes, node), nested=bound.nested + 1)
            yield from operands(search, (*node.inputs, *rest), found, taken)

    return whole


def _own(expr: Commutative, operand: Operand) -> Sequence[Expr]:
    """What is another for each that is like an operand: all but variables and what others have."""
    others = {part for other in expr.parts if other is not operand for part in other.walk()}
    return [part for part in operand.walk() if not isinstance(part, Var) and part not in others]


def _complete(
    search: Search, expr: Commutative, found: Found, bound: Bindings
) -> Iterator[Bindings]:
    names = dict(bound.names)
    for operand, nodes in zip(expr.parts, found, strict=True):
        if len(nodes) < operand.least:
            reason = f"its sum has {len(nodes)} × {operand.name}, not {operand.least}"
            search.note(bound, bound.nodes[-1], reason, whole=True)
            return
        if operand.role:
            there = [node for node in nodes if node is not None]
            names[operand.role] = tuple(sorted(there, key=position))
    yield bound._replace(names=names)
