"""Rules for scaled dot-product attention: one MatMul of query and key, the scale on the scores."""

from __future__ import annotations

import math

import numpy as np

from onnx2mvit.graph import Value
from onnx2mvit.matcher import Match
from onnx2mvit.pattern import Expr, Ops, Var, any_of, require, scalar
from onnx2mvit.rules.base import Builder, Rule


class AttentionIsMatMuls(Rule):
    """ONNX Attention (operator version 23) without mask, cache, cap or causality, heads apart.

    Attention(q, k, v) of rank 4 → MatMul(Softmax(Mul(MatMul(q, kᵀ), scale)), v)
    """

    def onnx(self, op: Ops, x: Var) -> Expr:
        return op.Attention(x, Var("key"), Var("value"), is_causal=0)

    def rewrite(self, m: Match, new: Builder) -> Value:
        shapes = (m.x.shape, m.key.shape, m.value.shape)
        require(all(shape is not None and len(shape) == 4 for shape in shapes), "not of rank 4")
        require(m.x.shape[1] == m.key.shape[1], "heads are shared")
        attrs = m.root.attrs
        require(not attrs.get("softcap"), "the scores are capped")
        scale = np.float32(attrs.get("scale") or 1 / math.sqrt(m.x.shape[-1]))
        turned = new.Transpose(m.key, perm=(0, 1, 3, 2))
        scores = new.Mul(new.MatMul(m.x, turned), new.constant(np.asarray(scale), "scale"))
        weights = new.Softmax(scores, shape=scores.shape, axis=-1)
        return new.MatMul(weights, m.value)


class TransposeOfFlatHeads(Rule):
    """dynamo flattens batch and heads to transpose the keys.

    Reshape(Transpose(Reshape(x, [B·h, N, d]), perm=(0, 2, 1)), [B, h, d, N])
    → Transpose(x, perm=(0, 1, 3, 2))
    """

    def onnx(self, op: Ops, x: Var) -> Expr:
        return op.Reshape(op.Transpose(op.Reshape(x, role="flat"), perm=(0, 2, 1)))

    def rewrite(self, m: Match, new: Builder) -> Value:
        require(m.x.shape is not None and len(m.x.shape) == 4, "the heads are not apart")
        batch, heads, tokens, dim = m.x.shape
        require(m.flat.output.shape == (batch * heads, tokens, dim), "flattened otherwise")
        require(m.root.output.shape == (batch, heads, dim, tokens), "taken apart otherwise")
        return new.like_root(m.x, op="Transpose", perm=(0, 1, 3, 2))


class ScaleAfterMove(Rule):
    """A scale does not mind what is moved.

    Transpose(Mul(x, s)) | Reshape(Mul(x, s)) → Mul(Transpose(x), s) | Mul(Reshape(x), s)
    """

    def onnx(self, op: Ops, x: Var) -> Expr:
        scaled = op.Mul(x, scalar("scale"))
        return any_of(op.Transpose(scaled, role="moved"), op.Reshape(scaled, role="moved"))

    def rewrite(self, m: Match, new: Builder) -> Value:
        require(m.x.const is None, "a constant is scaled")
        moved = new.like_root(m.x, **m.moved.attrs)
        return new.Mul(moved, number(new, m.scale), shape=m.root.output.shape)


class ScaleAfterMatMul(Rule):
    """A scale on the query, on the key or on both is one on the scores.

    MatMul(Mul(q, s), k) | MatMul(q, Mul(k, s)) → Mul(MatMul(q, k), s)
    """

    def onnx(self, op: Ops, x: Var) -> Expr:
        other = Var("other")
        scaled = op.Mul(x, scalar("scale"))
        return any_of(op.MatMul(scaled, other, role="left"), op.MatMul(other, scaled, role="right"))

    def rewrite(self, m: Match, new: Builder) -> Value:
        require(m.x.const is None and m.other.const is None, "one of them is a constant")
        operands = (m.x, m.other) if m.left is not None else (m.other, m.x)
        return new.Mul(new.MatMul(*operands), number(new, m.scale), shape=m.root.output.shape)


class MergeScales(Rule):
    """Two scales are one.

    Mul(Mul(x, s), t) → Mul(x, s·t)
    """

    def onnx(self, op: Ops, x: Var) -> Expr:
        return op.Mul(op.Mul(x, scalar("inner")), scalar("outer"))

    def rewrite(self, m: Match, new: Builder) -> Value:
        require(m.x.const is None, "a constant is scaled")
        product = m.inner.const.reshape(()) * m.outer.const.reshape(())
        return new.like_root(m.x, new.constant(np.asarray(product), "scale"))


def number(new: Builder, value: Value) -> Value:
    """A constant of one element without axes, so that it never makes a tensor larger."""
    assert value.const is not None
    return value if value.shape == () else new.constant(value.const.reshape(()), "scale")
