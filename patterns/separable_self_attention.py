"""MobileViTv2's self-attention: linear in the number of patches, without heads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from onnx2mvit.matcher.match import Match
from onnx2mvit.matcher.pattern import Expr, Ops, Pattern, Var, require

from .conv_bn_act import FULL, conv_bn_act

if TYPE_CHECKING:
    from keras import KerasTensor, layers, ops

LINEAR = {"kernel_size": 1, "strides": 1, "batch_norm": False, **FULL}


class SeparableSelfAttention(Pattern):
    """(B, d, P, N) → (B, d, P, N) with N patches of P pixels (arXiv:2206.02680, section 3.2).

    One 1×1 convolution makes the query, with one channel, the key and the value. The softmax of
    the query over the patches weighs the keys, whose sum weighs relu(value).
    """

    keras = "separable_self_attention"

    def onnx(self, op: Ops, x: Var) -> Expr:
        qkv = op.ConvBnAct(x, role="qkv", activation=None, **LINEAR)
        query = op.Slice(qkv, role="query", axis=1)
        key = op.Slice(qkv, role="key", axis=1)
        value = op.Slice(qkv, role="value", axis=1)
        weighted = op.Mul(key, op.Softmax(query, axis=-1))
        context = op.ReduceSum(weighted, axes=(3,), keepdims=1)
        value = op.Activation(value, role="act", activation="relu")
        return op.ConvBnAct(op.Mul(value, context), role="out", activation=None, **LINEAR)

    def params(self, m: Match) -> dict[str, Any]:
        _, dim, _, _ = m.shape("x", 4)
        require(m.qkv.filters == 1 + 2 * dim, f"qkv has {m.qkv.filters} filters, not 1 + 2·{dim}")
        require(m.out.filters == dim, f"it makes {m.out.filters} channels of {dim}")
        cuts = [(part.attrs["start"], part.attrs["end"]) for part in (m.query, m.key, m.value)]
        require(
            cuts == [(0, 1), (1, 1 + dim), (1 + dim, 1 + 2 * dim)],
            "query, key and value are ordered otherwise",
        )
        return m.common(("qkv", "out"), "use_bias")


def separable_self_attention(x: KerasTensor, use_bias: bool = True, *, name: str) -> KerasTensor:
    """Self-attention of patches (batch, pixels, patches, channels) in linear time."""
    dim = x.shape[-1]
    qkv = conv_bn_act(
        x,
        1 + 2 * dim,
        1,
        activation=None,
        batch_norm=False,
        use_bias=use_bias,
        name=f"{name}_qkv",
    )
    query, key, value = ops.split(qkv, [1, 1 + dim], axis=-1)
    context = ops.sum(key * ops.softmax(query, axis=2), axis=2, keepdims=True)
    y = layers.Activation("relu", name=f"{name}_act")(value) * context
    return conv_bn_act(
        y, dim, 1, activation=None, batch_norm=False, use_bias=use_bias, name=f"{name}_out"
    )
