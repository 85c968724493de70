"""EdgeNeXt (arXiv:2206.10589): ConvNeXt's blocks, and attention between channels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from onnx2mvit.matcher import (
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

from .attention import layer_scaled
from .conv import STYLE, DepthwiseConv, GroupConv, conv_bn_act
from .tokens import position_embedding
from .vit import image_to_tokens, tokens_to_image

if TYPE_CHECKING:
    import keras
    from keras import KerasTensor, layers, ops


class CrossCovarianceAttention(Pattern):
    """Tokens (B, N, d) → (B, N, d): channels of a head attend to each other (arXiv:2106.09681).

    Section 3.2: queries and keys have length 1 along the tokens, and each head a temperature.
    """

    keras = "cross_covariance_attention"
    style = ("qkv_bias",)

    def onnx(self, op: Ops, x: Var) -> Expr:
        def head(role: str) -> Expr:
            y = op.Dense(x, role=role, use_bias=p.qkv_bias)
            return op.Rearrange("b n (h d) -> b h d n", y, h=p.num_heads)

        def of_length_one(y: Expr, name: str) -> Expr:
            norm = op.ReduceL2(y, axes=(3,), keepdims=1)
            norm = op.Clip(norm, scalar(f"least_{name}", 1e-12))
            return op.Div(y, any_of(op.Expand(norm, constant(f"shape_{name}")), norm))

        query, key = of_length_one(head("query"), "query"), of_length_one(head("key"), "key")
        scores = op.MatMul(query, op.Transpose(key, perm=(0, 1, 3, 2)))
        scores = op.ImageLayerScale(scores, role="temperature")
        y: Expr = op.MatMul(op.Softmax(scores, axis=-1), head("value"))
        y = op.Rearrange("b h d n -> b n (h d)", y, h=p.num_heads)
        return op.Dense(y, role="proj", units=p._dim, use_bias=True)

    def params(self, m: Match) -> dict[str, Any]:
        *_, dim = m.shape("x", 3)
        units = {m.query.units, m.key.units, m.value.units, m._dim}
        require(units == {dim}, f"its layers make {sorted(units)} channels of {dim}")
        return {}


def cross_covariance_attention(
    x: KerasTensor, num_heads: int, qkv_bias: bool = True, *, name: str
) -> KerasTensor:
    """Attention of the channels of a head to each other, by how they vary over the tokens."""
    dim = x.shape[-1]
    heads = (-1, num_heads, dim // num_heads)
    query = layers.Dense(dim, use_bias=qkv_bias, name=f"{name}_query")(x)
    key = layers.Dense(dim, use_bias=qkv_bias, name=f"{name}_key")(x)
    value = layers.Dense(dim, use_bias=qkv_bias, name=f"{name}_value")(x)
    query = layers.UnitNormalization(axis=1)(layers.Reshape(heads)(query))
    key = layers.UnitNormalization(axis=1)(layers.Reshape(heads)(key))
    scores = ops.einsum("bnhi,bnhj->bijh", query, key)
    scores = ops.softmax(layer_scaled(scores, name=f"{name}_temperature"), axis=2)
    y = ops.einsum("bijh,bnhj->bnhi", scores, layers.Reshape(heads)(value))
    return layers.Dense(dim, name=f"{name}_proj")(layers.Reshape((-1, dim))(y))


class SDTAEncoder(Pattern):
    """Split depthwise transpose attention (arXiv:2206.10589, section 3.2 and figure 2).

    Each part of the channels but the last goes through a convolution, with what came of the part
    before added; then attention between channels, with positions or without, and an MLP.
    """

    keras = "sdta_encoder"
    nested = True
    style = ("activation", "qkv_bias", "layer_scale", "epsilon")

    def onnx(self, op: Ops, x: Var) -> Expr:
        def split(scales: int) -> Expr:
            parts = [op.Slice(x, role=f"part{i}", axis=1) for i in range(scales)]
            made: list[Expr] = []
            for i, part in enumerate(parts[:-1]):
                y = op.Add(made[-1], part) if made else part
                own = {"kernel_size": p.kernel_size, "strides": 1, "dilation": 1, **STYLE}
                made.append(DepthwiseConv(y, role=f"convs.{i}", activation=None, **own))
            return op.Concat(*made, parts[-1], role=f"concat{scales}", axis=1)

        y: Expr = op.ImageToTokens(any_of(*(split(n) for n in SCALES)), role="tokens")
        y = any_of(op.PositionEmbedding(y, role="positions"), y)
        z: Expr = op.LayerNorm(y, role="norm_xca", epsilon=p.epsilon)
        own = p("num_heads", "qkv_bias")
        z = op.CrossCovarianceAttention(z, role="xca", **own)
        y = op.Add(y, any_of(op.LayerScale(z, role="scale_xca"), z))
        z = op.Rearrange("b (h w) d -> b h w d", y, h=p._height, w=p._width)
        z = op.LayerNorm(z, role="norm", epsilon=p.epsilon)
        z = op.Dense(z, role="mlp_in", units=p._hidden, use_bias=True)
        z = op.Activation(z, role="act", activation=p.activation)
        z = op.Dense(z, role="mlp_out", units=p._dim, use_bias=True)
        z = op.Transpose(z, perm=(0, 3, 1, 2))
        return op.Add(x, any_of(op.ImageLayerScale(z, role="scale"), z))

    def params(self, m: Match) -> dict[str, Any]:
        _, dim, height, width = m.shape("x", 4)
        (scales,) = (n for n in SCALES if m.bound[f"concat{n}"] is not None)
        size = -(-dim // scales)
        bounds = [(i * size, min((i + 1) * size, dim)) for i in range(scales)]
        parts = [m.bound[f"part{i}"].attrs for i in range(scales)]
        found = [(part["start"], part["end"]) for part in parts]
        require(found == bounds, f"its parts are {found}, not {bounds}")
        require(m._dim == dim, f"mlp_out makes {m._dim} channels of {dim}")
        mlp_ratio = multiple(m._hidden, dim)
        require((m._height, m._width) == (height, width), "its tokens are another image's")
        scaled = m.scale is not None
        require(scaled == (m.scale_xca is not None), "one of its branches alone is scaled")
        positions = {"num_positions": height * width} if m.positions is not None else {}
        return {"scales": scales, "mlp_ratio": mlp_ratio, "layer_scale": scaled, **positions}


SCALES = (2, 3, 4, 5)


def sdta_encoder(
    x: KerasTensor,
    num_heads: int,
    scales: int,
    mlp_ratio: float = 4,
    kernel_size: int = 3,
    num_positions: int | None = None,
    activation: str = "gelu",
    qkv_bias: bool = True,
    layer_scale: bool = False,
    epsilon: float = 1e-6,
    *,
    name: str,
    **conv: Any,
) -> KerasTensor:
    """Convolutions of parts of the channels, attention between channels, and an MLP."""
    inputs = keras.Input(x.shape[1:])
    dim = x.shape[-1]
    size = -(-dim // scales)
    conv |= {"depthwise": True, "activation": None}
    parts = [inputs[..., i * size : (i + 1) * size] for i in range(scales)]
    for i in range(scales - 1):
        y = parts[i] if i == 0 else layers.Add(name=f"add_{i}")([parts[i - 1], parts[i]])
        parts[i] = conv_bn_act(y, size, kernel_size, name=f"convs.{i}", **conv)
    y = image_to_tokens(layers.Concatenate(name="concat")(parts))
    if num_positions is not None:
        y = position_embedding(y, num_positions, name="positions")
    z = layers.LayerNormalization(epsilon=epsilon, name="norm_xca")(y)
    z = cross_covariance_attention(z, num_heads, qkv_bias, name="xca")
    if layer_scale:
        z = layer_scaled(z, name="scale_xca")
    y = layers.Add(name="add_xca")([y, z])
    y = tokens_to_image(y, inputs)
    y = layers.LayerNormalization(epsilon=epsilon, name="norm")(y)
    y = layers.Dense(round(dim * mlp_ratio), name="mlp_in")(y)
    y = layers.Activation(activation, name="act")(y)
    y = layers.Dense(dim, name="mlp_out")(y)
    if layer_scale:
        y = layer_scaled(y, name="scale")
    y = layers.Add(name="residual")([inputs, y])
    return keras.Model(inputs, y, name=name)(x)


class EdgeNeXtDownsampling(Pattern):
    """(B, C, H, W) → (B, d, H/2, W/2): ConvNeXt's block on what a convolution with strides gives.

    As timm's `downsample_block` has it. The convolution makes several channels of each.
    """

    keras = "edgenext_downsampling"
    nested = True
    style = ("activation", "layer_scale", "epsilon")

    def onnx(self, op: Ops, x: Var) -> Expr:
        own = {**p("filters", "kernel_size", "groups", "strides"), "dilation": 1}
        y: Expr = GroupConv(x, role="conv", activation=None, **own, **STYLE)
        z: Expr = op.LayerNorm(op.Transpose(y, perm=(0, 2, 3, 1)), role="norm", epsilon=p.epsilon)
        z = op.Dense(z, role="mlp_in", units=p._hidden, use_bias=True)
        z = op.Activation(z, role="act", activation=p.activation)
        z = op.Dense(z, role="mlp_out", units=p.filters, use_bias=True)
        z = op.Transpose(z, perm=(0, 3, 1, 2))
        return op.Add(y, any_of(op.ImageLayerScale(z, role="scale"), z))

    def params(self, m: Match) -> dict[str, Any]:
        require(m.strides > 1, "its convolution has no strides")
        require(m.groups == m.shape("x", 4)[1], "its groups have several channels each")
        mlp_ratio = multiple(m._hidden, m.filters)
        return {"mlp_ratio": mlp_ratio, "layer_scale": m.scale is not None}


def edgenext_downsampling(
    x: KerasTensor,
    filters: int,
    kernel_size: int,
    groups: int,
    strides: int = 2,
    mlp_ratio: float = 4,
    activation: str = "gelu",
    layer_scale: bool = False,
    epsilon: float = 1e-6,
    *,
    name: str,
    **conv: Any,
) -> KerasTensor:
    """A convolution with strides, and an MLP on the normalized channels of each pixel."""
    inputs = keras.Input(x.shape[1:])
    conv |= {"groups": groups, "activation": None}
    y = conv_bn_act(inputs, filters, kernel_size, strides, name="conv", **conv)
    z = layers.LayerNormalization(epsilon=epsilon, name="norm")(y)
    z = layers.Dense(round(filters * mlp_ratio), name="mlp_in")(z)
    z = layers.Activation(activation, name="act")(z)
    z = layers.Dense(filters, name="mlp_out")(z)
    if layer_scale:
        z = layer_scaled(z, name="scale")
    y = layers.Add(name="residual")([y, z])
    return keras.Model(inputs, y, name=name)(x)
