"""The transformer layer and its parts: attention, and branches that are scaled."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from onnx2mvit.ir.graph import Value
from onnx2mvit.ir.layout import plain
from onnx2mvit.matcher import (
    Array,
    Expr,
    Match,
    Ops,
    Pattern,
    Var,
    any_of,
    constant,
    multiple,
    p,
    require,
    scalar,
)

from .layers import approximate_gelu

if TYPE_CHECKING:
    import keras
    from keras import KerasTensor, layers


def attended(op: Ops, query: Var, key: Var, value: Var, mask: Var | None = None) -> Expr:
    """softmax(q·kᵀ/√d + mask)·v, the heads by Reshape and Transpose (arXiv:1706.03762, 3.2)."""
    heads: dict[str, Any] = {"h": p.num_heads, "k": p.key_dim}
    q = op.Rearrange("b t (h k) -> b h t k", op.Dense(query, role="query"), **heads)
    k = op.Rearrange("b t (h k) -> b h k t", op.Dense(key, role="key"), **heads)
    v = op.Rearrange("b t (h k) -> b h t k", op.Dense(value, role="value"), **heads)
    scores: Expr = op.Mul(op.MatMul(q, k), scalar("scale"))
    scores = scores if mask is None else any_of(op.Add(scores, mask), scores)
    y: Expr = op.MatMul(op.Softmax(scores, axis=-1), v)
    y = op.Rearrange("b h t k -> b t (h k)", y, **heads)
    return op.Dense(y, role="output")


class MultiHeadAttention(Pattern):
    """Scaled dot-product attention of a sequence with itself (arXiv:1706.03762, section 3.2).

    The scale must be 1/√(channels of a head). Keras: MultiHeadAttention, kernels (channels, heads,
    channels of a head), and the other way round at the output.
    """

    layer: ClassVar[str | None] = "MultiHeadAttention"
    before: ClassVar[tuple[str, ...]] = ("Attention",)

    def onnx(self, op: Ops, x: Var) -> Expr:
        return attended(op, x, x, x)

    def usual(self) -> dict[str, Any]:
        return {"use_bias": True}

    def operands(self, m: Match) -> tuple[Value, ...]:
        return m.x, m.x

    def params(self, m: Match) -> dict[str, Any]:
        *_, channels = m.shape("x", 3)
        heads, key_dim = m.num_heads, m.key_dim
        require(heads * key_dim == channels, f"{heads} heads of {key_dim} are not {channels}")
        require(m.output.units == channels, f"it makes {m.output.units} channels of {channels}")
        scale, expected = float(m.scale.const.reshape(())), 1 / math.sqrt(key_dim)
        require(
            math.isclose(scale, expected, rel_tol=1e-5),
            f"the scale is {scale:.6g}, not 1/sqrt({key_dim}) = {expected:.6g}",
        )
        return {"use_bias": any_bias(m)}

    def weights(self, m: Match) -> dict[str, Array]:
        heads, key_dim = m.num_heads, m.key_dim
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


class Attention(MultiHeadAttention):
    """The same of a sequence with others, or with what comes before alone (causal).

    arXiv:1706.03762, section 3.2.3. The keys may be of other tensors than the values: DETR
    (arXiv:2005.12872) adds positions to queries and keys.
    """

    layer = None
    keras = "multi_head_attention"
    style = ("use_bias",)
    before = ()

    @property
    def is_leaf(self) -> bool:
        return True

    def onnx(self, op: Ops, x: Var) -> Expr:
        return attended(op, x, Var("keys"), Var("values"), constant("mask"))

    def operands(self, m: Match) -> tuple[Value, ...]:
        return m.x, m.values, m.keys

    def params(self, m: Match) -> dict[str, Any]:
        for role in ("x", "keys", "values"):
            require(m.bound[role].const is None, "it is of a constant")
            m.shape(role, 3)
        params = super().params(m)
        if m.mask is not None:
            mask, tokens = m.mask.const, m.x.shape[1]
            hidden = mask < np.finfo(np.float32).min / 2
            later = np.triu(np.ones((tokens, tokens), bool), 1)
            require(mask.shape[-2:] == later.shape, "its mask is not one for all pairs of tokens")
            require(bool((hidden == later).all()), "its mask is not causal")
            require(not mask[~hidden].any(), "its mask weighs what it does not hide")
        return {**params, "causal": m.mask is not None}


def multi_head_attention(
    x: KerasTensor,
    value: KerasTensor,
    key: KerasTensor,
    num_heads: int,
    key_dim: int,
    use_bias: bool = True,
    causal: bool = False,
    *,
    name: str,
) -> KerasTensor:
    """Attention of tokens (batch, tokens, channels) to those of which value and key are."""
    layer = layers.MultiHeadAttention(num_heads, key_dim, use_bias=use_bias, name=name)
    return layer(x, value, key, use_causal_mask=causal)


class LayerScale(Pattern):
    """Tokens (B, N, d) times (d,) (arXiv:2103.17239, section 2).

    Keras has no layer of that name. A depthwise convolution of one token is it.
    """

    keras = "layer_scaled"
    rank: ClassVar[int] = 3

    @property
    def is_leaf(self) -> bool:
        return True

    def onnx(self, op: Ops, x: Var) -> Expr:
        return op.Mul(x, constant("gamma"))

    def params(self, m: Match) -> dict[str, Any]:
        *_, channels = m.shape("x", self.rank)
        require(m.x.const is None, "it is applied to a constant")
        gamma = m.gamma.const
        one_each = gamma.shape[-1:] == (channels,) and gamma.size == channels
        require(one_each, "it is not one factor per channel")
        return {}

    def weights(self, m: Match) -> dict[str, Array]:
        gamma: Array = m.gamma.const
        return {"kernel": gamma.reshape((*[1] * (len(m.x.shape) - 2), -1, 1))}


class PixelLayerScale(LayerScale):
    """Pixels (B, H, W, C) times (C,), as images lie between the parts of a transformer's block."""

    inner = True  # it may be a standardization as well
    rank = 4
    order = staticmethod(plain)


