"""Layer normalization over the channels of a token (arXiv:1607.06450)."""

from __future__ import annotations

from typing import Any

from onnx2mvit.base.numbers import shortest
from onnx2mvit.ir.layout import plain
from onnx2mvit.matcher.match import Match
from onnx2mvit.matcher.pattern import Array, Expr, Ops, Pattern, Var, constant, require


class LayerNorm(Pattern):
    """ONNX LayerNormalization (operator version 17) over the last axis; any other is refused."""

    layer = "LayerNormalization"
    order = staticmethod(plain)

    def onnx(self, op: Ops, x: Var) -> Expr:
        gamma, beta = constant("gamma", rank=1), constant("beta", rank=1)
        return op.LayerNormalization(x, gamma, beta, role="norm")

    def params(self, m: Match) -> dict[str, Any]:
        axis = m.norm.attrs.get("axis", -1)
        rank = len(m.x.shape or ())
        require(axis in (-1, rank - 1), f"it normalizes from axis {axis}, not over the last")
        require(m.gamma.const.shape == m.x.shape[-1:], "gamma is not one per channel")
        return {"epsilon": shortest(m.norm.attrs.get("epsilon", 1e-5))}

    def weights(self, m: Match) -> dict[str, Array]:
        return {"gamma": m.gamma.const, "beta": m.beta.const}
