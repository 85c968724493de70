"""Rules for arithmetic with constants, and for Softmax."""

from __future__ import annotations

import numpy as np

from onnx2mvit.ir.graph import Value
from onnx2mvit.matcher import Expr, Ops, Var, scalar
from onnx2mvit.matcher.match import Match
from onnx2mvit.matcher.rooted import require
from onnx2mvit.matcher.rule import Builder, Rule


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
