"""EfficientFormerV2 (arXiv:2212.08059, section 3): attention and MLPs with convolutions in them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from onnx2mvit.matcher import Expr, Match, Ops, Pattern, Var, any_of, maybe, multiple, p, require

from .attention import layer_scaled
from .biased_attention import biased_attention
from .conv import STYLE, Conv, DepthwiseConv, PointwiseConv, conv_bn_act
from .upsampling import bilinear_upsampling

if TYPE_CHECKING:
    import keras
    from keras import KerasTensor, layers, ops

LINEAR: dict[str, Any] = {"activation": None, **STYLE}
LOCAL: dict[str, Any] = {"kernel_size": 3, "dilation": 1, **LINEAR}
HEADS = p("num_heads", "key_dim", "value_dim", "activation", "grid", "strided")


class LocalGlobalAttention(Pattern):
    """(B, C, H, W) → (B, C, H, W): attention with talking heads among all pixels, to which a
    convolution of the values is added (section 3.2, figure 2).

    Where it is `strided`, it is of an image of half the size, which is made larger again.
    """

    keras = "local_global_attention"
    inner = True

    def onnx(self, op: Ops, x: Var) -> Expr:
        y: Expr = maybe(DepthwiseConv(x, role="stride_conv", strides=2, **LOCAL))
        q, k, v = (PointwiseConv(y, role=role, **LINEAR) for role in ("query", "key", "value"))
        own = {"num_heads": p.num_heads, "grid": p.grid, "absolute": p._absolute}
        y = op.BiasedAttention(q, k, v, role="bias", talking_heads=True, stride=None, **own)
        y = op.Add(y, DepthwiseConv(v, role="local", strides=1, **LOCAL))
        y = any_of(op.BilinearUpsampling(y, role="upsample", factor=2, align_corners=None), y)
        y = op.Activation(y, role="act", activation=p.activation)
        return PointwiseConv(y, role="proj", **LINEAR)

    def params(self, m: Match) -> dict[str, Any]:
        strided = m.stride_conv is not None
        require(strided == (m.upsample is not None), "its output has another size")
        require(m.grid is None or m._absolute, "its bias goes by the signs of offsets")
        dims = {"key_dim": m.key, "value_dim": m.value}
        heads = {name: block.filters // m.num_heads for name, block in dims.items()}
        return {**heads, **({"strided": True} if strided else {})}


def local_global_attention(
    x: KerasTensor,
    num_heads: int,
    key_dim: int,
    value_dim: int,
    activation: str = "gelu",
    grid: tuple[int, int] | None = None,
    strided: bool = False,
    *,
    name: str,
    **conv: Any,
) -> KerasTensor:
    """Attention with talking heads among all pixels, with a convolution of the values."""
    dim = x.shape[-1]
    linear = {"activation": None, **conv}
    local = {"depthwise": True, **linear}
    if strided:
        x = conv_bn_act(x, dim, 3, strides=2, name=f"{name}_stride_conv", **local)
    query = conv_bn_act(x, num_heads * key_dim, 1, name=f"{name}_query", **linear)
    key = conv_bn_act(x, num_heads * key_dim, 1, name=f"{name}_key", **linear)
    value = conv_bn_act(x, num_heads * value_dim, 1, name=f"{name}_value", **linear)
    bias: dict[str, Any] = {"grid": grid, "absolute": True, "talking_heads": True}
    y = biased_attention(query, key, value, num_heads, **bias, name=f"{name}_bias")
    y = ops.reshape(y, (-1, *value.shape[1:]))
    y = y + conv_bn_act(value, value.shape[-1], 3, name=f"{name}_local", **local)
    if strided:
        y = bilinear_upsampling(y, 2, name=f"{name}_upsample")
    y = layers.Activation(activation, name=f"{name}_act")(y)
    return conv_bn_act(y, dim, 1, name=f"{name}_proj", **linear)


class EfficientFormerV2Block(Pattern):
    """x + γ·attention(x), where there is attention, and then x + γ·MLP(x), which is convolutional.

    The MLP has a convolution of each channel between its layers (section 3.1).
    """

    keras = "efficientformer_v2_block"
    nested = True
    before = ("InvertedResidual", "DepthwiseSeparable")
    style = ("activation", "key_dim", "value_dim")

    def onnx(self, op: Ops, x: Var) -> Expr:
        attn = op.LocalGlobalAttention(x, role="attn", **HEADS, **STYLE)
        attended = op.Add(x, op.ImageLayerScale(attn, role="scale_attn"))
        y = any_of(attended, x)
        hidden = PointwiseConv(y, role="fc1", activation=p.activation, **STYLE)
        act = {**LOCAL, "activation": p.activation}
        hidden = DepthwiseConv(hidden, role="mid", strides=1, **act)
        out = op.ImageLayerScale(PointwiseConv(hidden, role="fc2", **LINEAR), role="scale_mlp")
        return op.Add(y, out)

    def params(self, m: Match) -> dict[str, Any]:
        _, channels, _, _ = m.shape("x", 4)
        mlp_ratio = multiple(m.fc1.filters, channels)
        require(m.fc2.filters == channels, f"it makes {m.fc2.filters} channels of {channels}")
        return {"mlp_ratio": mlp_ratio}


def efficientformer_v2_block(
    x: KerasTensor,
    mlp_ratio: float,
    num_heads: int | None = None,
    key_dim: int = 32,
    value_dim: int = 128,
    activation: str = "gelu",
    grid: tuple[int, int] | None = None,
    strided: bool = False,
    dropout: float = 0.0,
    *,
    name: str,
    **conv: Any,
) -> KerasTensor:
    """Attention among the pixels of a `grid`, if it has heads, and a convolutional MLP."""
    y = inputs = keras.Input(x.shape[1:])
    dim = x.shape[-1]
    if num_heads is not None:
        heads = {"num_heads": num_heads, "key_dim": key_dim, "value_dim": value_dim}
        own = {**heads, "activation": activation, "grid": grid, "strided": strided, **conv}
        y = local_global_attention(y, **own, name="attn")
        y = layer_scaled(y, name="scale_attn")
        y = layers.Add(name="add_attn")([inputs, y])
    x1 = y
    y = conv_bn_act(y, round(dim * mlp_ratio), 1, activation=activation, name="fc1", **conv)
    local = {"depthwise": True, "activation": activation, **conv}
    y = conv_bn_act(y, y.shape[-1], 3, name="mid", **local)
    y = conv_bn_act(y, dim, 1, activation=None, name="fc2", **conv)
    y = layer_scaled(y, name="scale_mlp")
    if dropout:
        y = layers.Dropout(dropout, name="dropout")(y)
    y = layers.Add(name="add_mlp")([x1, y])
    return keras.Model(inputs, y, name=name)(x)


class AttentionDownsample(Pattern):
    """(B, C, H, W) → (B, C', H/2, W/2): attention of fewer queries, and a convolution beside it.

    Queries are of a convolution and of every second pixel (section 3.3, figure 2).
    """

    keras = "attention_downsample"
    nested = True
    style = ("activation", "key_dim", "value_dim", "num_heads")

    def onnx(self, op: Ops, x: Var) -> Expr:
        bare = {**LOCAL, "batch_norm": False, "use_bias": True}
        local = DepthwiseConv(x, role="query_local", strides=2, **bare)
        pooled = op.AveragePooling2D(x, role="query_pool", pool_size=1, strides=2)
        query = PointwiseConv(op.Add(local, pooled), role="query", **LINEAR)
        key, value = (PointwiseConv(x, role=role, **LINEAR) for role in ("key", "value"))
        own = {"num_heads": p.num_heads, "grid": p.grid, "absolute": p._absolute}
        y = op.BiasedAttention(query, key, value, role="bias", stride=p._stride, **own)
        y = op.Add(y, DepthwiseConv(value, role="local", strides=2, **LOCAL))
        y = op.Activation(y, role="act", activation=p.activation)
        y = PointwiseConv(y, role="proj", filters=p.dim, **LINEAR)
        return op.Add(y, Conv(x, role="conv", kernel_size=3, strides=2, filters=p.dim, **LINEAR))

    def params(self, m: Match) -> dict[str, Any]:
        table = m.grid is None or bool(m._absolute and m._stride == 2)
        require(table, "its bias is for other queries, or goes by the signs of offsets")
        require("talking_heads" not in m.bias.params, "its heads are mixed")
        key_dim, value_dim = (block.filters // m.num_heads for block in (m.key, m.value))
        return {"key_dim": key_dim, "value_dim": value_dim}


def attention_downsample(
    x: KerasTensor,
    dim: int,
    num_heads: int = 8,
    key_dim: int = 16,
    value_dim: int = 64,
    activation: str = "gelu",
    grid: tuple[int, int] | None = None,
    *,
    name: str,
    **conv: Any,
) -> KerasTensor:
    """Every second pixel of a `grid` in both directions attends to all; and a convolution."""
    inputs = keras.Input(x.shape[1:])
    linear = {"activation": None, **conv}
    local = {"depthwise": True, "strides": 2, **linear}
    bare = {**local, "batch_norm": False, "use_bias": True}
    y = conv_bn_act(inputs, x.shape[-1], 3, name="query_local", **bare)
    y = y + layers.AveragePooling2D(1, strides=2, name="query_pool")(inputs)
    query = conv_bn_act(y, num_heads * key_dim, 1, name="query", **linear)
    key = conv_bn_act(inputs, num_heads * key_dim, 1, name="key", **linear)
    value = conv_bn_act(inputs, num_heads * value_dim, 1, name="value", **linear)
    bias: dict[str, Any] = {"grid": grid, "stride": 2, "absolute": True}
    y = biased_attention(query, key, value, num_heads, **bias, name="bias")
    y = ops.reshape(y, (-1, *query.shape[1:3], value.shape[-1]))
    y = y + conv_bn_act(value, value.shape[-1], 3, name="local", **local)
    y = layers.Activation(activation, name="act")(y)
    y = conv_bn_act(y, dim, 1, name="proj", **linear)
    y = y + conv_bn_act(inputs, dim, 3, strides=2, name="conv", **linear)
    return keras.Model(inputs, y, name=name)(x)
