"""CoAtNet (arXiv:2106.04803): convolutions that normalize first, then attention of all pixels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from onnx2mvit.matcher import Expr, Match, Ops, Pattern, Var, any_of, multiple, p, require

from .attention import layer_scaled
from .biased_attention import BIAS
from .conv import STYLE, DepthwiseConv, PointwiseConv, conv_bn_act
from .relative_attention import ALONE, relative_attention
from .squeeze_excite import SQUEEZE, SQUEEZED, squeeze_excite

if TYPE_CHECKING:
    import keras
    from keras import KerasTensor, layers

HALF = {"pool_size": 2, "strides": 2}


def shortcut(op: Ops, x: Var) -> Expr:
    """The input, of half the size if it is pooled, with other channels if there are others."""
    pooled = op.AveragePooling2D(x, role="shortcut_pool", **HALF)
    own = {"filters": p._shortcut, "use_bias": p.shortcut_bias}
    expanded = PointwiseConv(any_of(pooled, x), role="shortcut", **own, **ALONE)
    return any_of(expanded, pooled, x)


def check_shortcut(m: Match, strides: int, filters: int) -> None:
    """Requires that the shortcut is pooled and expanded where, and only where, it must be."""
    _, channels, _, _ = m.shape("x", 4)
    require((m.shortcut_pool is not None) == (strides == 2), "its shortcut has other strides")
    require((m.shortcut is not None) == (channels != filters), "its shortcut has other channels")


class PreNormMBConv(Pattern):
    """CoAtNet's MBConv (arXiv:2106.04803, equation 5 and section 2.2), which normalizes first.

    Its shortcut is pooled where it has strides. These are of its depthwise convolution or of a
    pooling before; squeeze and excitation stands after the normalization of that or before.
    """

    keras = "pre_norm_mbconv"
    nested = True
    style = (
        *("activation", "pre_activation", "early_squeeze", "project_bias", "shortcut_bias"),
        *("bn_epsilon", "bn_momentum", *SQUEEZE),
    )
    before = ("DepthwiseSeparable", "InvertedResidual", "UniversalInvertedBottleneck")

    def onnx(self, op: Ops, x: Var) -> Expr:
        norm = {"epsilon": p.bn_epsilon, "momentum": p.bn_momentum}
        active = p.activation.where(lambda how: how is not None)
        y: Expr = op.BatchNorm(x, role="pre_norm", **norm)
        y = any_of(op.Activation(y, role="pre_act", activation=p.pre_activation), y)
        y = any_of(op.AveragePooling2D(y, role="down", **HALF), y)
        y = PointwiseConv(y, role="expand", activation=active, **STYLE)
        own = {"kernel_size": p.kernel_size, "strides": p._strides, "dilation": 1}
        late = DepthwiseConv(y, role="depthwise", activation=active, **own, **STYLE)
        plain = {**ALONE, "use_bias": False, "padding": p.padding}
        early = DepthwiseConv(y, role="depthwise", **own, **plain)
        early = op.SqueezeExcite(early, role="se", **SQUEEZED)
        early = op.BatchNorm(early, role="norm", **norm)
        y = any_of(
            op.Activation(early, role="act", activation=active),
            op.SqueezeExcite(late, role="se", **SQUEEZED),
            late,
        )
        own = {"filters": p.filters, "use_bias": p.project_bias}
        y = PointwiseConv(y, role="project", **own, **ALONE)
        y = any_of(op.ImageLayerScale(y, role="scale"), y)
        return op.Add(y, shortcut(op, x))

    def params(self, m: Match) -> dict[str, Any]:
        _, channels, _, _ = m.shape("x", 4)
        strides = m._strides * (1 if m.down is None else 2)
        expansion = multiple(m.expand.filters, channels)
        check_shortcut(m, strides, m.filters)
        return {
            "expansion": expansion,
            "strides": strides,
            "pooled": m.down is not None,
            "pre_activation": m.pre_activation,
            "early_squeeze": m.norm is not None,
            "layer_scale": m.scale is not None,
        }


def pre_norm_mbconv(
    x: KerasTensor,
    filters: int,
    expansion: float,
    kernel_size: int = 3,
    strides: int = 1,
    pooled: bool = False,
    squeeze: int | None = None,
    activation: str = "silu",
    pre_activation: str | None = None,
    early_squeeze: bool = False,
    project_bias: bool = True,
    shortcut_bias: bool = True,
    layer_scale: bool = False,
    bn_epsilon: float = 1e-5,
    bn_momentum: float = 0.9,
    squeeze_activation: str = "relu",
    squeeze_gate: str = "sigmoid",
    squeeze_bias: bool = True,
    *,
    name: str,
    **conv: Any,
) -> KerasTensor:
    """An inverted residual that normalizes first; its strides are those of a pooling or of the
    depthwise convolution, and its input is pooled for the sum.
    """
    inputs = keras.Input(x.shape[1:])
    norm = {"epsilon": bn_epsilon, "momentum": bn_momentum}
    conv |= {"bn_epsilon": bn_epsilon, "bn_momentum": bn_momentum}
    expanded = round(x.shape[-1] * expansion)
    y = layers.BatchNormalization(**norm, name="pre_norm")(inputs)
    if pre_activation:
        y = layers.Activation(pre_activation, name="pre_act")(y)
    short = shortened(inputs, filters, strides, shortcut_bias)
    if pooled:
        y, strides = layers.AveragePooling2D(2, name="down")(y), 1
    y = conv_bn_act(y, expanded, 1, activation=activation, name="expand", **conv)
    own = {"depthwise": True, "activation": activation, **conv}
    if early_squeeze:
        own |= {"activation": None, "batch_norm": False, "use_bias": False}
    y = conv_bn_act(y, expanded, kernel_size, strides, name="depthwise", **own)
    if squeeze is not None:
        y = squeeze_excite(y, squeeze, squeeze_activation, squeeze_gate, squeeze_bias, name="se")
    if early_squeeze:
        y = layers.BatchNormalization(**norm, name="norm")(y)
        y = layers.Activation(activation, name="act")(y)
    y = conv_bn_act(
        y, filters, 1, activation=None, batch_norm=False, use_bias=project_bias, name="project"
    )
    if layer_scale:
        y = layer_scaled(y, name="scale")
    y = layers.Add(name="add")([short, y])
    return keras.Model(inputs, y, name=name)(x)


def shortened(x: KerasTensor, filters: int, strides: int, use_bias: bool) -> KerasTensor:
    """The input of a block as it is added: pooled and with other channels, where it must be."""
    short = x
    if strides > 1:
        short = layers.AveragePooling2D(2, name="shortcut_pool")(short)
    if x.shape[-1] != filters:
        short = conv_bn_act(
            short, filters, 1, activation=None, batch_norm=False, use_bias=use_bias, name="shortcut"
        )
    return short


def pixel_norm(op: Ops, x: Expr, role: str) -> Expr:
    """Layer normalization of each pixel, or (timm's coatnet_bn) batch normalization."""
    batch = op.BatchNorm(x, role=role, epsilon=p.epsilon, momentum=p.bn_momentum)
    return any_of(op.LayerNorm2d(x, role=role, epsilon=p.epsilon), batch)


class RelativeTransformer(Pattern):
    """CoAtNet's transformer block (arXiv:2106.04803, equation 4 and section 2.2), on images.

    Where it halves the image, what attends and what is added are pooled.
    """

    keras = "relative_transformer"
    nested = True
    style = (
        *("head_dim", "qkv_bias", "proj_bias", "mlp_ratio", "activation", "shortcut_bias"),
        *("batch_norm", "epsilon", "bn_momentum"),
    )

    def onnx(self, op: Ops, x: Var) -> Expr:
        own = p("dim", "num_heads", "head_dim", "qkv_bias", "proj_bias")
        y = pixel_norm(op, x, "norm1")
        y = any_of(op.AveragePooling2D(y, role="down", **HALF), y)
        y = op.RelativeAttention(y, role="attn", **own, **BIAS)
        y = any_of(op.ImageLayerScale(y, role="scale1"), y)
        attended = op.Add(y, shortcut(op, x))
        y = pixel_norm(op, attended, "norm2")
        active = p.activation.where(lambda how: how is not None)
        y = PointwiseConv(y, role="mlp_in", activation=active, batch_norm=False, use_bias=True)
        y = PointwiseConv(y, role="mlp_out", filters=p.dim, use_bias=True, **ALONE)
        y = any_of(op.ImageLayerScale(y, role="scale2"), y)
        return op.Add(y, attended)

    def params(self, m: Match) -> dict[str, Any]:
        strides = 1 if m.down is None else 2
        mlp_ratio = multiple(m.mlp_in.filters, m.dim)
        check_shortcut(m, strides, m.dim)
        scaled = m.scale1 is not None
        require(scaled == (m.scale2 is not None), "one of its branches alone is scaled")
        require(m.norm1.kind == m.norm2.kind, "it normalizes in two ways")
        return {
            "strides": strides,
            "mlp_ratio": mlp_ratio,
            "layer_scale": scaled,
            "batch_norm": m.norm1.kind == "BatchNorm",
        }


def relative_transformer(
    x: KerasTensor,
    dim: int,
    num_heads: int,
    strides: int = 1,
    head_dim: int = 32,
    qkv_bias: bool = True,
    proj_bias: bool = True,
    mlp_ratio: float = 4,
    activation: str = "gelu",
    shortcut_bias: bool = True,
    layer_scale: bool = False,
    batch_norm: bool = False,
    epsilon: float = 1e-5,
    bn_momentum: float = 0.9,
    *,
    name: str,
    **bias: Any,
) -> KerasTensor:
    """Attention of all pixels and an MLP, each with a residual, at half the size or not."""
    inputs = keras.Input(x.shape[1:])
    if batch_norm:
        norm = {"epsilon": epsilon, "momentum": bn_momentum}
        y = layers.BatchNormalization(**norm, name="norm1")(inputs)
    else:
        y = layers.LayerNormalization(epsilon=epsilon, name="norm1")(inputs)
    if strides > 1:
        y = layers.AveragePooling2D(2, name="down")(y)
    y = relative_attention(y, dim, num_heads, head_dim, qkv_bias, proj_bias, name="attn", **bias)
    if layer_scale:
        y = layer_scaled(y, name="scale1")
    short = shortened(inputs, dim, strides, shortcut_bias)
    x1 = layers.Add(name="add_attention")([short, y])
    if batch_norm:
        y = layers.BatchNormalization(**norm, name="norm2")(x1)
    else:
        y = layers.LayerNormalization(epsilon=epsilon, name="norm2")(x1)
    wide = round(dim * mlp_ratio)
    y = conv_bn_act(
        y, wide, 1, activation=activation, batch_norm=False, use_bias=True, name="mlp_in"
    )
    y = conv_bn_act(y, dim, 1, activation=None, batch_norm=False, use_bias=True, name="mlp_out")
    if layer_scale:
        y = layer_scaled(y, name="scale2")
    y = layers.Add(name="add_mlp")([x1, y])
    return keras.Model(inputs, y, name=name)(x)
