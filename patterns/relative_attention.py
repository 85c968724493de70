"""Attention of all pixels of an image, with a bias for each offset (arXiv:2106.04803)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from onnx2mvit.matcher import Expr, Match, Ops, Pattern, Var, any_of, p, require, scalar

from .biased_attention import BIAS
from .conv import PointwiseConv, conv_bn_act
from .score_bias import score_bias

if TYPE_CHECKING:
    from keras import KerasTensor, layers, ops

ALONE = {"activation": None, "batch_norm": False}  # a 1×1 convolution and nothing else


class RelativeAttention(Pattern):
    """(B, C, H, W) → (B, C', H, W): attention of all pixels, with a bias for each offset.

    arXiv:2106.04803, equation 3 (pre-normalization).
    """

    keras = "relative_attention"
    inner = True

    def onnx(self, op: Ops, x: Var) -> Expr:
        heads: dict[str, Any] = {"h": p.num_heads, "k": p.head_dim}
        convs = (
            PointwiseConv(x, role=role, use_bias=p.qkv_bias, **ALONE)
            for role in ("query", "key", "value")
        )
        query, key, value = (
            op.Rearrange("b (h k) r c -> b h k (r c)", conv, **heads) for conv in convs
        )
        y: Expr = op.MatMul(op.Transpose(query, perm=(0, 1, 3, 2)), key)
        y = op.ScoreBias(op.Mul(y, scalar("scale")), role="bias", **BIAS)
        y = op.Softmax(y, axis=-1)
        mixed = op.MatMul(value, op.Transpose(y, perm=(0, 1, 3, 2)))
        tokens = op.MatMul(y, op.Transpose(value, perm=(0, 1, 3, 2)))
        y = any_of(
            op.Rearrange("b h k (r c) -> b (h k) r c", mixed, **heads),
            op.Rearrange("b h (r c) k -> b (h k) r c", tokens, **heads),
        )
        return PointwiseConv(y, role="proj", filters=p.dim, use_bias=p.proj_bias, **ALONE)

    def params(self, m: Match) -> dict[str, Any]:
        _, _, height, width = m.shape("x", 4)
        scale = float(m.scale.const.reshape(()))
        require(math.isclose(scale, m.head_dim**-0.5, rel_tol=1e-5), "the scale is not 1/sqrt(d)")
        require(m.grid in (None, (height, width)), "its bias is for other pixels")
        require(m.proj.output.shape[2:] == (height, width), "it gives other pixels")
        return {}


def relative_attention(
    x: KerasTensor,
    dim: int,
    num_heads: int,
    head_dim: int,
    qkv_bias: bool = True,
    proj_bias: bool = True,
    *,
    name: str,
    **bias: Any,
) -> KerasTensor:
    """Attention of all pixels of an image, with a learned bias for each offset between two."""
    _, height, width, _ = x.shape
    if None in (height, width):
        raise ValueError(f"{name}: the size of the image must be known")
    alone: dict[str, Any] = {"activation": None, "batch_norm": False, "use_bias": qkv_bias}
    query = conv_bn_act(x, num_heads * head_dim, 1, name=f"{name}_query", **alone)
    key = conv_bn_act(x, num_heads * head_dim, 1, name=f"{name}_key", **alone)
    value = conv_bn_act(x, num_heads * head_dim, 1, name=f"{name}_value", **alone)
    heads = (-1, height * width, num_heads, head_dim)
    query, key, value = (ops.reshape(y, heads) for y in (query, key, value))
    scores = ops.einsum("bthk,bshk->bhts", query, key) * head_dim**-0.5
    scores = score_bias(scores, name=f"{name}_bias", **bias)
    y = ops.einsum("bhts,bshk->bthk", layers.Softmax()(scores), value)
    y = ops.reshape(y, (-1, height, width, num_heads * head_dim))
    alone["use_bias"] = proj_bias
    return conv_bn_act(y, dim, 1, name=f"{name}_proj", **alone)
