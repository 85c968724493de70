"""Multi-head self-attention: softmax(q·kᵀ/√d)·v per head, between linear layers."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from onnx2mvit.matcher.match import Match
from onnx2mvit.matcher.pattern import Array, Expr, Ops, Pattern, Var, require, scalar


class MultiHeadAttention(Pattern):
    """Scaled dot-product attention of a sequence with itself (arXiv:1706.03762, section 3.2).

    The heads are split by Reshape and Transpose, the scale is on the scores and must be
    1/√(channels of a head). Keras: MultiHeadAttention, kernels (channels, heads, channels of a
    head), and the other way round at the output.
    """

    layer = "MultiHeadAttention"
    takes = 2

    def onnx(self, op: Ops, x: Var) -> Expr:
        query = op.Reshape(op.Dense(x, role="query"), role="query_heads")
        key = op.Reshape(op.Dense(x, role="key"), role="key_heads")
        value = op.Reshape(op.Dense(x, role="value"), role="value_heads")
        query = op.Transpose(query, perm=(0, 2, 1, 3))
        key = op.Transpose(key, perm=(0, 2, 3, 1))
        value = op.Transpose(value, perm=(0, 2, 1, 3))
        scores = op.Mul(op.MatMul(query, key), scalar("scale"))
        y = op.MatMul(op.Softmax(scores, axis=-1), value)
        y = op.Reshape(op.Transpose(y, perm=(0, 2, 1, 3)), role="joined")
        return op.Dense(y, role="output")

    def params(self, m: Match) -> dict[str, Any]:
        batch, tokens, channels = m.shape("x", 3)
        *_, heads, key_dim = m.shape("query_heads", 4)
        split = (batch, tokens, heads, key_dim)
        for part in (m.query_heads, m.key_heads, m.value_heads):
            require(part.output.shape == split, f"a head is not {key_dim} neighbouring channels")
        require(heads * key_dim == channels, f"{heads} heads of {key_dim} are not {channels}")
        require(m.joined.output.shape == m.x.shape, "the heads are joined in another way")
        require(m.output.units == channels, f"it makes {m.output.units} channels of {channels}")
        scale, expected = float(m.scale.const.reshape(())), 1 / math.sqrt(key_dim)
        require(
            math.isclose(scale, expected, rel_tol=1e-5),
            f"the scale is {scale:.6g}, not 1/sqrt({key_dim}) = {expected:.6g}",
        )
        return {
            "num_heads": heads,
            "key_dim": key_dim,
            "use_bias": any_bias(m),
        }

    def weights(self, m: Match) -> dict[str, Array]:
        *_, heads, key_dim = m.query_heads.output.shape
        tensors = {}
        biased = any_bias(m)
        for role in ("query", "key", "value"):
            dense = getattr(m, role).weights
            tensors[f"{role}/kernel"] = dense["kernel"].reshape(-1, heads, key_dim)
            if biased:
                bias = dense.get("bias", np.zeros(heads * key_dim, np.float32))
                tensors[f"{role}/bias"] = bias.reshape(heads, key_dim)
        dense = m.output.weights
        tensors["attention_output/kernel"] = dense["kernel"].reshape(heads, key_dim, -1)
        if biased:
            bias = dense.get("bias", np.zeros(heads * key_dim, np.float32))
            tensors["attention_output/bias"] = bias
        return tensors


def any_bias(m: Match) -> bool:
    """Keras has one switch for the four biases: if one is there, absent ones are zeros."""
    return any(getattr(m, role).use_bias for role in ("query", "key", "value", "output"))
