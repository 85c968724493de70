"""Group normalization (arXiv:1803.08494)."""

from __future__ import annotations

from typing import Any

from onnx2mvit.base.numbers import shortest
from onnx2mvit.matcher.match import Match
from onnx2mvit.matcher.pattern import Array, Expr, Ops, Pattern, Var, constant, require


class GroupNorm(Pattern):
    """ONNX GroupNormalization (operator version 21) over groups of channels of NCHW.

    One group is layer normalization over channels and places together, as in MobileViTv2.
    """

    layer = "GroupNormalization"

    def onnx(self, op: Ops, x: Var) -> Expr:
        gamma, beta = constant("gamma", rank=1), constant("beta", rank=1)
        return op.GroupNormalization(x, gamma, beta, role="norm")

    def params(self, m: Match) -> dict[str, Any]:
        _, channels, _, _ = m.shape("x", 4)
        require(m.gamma.const.shape == (channels,), "gamma is not one per channel")
        require(m.beta.const.shape == (channels,), "beta is not one per channel")
        return {
            "groups": m.norm.attrs["num_groups"],
            "epsilon": shortest(m.norm.attrs.get("epsilon", 1e-5)),
        }

    def weights(self, m: Match) -> dict[str, Array]:
        return {"gamma": m.gamma.const, "beta": m.beta.const}
