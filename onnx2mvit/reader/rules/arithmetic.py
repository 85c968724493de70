"""Rules for arithmetic with constants, and for Softmax."""

from __future__ import annotations

import numpy as np

from onnx2mvit.ir.graph import Value
from onnx2mvit.matcher.expression import Expr, Ops, Var, scalar
from onnx2mvit.matcher.match import Match
from onnx2mvit.matcher.rooted import require
from onnx2mvit.matcher.rule import Builder, Rule


class DropZero(Rule):
    """A sum that begins with Python's 0 and then adds what branches there are.

    Add(x, 0) → x
    """

    needed_by = "ml-cvnets' MobileOne and RepVGG's own code by dynamo with `optimize=False`"

    def onnx(self, op: Ops, x: Var) -> Expr:
        return op.Add(x, scalar("zero", 0.0))

    def rewrite(self, m: Match, new: Builder) -> Value:
        value: Value = m.x
        # With axes of its own the zero may be a bias that is trained.
        require(m.zero.const.ndim == 0, "the zero has axes")
        require(value.shape is not None, "the input's shape is not known")
        return value


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
        require(m.x.shape is not None, "the input's shape is not known")
        require(m.root.attrs["axis"] == len(m.x.shape) - 1, "another axis than the last")
        return new.like_root(m.x, axis=-1)
