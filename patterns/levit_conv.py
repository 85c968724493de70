"""LeViT on images (arXiv:2104.01136), as timm's `levit_conv` computes it: all layers are 1×1."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from onnx2mvit.ir.graph import Value
from onnx2mvit.matcher import Expr, Match, Ops, Pattern, Var, multiple, p, require

from .biased_attention import biased_attention
from .conv import STYLE, PointwiseConv, conv_bn_act
from .levit import HEADS
from .levit import STYLE as CHOSEN

if TYPE_CHECKING:
    import keras
    from keras import KerasTensor, layers, ops

LINEAR: dict[str, Any] = {"activation": None, **STYLE}


class ConvLeViTAttention(Pattern):
    """(B, C, H, W), and queries of some pixels (B, C, h, w), → (B, C', h, w): section 4.1."""

    keras = "conv_levit_attention"
    inner = True

    def onnx(self, op: Ops, x: Var) -> Expr:
        query = PointwiseConv(Var("queries"), role="query", **LINEAR)
        key, value = (PointwiseConv(x, role=role, **LINEAR) for role in ("key", "value"))
        own = p("num_heads", "grid", "stride")
        y = op.BiasedAttention(query, key, value, role="bias", absolute=p._absolute, **own)
        y = op.Activation(y, role="act", activation=p.activation)
        return PointwiseConv(y, role="proj", **LINEAR)

    def operands(self, m: Match) -> tuple[Value, ...]:
        return m.x, m.queries

    def params(self, m: Match) -> dict[str, Any]:
        require(m.grid is None or m._absolute, "its bias goes by the signs of offsets")
        require(m.proj.inputs[0].shape[2:] == m.queries.shape[2:], "it is of other pixels")
        dims = {"key_dim": m.key, "value_dim": m.value}
        heads = {name: block.filters // m.num_heads for name, block in dims.items()}
        return {"dim": m.proj.filters, **heads}


def conv_levit_attention(
    x: KerasTensor,
    queries: KerasTensor,
    dim: int,
    num_heads: int,
    key_dim: int,
    value_dim: int,
    activation: str = "hard_silu",
    grid: tuple[int, int] | None = None,
    stride: int = 1,
    *,
    name: str,
    **conv: Any,
) -> KerasTensor:
    """Attention of the pixels of `queries` to all pixels."""
    linear = {"activation": None, **conv}
    query = conv_bn_act(queries, num_heads * key_dim, 1, name=f"{name}_query", **linear)
    key = conv_bn_act(x, num_heads * key_dim, 1, name=f"{name}_key", **linear)
    value = conv_bn_act(x, num_heads * value_dim, 1, name=f"{name}_value", **linear)
    bias: dict[str, Any] = {"grid": grid, "stride": stride, "absolute": True}
    y = biased_attention(query, key, value, num_heads, name=f"{name}_bias", **bias)
    y = ops.reshape(y, (-1, *queries.shape[1:3], num_heads * value_dim))
    y = layers.Activation(activation, name=f"{name}_act")(y)
    return conv_bn_act(y, dim, 1, name=f"{name}_proj", **linear)


def feed_forward(op: Ops, x: Expr) -> Expr:
    """x + MLP(x) for each pixel, of normalized 1×1 convolutions."""
    y = PointwiseConv(x, role="hidden", activation=p.activation, **STYLE)
    return op.Add(x, PointwiseConv(y, role="out", **LINEAR))


def mlp_ratio_of(m: Match) -> float:
    """How many times the channels of an image its MLP has inside."""
    return float(multiple(m.hidden.filters, m.out.filters))


class ConvLeViTBlock(Pattern):
    """x + attention(x), and then x + MLP(x), of an image (B, C, H, W) (figure 2)."""

    keras = "conv_levit_block"
    nested = True
    before = ("UniversalFeedForward",)
    style = CHOSEN

    def onnx(self, op: Ops, x: Var) -> Expr:
        own: dict[str, Any] = {"grid": p.grid, "stride": None, **HEADS}
        y = op.Add(x, op.ConvLeViTAttention(x, role="attn", **own, **STYLE))
        return feed_forward(op, y)

    def params(self, m: Match) -> dict[str, Any]:
        return {"mlp_ratio": mlp_ratio_of(m)}


def conv_levit_block(
    x: KerasTensor,
    num_heads: int,
    key_dim: int = 16,
    value_dim: int = 32,
    grid: tuple[int, int] | None = None,
    mlp_ratio: float = 2,
    activation: str = "hard_silu",
    dropout: float = 0.0,
    *,
    name: str,
    **conv: Any,
) -> KerasTensor:
    """Attention among all pixels, and an MLP."""
    inputs = keras.Input(x.shape[1:])
    heads = {"num_heads": num_heads, "key_dim": key_dim, "value_dim": value_dim}
    own: dict[str, Any] = {**heads, "activation": activation, "grid": grid, **conv}
    y = conv_levit_attention(inputs, inputs, x.shape[-1], **own, name="attn")
    if dropout:
        y = layers.Dropout(dropout, name="dropout")(y)
    x1 = layers.Add(name="add_attn")([inputs, y])
    hidden = round(x.shape[-1] * mlp_ratio)
    y = conv_bn_act(x1, hidden, 1, activation=activation, name="hidden", **conv)
    y = conv_bn_act(y, x.shape[-1], 1, activation=None, name="out", **conv)
    y = layers.Add(name="add_mlp")([x1, y])
    return keras.Model(inputs, y, name=name)(x)


class ConvLeViTDownsample(Pattern):
    """Every second pixel attends to all, without a residual; then an MLP (section 4.1, figure 5).

    (B, C, H, W) → (B, C', H/2, W/2).
    """

    keras = "conv_levit_downsample"
    nested = True
    before = ("UniversalFeedForward", "AveragePooling2D")
    style = CHOSEN

    def onnx(self, op: Ops, x: Var) -> Expr:
        queries = op.AveragePool(x, kernel_shape=(1, 1), strides=(2, 2), pads=(0, 0, 0, 0))
        own: dict[str, Any] = {"dim": p.dim, "grid": p.grid, "stride": p._stride, **HEADS}
        y = op.ConvLeViTAttention(x, queries, role="attn", **own, **STYLE)
        return feed_forward(op, y)

    def params(self, m: Match) -> dict[str, Any]:
        require(m.grid is None or m._stride == 2, "its bias is for other queries")
        return {"mlp_ratio": mlp_ratio_of(m)}


def conv_levit_downsample(
    x: KerasTensor,
    dim: int,
    num_heads: int,
    grid: tuple[int, int] | None = None,
    key_dim: int = 16,
    value_dim: int = 64,
    mlp_ratio: float = 2,
    activation: str = "hard_silu",
    *,
    name: str,
    **conv: Any,
) -> KerasTensor:
    """Every second pixel in both directions attends to all of them."""
    inputs = keras.Input(x.shape[1:])
    heads = {"num_heads": num_heads, "key_dim": key_dim, "value_dim": value_dim}
    own: dict[str, Any] = {**heads, "activation": activation, "grid": grid, "stride": 2, **conv}
    x1 = conv_levit_attention(inputs, inputs[:, ::2, ::2], dim, **own, name="attn")
    y = conv_bn_act(x1, round(dim * mlp_ratio), 1, activation=activation, name="hidden", **conv)
    y = conv_bn_act(y, dim, 1, activation=None, name="out", **conv)
    y = layers.Add(name="add_mlp")([x1, y])
    return keras.Model(inputs, y, name=name)(x)
