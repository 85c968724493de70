"""ReXNet (arXiv:2007.00992): inverted bottlenecks whose channels grow with every block."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from onnx2mvit.matcher import Expr, Match, Ops, Pattern, Var, any_of, multiple, p, require

from .conv import STYLE, DepthwiseConv, PointwiseConv, conv_bn_act
from .pooling import global_mean
from .squeeze_excite import SQUEEZE, SQUEEZED, squeeze_excite

if TYPE_CHECKING:
    import keras
    from keras import KerasTensor, layers

NORM = p("bn_epsilon", "bn_momentum")


class NormalizedSqueezeExcite(Pattern):
    """Squeeze and excitation (arXiv:1709.01507, section 3) with batch normalization within."""

    keras = "normalized_squeeze_excite"
    style = ("activation", "bn_epsilon", "bn_momentum")

    def onnx(self, op: Ops, x: Var) -> Expr:
        y: Expr = op.GlobalMean(x, role="pool")
        active = p.activation.where(lambda how: how is not None)
        own = {"activation": active, "batch_norm": True, "use_bias": True, **NORM}
        y = PointwiseConv(y, role="reduce", filters=p.filters, **own)
        own = {"activation": "sigmoid", "batch_norm": False, "use_bias": True}
        return op.Mul(x, PointwiseConv(y, role="expand", filters=p._gates, **own))

    def params(self, m: Match) -> dict[str, Any]:
        _, channels, _, _ = m.shape("x", 4)
        require(m._gates == channels, f"the gate is for {m._gates} channels")
        return {}


def normalized_squeeze_excite(
    x: KerasTensor,
    filters: int,
    activation: str = "relu",
    bn_epsilon: float = 1e-5,
    bn_momentum: float = 0.9,
    *,
    name: str,
) -> KerasTensor:
    """Every channel times a gate; what is worked out from the mean image is normalized."""
    norm: dict[str, Any] = {"bn_epsilon": bn_epsilon, "bn_momentum": bn_momentum}
    reduce = {"activation": activation, "use_bias": True, **norm}
    y = conv_bn_act(global_mean(x), filters, 1, name=f"{name}_reduce", **reduce)
    expand: dict[str, Any] = {"activation": "sigmoid", "batch_norm": False, "use_bias": True}
    y = conv_bn_act(y, x.shape[-1], 1, name=f"{name}_expand", **expand)
    return layers.Multiply(name=f"{name}_scale")([x, y])


class ReXNetBlock(Pattern):
    """arXiv:2007.00992, section 3: an inverted bottleneck that is added to fewer channels.

    The first channels of what it makes get the input, the others are new. What follows the
    depthwise convolution is squeezed before it is activated, by another function than the
    expansion. Where that is the same, it is MobileNetV2's `InvertedResidual`.
    """

    keras = "rexnet_block"
    nested = True
    style = ("activation", "depthwise_activation", *SQUEEZE)
    before = ("InvertedResidual", "DepthwiseSeparable")

    def onnx(self, op: Ops, x: Var) -> Expr:
        active = p.activation.where(lambda how: how is not None)
        y: Expr = PointwiseConv(x, role="expand", activation=active, **STYLE)
        own = {**p("kernel_size", "strides", "dilation"), **STYLE}
        bare = DepthwiseConv(y, role="depthwise", activation=None, **own)
        squeezed = any_of(
            op.SqueezeExcite(bare, role="se", **SQUEEZED),
            op.NormalizedSqueezeExcite(
                bare, role="se", filters=p.squeeze, activation=p.squeeze_activation, **NORM
            ),
        )
        y = any_of(
            op.Activation(squeezed, role="act", activation=p.depthwise_activation),
            DepthwiseConv(y, role="depthwise", activation=p.depthwise_activation, **own),
        )
        y = PointwiseConv(y, role="project", filters=p.filters, activation=None, **STYLE)
        first, rest = (op.Slice(y, role=role, axis=1) for role in ("first", "rest"))
        return any_of(op.Concat(op.Add(first, x), rest, role="grown", axis=1), y)

    def params(self, m: Match) -> dict[str, Any]:
        _, channels, _, _ = m.shape("x", 4)
        expansion = multiple(m.expand.filters, channels)
        require(m.depthwise_activation is not None, "nothing is active after its convolution")
        alike = m.se is None and m.depthwise_activation == m.activation
        require(not alike, "it is an inverted residual")
        fits = m.strides == 1 and channels < m.filters
        require((m.grown is not None) == fits, "the input is not added where it could be")
        require(m.strides > 1 or channels != m.filters, "the input would be added to all channels")
        if m.grown is not None:
            ends = [(part.attrs["start"], part.attrs["end"]) for part in (m.first, m.rest)]
            require(ends == [(0, channels), (channels, m.filters)], f"its parts are {ends}")
        normalized = m.se is not None and m.se.kind == "NormalizedSqueezeExcite"
        return {"expansion": expansion, "squeeze_norm": normalized}


def rexnet_block(
    x: KerasTensor,
    filters: int,
    expansion: float,
    strides: int = 1,
    kernel_size: int = 3,
    dilation: int = 1,
    activation: str = "silu",
    depthwise_activation: str = "relu6",
    squeeze: int | None = None,
    squeeze_norm: bool = False,
    squeeze_activation: str = "relu",
    squeeze_gate: str = "sigmoid",
    squeeze_bias: bool = True,
    *,
    name: str,
    **conv: Any,
) -> KerasTensor:
    """1×1 expand, depthwise, squeeze, 1×1 project; the first channels get the input added."""
    inputs = keras.Input(x.shape[1:])
    channels = x.shape[-1]
    expanded = round(channels * expansion)
    y = conv_bn_act(inputs, expanded, 1, activation=activation, name="expand", **conv)
    conv["activation"] = None
    steps = {"strides": strides, "dilation": dilation, "depthwise": True, **conv}
    if squeeze is None:
        steps["activation"] = depthwise_activation
    y = conv_bn_act(y, expanded, kernel_size, name="depthwise", **steps)
    if squeeze is not None:
        if squeeze_norm:
            norm = {key: value for key, value in conv.items() if key.startswith("bn_")}
            y = normalized_squeeze_excite(y, squeeze, squeeze_activation, name="se", **norm)
        else:
            y = squeeze_excite(
                y, squeeze, squeeze_activation, squeeze_gate, squeeze_bias, name="se"
            )
        y = layers.Activation(depthwise_activation, name="act")(y)
    y = conv_bn_act(y, filters, 1, name="project", **conv)
    if strides == 1 and channels < filters:
        first = layers.Add(name="add")([y[..., :channels], inputs])
        y = layers.Concatenate(name="concat")([first, y[..., channels:]])
    return keras.Model(inputs, y, name=name)(x)
