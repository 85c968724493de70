"""MaxViT (arXiv:2204.01697): attention in windows, then in a grid that spans the whole image."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from onnx2mvit.ir.block import Block
from onnx2mvit.ir.layout import plain
from onnx2mvit.matcher import Expr, Match, Ops, Pattern, Var, any_of, multiple, p, require

from .attention import layer_scaled
from .biased_attention import biased_self_attention
from .coatnet import check_shortcut, shortcut, shortened
from .conv import DepthwiseConv, GroupConv, PointwiseConv, conv_bn_act
from .feed_forward import MLP, feed_forward
from .relative_attention import ALONE
from .windows import (
    grid_partition,
    grid_reverse,
    window_partition,
    window_reverse,
    window_size_of,
)

if TYPE_CHECKING:
    import keras
    from keras import KerasTensor, layers

    from onnx2mvit.ir.window import Pads

WINDOWS: dict[str, Any] = {"p": p.window_size, "q": p.window_size, "r": p._rows, "c": p._columns}
GRID: dict[str, Any] = {"p": p.window_size, "q": p.window_size, "r": p._down, "c": p._right}
HEADS = p("num_heads", "qkv_bias", "absolute")


class PartitionAttention(Pattern):
    """(B, H, W, C) → (B, H, W, C): attention in groups of pixels and an MLP (section 3.2).

    Groups are windows of neighbours, or every rth row and cth column of the image: a grid. An
    image of one group is both.
    """

    keras = "partition_attention"
    nested = True
    inner = True
    order = staticmethod(plain)
    style = ("activation", "qkv_bias", "mlp_ratio", "epsilon")

    def onnx(self, op: Ops, x: Var) -> Expr:
        y: Expr = op.LayerNorm(x, role="norm", epsilon=p.epsilon)
        y = any_of(
            op.Rearrange("b (r p) (c q) d -> (b r c) p q d", y, **WINDOWS),
            op.Rearrange("b (p r) (q c) d -> (b r c) p q d", y, **GRID),
            y,
        )
        own = {"grid": p._biased, "shift": None, "mask_windows": None}
        y = op.BiasedSelfAttention(y, role="attn", **HEADS, **own)
        y = any_of(
            op.Rearrange("(b r c) p q d -> b (r p) (c q) d", y, **WINDOWS),
            op.Rearrange("(b r c) p q d -> b (p r) (q c) d", y, **GRID),
            y,
        )
        y = op.Add(x, any_of(op.PixelLayerScale(y, role="scale"), y))
        return op.FeedForward(y, role="mlp", layer_scale=p.layer_scale, **MLP)

    def params(self, m: Match) -> dict[str, Any]:
        size = window_size_of(m)
        _, height, width, _ = m.shape("x", 4)
        across = (m._rows or m._down or 1, m._columns or m._right or 1)
        require((height, width) == (across[0] * size, across[1] * size), "it leaves out pixels")
        require((m.scale is not None) == bool(m.layer_scale), "one of its branches alone is scaled")
        groups = "windows" if m._rows else "grid"
        return {
            "window_size": size,
            **({"groups": groups} if across != (1, 1) else {}),
            **({"pairwise": True} if m._biased is None else {}),
        }

    def windows(self, block: Block) -> tuple[int, ...]:
        _, height, width, _ = block.inputs[0].shape or ()
        return height // block.window_size, width // block.window_size


def partition_attention(
    x: KerasTensor,
    num_heads: int,
    window_size: int,
    groups: str = "windows",
    mlp_ratio: float = 4,
    activation: str = "gelu",
    qkv_bias: bool = True,
    absolute: bool = False,
    pairwise: bool = False,
    layer_scale: bool = False,
    epsilon: float = 1e-5,
    dropout: float = 0.0,
    *,
    name: str,
) -> KerasTensor:
    """Attention of the pixels of each group, and an MLP.

    The groups are "windows" of neighbours, or a "grid" of pixels over the whole image. The bias is
    learned for each offset in a group, for each `absolute` one, or for each pair if `pairwise`.
    """
    _, height, width, _ = x.shape
    own: dict[str, Any] = {"qkv_bias": qkv_bias}
    if not pairwise:
        own["grid"] = (window_size, window_size)
    if absolute:
        own["absolute"] = True
    inputs = keras.Input(x.shape[1:])
    y = layers.LayerNormalization(epsilon=epsilon, name="norm")(inputs)
    y = grid_partition(y, window_size) if groups == "grid" else window_partition(y, window_size)
    y = biased_self_attention(y, num_heads, **own, name="attn")
    if groups == "grid":
        y = grid_reverse(y, height, width, window_size)
    else:
        y = window_reverse(y, height, width, window_size)
    if layer_scale:
        y = layer_scaled(y, name="scale")
    if dropout:
        y = layers.Dropout(dropout, name="dropout")(y)
    y = layers.Add(name="add_attn")([inputs, y])
    options: dict[str, Any] = {"epsilon": epsilon, "dropout": dropout}
    y = feed_forward(y, mlp_ratio, activation, layer_scale=layer_scale, **options, name="mlp")
    return keras.Model(inputs, y, name=name)(x)


class MultiAxisAttention(Pattern):
    """(B, C, H, W) → (B, C, H, W): attention in windows, then in a grid (section 3.2, figure 3)."""

    keras = "multi_axis_attention"
    nested = True
    style = ("window_size",)
    before: ClassVar[tuple[str, ...]] = ("LastMultiAxisAttention",)

    def onnx(self, op: Ops, x: Var) -> Expr:
        return op.Transpose(self.pixels(op, x), perm=(0, 3, 1, 2))

    def pixels(self, op: Ops, x: Var) -> Expr:
        """(B, H, W, C), as both attentions see the image."""
        own = {**p("window_size", "pairwise", "layer_scale"), **HEADS, **MLP}

        y = op.Transpose(x, perm=(0, 2, 3, 1))
        windows = p._windows.where(lambda groups: groups == "windows")
        y = op.PartitionAttention(y, role="windows", groups=windows, **own)
        grid = p._grid.where(lambda groups: groups == "grid")
        return op.PartitionAttention(y, role="grid", groups=grid, **own)


class LastMultiAxisAttention(MultiAxisAttention):
    """(B, C, H, W) → (B, H, W, C): the same before a normalization of pixels."""

    before = ()
    gives = staticmethod(plain)

    def onnx(self, op: Ops, x: Var) -> Expr:
        return self.pixels(op, x)


def multi_axis_attention(
    x: KerasTensor,
    num_heads: int,
    window_size: int = 7,
    dropout: float = 0.0,
    *,
    name: str,
    **block: Any,
) -> KerasTensor:
    """Attention in windows of an image, and then in a grid of pixels that spans it."""
    _, height, width, _ = x.shape
    if None in (height, width) or height % window_size or width % window_size:
        raise ValueError(f"{name}: windows of {window_size} do not fill {height}×{width} pixels")
    inputs = keras.Input(x.shape[1:])
    block |= {"num_heads": num_heads, "window_size": window_size, "dropout": dropout}
    y = partition_attention(inputs, name="windows", **block)
    y = partition_attention(y, groups="grid", name="grid", **block)
    return keras.Model(inputs, y, name=name)(x)


class ShortcutConvNeXtBlock(Pattern):
    """ConvNeXt's block (arXiv:2201.03545, figure 4) in the place of MBConv, with its shortcut.

    timm's MaxxViT and CoAtNeXt have it where the size or the channels change; each channel makes
    one or several others.
    """

    keras = "shortcut_convnext_block"
    nested = True
    style = ("kernel_size", "activation", "use_bias", "shortcut_bias", "layer_scale", "epsilon")

    def onnx(self, op: Ops, x: Var) -> Expr:
        own = {**p("kernel_size", "strides", "padding", "use_bias"), "dilation": 1, **ALONE}
        y: Expr = any_of(
            DepthwiseConv(x, role="conv", filters=p.filters, **own),
            GroupConv(x, role="conv", filters=p.filters, groups=p._groups, **own),
        )
        y = op.LayerNorm2d(y, role="norm", epsilon=p.epsilon)
        active = p.activation.where(lambda how: how is not None)
        linear: dict[str, Any] = {"batch_norm": False, "use_bias": p.use_bias}
        y = PointwiseConv(y, role="mlp_in", activation=active, **linear)
        y = PointwiseConv(y, role="mlp_out", filters=p.filters, activation=None, **linear)
        return op.Add(any_of(op.ImageLayerScale(y, role="scale"), y), shortcut(op, x))

    def params(self, m: Match) -> dict[str, Any]:
        _, channels, _, _ = m.shape("x", 4)
        mlp_ratio = multiple(m.mlp_in.filters, m.filters)
        require(m.strides > 1 or m.filters != channels, "it is ConvNeXt's own")
        require(m._groups in (None, 1, channels), "it is of groups of channels")
        require(m.conv.depthwise or m._groups == channels, "its convolution sees all channels")
        check_shortcut(m, m.strides, m.filters)
        return {"mlp_ratio": mlp_ratio, "layer_scale": m.scale is not None}


def shortcut_convnext_block(
    x: KerasTensor,
    filters: int,
    kernel_size: int = 7,
    strides: int = 1,
    mlp_ratio: float = 4,
    activation: str = "gelu",
    use_bias: bool = True,
    shortcut_bias: bool = True,
    layer_scale: bool = False,
    padding: str | Pads | None = None,
    epsilon: float = 1e-6,
    *,
    name: str,
) -> KerasTensor:
    """A convolution of each channel, and an MLP on the normalized channels of each pixel."""
    inputs = keras.Input(x.shape[1:])
    plain: dict[str, Any] = {"activation": None, "batch_norm": False, "use_bias": use_bias}
    own: dict[str, Any] = {"strides": strides, "padding": padding, "groups": x.shape[-1]}
    if filters == x.shape[-1]:
        own |= {"depthwise": True, "groups": 1}
    y = conv_bn_act(inputs, filters, kernel_size, name="conv", **own, **plain)
    y = layers.LayerNormalization(epsilon=epsilon, name="norm")(y)
    hidden = round(filters * mlp_ratio)
    y = conv_bn_act(y, hidden, 1, name="mlp_in", **{**plain, "activation": activation})
    y = conv_bn_act(y, filters, 1, name="mlp_out", **plain)
    if layer_scale:
        y = layer_scaled(y, name="scale")
    short = shortened(inputs, filters, strides, shortcut_bias)
    y = layers.Add(name="add")([short, y])
    return keras.Model(inputs, y, name=name)(x)
