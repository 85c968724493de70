"""Rules for arithmetic with constants, and for Softmax."""

from __future__ import annotations

import numpy as np

from onnx2mvit.ir.graph import Value
from onnx2mvit.matcher import Expr, Ops, Var, any_of, scalar
from onnx2mvit.matcher.match import Match
from onnx2mvit.matcher.rooted import require
from onnx2mvit.matcher.rule import Builder, Rule, broadcast


def _first_of_one(value: Value) -> str | None:
    """What is wrong with a constant that is to have an axis of length one before others."""
    if value.const is None or value.const.shape[:1] != (1,):
        return "is no constant whose first axis has one element"
    return None


class ConstantOfMoreAxes(Rule):
    """A constant with more axes than what it meets, all of length one, makes them of it as well.

    Mul(x, c) of rank 4 and 5 → Reshape(Mul(x, c without its first axis))
    """

    needed_by = "none of the files here: other rules take a constant of one element for a number"

    def onnx(self, op: Ops, x: Var) -> Expr:
        c = Var("c", _first_of_one, constant=True)
        alike = (getattr(op, name)(x, c) for name in ("Add", "Mul", "Max", "Min"))
        return any_of(*alike, op.Sub(x, c), op.Sub(c, x), op.Div(x, c), op.Div(c, x), op.Pow(x, c))

    def rewrite(self, m: Match, new: Builder) -> Value:
        shape, more = m.shape("x"), m.c.const.ndim - len(m.shape("x"))
        require(m.x.const is None and more > 0, "the constant has no more axes")
        require(set(m.c.const.shape[:more]) == {1}, "it has more than one element along them")
        c = new.constant(m.c.const.reshape(m.c.const.shape[more:]), "c")
        operands = [c if value is m.c else value for value in m.root.inputs]
        whole = broadcast(shape, c.shape or ())
        same: Value = getattr(new, m.root.op)(*operands, shape=whole, **m.root.attrs)
        return new.like_root(same, op="Reshape")


class DivideIsMultiply(Rule):
    """Division by a constant number.

    Div(x, c) → Mul(x, 1/c)
    """

    needed_by = "Hugging Face: the scores are divided by √d"

    def onnx(self, op: Ops, x: Var) -> Expr:
        return op.Div(x, scalar("divisor"))

    def rewrite(self, m: Match, new: Builder) -> Value:
        divisor = m.divisor.const
        require(divisor.dtype.kind == "f" and bool(divisor.all()), "not a float, or zero")
        factor = np.asarray(1.0 / divisor.astype(np.float64), dtype=divisor.dtype)
        smallest = np.finfo(divisor.dtype).tiny  # what is smaller, some runtimes take for zero
        require(bool(np.abs(factor) >= smallest), "its inverse is too small for a float")
        return new.like_root(m.x, new.constant(factor, "factor"), op="Mul")


class SoftmaxAxis(Rule):
    """The axis as -1 where it is the last; before opset 13 that is also the only plain softmax.

    Softmax(x, axis=3) of rank 4 → Softmax(x, axis=-1)
    """

    needed_by = "legacy below opset 13"

    def onnx(self, op: Ops, x: Var) -> Expr:
        return op.Softmax(x, axis=lambda axis: axis is not None and axis >= 0)

    def rewrite(self, m: Match, new: Builder) -> Value:
        require(m.root.attrs["axis"] == len(m.shape("x")) - 1, "another axis than the last")
        return new.like_root(m.x, axis=-1)
