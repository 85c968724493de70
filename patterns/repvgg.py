"""RepVGG's block (arXiv:2101.03697) with the branches that it is trained with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from onnx2mvit.matcher import (
    Expr,
    Match,
    Ops,
    Pattern,
    Var,
    any_of,
    at_most_one,
    kind_of,
    maybe,
    p,
    require,
)

from .conv import STYLE, FoldedNorm, conv_bn_act
from .squeeze_excite import SQUEEZE, SQUEEZED, squeeze_excite

if TYPE_CHECKING:
    import keras
    from keras import KerasTensor, layers

Branch = kind_of("ConvBnAct", activation=None)  # what is active is the sum


class RepVGGBlock(Pattern):
    """arXiv:2101.03697, section 3.2 and figure 2; it may be squeezed before its activation.

    A 3×3 convolution, a 1×1, and the normalized input where the shape allows it: all of them are
    summed. Once they are merged into one convolution, it is `ConvBnAct`.
    """

    keras = "repvgg_block"
    nested = True
    style = ("activation", "skip_as_conv", "bn_epsilon", "bn_momentum", *SQUEEZE)

    def onnx(self, op: Ops, x: Var) -> Expr:
        alike = {**p("filters", "strides", "groups"), "depthwise": False, **STYLE}
        norm = {"epsilon": p.bn_epsilon, "momentum": p.bn_momentum}
        y: Expr = op.Sum(
            Branch(x, role="conv", kernel_size=3, dilation=1, **alike),
            Branch(x, role="pointwise", kernel_size=1, **alike),
            at_most_one(op.BatchNorm(x, role="skip", **norm)),
            at_most_one(FoldedNorm(x, role="skip_conv", **STYLE)),
            role="add",
        )
        y = any_of(op.SqueezeExcite(y, role="se", **SQUEEZED), y)
        return maybe(op.Activation(y, role="act", activation=p.activation))

    def params(self, m: Match) -> dict[str, Any]:
        _, channels, _, _ = m.shape("x", 4)
        require(m.groups == 1 or m.groups < channels, "its groups have one channel each")
        skips = [skip for skip in (m.skip, m.skip_conv) if skip is not None]
        fits = int(m.strides == 1 and m.filters == channels)
        require(len(skips) == fits, f"it adds its input {len(skips)} times, not {fits}")
        summed = [m.conv, m.pointwise, *skips]
        alike = {part.output.shape for part in summed} == {m.add.output.shape}
        require(alike, "it adds unequal shapes")
        skip = {"skip_as_conv": m.skip_conv is not None} if fits else {}
        return {"activation": m.activation, **skip}


def repvgg_block(
    x: KerasTensor,
    filters: int,
    strides: int = 1,
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
    """RepVGG's block: a 3×3 convolution, a 1×1 and the normalized input, summed."""
    inputs = keras.Input(x.shape[1:])
    norm = {"bn_epsilon": bn_epsilon, "bn_momentum": bn_momentum}
    conv = {"groups": groups, "strides": strides, "activation": None, **norm, **conv}
    branches = [
        conv_bn_act(inputs, filters, 3, name="conv", **conv),
        conv_bn_act(inputs, filters, 1, name="pointwise", **conv),
    ]
    if strides == 1 and x.shape[-1] == filters and not skip_as_conv:
        skip = layers.BatchNormalization(epsilon=bn_epsilon, momentum=bn_momentum, name="skip")
        branches.append(skip(inputs))
    if strides == 1 and x.shape[-1] == filters and skip_as_conv:
        each = {**conv, "groups": 1, "depthwise": True}
        branches.append(conv_bn_act(inputs, filters, 1, name="skip_conv", **each))
    y = layers.Add(name="add")(branches)
    if squeeze is not None:
        y = squeeze_excite(y, squeeze, squeeze_activation, squeeze_gate, squeeze_bias, name="se")
    if activation:
        y = layers.Activation(activation, name="act")(y)
    return keras.Model(inputs, y, name=name)(x)
