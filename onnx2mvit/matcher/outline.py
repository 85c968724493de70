"""The outline of an expression: a quick test, which fails at most of the places that it is not.

An outline is made once, of what all forms of the expression have: which operators follow each
other, what keywords say of each by itself, and what is asked of a constant. It binds nothing and
gives no reason. Where it fails, the search would find nothing either: so a pattern costs next to
nothing in graphs that do not have it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from onnx2mvit.ir.graph import Node, Value
from onnx2mvit.matcher.expression import (
    COMMUTATIVE,
    AnyOf,
    Chain,
    Check,
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
Form = Callable[[Node, Producers], bool]  # of a node whose operator is right already


def outline(expr: Expr, levels: int = LEVELS) -> Mapping[str, Form] | None:
    """The outline of an expression, so many nodes deep.

    Returns:
        The test of its last node, by its operator; None where any value may be it.
    """
    forms: dict[str, Form] = {}
    for part in _alternatives(expr):
        if levels == 0 or isinstance(part, Var):
            return None
        form = _form(part, levels - 1)
        for op in part.roots:
            forms[op] = _either(forms[op], form) if op in forms else form
    return forms


def _operand(expr: Expr, levels: int) -> Outline | None:
    """The test of a value that may be an expression; None where any value may."""
    if isinstance(expr, Var):
        return None if expr.check is None else _checked(expr, expr.check)
    forms = outline(expr, levels)
    if forms is None:
        return None

    def holds(value: Value | None, producers: Producers) -> bool:
        node = producers(value)
        if node is None or (form := forms.get(node.op)) is None:
            return False
        return form(node, producers)

    return holds


def _alternatives(expr: Expr) -> list[Expr]:
    if isinstance(expr, AnyOf):
        return [each for part in expr.parts for each in _alternatives(part)]
    return [expr]


def _either(one: Form, other: Form) -> Form:
    return lambda node, producers: one(node, producers) or other(node, producers)


def _form(expr: Expr, levels: int) -> Form:
    if isinstance(expr, Op):
        return _operator(expr, levels)
    if isinstance(expr, Rearrange):
        return _rearranged(expr, levels)
    assert isinstance(expr, Commutative)
    return _commutative(expr, levels)


def _checked(expr: Var, check: Check) -> Outline:
    def holds(value: Value | None, producers: Producers) -> bool:
        return expr.optional if value is None else check(value) is None

    return holds


def _operator(expr: Op, levels: int) -> Form:
    operands = _operands(expr, levels)
    if not expr.keywords:
        return operands or (lambda node, producers: True)

    def holds(node: Node, producers: Producers) -> bool:
        return expr.misfit(node) is None and (operands is None or operands(node, producers))

    return holds


def _operands(expr: Op, levels: int) -> Form | None:
    if isinstance(expr, Chain):
        return None  # what its first link reads may lie far
    if expr.parts and isinstance(expr.parts[0], ForEach):
        each = _operand(expr.parts[0].parts[0], levels)
        return each and (lambda node, producers: all(each(v, producers) for v in node.inputs))
    parts = [(place, _operand(part, levels)) for place, part in enumerate(expr.parts)]
    known = [(place, part) for place, part in parts if part is not None]

    commutative = expr.op in COMMUTATIVE

    def holds(node: Node, producers: Producers) -> bool:
        inputs = node.inputs
        for operands in (inputs, inputs[::-1]) if commutative else (inputs,):
            for place, part in known:
                if not part(operands[place] if place < len(operands) else None, producers):
                    break
            else:
                return True
        return False

    return holds if known else None


def _rearranged(expr: Rearrange, levels: int) -> Form:
    base, notation = _operand(expr.parts[0], levels), expr.notation

    def holds(node: Node, producers: Producers) -> bool:
        if len(node.output.shape or ()) != len(notation.after):
            return False
        chain = [node]
        while len(chain) <= LONGEST:
            value = chain[0].inputs[0]
            if notation.solutions(chain, expr.known) and (base is None or base(value, producers)):
                return True
            before = producers(value)
            if before is None or before.op not in MOVES:
                return False
            chain.insert(0, before)
        return False

    return holds


def _commutative(expr: Commutative, levels: int) -> Form:
    operands = [_operand(part.parts[0], levels) for part in expr.parts]
    known = [part for part in operands if part is not None]

    def is_one(value: Value | None, producers: Producers) -> bool:
        nested = producers(value)
        if nested is not None and nested.op in expr.ops:
            return True
        return any(part(value, producers) for part in known)

    def holds(node: Node, producers: Producers) -> bool:
        return all(is_one(value, producers) for value in node.inputs)

    return holds if len(known) == len(operands) else lambda node, producers: True
