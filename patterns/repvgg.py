"""RepVGG's block (arXiv:2101.03697) with the branches that it is trained with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from onnx2mvit.ir.block import Block
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


def summed(op: Ops, x: Var, *branches: Expr) -> Expr:
    """Branches and the normalized input, summed and squeezed or not, and what activates that."""
    norm = {"epsilon": p.bn_epsilon, "momentum": p.bn_momentum}
    skip, folded = op.BatchNorm(x, role="skip", **norm), FoldedNorm(x, role="skip", **STYLE)
    y: Expr = op.Sum(*branches, at_most_one(skip), at_most_one(folded), role="add")
    y = any_of(op.SqueezeExcite(y, role="se", **SQUEEZED), y)
    return maybe(op.Activation(y, role="act", activation=p.activation))


def read_sum(m: Match, branches: Sequence[Block]) -> dict[str, Any]:
    """Requires that the input is added where, and only where, the shape allows it."""
    _, channels, _, _ = m.shape("x", 4)
    fits = int(m.strides == 1 and m.filters == channels)
    summed = [node for node in m.nodes if node.op in ("BatchNorm", "ConvBnAct")]
    times = len(summed) - len(branches)
    require(times == fits, f"it adds its input {times} times, not {fits}")
    alike = {part.output.shape for part in summed} == {m.add.output.shape}
    require(alike, "it adds unequal shapes")
    skip = {"skip_as_conv": m.skip.kind == "ConvBnAct"} if fits else {}
    return {"activation": m.activation, **skip}


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
        conv = Branch(x, role="conv", kernel_size=3, dilation=1, **alike)
        return summed(op, x, conv, Branch(x, role="pointwise", kernel_size=1, **alike))

    def params(self, m: Match) -> dict[str, Any]:
        _, channels, _, _ = m.shape("x", 4)
        require(m.groups == 1 or m.groups < channels, "its groups have one channel each")
        return read_sum(m, (m.conv, m.pointwise))


def normalized(x: KerasTensor, as_conv: bool, *, name: str, **conv: Any) -> KerasTensor:
    """The batch normalization of an image, or the 1×1 convolution that it was folded into."""
    if as_conv:
        return conv_bn_act(x, x.shape[-1], 1, depthwise=True, activation=None, name=name, **conv)
    epsilon, momentum = conv["bn_epsilon"], conv["bn_momentum"]
    return layers.BatchNormalization(epsilon=epsilon, momentum=momentum, name=name)(x)


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
    conv |= {"bn_epsilon": bn_epsilon, "bn_momentum": bn_momentum}
    alike = {"groups": groups, "strides": strides, "activation": None, **conv}
    branches = [
        conv_bn_act(inputs, filters, 3, name="conv", **alike),
        conv_bn_act(inputs, filters, 1, name="pointwise", **alike),
    ]
    if strides == 1 and x.shape[-1] == filters:
        branches.append(normalized(inputs, skip_as_conv, name="skip", **conv))
    y = layers.Add(name="add")(branches)
    if squeeze is not None:
        y = squeeze_excite(y, squeeze, squeeze_activation, squeeze_gate, squeeze_bias, name="se")
    if activation:
        y = layers.Activation(activation, name="act")(y)
    return keras.Model(inputs, y, name=name)(x)
