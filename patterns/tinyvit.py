"""TinyViT (arXiv:2207.10666, section 4.2): MBConv, then attention in windows with a convolution."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from onnx2mvit.ir.block import Block
from onnx2mvit.ir.layout import plain
from onnx2mvit.matcher import (
    Expr,
    Match,
    Ops,
    Pattern,
    Var,
    any_of,
    one_or_more,
    p,
    require,
)

from .biased_attention import biased_self_attention
from .conv import STYLE, DepthwiseConv, conv_bn_act
from .feed_forward import MLP, feed_forward
from .mobilenet import inverted_residual
from .windows import (
    SINGLE,
    SQUARE,
    cut_to_image,
    filled,
    image_in_windows,
    in_windows,
    window_fill,
    window_partition,
    window_reverse,
    window_size_of,
)

if TYPE_CHECKING:
    import keras
    from keras import KerasTensor, layers


# What its attention may say of itself.
ALLOWED = frozenset({"num_heads", "qkv_bias", "grid", "absolute"})


class ActivatedMBConv(Pattern):
    """MobileNetV2's block with an activation after the sum as well."""

    keras = "activated_mbconv"
    nested = True
    style = ("activation",)

    def onnx(self, op: Ops, x: Var) -> Expr:
        own = {**p("filters", "expansion", "activation"), **STYLE}
        y = op.InvertedResidual(x, role="mbconv", kernel_size=3, strides=1, dilation=1, **own)
        return op.Activation(y, role="act", activation=p.activation)

    def params(self, m: Match) -> dict[str, Any]:
        require(m.mbconv.params.get("squeeze") is None, "it squeezes")
        require(m.x.shape == m.mbconv.output.shape, "its input is not added")
        return {}


def activated_mbconv(
    x: KerasTensor,
    filters: int,
    expansion: float | None,
    activation: str = "gelu",
    *,
    name: str,
    **conv: Any,
) -> KerasTensor:
    """MobileNetV2's block with an activation after the sum as well."""
    inputs = keras.Input(x.shape[1:])
    y = inverted_residual(inputs, filters, expansion, activation=activation, name="mbconv", **conv)
    y = layers.Activation(activation, name="act")(y)
    return keras.Model(inputs, y, name=name)(x)


class TinyViTBlock(Pattern):
    """Attention in windows, a convolution of each channel, and an MLP for each pixel.

    arXiv:2207.10666, section 4.2. Exporters have an image (B, H, W, C) before the first block, and
    tokens between the others. Windows that reach over the image see zeros there.
    """

    keras = "tiny_vit_block"
    nested = True
    inner = True
    order = staticmethod(plain)
    style = ("activation", "kernel_size", "mlp_ratio", "epsilon")

    def onnx(self, op: Ops, x: Var) -> Expr:
        image = any_of(op.Rearrange("b (h w) d -> b h w d", x), x)
        y: Expr = any_of(filled(op, image, role="filled"), image)
        y = op.LayerNorm(in_windows(op, y, x), role="norm", epsilon=p.epsilon)
        own = {"num_heads": p.num_heads, "grid": p._biased, "absolute": p._absolute}
        y = op.BiasedSelfAttention(y, role="attn", qkv_bias=True, **own)
        whole = any_of(
            op.Rearrange("(b r c) (p q) d -> b (r p) (c q) d", y, **SQUARE),
            op.Rearrange("b (p q) d -> b p q d", y, **SINGLE),
        )
        y = op.Add(image, any_of(cut_to_image(op, whole), whole))
        y = op.Transpose(y, perm=(0, 3, 1, 2))
        local = {"strides": 1, "dilation": 1, "activation": None, "kernel_size": p.kernel_size}
        y = DepthwiseConv(y, role="local_conv", **local, **STYLE)
        return op.FeedForward(
            op.ImageToTokens(y, role="tokens"), role="mlp", layer_scale=None, **MLP
        )

    def params(self, m: Match) -> dict[str, Any]:
        size = window_size_of(m)
        require(m._biased is None or m._absolute, "its bias goes by the signs of offsets")
        require(m.attn.params.keys() <= ALLOWED, "its attention is another")
        image = image_in_windows(m, size)
        require(m.local_conv.output.shape[2:] == image, "its windows leave out pixels")
        return {"window_size": size, **({"pairwise": True} if m._biased is None else {})}

    def windows(self, block: Block) -> tuple[int, ...]:
        return ()  # zeros fill the last ones


def tiny_vit_block(
    x: KerasTensor,
    num_heads: int,
    window_size: int = 7,
    kernel_size: int = 3,
    mlp_ratio: float = 4,
    activation: str = "gelu",
    pairwise: bool = False,
    epsilon: float = 1e-5,
    dropout: float = 0.0,
    *,
    name: str,
    **conv: Any,
) -> KerasTensor:
    """Attention in windows of an image, a convolution of each channel, and an MLP.

    The bias is learned for each absolute offset in a window, or, if `pairwise`, for each pair.
    """
    grid: tuple[int, int] | None = (window_size, window_size)
    if pairwise:
        grid = None
    inputs = keras.Input(x.shape[1:])
    _, height, width, dim = x.shape
    down, right = -height % window_size, -width % window_size  # zeros that fill the last windows
    y = window_fill(inputs, window_size) if down or right else inputs
    y = window_partition(y, window_size)
    y = layers.LayerNormalization(epsilon=epsilon, name="norm")(y)
    y = biased_self_attention(y, num_heads, grid=grid, absolute=True, name="attn")
    y = window_reverse(y, height + down, width + right, window_size)[:, :height, :width]
    if dropout:
        y = layers.Dropout(dropout, name="dropout")(y)
    y = layers.Add(name="add_attn")([inputs, y])
    y = conv_bn_act(y, dim, kernel_size, depthwise=True, activation=None, name="local_conv", **conv)
    y = feed_forward(y, mlp_ratio, activation, epsilon=epsilon, dropout=dropout, name="mlp")
    return keras.Model(inputs, y, name=name)(x)


class TinyViTStage(Pattern):
    """(B, C, H, W) → (B, C, H, W): blocks of one size, which see pixels as channels last."""

    keras = "tiny_vit_stage"
    nested = True
    before = ("MeanClassifier",)

    def onnx(self, op: Ops, x: Var) -> Expr:
        own = p("num_heads", "window_size", "kernel_size", "pairwise")
        image = op.Transpose(x, perm=(0, 2, 3, 1))
        y = one_or_more("TinyViTBlock", image, role="blocks", **own, **MLP, **STYLE)
        return op.Transpose(op.Rearrange("b (h w) d -> b h w d", y), perm=(0, 3, 1, 2))

    def params(self, m: Match) -> dict[str, Any]:
        require(m.shape("x", 4) == m.root.output.shape, "its pixels are arranged otherwise")
        return {"depth": len(m.blocks)}


def tiny_vit_stage(
    x: KerasTensor,
    depth: int,
    num_heads: int,
    dropout: float = 0.0,
    *,
    name: str,
    **block: Any,
) -> KerasTensor:
    """Blocks of one size on an image."""
    if None in x.shape[1:]:
        raise ValueError(f"{name}: the size of the image must be known")
    y = inputs = keras.Input(x.shape[1:])
    for i in range(depth):
        y = tiny_vit_block(y, num_heads, dropout=dropout, name=f"blocks.{i}", **block)
    return keras.Model(inputs, y, name=name)(x)
