"""Convolutions with a large kernel beside a small one (RepLKNet, arXiv:2203.06717).

FastViT's and MobileCLIP's patch embeddings begin with them. Merged they are one convolution.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from onnx2mvit.matcher import Expr, Match, Ops, Pattern, Var, any_of, maybe, p, require

from .conv import STYLE, conv_bn_act
from .repvgg import Branch
from .squeeze_excite import SQUEEZE, SQUEEZED, squeeze_excite

if TYPE_CHECKING:
    import keras
    from keras import KerasTensor, layers


class LargeKernelConv(Pattern):
    """A large convolution and a small one, summed (arXiv:2203.06717, guideline 3 of section 3).

    In groups, of which each has one channel, it begins FastViT's patch embedding (section 3.3).
    MobileCLIP (arXiv:2311.17049) squeezes and activates the sum.
    """

    keras = "large_kernel_conv"
    nested = True
    style = ("kernel_size", "small_kernel", "activation", *SQUEEZE)

    def onnx(self, op: Ops, x: Var) -> Expr:
        alike = {**p("filters", "strides", "groups", "depthwise"), "dilation": 1, **STYLE}
        large = Branch(x, role="large", kernel_size=p.kernel_size, **alike)
        small = Branch(x, role="small", kernel_size=p.small_kernel, **alike)
        y: Expr = op.Add(large, small, role="add")
        y = any_of(op.SqueezeExcite(y, role="se", **SQUEEZED), y)
        return maybe(op.Activation(y, role="act", activation=p.activation))

    def params(self, m: Match) -> dict[str, Any]:
        require(m.kernel_size > m.small_kernel > 1, "its kernels are not a large and a small one")
        alike = m.large.output.shape == m.small.output.shape
        require(alike, "it adds unequal shapes")
        return {"activation": m.activation}


def large_kernel_conv(
    x: KerasTensor,
    filters: int,
    kernel_size: int = 7,
    small_kernel: int = 3,
    strides: int = 1,
    groups: int = 1,
    depthwise: bool = False,
    squeeze: int | None = None,
    activation: str | None = None,
    squeeze_activation: str = "relu",
    squeeze_gate: str = "sigmoid",
    squeeze_bias: bool = True,
    *,
    name: str,
    **conv: Any,
) -> KerasTensor:
    """A convolution with a large kernel and one with a small kernel, summed."""
    inputs = keras.Input(x.shape[1:])
    conv |= {"strides": strides, "groups": groups, "depthwise": depthwise, "activation": None}
    large = conv_bn_act(inputs, filters, kernel_size, name="large", **conv)
    small = conv_bn_act(inputs, filters, small_kernel, name="small", **conv)
    y = layers.Add(name="add")([large, small])
    if squeeze is not None:
        y = squeeze_excite(y, squeeze, squeeze_activation, squeeze_gate, squeeze_bias, name="se")
    if activation:
        y = layers.Activation(activation, name="act")(y)
    return keras.Model(inputs, y, name=name)(x)
