"""MobileOne's block (arXiv:2206.04040) with the branches that it is trained with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from onnx2mvit.matcher import (
    Expr,
    Match,
    Ops,
    Pattern,
    Var,
    any_number,
    at_most_one,
    p,
    require,
)

from .conv import STYLE, conv_bn_act
from .repvgg import Branch, normalized, read_sum, summed
from .squeeze_excite import SQUEEZE, squeeze_excite

if TYPE_CHECKING:
    import keras
    from keras import KerasTensor, layers


class MobileOneBlock(Pattern):
    """arXiv:2206.04040, section 3.2 and figure 3; it may be squeezed before its activation.

    Convolutions that are alike, over all channels or of every channel by itself, of which each may
    make several; a 1×1 beside larger ones; and the normalized input where the shape allows it: all
    of them are summed. Once they are merged into one convolution, two blocks in a row are
    `DepthwiseSeparable`.
    """

    keras = "mobileone_block"
    nested = True
    before = ("RepVGGBlock",)  # of which the first block of a MobileOne may be one
    style = (
        *("num_branches", "activation", "skip_as_conv"),
        *("bn_epsilon", "bn_momentum", *SQUEEZE),
    )

    def onnx(self, op: Ops, x: Var) -> Expr:
        alike = {**p("filters", "strides", "groups", "depthwise"), **STYLE}
        convs = any_number(Branch(x, **p("kernel_size", "dilation"), **alike), role="conv")
        scale = at_most_one(Branch(x, role="scale", kernel_size=1, **alike))
        return summed(op, x, convs, scale)

    def params(self, m: Match) -> dict[str, Any]:
        params = read_sum(m, (*m.conv, *([m.scale] if m.scale is not None else [])))
        size = m.kernel_size
        require(isinstance(size, int), f"its kernels of {size} are not square")
        each = m.depthwise or m.groups == m.shape("x")[1]
        require(m.groups == 1 or each, "its groups have several channels each")
        require(size > 1 or not each, "it has nothing but 1×1 of every channel by itself")
        scaled = "it has no 1×1 branch" if m.scale is None else "it has two kinds of 1×1 branches"
        require((m.scale is not None) == (size > 1), f"{scaled} beside those of {size}×{size}")
        dense = size > 1 and len(m.conv) == 1 and not each
        others = m.graph.of([self.kind])
        require(bool(others) or not dense, "it is RepVGG's block, and no other is MobileOne's")
        return {"num_branches": len(m.conv), **params}


def mobileone_block(
    x: KerasTensor,
    filters: int,
    kernel_size: int,
    strides: int = 1,
    num_branches: int = 4,
    dilation: int = 1,
    depthwise: bool = False,
    groups: int = 1,
    squeeze: int | None = None,
    activation: str | None = "relu",
    skip_as_conv: bool = False,
    bn_epsilon: float = 1e-5,
    bn_momentum: float = 0.9,
    squeeze_activation: str = "relu",
    squeeze_gate: str = "sigmoid",
    squeeze_bias: bool = True,
    *,
    name: str,
    **conv: Any,
) -> KerasTensor:
    """MobileOne's block: convolutions that are alike, a 1×1 and the normalized input, summed."""
    inputs = keras.Input(x.shape[1:])
    conv |= {"bn_epsilon": bn_epsilon, "bn_momentum": bn_momentum}
    same = {"strides": strides, "activation": None, **conv}
    alike = {"depthwise": depthwise, "groups": groups, **same}
    branches = []  # in the order in which the paper's code adds them: another rounds otherwise
    if kernel_size > 1:
        branches.append(conv_bn_act(inputs, filters, 1, name="scale", **alike))
    if strides == 1 and x.shape[-1] == filters:
        branches.append(normalized(inputs, skip_as_conv, name="skip", **conv))
    branches += [
        conv_bn_act(inputs, filters, kernel_size, dilation=dilation, name=f"conv.{i}", **alike)
        for i in range(num_branches)
    ]
    y = layers.Add(name="add")(branches)
    if squeeze is not None:
        y = squeeze_excite(y, squeeze, squeeze_activation, squeeze_gate, squeeze_bias, name="se")
    if activation:
        y = layers.Activation(activation, name="act")(y)
    return keras.Model(inputs, y, name=name)(x)
