"""EfficientViT of MSRA (arXiv:2305.07027): one attention between MLPs, and heads in a cascade."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from onnx2mvit.ir.block import Block
from onnx2mvit.ir.graph import Value
from onnx2mvit.ir.layout import plain
from onnx2mvit.matcher import Expr, Match, Ops, Pattern, Var, any_of, multiple, p, require, scalar

from .biased_attention import biased_attention
from .conv import STYLE, DepthwiseConv, PointwiseConv, conv_bn_act
from .score_bias import ScoreBias, score_bias
from .windows import (
    SQUARE,
    cut_to_image,
    filled,
    image_in_windows,
    window_fill,
    window_partition,
    window_reverse,
)

if TYPE_CHECKING:
    import keras
    from keras import KerasTensor, layers, ops

LINEAR: dict[str, Any] = {"activation": None, **STYLE}
AROUND: dict[str, Any] = {"strides": 1, "dilation": 1, **LINEAR}
HEADS = p("key_dim", "value_dim", "grid")
MOST_HEADS = 6


class SandwichLayer(Pattern):
    """x + conv(x), the convolution of each channel by itself, and then x + MLP(x) (section 3.1)."""

    keras = "sandwich_layer"
    nested = True
    style = ("activation", "expansion", "kernel_size")
    before = ("UniversalFeedForward", "InvertedResidual", "DepthwiseSeparable")

    def onnx(self, op: Ops, x: Var) -> Expr:
        y = op.Add(x, DepthwiseConv(x, role="token_mixer", kernel_size=p.kernel_size, **AROUND))
        hidden = PointwiseConv(y, role="hidden", activation=p.activation, **STYLE)
        return op.Add(y, PointwiseConv(hidden, role="out", **LINEAR))

    def params(self, m: Match) -> dict[str, Any]:
        _, channels, _, _ = m.shape("x", 4)
        require(m.activation is not None, "it has no activation")
        require(m.out.filters == channels, f"it makes {m.out.filters} channels of {channels}")
        expansion = multiple(m.hidden.filters, channels)
        return {"expansion": expansion}


def sandwich_layer(
    x: KerasTensor,
    expansion: float = 2,
    kernel_size: int = 3,
    activation: str = "relu",
    *,
    name: str,
    **conv: Any,
) -> KerasTensor:
    """A convolution of each channel and an MLP on each pixel, each added to its input."""
    inputs = keras.Input(x.shape[1:])
    dim = x.shape[-1]
    around = {"depthwise": True, "activation": None, **conv}
    y = conv_bn_act(inputs, dim, kernel_size, name="token_mixer", **around)
    x1 = layers.Add(name="add_token_mixer")([inputs, y])
    hidden = round(dim * expansion)
    y = conv_bn_act(x1, hidden, 1, activation=activation, name="hidden", **conv)
    y = conv_bn_act(y, dim, 1, activation=None, name="out", **conv)
    y = layers.Add(name="add_mlp")([x1, y])
    return keras.Model(inputs, y, name=name)(x)


class HeadBias(ScoreBias):
    """The same of the scores (B, N, M) of a head by itself."""

    keras = score_bias.__name__
    before = ("PositionEmbedding",)
    rank = 3


class BiasedHead(Pattern):
    """(B, k, H, W), (B, k, H, W), (B, d, H, W) → (B, d, H, W): biased attention in one head."""

    keras = biased_attention.__name__
    inner = True
    main = "bias"
    order = staticmethod(plain)

    def onnx(self, op: Ops, x: Var) -> Expr:
        key = op.Rearrange("b k r c -> b k (r c)", Var("key"), k=p._key_dim)
        value = op.ImageToTokens(Var("value"), role="value_tokens")
        y: Expr = op.MatMul(op.ImageToTokens(x, role="query_tokens"), key)
        y = op.HeadBias(op.Mul(y, scalar("scale")), role="bias", **p("grid", "absolute"))
        y = op.MatMul(op.Softmax(y, axis=-1), value)
        return op.Rearrange("b (r c) d -> b d r c", y)

    def operands(self, m: Match) -> tuple[Value, ...]:
        return m.x, m.key, m.value

    def params(self, m: Match) -> dict[str, Any]:
        scale = float(m.scale.const.reshape(()))
        require(math.isclose(scale, m._key_dim**-0.5, rel_tol=1e-5), "the scale is not 1/sqrt(d)")
        _, _, *pixels = m.root.output.shape or ()
        require(m.x.shape[2:] == tuple(pixels), "it is of another image")
        return {"num_heads": 1}


class CascadedHead(Pattern):
    """(B, C, H, W) → (B, d, H, W): attention in one head, whose queries see their neighbours."""

    keras = "cascaded_head"
    inner = True

    def onnx(self, op: Ops, x: Var) -> Expr:
        query, key = (
            PointwiseConv(x, role=role, filters=p.key_dim, **LINEAR) for role in ("query", "key")
        )
        value = PointwiseConv(x, role="value", filters=p.value_dim, **LINEAR)
        query = DepthwiseConv(query, role="around", kernel_size=p.kernel_size, **AROUND)
        own = {"grid": p.grid, "absolute": p._absolute}
        return op.BiasedHead(query, key, value, role="bias", **own)

    def params(self, m: Match) -> dict[str, Any]:
        require(m.grid is None or m._absolute, "its bias goes by the signs of offsets")
        return {}


def cascaded_head(
    x: KerasTensor,
    key_dim: int,
    value_dim: int,
    kernel_size: int,
    grid: tuple[int, int] | None = None,
    *,
    name: str,
    **conv: Any,
) -> KerasTensor:
    """Attention among all pixels in one head, whose queries see their neighbours."""
    conv["activation"] = None
    query = conv_bn_act(x, key_dim, 1, name=f"{name}_query", **conv)
    key = conv_bn_act(x, key_dim, 1, name=f"{name}_key", **conv)
    value = conv_bn_act(x, value_dim, 1, name=f"{name}_value", **conv)
    query = conv_bn_act(query, key_dim, kernel_size, depthwise=True, name=f"{name}_around", **conv)
    y = biased_attention(query, key, value, 1, grid=grid, absolute=True, name=f"{name}_bias")
    return layers.Reshape((*x.shape[1:3], value_dim))(y)


class CascadedGroupAttention(Pattern):
    """(B, C, H, W) → (B, C, H, W): each head sees its part of the channels (section 3.2).

    To the part is added what the head before gives. It is within windows of an image that is larger
    than one; zeros fill the last.
    """

    keras = "cascaded_group_attention"
    inner = True

    def onnx(self, op: Ops, x: Var) -> Expr:
        image = op.Transpose(x, perm=(0, 2, 3, 1))
        whole: Expr = any_of(filled(op, image, role="filled"), image)
        windows = op.Rearrange("b (r p) (c q) d -> (b r c) p q d", whole, **SQUARE)

        def cascade(heads: int) -> Expr:
            made: list[Expr] = []
            for i in range(heads):
                of_windows = op.Slice(windows, role=f"part{i}", axis=3)
                part: Expr = any_of(
                    op.Transpose(of_windows, perm=(0, 3, 1, 2)),
                    op.Slice(x, role=f"part{i}", axis=1),
                )
                y = op.Add(made[-1], part) if made else part
                made.append(op.CascadedHead(y, role=f"heads.{i}", **HEADS, **STYLE))
            return op.Concat(*made, role=f"concat{heads}", axis=1)

        y: Expr = any_of(*(cascade(heads) for heads in range(2, MOST_HEADS + 1)))
        y = op.Activation(y, role="act", activation=p.activation)
        y = PointwiseConv(y, role="proj", **LINEAR)
        back = op.Transpose(y, perm=(0, 2, 3, 1))
        whole = op.Rearrange("(b r c) p q d -> b (r p) (c q) d", back, **SQUARE)
        whole = any_of(cut_to_image(op, whole), whole)
        return any_of(op.Transpose(whole, perm=(0, 3, 1, 2)), y)

    def params(self, m: Match) -> dict[str, Any]:
        _, dim, *image = m.shape("x", 4)
        (heads,) = (n for n in range(2, MOST_HEADS + 1) if m.bound[f"concat{n}"] is not None)
        parts = [m.bound[f"part{i}"].attrs for i in range(heads)]
        bounds = [(i * dim // heads, (i + 1) * dim // heads) for i in range(heads)]
        found = [(part["start"], part["end"]) for part in parts]
        require(found == bounds, f"its parts are {found}, not {bounds}")
        size = m.window_size or image[0]
        require(m.grid in (None, (size, size)), "the bias is not for its windows")
        require(m.proj.filters == dim, f"it makes {m.proj.filters} channels of {dim}")
        pixels = image_in_windows(m, size) if m.window_size else (size, size)
        require(tuple(image) == pixels, "it leaves out pixels")
        kernels = tuple(m.bound[f"heads.{i}"].kernel_size for i in range(heads))
        pairwise = {"pairwise": True} if m.grid is None else {}
        return {"kernels": kernels, "window_size": size, **pairwise}

    def windows(self, block: Block) -> tuple[int, ...]:
        return ()  # zeros fill the last ones


def cascaded_group_attention(
    x: KerasTensor,
    kernels: tuple[int, ...],
    key_dim: int,
    value_dim: int,
    window_size: int = 7,
    activation: str = "relu",
    pairwise: bool = False,
    *,
    name: str,
    **conv: Any,
) -> KerasTensor:
    """Heads in windows of an image, each of a part of the channels and of what that before gives.

    There is a head for each size of a kernel. The bias is learned for each absolute offset in a
    window, or, if `pairwise`, for each pair.
    """
    _, height, width, dim = x.shape
    own: dict[str, Any] = {"key_dim": key_dim, "value_dim": value_dim, **conv}
    if not pairwise:
        own["grid"] = (window_size, window_size)
    down, right = -height % window_size, -width % window_size  # zeros that fill the last windows
    y = window_fill(x, window_size) if down or right else x
    y = window_partition(y, window_size)
    y = ops.reshape(y, (-1, window_size, window_size, dim))
    part = dim // len(kernels)
    heads: list[KerasTensor] = []
    for i, kernel_size in enumerate(kernels):
        seen = y[..., i * part : (i + 1) * part]
        if heads:
            seen = layers.Add(name=f"{name}_add_{i}")([heads[-1], seen])
        heads.append(cascaded_head(seen, kernel_size=kernel_size, name=f"{name}_heads.{i}", **own))
    y = layers.Concatenate(name=f"{name}_concat")(heads)
    y = layers.Activation(activation, name=f"{name}_act")(y)
    y = conv_bn_act(y, dim, 1, activation=None, name=f"{name}_proj", **conv)
    return window_reverse(y, height + down, width + right, window_size)[:, :height, :width]


class SandwichBlock(Pattern):
    """arXiv:2305.07027, figure 5: attention, added to its input, between two sandwich layers."""

    keras = "sandwich_block"
    nested = True
    style = ("activation", "expansion", "kernel_size", "key_dim", "window_size")

    def onnx(self, op: Ops, x: Var) -> Expr:
        own = {**p("activation", "expansion", "kernel_size"), **STYLE}
        y: Expr = op.SandwichLayer(x, role="before", **own)
        attention = {**p("kernels", "key_dim", "value_dim", "window_size", "pairwise"), **STYLE}
        attended = op.CascadedGroupAttention(y, role="mixer", activation=p.activation, **attention)
        return op.SandwichLayer(op.Add(y, attended), role="after", **own)


def sandwich_block(
    x: KerasTensor,
    kernels: tuple[int, ...],
    value_dim: int,
    key_dim: int = 16,
    window_size: int = 7,
    expansion: float = 2,
    kernel_size: int = 3,
    activation: str = "relu",
    pairwise: bool = False,
    *,
    name: str,
    **conv: Any,
) -> KerasTensor:
    """Cascaded group attention between two layers of a convolution and an MLP."""
    if None in x.shape[1:]:
        raise ValueError(f"{name}: the size of the image must be known")
    inputs = keras.Input(x.shape[1:])
    own = {"expansion": expansion, "kernel_size": kernel_size, "activation": activation, **conv}
    y = sandwich_layer(inputs, name="before", **own)
    heads: dict[str, Any] = {"key_dim": key_dim, "value_dim": value_dim, "pairwise": pairwise}
    z = cascaded_group_attention(
        y, kernels, window_size=window_size, activation=activation, name="mixer", **heads, **conv
    )
    y = layers.Add(name="add_mixer")([y, z])
    y = sandwich_layer(y, name="after", **own)
    return keras.Model(inputs, y, name=name)(x)
