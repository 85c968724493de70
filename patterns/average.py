"""The mean of two answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from onnx2mvit.matcher.match import Match
from onnx2mvit.matcher.pattern import Expr, Ops, Pattern, Var, require, scalar

if TYPE_CHECKING:
    from keras import KerasTensor, layers


class Average(Pattern):
    """(B, C), (B, C) → (B, C): what two heads agree on."""

    keras = "average"

    def onnx(self, op: Ops, x: Var) -> Expr:
        return op.Mul(op.Add(x, Var("other")), scalar("half", 0.5))

    def params(self, m: Match) -> dict[str, Any]:
        require(m.x.const is None and m.other.const is None, "one of them is a constant")
        require(m.shape("x", 2) == m.shape("other", 2), "they differ in shape")
        return {}


def average(x: KerasTensor, *others: KerasTensor, name: str) -> KerasTensor:
    """The mean of tensors of one shape."""
    return layers.Average(name=name)([x, *others])
