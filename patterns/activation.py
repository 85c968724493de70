"""Activation functions in the spellings of the exporters."""

from __future__ import annotations

import math
from typing import Any

from onnx2mvit.matcher import Match
from onnx2mvit.pattern import Expr, Ops, Pattern, Var, any_of, require, scalar


class Activation(Pattern):
    """A function of each element. Keras: `Activation`, by the function's Keras name.

    * silu: x · sigmoid(x), written as Sigmoid and Mul
    * relu6: Clip from 0 to 6
    * gelu: the exact one; before opset 20 written with Erf
    * hard_silu: HardSwish (operator version 14)
    """

    layer = "Activation"

    def onnx(self, op: Ops, x: Var) -> Expr:
        erf = op.Erf(op.Mul(x, scalar("inverse_root", math.sqrt(0.5))))
        one_plus_erf = op.Add(erf, scalar("one", 1.0))
        half = scalar("half", 0.5)
        return any_of(
            op.Mul(x, op.Sigmoid(x, role="silu")),
            op.Relu(x, role="relu"),
            op.Clip(x, scalar("low", 0.0), scalar("high", 6.0), role="relu6"),
            op.Gelu(x, role="gelu", approximate=lambda how: how in (None, "none")),
            op.Mul(op.Mul(x, one_plus_erf, role="gelu"), half),
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