class ImageLayerScale(LayerScale):
    """Images (B, C, H, W) times (C, 1, 1): LayerScale in convolutional networks.

    Keras: DepthwiseConv2D, whose kernel of 1×1 is the vector itself.
    """

    inner = True  # a factor for each channel may be a standardization as well

    def params(self, m: Match) -> dict[str, Any]:
        _, channels, _, _ = m.shape("x", 4)
        require(m.x.const is None, "it is applied to a constant")
        gamma = m.gamma.const
        one_each = gamma.shape[-3:] == (channels, 1, 1) and gamma.size == channels > 1
        require(one_each, "it is not one factor per channel")
        return {}


def layer_scaled(x: KerasTensor, *, name: str) -> KerasTensor:
    """Tokens, or pixels, times a learned factor for each channel, which is small at first."""
    small = keras.initializers.Constant(1e-4)
    # Deployed, what is scaled stays as it lies; EinsumDense would be a product of matrices.
    scale = layers.DepthwiseConv2D if len(x.shape) == 4 else layers.DepthwiseConv1D
    return scale(1, depthwise_initializer=small, use_bias=False, name=name)(x)


class TransformerLayer(Pattern):
    """The encoder layer of ViT (arXiv:2010.11929, section 3.1), DeiT and MobileViT.

    DeiT III (arXiv:2204.07118) scales each branch by LayerScale. In CLIP's text encoder
    (arXiv:2103.00020, section 2.4) tokens see those before them alone.
    """

    keras = "transformer_layer"
    nested = True
    style = ("activation", "attention_bias", "epsilon")

    def onnx(self, op: Ops, x: Var) -> Expr:
        y: Expr = op.LayerNorm(x, role="norm_before", epsilon=p.epsilon)
        own: dict[str, Any] = {"num_heads": p.num_heads, "use_bias": p.attention_bias}
        y = any_of(
            op.MultiHeadAttention(y, role="attention", **own),
            op.Attention(y, role="attention", causal=p.causal, **own),
        )
        y = any_of(y, op.LayerScale(y, role="scale_attention"))
        attended = op.Add(y, x)
        y = op.LayerNorm(attended, role="norm_after", epsilon=p.epsilon)
        y = op.Dense(y, role="mlp_in", use_bias=True)
        y = any_of(
            op.Activation(y, role="act", activation=p.activation),
            op.ApproximateGelu(y, role="act", activation=p.activation),
        )
        y = op.Dense(y, role="mlp_out", use_bias=True)
        y = any_of(y, op.LayerScale(y, role="scale_mlp"))
        return op.Add(y, attended)

    def params(self, m: Match) -> dict[str, Any]:
        dim = m.x.shape[-1]
        require(m.mlp_out.units == dim, f"mlp_out makes {m.mlp_out.units} channels of {dim}")
        mlp_ratio = multiple(m.mlp_in.units, dim)
        scaled = m.scale_attention is not None
        require(scaled == (m.scale_mlp is not None), "one of its branches alone is scaled")
        return {
            "mlp_ratio": mlp_ratio,
            **({"layer_scale": True} if scaled else {}),
        }


def transformer_layer(
    x: KerasTensor,
    num_heads: int,
    mlp_ratio: float = 2,
    activation: str = "silu",
    attention_bias: bool = True,
    causal: bool = False,
    layer_scale: bool = False,
    epsilon: float = 1e-5,
    dropout: float = 0.0,
    *,
    name: str,
) -> KerasTensor:
    """A pre-norm transformer layer on tokens (batch, tokens, channels)."""
    inputs = keras.Input(x.shape[1:])
    dim = x.shape[-1]
    y = layers.LayerNormalization(epsilon=epsilon, name="norm_before")(inputs)
    attention = layers.MultiHeadAttention(
        num_heads, dim // num_heads, use_bias=attention_bias, name="attention"
    )
    y = attention(y, y, use_causal_mask=True) if causal else attention(y, y)
    if layer_scale:
        y = layer_scaled(y, name="scale_attention")
    if dropout:
        y = layers.Dropout(dropout, name="dropout_attention")(y)
    x1 = layers.Add(name="add_attention")([inputs, y])
    y = layers.LayerNormalization(epsilon=epsilon, name="norm_after")(x1)
    y = layers.Dense(round(dim * mlp_ratio), name="mlp_in")(y)
    if activation in ("gelu_tanh", "gelu_sigmoid"):
        y = approximate_gelu(y, activation)
    else:
        y = layers.Activation(activation, name="act")(y)
    y = layers.Dense(dim, name="mlp_out")(y)
    if layer_scale:
        y = layer_scaled(y, name="scale_mlp")
    if dropout:
        y = layers.Dropout(dropout, name="dropout_mlp")(y)
    y = layers.Add(name="add_mlp")([x1, y])
    return keras.Model(inputs, y, name=name)(x)
