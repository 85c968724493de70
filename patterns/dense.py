"""A linear layer on the last axis."""

from __future__ import annotations

from typing import Any

from onnx2mvit.ir.layout import plain
from onnx2mvit.matcher.match import Match
from onnx2mvit.matcher.pattern import Array, Expr, Ops, Pattern, Var, any_of, constant, require


class Dense(Pattern):
    """MatMul with a constant, and a bias or none. Keras: Dense, kernel (inputs, units)."""

    layer = "Dense"
    order = staticmethod(plain)

    def onnx(self, op: Ops, x: Var) -> Expr:
        y = op.MatMul(x, constant("kernel", rank=2))
        return any_of(op.Add(y, constant("bias", rank=1)), y)

    def params(self, m: Match) -> dict[str, Any]:
        units = m.kernel.const.shape[1]
        require(m.x.const is None, "its input is a constant")
        require(m.bias is None or m.bias.const.shape == (units,), "the bias is not one per unit")
        return {"units": units, "use_bias": m.bias is not None}

    def weights(self, m: Match) -> dict[str, Array]:
        kernel = {"kernel": m.kernel.const}
        return kernel if m.bias is None else {**kernel, "bias": m.bias.const}
