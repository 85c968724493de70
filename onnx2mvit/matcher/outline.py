"""The outline of an expression: a quick test, which fails at most of the places that it is not.

An outline is made once, of the operators that must follow each other, of plain values of keywords
and of what must be a constant. It binds nothing and gives no reason. Where it fails, the search
would find nothing either: so a pattern costs next to nothing in graphs that do not have it.
"""

from __future__ import annotations

from collections.abc import Callable

from onnx2mvit.ir.graph import Node, Value
from onnx2mvit.matcher.expression import (
    COMMUTATIVE,
    AnyOf,
    Chain,
    Commutative,
    Expr,
    ForEach,
    Op,
    Rearrange,
    Var,
)
from onnx2mvit.matcher.rearrange import LONGEST, MOVES

LEVELS = 4  # so many nodes in a row are looked at

Producers = Callable[[Value | None], Node | None]
Outline = Callable[[Value | None, Producers], bool]
Operands = Callable[[tuple[Value | None, ...], Producers], bool]


def outline(expr: Expr, levels: int = LEVELS) -> Outline | None:
    """The outline of an expression; None where any value may be it."""
    if isinstance(expr, Var):
        return _constant(expr) if expr.constant else None
    if isinstance(expr, AnyOf):
        return _any_of(expr, levels)
    if levels == 0:
        return None
    if isinstance(expr, Op):
        return _operator(expr, levels - 1)
    if isinstance(expr, Rearrange):
        return _rearranged(expr, levels - 1)
    return _commutative(expr, levels - 1) if isinstance(expr, Commutative) else None


def _constant(expr: Var) -> Outline:
    def holds(value: Value | None, producers: Producers) -> bool:
        return expr.optional if value is None else value.const is not None

    return holds


def _any_of(expr: AnyOf, levels: int) -> Outline | None:
    parts = [outline(part, levels) for part in expr.parts]
    known = [part for part in parts if part is not None]

    def holds(value: Value | None, producers: Producers) -> bool:
        return any(part(value, producers) for part in known)

    return holds if len(known) == len(parts) else None


def _operator(expr: Op, before: int) -> Outline:
    op, keywords = expr.op, [(k, v) for k, v in expr.expected if not callable(v)]
    operands = _operands(expr, before)

    def holds(value: Value | None, producers: Producers) -> bool:
        node = producers(value)
        if node is None or node.op != op:
            return False
        for keyword, expected in keywords:
            if node.attrs.get(keyword) != expected:
                return False
        return operands is None or operands(node.inputs, producers)

    return holds


def _operands(expr: Op, levels: int) -> Operands | None:
    first = expr.parts[0] if expr.parts else None
    if isinstance(expr, Chain):
        return None  # its first link may lie far
    if isinstance(first, ForEach):
        return _each(outline(first.parts[0], levels))
    parts = [(place, outline(part, levels)) for place, part in enumerate(expr.parts)]
    known = [(place, part) for place, part in parts if part is not None]

    def in_order(inputs: tuple[Value | None, ...], producers: Producers) -> bool:
        for place, part in known:
            if not part(inputs[place] if place < len(inputs) else None, producers):
                return False
        return True

    def in_any_order(inputs: tuple[Value | None, ...], producers: Producers) -> bool:
        return in_order(inputs, producers) or in_order(inputs[::-1], producers)

    if not known:
        return None
    return in_any_order if expr.op in COMMUTATIVE else in_order


def _each(part: Outline | None) -> Operands | None:
    def holds(inputs: tuple[Value | None, ...], producers: Producers) -> bool:
        return part is None or all(part(value, producers) for value in inputs)

    return holds


def _rearranged(expr: Rearrange, before: int) -> Outline:
    base, notation = outline(expr.parts[0], before), expr.notation

    def holds(value: Value | None, producers: Producers) -> bool:
        if value is None or len(value.shape or ()) != len(notation.after):
            return False
        moved = not notation.moves
        for _ in range(LONGEST):
            node = producers(value)
            if node is None or node.op not in MOVES or (value := node.inputs[0]) is None:
                return False
            moved |= node.op == "Transpose"
            fits = moved and len(value.shape or ()) == len(notation.before)
            if fits and (base is None or base(value, producers)):
                return True
        return False

    return holds


def _commutative(expr: Commutative, before: int) -> Outline:
    operands = [outline(part.parts[0], before) for part in expr.parts]
    known = [part for part in operands if part is not None]
    anything = len(known) < len(operands)

    def holds(value: Value | None, producers: Producers) -> bool:
        node = producers(value)
        if node is None or node.op not in expr.ops:
            return False
        return anything or all(
            _is_nested(each, producers) or any(part(each, producers) for part in known)
            for each in node.inputs
        )

    def _is_nested(value: Value | None, producers: Producers) -> bool:
        node = producers(value)
        return node is not None and node.op in expr.ops

    return holds
