"""EfficientFormer (arXiv:2206.01191, section 4.1): blocks that pool, then blocks that attend."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from onnx2mvit.matcher import Expr, Match, Ops, Pattern, Var, any_of, multiple, p, require

from .attention import layer_scaled
from .biased_attention import biased_self_attention
from .conv import STYLE, PointwiseConv, conv_bn_act
from .feed_forward import MLP, feed_forward

if TYPE_CHECKING:
    import keras
    from keras import KerasTensor, layers


class MetaBlock4D(Pattern):
    """x + γ₁·(pool(x) - x), and then x + γ₂·MLP(x) by 1×1 convolutions (equation 3)."""

    keras = "meta_block_4d"
    nested = True
    style = ("activation", "mlp_ratio", "pool_size", "layer_scale")

    def onnx(self, op: Ops, x: Var) -> Expr:
        pooled = op.AveragePooling2D(x, role="pool", pool_size=p.pool_size, strides=1)
        y: Expr = op.Sub(pooled, x)
        mixed = op.Add(x, any_of(op.ImageLayerScale(y, role="scale_pool"), y))
        y = PointwiseConv(mixed, role="fc1", activation=p.activation, **STYLE)
        y = PointwiseConv(y, role="fc2", activation=None, **STYLE)
        return op.Add(mixed, any_of(op.ImageLayerScale(y, role="scale_mlp"), y))

    def params(self, m: Match) -> dict[str, Any]:
        _, channels, _, _ = m.shape("x", 4)
        mlp_ratio = multiple(m.fc1.filters, channels)
        require(m.pool.output.shape == m.x.shape, "what is pooled has another size")
        require(m.fc2.filters == channels, f"it makes {m.fc2.filters} channels of {channels}")
        scaled = m.scale_pool is not None
        require(scaled == (m.scale_mlp is not None), "one of its branches alone is scaled")
        return {"mlp_ratio": mlp_ratio, "layer_scale": scaled}


def meta_block_4d(
    x: KerasTensor,
    mlp_ratio: float = 4,
    activation: str = "gelu",
    pool_size: int = 3,
    layer_scale: bool = False,
    dropout: float = 0.0,
    *,
    name: str,
    **conv: Any,
) -> KerasTensor:
    """What is around each pixel is mixed with it by pooling, then its channels by an MLP."""
    inputs = keras.Input(x.shape[1:])
    dim = x.shape[-1]
    y = layers.AveragePooling2D(pool_size, strides=1, padding="same", name="pool")(inputs)
    y = layers.Subtract(name="subtract")([y, inputs])
    if layer_scale:
        y = layer_scaled(y, name="scale_pool")
    x1 = layers.Add(name="add_pool")([inputs, y])
    y = conv_bn_act(x1, round(dim * mlp_ratio), 1, activation=activation, name="fc1", **conv)
    y = conv_bn_act(y, dim, 1, activation=None, name="fc2", **conv)
    if layer_scale:
        y = layer_scaled(y, name="scale_mlp")
    if dropout:
        y = layers.Dropout(dropout, name="dropout")(y)
    y = layers.Add(name="add_mlp")([x1, y])
    return keras.Model(inputs, y, name=name)(x)


class MetaBlock3D(Pattern):
    """x + γ₁·attention(norm(x)), and then x + γ₂·MLP(norm(x)), of tokens (equation 4)."""

    keras = "meta_block_3d"
    nested = True
    style = ("activation", "mlp_ratio", "epsilon", "layer_scale", "num_heads")

    def onnx(self, op: Ops, x: Var) -> Expr:
        y: Expr = op.LayerNorm(x, role="norm", epsilon=p.epsilon)
        own = p("num_heads", "key_dim", "value_dim", "qkv_bias", "grid")
        y = op.BiasedSelfAttention(y, role="attn", absolute=p._absolute, **own)
        y = op.Add(x, any_of(op.LayerScale(y, role="scale"), y))
        return op.FeedForward(y, role="mlp", layer_scale=p.layer_scale, **MLP)

    def params(self, m: Match) -> dict[str, Any]:
        require("stride" not in m.attn.params, "its queries are not all of its tokens")
        require(m.grid is None or m._absolute, "its bias goes by the signs of offsets")
        require((m.scale is not None) == bool(m.layer_scale), "one of its branches alone is scaled")
        return {}


def meta_block_3d(
    x: KerasTensor,
    num_heads: int = 8,
    key_dim: int | None = None,
    value_dim: int | None = None,
    grid: tuple[int, int] | None = None,
    qkv_bias: bool = True,
    mlp_ratio: float = 4,
    activation: str = "gelu",
    layer_scale: bool = False,
    epsilon: float = 1e-5,
    dropout: float = 0.0,
    *,
    name: str,
) -> KerasTensor:
    """Attention and an MLP on the tokens (B, N, C) of a `grid` of pixels."""
    inputs = keras.Input(x.shape[1:])
    y = layers.LayerNormalization(epsilon=epsilon, name="norm")(inputs)
    y = biased_self_attention(
        y,
        num_heads,
        key_dim,
        value_dim,
        qkv_bias=qkv_bias,
        grid=grid,
        absolute=True,
        name="attn",
    )
    if layer_scale:
        y = layer_scaled(y, name="scale")
    if dropout:
        y = layers.Dropout(dropout, name="dropout")(y)
    y = layers.Add(name="add_attn")([inputs, y])
    y = feed_forward(
        y,
        mlp_ratio,
        activation,
        layer_scale=layer_scale,
        epsilon=epsilon,
        dropout=dropout,
        name="mlp",
    )
    return keras.Model(inputs, y, name=name)(x)
