"""MobileNetV4 (arXiv:2404.10518): the universal inverted bottleneck and Mobile MQA."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from onnx2mvit.matcher import Expr, Match, Ops, Pattern, Var, any_of, multiple, p, require, scalar

from .attention import layer_scaled
from .conv import STYLE, Conv1x1, DepthwiseConv, PointwiseConv, conv_bn_act
from .vit import image_to_tokens

if TYPE_CHECKING:
    import keras
    from keras import KerasTensor, layers, ops


def expanded(x: Expr) -> Expr:
    """The 1×1 convolution to more channels."""
    active = p.activation.where(lambda how: how is not None)
    return PointwiseConv(x, role="expand", activation=active, **STYLE)


def projected(op: Ops, y: Expr) -> Expr:
    """The 1×1 convolution to fewer channels, scaled (arXiv:2103.17239) or not."""
    y = PointwiseConv(y, role="project", filters=p.filters, activation=None, **STYLE)
    return any_of(op.ImageLayerScale(y, role="scale"), y)


class UniversalInvertedBottleneck(Pattern):
    """arXiv:2404.10518, section 3 and figure 4: depthwise convolutions where a search put them.

    With one before the expansion and one after it the paper calls it ExtraDW, with the first alone
    ConvNext-Like. With the second alone it is MobileNetV2's `InvertedResidual`.
    """

    keras = "universal_inverted_bottleneck"
    nested = True
    style = ("activation", "layer_scale")
    before = ("DepthwiseSeparable", "InvertedResidual")

    def onnx(self, op: Ops, x: Var) -> Expr:
        size = p.start_kernel.where(lambda size: size in (3, 5))  # what the paper searches in
        own = {"kernel_size": size, "strides": p._start_strides, "dilation": p.dilation}
        y = expanded(DepthwiseConv(x, role="start", activation=None, **own, **STYLE))
        own = {"kernel_size": p.middle_kernel, "strides": p._strides, "dilation": p.dilation}
        middle = DepthwiseConv(y, role="middle", activation=p.activation, **own, **STYLE)
        y = projected(op, any_of(middle, y))
        return any_of(op.Add(x, y, role="add"), y)

    def params(self, m: Match) -> dict[str, Any]:
        strides = m._start_strides if m.middle is None else m._strides
        require(m.middle is None or m._start_strides == 1, "its first convolution has strides")
        return {"strides": strides, **read_bottleneck(m, strides)}


def read_bottleneck(m: Match, strides: int) -> dict[str, Any]:
    """Requires that the input is added where, and only where, the shape allows it."""
    _, channels, _, _ = m.shape("x", 4)
    expansion = multiple(m.expand.filters, channels)
    fits = strides == 1 and m.filters == channels
    require((m.add is not None) == fits, "the input is not added where it could be")
    return {"expansion": expansion, "layer_scale": m.scale is not None}


def universal_inverted_bottleneck(
    x: KerasTensor,
    filters: int,
    expansion: float,
    start_kernel: int,
    middle_kernel: int | None = None,
    strides: int = 1,
    dilation: int = 1,
    activation: str = "relu",
    layer_scale: bool = False,
    *,
    name: str,
    **conv: Any,
) -> KerasTensor:
    """MobileNetV4's block: depthwise, 1×1 expand, depthwise again or not, 1×1 project.

    The strides are those of the last depthwise convolution. The input is added if it fits.
    """
    inputs = keras.Input(x.shape[1:])
    channels, expanded = x.shape[-1], round(x.shape[-1] * expansion)
    depthwise = {"depthwise": True, "dilation": dilation, **conv}
    steps = strides if middle_kernel is None else 1
    y = conv_bn_act(
        inputs, channels, start_kernel, steps, activation=None, name="start", **depthwise
    )
    y = conv_bn_act(y, expanded, 1, activation=activation, name="expand", **conv)
    if middle_kernel is not None:
        y = conv_bn_act(
            y, expanded, middle_kernel, strides, activation=activation, name="middle", **depthwise
        )
    y = conv_bn_act(y, filters, 1, activation=None, name="project", **conv)
    if layer_scale:
        y = layer_scaled(y, name="scale")
    if strides == 1 and channels == filters:
        y = layers.Add(name="add")([inputs, y])
    return keras.Model(inputs, y, name=name)(x)


class UniversalFeedForward(Pattern):
    """arXiv:2404.10518, figure 4, FFN: the bottleneck without depthwise convolutions."""

    keras = "universal_feed_forward"
    nested = True
    style = ("activation", "layer_scale")

    def onnx(self, op: Ops, x: Var) -> Expr:
        return op.Add(x, projected(op, expanded(x)), role="add")

    def params(self, m: Match) -> dict[str, Any]:
        return read_bottleneck(m, 1)


def universal_feed_forward(
    x: KerasTensor,
    filters: int,
    expansion: float,
    activation: str = "relu",
    layer_scale: bool = False,
    *,
    name: str,
    **conv: Any,
) -> KerasTensor:
    """MobileNetV4's block without depthwise convolutions: 1×1 expand and project, and the input."""
    inputs = keras.Input(x.shape[1:])
    expanded = round(x.shape[-1] * expansion)
    y = conv_bn_act(inputs, expanded, 1, activation=activation, name="expand", **conv)
    y = conv_bn_act(y, filters, 1, activation=None, name="project", **conv)
    if layer_scale:
        y = layer_scaled(y, name="scale")
    y = layers.Add(name="add")([inputs, y])
    return keras.Model(inputs, y, name=name)(x)


