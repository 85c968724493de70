"""Rules for normalization."""

from __future__ import annotations

from onnx2mvit.graph import Value
from onnx2mvit.matcher import Match
from onnx2mvit.pattern import Expr, Ops, Var, any_of, constant, require, scalar
from onnx2mvit.rules.base import Builder, Rule


class LayerNormFromParts(Rule):
    """Below opset 17 there is no LayerNormalization.

    d = Sub(x, ReduceMean(x)); Add(Mul(Div(d, Sqrt(Add(ReduceMean(d²), eps))), gamma), beta)
    → LayerNormalization(x, gamma, beta, axis=-1, epsilon=eps)
    """

    needed_by = "legacy below opset 17"

    def onnx(self, op: Ops, x: Var) -> Expr:
        d = op.Sub(x, op.ReduceMean(x, role="mean", keepdims=1))
        square = any_of(op.Pow(d, scalar("two", 2.0)), op.Mul(d, d))
        variance = op.ReduceMean(square, role="variance", keepdims=1)
        deviation = op.Sqrt(op.Add(variance, scalar("epsilon")))
        scaled = op.Mul(op.Div(d, deviation), constant("gamma", rank=1))
        return op.Add(scaled, constant("beta", rank=1))

    def rewrite(self, m: Match, new: Builder) -> Value:
        require(m.x.shape is not None, "the input's shape is not known")
        last = (len(m.x.shape) - 1,)
        require(m.mean.attrs.get("axes") == last, "the mean is over another axis")
        require(m.variance.attrs.get("axes") == last, "the variance is over another axis")
        channels = m.x.shape[-1:]
        require(m.gamma.const.shape == channels, "gamma is not one per channel")
        require(m.beta.const.shape == channels, "beta is not one per channel")
        epsilon = float(m.epsilon.const.reshape(()))
        return new.like_root(
            m.x, m.gamma, m.beta, op="LayerNormalization", axis=-1, epsilon=epsilon
        )
