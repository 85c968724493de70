"""LayerScale: a learned factor for every channel of a residual branch."""

from __future__ import annotations

from typing import Any

from onnx2mvit.matcher.match import Match
from onnx2mvit.matcher.pattern import Array, Expr, Ops, Pattern, Var, constant, require


class LayerScale(Pattern):
    """Tokens (B, N, d) times (d,) (arXiv:2103.17239, section 2).

    Keras has no layer of that name. EinsumDense is the one whose kernel is the vector itself.
    """

    layer = "EinsumDense"

    def onnx(self, op: Ops, x: Var) -> Expr:
        return op.Mul(x, constant("gamma"))

    def params(self, m: Match) -> dict[str, Any]:
        *_, channels = m.shape("x", 3)
        require(m.x.const is None, "it is applied to a constant")
        gamma = m.gamma.const
        one_each = gamma.shape[-1:] == (channels,) and gamma.size == channels
        require(one_each, "it is not one factor per channel")
        return {"equation": "btd,d->btd", "output_shape": (None, channels)}

    def weights(self, m: Match) -> dict[str, Array]:
        gamma: Array = m.gamma.const
        return {"kernel": gamma.reshape(-1)}