class MobileMQA(Pattern):
    """arXiv:2404.10518, section 4.2: attention of pixels, with one key and value for all heads.

    Keys and values may be of fewer pixels, by a depthwise convolution with strides (equation 3).
    """

    keras = "mobile_mqa"
    nested = True
    style = ("layer_scale", "bn_epsilon", "bn_momentum")

    def onnx(self, op: Ops, x: Var) -> Expr:
        alone = {"strides": 1, "activation": None, "batch_norm": False, "use_bias": False}
        heads: dict[str, Any] = {"h": p.num_heads, "k": p.key_dim}
        norm = op.BatchNorm(x, role="norm", epsilon=p.bn_epsilon, momentum=p.bn_momentum)

        def fewer(role: str) -> Expr:
            own = {"kernel_size": p.kv_kernel, "strides": p.kv_strides, "dilation": 1}
            conv = DepthwiseConv(norm, role=role, activation=None, **own, **STYLE)
            return any_of(conv, norm)

        query = op.Rearrange(
            "b (h k) r c -> b h (r c) k", Conv1x1(norm, role="query", **alone), **heads
        )
        key = Conv1x1(fewer("key_down"), role="key", filters=p.key_dim, **alone)
        keys = any_of(
            op.Rearrange("b t k -> b 1 k t", op.ImageToTokens(key, role="key_tokens")),
            op.Rearrange("b k r c -> b 1 k (r c)", key),
        )
        value = Conv1x1(fewer("value_down"), role="value", filters=p.key_dim, **alone)
        tokens = op.ImageToTokens(value, role="value_tokens")
        values = any_of(op.Rearrange("b t k -> b 1 t k", tokens), tokens)
        scores = op.Mul(op.MatMul(query, keys), scalar("scale"))
        y: Expr = op.MatMul(op.Softmax(scores, axis=-1), values)
        y = op.Rearrange("b h (r c) k -> b (h k) r c", y, **heads)
        y = Conv1x1(y, role="output", **alone)
        y = any_of(op.ImageLayerScale(y, role="scale_output"), y)
        return op.Add(x, y)

    def params(self, m: Match) -> dict[str, Any]:
        _, channels, _, _ = m.shape("x", 4)
        require(m.output.filters == channels, f"it makes {m.output.filters} of {channels} channels")
        require(
            (m.key_down is None) == (m.value_down is None),
            "its keys and values are not of the same pixels",
        )
        scale = float(m.scale.const.reshape(()))
        require(math.isclose(scale, m.key_dim**-0.5, rel_tol=1e-5), "the scale is not 1/sqrt(d)")
        return {"layer_scale": m.scale_output is not None}


def mobile_mqa(
    x: KerasTensor,
    num_heads: int,
    key_dim: int,
    kv_kernel: int | None = None,
    kv_strides: int = 1,
    layer_scale: bool = False,
    bn_epsilon: float = 1e-5,
    bn_momentum: float = 0.9,
    *,
    name: str,
    **conv: Any,
) -> KerasTensor:
    """MobileNetV4's attention of pixels: many heads, which share one key and one value."""
    inputs = keras.Input(x.shape[1:])
    y = layers.BatchNormalization(epsilon=bn_epsilon, momentum=bn_momentum, name="norm")(inputs)
    query = linear(y, num_heads * key_dim, name="query")
    key = value = y
    if kv_kernel is not None:
        conv |= {"bn_epsilon": bn_epsilon, "bn_momentum": bn_momentum, "activation": None}
        down = {"strides": kv_strides, "depthwise": True, **conv}
        key = conv_bn_act(y, x.shape[-1], kv_kernel, name="key_down", **down)
        value = conv_bn_act(y, x.shape[-1], kv_kernel, name="value_down", **down)
    key = image_to_tokens(linear(key, key_dim, name="key"))
    value = image_to_tokens(linear(value, key_dim, name="value"))
    heads = ops.stack(ops.split(query, num_heads, axis=-1), axis=3)
    scores = ops.einsum("bhwnk,btk->bhwnt", heads, key) * key_dim**-0.5
    y = ops.einsum("bhwnt,btk->bhwnk", layers.Softmax()(scores), value)
    y = ops.concatenate(ops.unstack(y, num_heads, axis=3), axis=-1)
    y = linear(y, x.shape[-1], name="output")
    if layer_scale:
        y = layer_scaled(y, name="scale_output")
    y = layers.Add(name="add")([inputs, y])
    return keras.Model(inputs, y, name=name)(x)


def linear(x: KerasTensor, filters: int, *, name: str) -> KerasTensor:
    """A 1×1 convolution and nothing else."""
    plain: dict[str, Any] = {"activation": None, "batch_norm": False, "use_bias": False}
    return conv_bn_act(x, filters, 1, name=name, **plain)
