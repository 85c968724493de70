"""RepViT (arXiv:2307.09283): blocks that mix the pixels of a channel, then the channels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from onnx2mvit.matcher import Expr, Match, Ops, Pattern, Var, any_of, multiple, p, require

from .conv import STYLE, DepthwiseConv, PointwiseConv, conv_bn_act
from .squeeze_excite import SQUEEZE, SQUEEZED, squeeze_excite

if TYPE_CHECKING:
    import keras
    from keras import KerasTensor, layers

NORM = {"epsilon": p.bn_epsilon, "momentum": p.bn_momentum}
MERGED = {"batch_norm": False, "use_bias": True}
EACH = {"strides": 1, "dilation": 1, "activation": None}  # a token mixer keeps the size


class RepVGGDepthwise(Pattern):
    """RepVGG's branches of every channel by itself: k×k, 1×1 and the input (section 3).

    In the first version of the code both convolutions are normalized; later the larger one and the
    sum are.
    """

    keras = "rep_vgg_depthwise"
    nested = True
    style = ("kernel_size", "normalize", "bn_epsilon", "bn_momentum")

    def onnx(self, op: Ops, x: Var) -> Expr:
        conv = DepthwiseConv(x, role="conv", kernel_size=p.kernel_size, **EACH, **STYLE)
        scale = {"role": "scale", "kernel_size": 1, **EACH}
        alike = op.Sum(conv, DepthwiseConv(x, **scale, **STYLE), x)
        plain = op.Sum(conv, DepthwiseConv(x, **scale, **MERGED), x)
        return any_of(op.BatchNorm(plain, role="norm", **NORM), alike)

    def params(self, m: Match) -> dict[str, Any]:
        m.shape("x", 4)
        require(m.kernel_size > 1, "its larger convolution sees one pixel")
        return {"normalize": m.norm is not None}


def rep_vgg_depthwise(
    x: KerasTensor,
    kernel_size: int = 3,
    normalize: bool = False,
    bn_epsilon: float = 1e-5,
    bn_momentum: float = 0.9,
    *,
    name: str,
    **conv: Any,
) -> KerasTensor:
    """Two convolutions of every channel by itself, k×k and 1×1, and the input, summed."""
    inputs = keras.Input(x.shape[1:])
    norm = {"bn_epsilon": bn_epsilon, "bn_momentum": bn_momentum}
    alike = {"depthwise": True, "activation": None, **norm, **conv}
    y = conv_bn_act(inputs, x.shape[-1], kernel_size, name="conv", **alike)
    if normalize:  # the sum, and so not this one
        alike |= {"batch_norm": False, "use_bias": True}
    scale = conv_bn_act(inputs, x.shape[-1], 1, name="scale", **alike)
    y = layers.Add(name="add")([y, scale, inputs])
    if normalize:
        bn = layers.BatchNormalization(epsilon=bn_epsilon, momentum=bn_momentum, name="norm")
        y = bn(y)
    return keras.Model(inputs, y, name=name)(x)


def mixed_channels(op: Ops, x: Expr) -> Expr:
    """x + 1×1(activation(1×1(x)))."""
    active = p.activation.where(lambda how: how is not None)
    y = PointwiseConv(x, role="conv1", activation=active, **STYLE)
    return op.Add(PointwiseConv(y, role="conv2", activation=None, **STYLE), x)


def expansion_of(m: Match, channels: int) -> dict[str, Any]:
    """How many times the channels there are between the two 1×1 convolutions."""
    expansion = multiple(m.conv1.filters, channels)
    require(m.conv2.filters == channels, f"it makes {m.conv2.filters} channels of {channels}")
    return {"expansion": expansion}


class RepViTBlock(Pattern):
    """A token mixer, squeezed or not, then a channel mixer with a residual (section 3).

    Once the branches of the token mixer are merged, it is one convolution.
    """

    keras = "rep_vit_block"
    nested = True
    before = ("DepthwiseSeparable", "UniversalFeedForward")
    style = ("expansion", "kernel_size", "activation", "merged", "normalize", *SQUEEZE)

    def onnx(self, op: Ops, x: Var) -> Expr:
        size = {"kernel_size": p.kernel_size}
        y: Expr = any_of(
            DepthwiseConv(x, role="token_mixer", **size, **EACH, **STYLE),
            op.RepVGGDepthwise(x, role="token_mixer", normalize=p.normalize, **size, **STYLE),
        )
        y = any_of(y, op.SqueezeExcite(y, role="se", **SQUEEZED))
        return mixed_channels(op, y)

    def params(self, m: Match) -> dict[str, Any]:
        _, channels, _, _ = m.shape("x", 4)
        merged = m.token_mixer.kind == "ConvBnAct"
        require(m.kernel_size > 1, "its token mixer sees one pixel")
        normed = merged and m.token_mixer.batch_norm
        require(not normed, "its token mixer is one convolution, and is normalized")
        return {**expansion_of(m, channels), **({"merged": True} if merged else {})}


def rep_vit_block(
    x: KerasTensor,
    expansion: float = 2,
    kernel_size: int = 3,
    squeeze: int | None = None,
    activation: str = "gelu",
    merged: bool = False,
    normalize: bool = False,
    squeeze_activation: str = "relu",
    squeeze_gate: str = "sigmoid",
    squeeze_bias: bool = True,
    *,
    name: str,
    **conv: Any,
) -> KerasTensor:
    """RepViT's block: pixels are mixed in every channel, then channels in every pixel."""
    inputs = keras.Input(x.shape[1:])
    if merged:
        each = {"depthwise": True, "activation": None, **conv}
        y = conv_bn_act(inputs, x.shape[-1], kernel_size, name="token_mixer", **each)
    else:
        y = rep_vgg_depthwise(inputs, kernel_size, normalize=normalize, name="token_mixer", **conv)
    if squeeze is not None:
        y = squeeze_excite(y, squeeze, squeeze_activation, squeeze_gate, squeeze_bias, name="se")
    expanded = round(x.shape[-1] * expansion)
    mixed = conv_bn_act(y, expanded, 1, activation=activation, name="conv1", **conv)
    mixed = conv_bn_act(mixed, x.shape[-1], 1, activation=None, name="conv2", **conv)
    y = layers.Add(name="add")([y, mixed])
    return keras.Model(inputs, y, name=name)(x)


