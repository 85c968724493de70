"""Activation functions."""

from __future__ import annotations

import math
from typing import Any

from onnx2mvit.matcher.match import Match
from onnx2mvit.matcher.pattern import Expr, Ops, Pattern, Var, any_of, require, scalar

FUNCTIONS = ("silu", "relu", "relu6", "gelu", "hard_silu", "hard_sigmoid", "sigmoid", "tanh")


def is_sixth(alpha: float | None) -> bool:
    """The condition on HardSigmoid's slope in PyTorch and Keras; ONNX's own default is 0.2."""
    return alpha is not None and math.isclose(alpha, 1 / 6, rel_tol=1e-6)


class Activation(Pattern):
    """A function of each element. Keras: `Activation`, by the function's Keras name.

    * silu: x · sigmoid(x), written as Sigmoid and Mul
    * relu6: Clip from 0 to 6
    * gelu: the exact one (operator version 20)
    * hard_silu: HardSwish (operator version 14)
    * hard_sigmoid: HardSigmoid of slope 1/6 and offset 1/2, which is relu6(x + 3) / 6
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
            op.HardSigmoid(x, role="hard_sigmoid", alpha=is_sixth, beta=0.5),
            op.Sigmoid(x, role="sigmoid"),
            op.Tanh(x, role="tanh"),
        )

    def params(self, m: Match) -> dict[str, Any]:
        function = next(role for role in FUNCTIONS if m.bound[role] is not None)
        require(m.x.const is None, "it is applied to a constant")
        return {"activation": function}
