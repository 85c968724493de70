"""Batch normalization at inference (arXiv:1502.03167)."""

from __future__ import annotations

from typing import Any

from onnx2mvit.base.numbers import shortest
from onnx2mvit.matcher.match import Match
from onnx2mvit.matcher.pattern import Array, Expr, Ops, Pattern, Var, constant


class BatchNorm(Pattern):
    """ONNX BatchNormalization (operator versions 9, 14, 15) over the channels of NCHW.

    ONNX's momentum is the share of the old statistic that is kept, as in Keras.
    """

    layer = "BatchNormalization"

    def onnx(self, op: Ops, x: Var) -> Expr:
        return op.BatchNormalization(
            x,
            constant("gamma", rank=1),
            constant("beta", rank=1),
            constant("moving_mean", rank=1),
            constant("moving_variance", rank=1),
            role="bn",
            training_mode=lambda mode: not mode,
        )

    def params(self, m: Match) -> dict[str, Any]:
        m.shape("x", 4)
        return {
            "epsilon": shortest(m.bn.attrs["epsilon"]),
            "momentum": shortest(m.bn.attrs["momentum"]),
        }

    def weights(self, m: Match) -> dict[str, Array]:
        return {
            "gamma": m.gamma.const,
            "beta": m.beta.const,
            "moving_mean": m.moving_mean.const,
            "moving_variance": m.moving_variance.const,
        }