class RepViTDownsample(Pattern):
    """Half of the size and other channels, then a channel mixer with a residual (section 3)."""

    keras = "rep_vit_downsample"
    nested = True
    before = ("InvertedResidual", "UniversalFeedForward")
    style = ("expansion", "kernel_size", "activation")

    def onnx(self, op: Ops, x: Var) -> Expr:
        each = {"kernel_size": p.kernel_size, "strides": 2, "activation": None}
        y: Expr = DepthwiseConv(x, role="spatial", **each, **STYLE)
        y = PointwiseConv(y, role="channel", filters=p.filters, activation=None, **STYLE)
        return mixed_channels(op, y)

    def params(self, m: Match) -> dict[str, Any]:
        m.shape("x", 4)
        return expansion_of(m, m.filters)


def rep_vit_downsample(
    x: KerasTensor,
    filters: int,
    expansion: float = 2,
    kernel_size: int = 3,
    activation: str = "gelu",
    *,
    name: str,
    **conv: Any,
) -> KerasTensor:
    """RepViT's way to the next stage: half of the size, 1×1, and a channel mixer."""
    inputs = keras.Input(x.shape[1:])
    each = {"strides": 2, "depthwise": True, "activation": None, **conv}
    y = conv_bn_act(inputs, x.shape[-1], kernel_size, name="spatial", **each)
    y = conv_bn_act(y, filters, 1, activation=None, name="channel", **conv)
    expanded = round(filters * expansion)
    mixed = conv_bn_act(y, expanded, 1, activation=activation, name="conv1", **conv)
    mixed = conv_bn_act(mixed, filters, 1, activation=None, name="conv2", **conv)
    y = layers.Add(name="add")([y, mixed])
    return keras.Model(inputs, y, name=name)(x)
