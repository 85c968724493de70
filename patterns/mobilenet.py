"""MobileNetV1's block (arXiv:1704.04861), V2's (arXiv:1801.04381), and V3's (arXiv:1905.02244)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from onnx2mvit.matcher import Expr, Match, Ops, Pattern, Var, any_of, maybe, multiple, p, require

from .conv import STYLE, DepthwiseConv, PointwiseConv, conv_bn_act
from .squeeze_excite import SQUEEZE, SQUEEZED, squeeze_excite

if TYPE_CHECKING:
    import keras
    from keras import KerasTensor, layers


class DepthwiseSeparable(Pattern):
    """MobileNetV1's block (arXiv:1704.04861, section 3.1 and figure 3).

    Some code bases leave out the activation after the depthwise convolution.
    """

    keras = "depthwise_separable"
    nested = True
    style = ("kernel_size", "activation", "depthwise_activation")

    def onnx(self, op: Ops, x: Var) -> Expr:
        own = p("strides", "kernel_size", "dilation")
        y = DepthwiseConv(x, role="depthwise", activation=p.depthwise_activation, **own, **STYLE)
        active = p.activation.where(lambda how: how is not None)
        return PointwiseConv(y, role="pointwise", filters=p.filters, activation=active, **STYLE)

    def params(self, m: Match) -> dict[str, Any]:
        m.shape("x", 4)
        return {}


def depthwise_separable(
    x: KerasTensor,
    filters: int,
    strides: int = 1,
    kernel_size: int = 3,
    dilation: int = 1,
    activation: str = "relu",
    depthwise_activation: str | None = "relu",
    *,
    name: str,
    **conv: Any,
) -> KerasTensor:
    """MobileNet's block: a convolution of every channel by itself, then a 1×1 over all."""
    inputs = keras.Input(x.shape[1:])
    y = conv_bn_act(
        inputs,
        inputs.shape[-1],
        kernel_size,
        strides=strides,
        dilation=dilation,
        depthwise=True,
        activation=depthwise_activation,
        name="depthwise",
        **conv,
    )
    y = conv_bn_act(y, filters, 1, activation=activation, name="pointwise", **conv)
    return keras.Model(inputs, y, name=name)(x)


# The momentum of the first normalization may be another (Hugging Face's).
STATIC = {name: param for name, param in STYLE.items() if name != "bn_momentum"}
# All convolutions but the last may have biases where that is normalized.
BIASED = {"batch_norm": p._batch_norm, "use_bias": p._use_bias}


class InvertedResidual(Pattern):
    """MobileNetV2's block (arXiv:1801.04381, section 3.3); MobileViT's MV2.

    With squeeze and excitation it is MobileNetV3's (arXiv:1905.02244, section 4) and
    EfficientNet's MBConv (arXiv:1905.11946, section 4). The input is added where stride and
    channels allow it. Without expansion there is no 1×1 convolution before the depthwise one.
    EfficientViT's may normalize its last convolution alone (arXiv:2205.14756).
    """

    keras = "inverted_residual"
    nested = True
    style = ("activation", *SQUEEZE, "expand_momentum")

    def onnx(self, op: Ops, x: Var) -> Expr:
        act = p("activation")
        own = p("strides", "kernel_size", "dilation")
        y: Expr = maybe(PointwiseConv(x, role="expand", **act, **{**STATIC, **BIASED}))
        y = DepthwiseConv(y, role="depthwise", **own, **act, **{**STYLE, **BIASED})
        y = any_of(y, op.SqueezeExcite(y, role="se", **SQUEEZED))
        y = PointwiseConv(y, role="project", filters=p.filters, activation=None, **STYLE)
        return any_of(op.Add(x, y, role="add"), y)

    def params(self, m: Match) -> dict[str, Any]:
        _, channels, _, _ = m.shape("x", 4)
        expanded = m.depthwise.filters
        expansion = multiple(expanded, channels)
        require(m.expand is not None or expansion == 1, "it expands without a convolution")
        residual = m.depthwise.strides == 1 and m.project.filters == channels
        require((m.add is not None) == residual, "the input is not added where it could be")
        first, last = (m._batch_norm, m._use_bias), (m.batch_norm, m.use_bias)
        fewer = first == (False, True) and last == (True, False)
        require(first == last or fewer, "its convolutions are not normalized alike")
        return {
            "expansion": expansion if m.expand is not None else None,
            **({"fewer_norm": True} if fewer else {}),
            **self.expand_momentum(m),
        }

    def expand_momentum(self, m: Match) -> dict[str, float]:
        """The momentum of the first normalization if only that is another (Hugging Face's)."""
        first, second = (
            block.params.get("bn_momentum") if block is not None else None
            for block in (m.expand, m.depthwise)
        )
        return {} if first in (None, second) else {"expand_momentum": first}


def inverted_residual(
    x: KerasTensor,
    filters: int,
    expansion: float | None,
    strides: int = 1,
    kernel_size: int = 3,
    dilation: int = 1,
    activation: str = "silu",
    squeeze: int | None = None,
    squeeze_activation: str = "relu",
    squeeze_gate: str = "sigmoid",
    squeeze_bias: bool = True,
    expand_momentum: float | None = None,
    fewer_norm: bool = False,
    *,
    name: str,
    **conv: Any,
) -> KerasTensor:
    """MobileNetV2's block: 1×1 expand, depthwise, 1×1 project, and the input added if it fits."""
    inputs = keras.Input(x.shape[1:])
    channels = expanded = x.shape[-1]
    y = inputs
    if fewer_norm:
        conv |= {"batch_norm": False, "use_bias": True}
    if expansion is not None:
        expanded = round(channels * expansion)
        expand = {"activation": activation, **conv}
        if expand_momentum is not None:
            expand["bn_momentum"] = expand_momentum
        y = conv_bn_act(y, expanded, 1, name="expand", **expand)
    y = conv_bn_act(
        y,
        expanded,
        kernel_size,
        strides=strides,
        dilation=dilation,
        depthwise=True,
        activation=activation,
        name="depthwise",
        **conv,
    )
    if squeeze is not None:
        y = squeeze_excite(
            y,
            squeeze,
            activation=squeeze_activation,
            gate=squeeze_gate,
            use_bias=squeeze_bias,
            name="se",
        )
    if fewer_norm:
        conv |= {"batch_norm": True, "use_bias": False}
    y = conv_bn_act(y, filters, 1, activation=None, name="project", **conv)
    if strides == 1 and channels == filters:
        y = layers.Add(name="add")([inputs, y])
    return keras.Model(inputs, y, name=name)(x)
