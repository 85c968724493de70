"""Activation functions."""

from __future__ import annotations

from typing import Any

from onnx2mvit.matcher import Match
from onnx2mvit.pattern import Expr, Ops, Pattern, Var, any_of, require, scalar


class Activation(Pattern):
    """A function of each element. Keras: `Activation`, by the function's Keras name.

    * silu: x · sigmoid(x), written as Sigmoid and Mul
    * relu6: Clip from 0 to 6
    * gelu: the exact one (operator version 20)
    * hard_silu: HardSwish (operator version 14)
    """

    layer = "Activation"
    any_order = True

    def onnx(self, op: Ops, x: Var) -> Expr:
        return any_of(
            op.Mul(x, op.Sigmoid(x, role="silu")),
            op.Relu(x, role="relu"),
            op.Clip(x, scalar("low", 0.0), scalar("high", 6.0), role="relu6"),
            op.Gelu(x, role="gelu", approximate=lambda how: how in (None, "none")),
            op.HardSwish(x, role="hard_silu"),
            op.Sigmoid(x, role="sigmoid"),
            op.Tanh(x, role="tanh"),
        )

    def params(self, m: Match) -> dict[str, Any]:
        function = next(
            role
            for role in ("silu", "relu", "relu6", "gelu", "hard_silu", "sigmoid", "tanh")
            if m.bound[role] is not None
        )
        require(m.x.const is None, "it is applied to a constant")
        return {"activation": function}
