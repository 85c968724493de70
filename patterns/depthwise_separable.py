"""MobileNet's depthwise separable convolution: k×k depthwise → 1×1 pointwise."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from onnx2mvit.matcher.match import Match
from onnx2mvit.matcher.pattern import Expr, Ops, Pattern, Var

from .conv_bn_act import FULL, STYLE, conv_bn_act

if TYPE_CHECKING:
    import keras
    from keras import KerasTensor


class DepthwiseSeparable(Pattern):
    """MobileNetV1's block (arXiv:1704.04861, section 3.1 and figure 3).

    Some code bases leave out the activation after the depthwise convolution.
    """

    keras = "depthwise_separable"
    nested = True
    style = ("kernel_size", "activation", "depthwise_activation")

    def onnx(self, op: Ops, x: Var) -> Expr:
        y = op.ConvBnAct(x, role="depthwise", depthwise=True)
        act = {"activation": lambda how: how is not None}
        return op.ConvBnAct(y, role="pointwise", kernel_size=1, strides=1, **act, **FULL)

    def params(self, m: Match) -> dict[str, Any]:
        m.shape("x", 4)
        return {
            "filters": m.pointwise.filters,
            "strides": m.depthwise.strides,
            "kernel_size": m.depthwise.kernel_size,
            "dilation": m.depthwise.dilation,
            "activation": m.pointwise.activation,
            "depthwise_activation": m.depthwise.activation,
            **m.common(("depthwise", "pointwise"), *STYLE),
        }


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
