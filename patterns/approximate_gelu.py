"""Approximations of GELU (arXiv:1606.08415, section 2), which Keras has no names for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from onnx2mvit.matcher.match import Match
from onnx2mvit.matcher.pattern import Expr, Ops, Pattern, Var, any_of, require, scalar

if TYPE_CHECKING:
    from keras import KerasTensor, ops


class ApproximateGelu(Pattern):
    """A function of each element.

    * tanh: x/2 · (1 + tanh(√(2/π) · (x + 0.044715·x³))), ONNX Gelu (operator version 20)
    * sigmoid: x · sigmoid(1.702·x)
    """

    keras = "approximate_gelu"
    before = ("Activation",)

    def onnx(self, op: Ops, x: Var) -> Expr:
        gate = op.Sigmoid(op.Mul(x, scalar("slope", 1.702)))
        return any_of(
            op.Gelu(x, role="tanh", approximate="tanh"),
            op.Mul(x, gate, role="sigmoid"),
        )

    def params(self, m: Match) -> dict[str, Any]:
        require(m.x.const is None, "it is applied to a constant")
        return {"gelu": "tanh" if m.tanh is not None else "sigmoid"}


def approximate_gelu(x: KerasTensor, gelu: str) -> KerasTensor:
    """GELU by way of "tanh", or of the "sigmoid" ("quick GELU")."""
    return ops.gelu(x, approximate=True) if gelu == "tanh" else x * ops.sigmoid(1.702 * x)
