"""Convolution → batch normalization → activation, the brick of every network of this family."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from onnx2mvit.matcher.match import Match
from onnx2mvit.matcher.pattern import Expr, Ops, Pattern, Var, any_of, maybe

if TYPE_CHECKING:
    from keras import KerasTensor, layers

FULL = {"depthwise": False, "groups": 1}  # every channel sees every other
STYLE = ("padding", "batch_norm", "use_bias", "bn_epsilon", "bn_momentum")


class ConvBnAct(Pattern):
    """A convolution with what usually follows it; normalization and activation may be missing.

    Where the exporter folded the normalization into the convolution, the convolution has a bias.
    """

    keras = "conv_bn_act"
    style = ("activation", *STYLE)

    def onnx(self, op: Ops, x: Var) -> Expr:
        y = any_of(op.Conv2D(x, role="conv"), op.DepthwiseConv2D(x, role="conv"))
        y = maybe(op.BatchNorm(y, role="bn"))
        return maybe(op.Activation(y, role="act"))

    def params(self, m: Match) -> dict[str, Any]:
        return {
            **m.conv.params,
            "activation": m.act.activation if m.act is not None else None,
            "batch_norm": m.bn is not None,
            **({f"bn_{key}": value for key, value in m.bn.params.items()} if m.bn else {}),
        }


def conv_bn_act(
    x: KerasTensor,
    filters: int,
    kernel_size: int,
    strides: int = 1,
    dilation: int = 1,
    depthwise: bool = False,
    groups: int = 1,
    padding: str | None = None,
    activation: str | None = "silu",
    batch_norm: bool = True,
    use_bias: bool = False,
    bn_epsilon: float = 1e-5,
    bn_momentum: float = 0.9,
    *,
    name: str,
) -> KerasTensor:
    """A convolution, batch normalization and an activation."""
    if padding is None and strides > 1 and kernel_size > 1:
        # PyTorch pads every side alike, "same" would not.
        x = layers.ZeroPadding2D(dilation * ((kernel_size - 1) // 2), name=f"{name}_pad")(x)
        padding = "valid"
    steps = {"strides": strides, "dilation_rate": dilation, "padding": padding or "same"}
    if depthwise:
        conv = layers.DepthwiseConv2D(kernel_size, **steps, use_bias=use_bias, name=f"{name}_conv")
    else:
        conv = layers.Conv2D(
            filters, kernel_size, **steps, groups=groups, use_bias=use_bias, name=f"{name}_conv"
        )
    x = conv(x)
    if batch_norm:
        bn = layers.BatchNormalization(epsilon=bn_epsilon, momentum=bn_momentum, name=f"{name}_bn")
        x = bn(x)
    if activation:
        x = layers.Activation(activation, name=f"{name}_act")(x)
    return x
