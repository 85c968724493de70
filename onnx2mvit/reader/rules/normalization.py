"""Rules for normalization."""

from __future__ import annotations

import numpy as np

from onnx2mvit.ir.graph import Value
from onnx2mvit.matcher import Expr, Ops, Var, any_of, constant, scalar
from onnx2mvit.matcher.match import Match
from onnx2mvit.matcher.rooted import require
from onnx2mvit.matcher.rule import Builder, Rule, Shape


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
        shape = m.shape("x")
        for mean in (m.mean, m.variance):
            require(mean.attrs.get("axes") == (len(shape) - 1,), "a mean is over another axis")
        for role in ("gamma", "beta"):
            require(m.shape(role) == shape[-1:], f"{role} is not one per channel")
        attrs = {"axis": -1, "epsilon": float(m.epsilon.const.reshape(()))}
        return new.like_root(m.x, m.gamma, m.beta, op="LayerNormalization", **attrs)


class LayerNormWithoutBias(Rule):
    """A bias that is absent is zero.

    LayerNormalization(x, gamma) → LayerNormalization(x, gamma, 0)
    """

    needed_by = "networks without it by dynamo, as MetaFormer by timm; legacy writes zeros"

    def onnx(self, op: Ops, x: Var) -> Expr:
        return op.LayerNormalization(x, constant("gamma"))

    def rewrite(self, m: Match, new: Builder) -> Value:
        zeros = new.constant(np.zeros_like(m.gamma.const), "beta")
        return new.like_root(m.x, m.gamma, zeros, **m.root.attrs)


class GroupNormFromParts(Rule):
    """Below opset 21 there is none with a scale for each channel: it is InstanceNormalization.

    Add(Mul(Reshape(InstanceNormalization(Reshape(x, [B, G, …]), 1, 0)), gamma), beta)
    → GroupNormalization(x, gamma, beta, num_groups=G)
    """

    needed_by = "MobileViTv2 by legacy, and by dynamo below opset 21"

    def onnx(self, op: Ops, x: Var) -> Expr:
        ones, zeros = constant("ones", rank=1), constant("zeros", rank=1)
        y = op.InstanceNormalization(op.Reshape(x, role="groups"), ones, zeros, role="norm")
        scaled = op.Mul(op.Reshape(y), constant("gamma"))
        return op.Add(scaled, constant("beta"))

    def rewrite(self, m: Match, new: Builder) -> Value:
        shape: Shape = m.root.output.shape or ()
        divided: Shape = m.groups.output.shape or ()
        require(len(shape) > 2 and len(divided) > 2, "the shape is not known, or no image's")
        require(divided[0] == shape[0], "the batch is divided")
        require(shape[1] % divided[1] == 0, "the groups are not of channels")
        require((m.ones.const == 1).all() and not m.zeros.const.any(), "it has a scale of its own")
        per_channel = (shape[1], *(1 for _ in shape[2:]))
        absent = m.beta.const.size == 1 and not m.beta.const.any()
        for role in ("gamma",) if absent else ("gamma", "beta"):
            require(m.shape(role) in (per_channel, (1, *per_channel)), f"{role} is for more")
        bias = np.zeros(shape[1], np.float32) if absent else m.beta.const.reshape(-1)
        gamma, beta = new.constant(m.gamma.const.reshape(-1), "gamma"), new.constant(bias, "beta")
        # Where two Reshape nodes became one, x is in the shape that was before both.
        whole = m.x if m.x.shape == shape else new.Reshape(m.x, shape=shape)
        return new.like_root(
            *(whole, gamma, beta),
            op="GroupNormalization",
            num_groups=divided[1],
            epsilon=m.norm.attrs["epsilon"],
        )


class GroupNormPerChannel(Rule):
    """Before operator version 21 there is one scale and one bias for each group.

    GroupNormalization(x, gamma[G], beta[G]) → GroupNormalization(x, gamma[C], beta[C])
    """

    needed_by = "none of the files here; other producers at opset 18 to 20"

    def onnx(self, op: Ops, x: Var) -> Expr:
        gamma, beta = constant("gamma", rank=1), constant("beta", rank=1)
        return op.GroupNormalization(x, gamma, beta)

    def rewrite(self, m: Match, new: Builder) -> Value:
        groups, channels = m.root.attrs["num_groups"], (m.x.shape or (0, 0))[1]
        require(m.gamma.const.shape == m.beta.const.shape == (groups,), "it is not per group")
        require(groups != channels > 0, "a group is a channel")
        gamma, beta = (np.repeat(v.const, channels // groups) for v in (m.gamma, m.beta))
        return new.like_root(
            m.x, new.constant(gamma, "gamma"), new.constant(beta, "beta"), **m.root.attrs
        )
