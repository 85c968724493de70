"""The bottleneck of ResNet, SE-ResNet, ResNeXt and RegNet: 1×1 → 3×3 → 1×1 (+ input)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from onnx2mvit.base.numbers import ratio
from onnx2mvit.matcher.match import Match
from onnx2mvit.matcher.pattern import Expr, Ops, Pattern, Var, any_of, maybe, require

from .conv_bn_act import FULL, STYLE, conv_bn_act
from .shortcut import projection, read_projection
from .squeeze_excite import SQUEEZE, squeeze_excite, squeeze_params

if TYPE_CHECKING:
    import keras
    from keras import KerasTensor, layers


class Bottleneck(Pattern):
    """arXiv:1512.03385, figure 5, right; with groups arXiv:1611.05431 and arXiv:2003.13678.

    The strides are on the 3×3 convolution, in older networks on the first. Squeeze and excitation
    stands after the 3×3 convolution in RegNetY, after the last one in SE-ResNet.
    """

    keras = "bottleneck"
    nested = True
    style = (
        *("width_ratio", "activation", "branch_activation", "output_activation"),
        *("shortcut_pool", "strides_first", *SQUEEZE),
    )

    def onnx(self, op: Ops, x: Var) -> Expr:
        y: Expr = op.ConvBnAct(x, role="reduce", kernel_size=1, **FULL)
        y = op.ConvBnAct(y, role="conv", kernel_size=3, depthwise=False)
        last = {"role": "expand", "kernel_size": 1, "strides": 1, **FULL}
        plain, squeezed = op.ConvBnAct(y, **last), op.SqueezeExcite(y, role="se")
        y = any_of(plain, op.SqueezeExcite(plain, role="se"), op.ConvBnAct(squeezed, **last))
        return maybe(op.Activation(op.Add(y, projection(op, x), role="add"), role="act"))

    def params(self, m: Match) -> dict[str, Any]:
        filters, width = m.expand.filters, m.conv.filters
        strides = m.reduce.strides * m.conv.strides
        width_ratio = ratio(width, filters)
        require(m.reduce.filters == width, f"it is {m.reduce.filters} and then {width} wide")
        require(width_ratio is not None, f"{width} is no share of {filters} filters")
        require(1 in (m.reduce.strides, m.conv.strides), "it has strides twice")
        squeeze = squeeze_params(m)
        if m.se is not None and m.se.inputs[0] is m.expand.output:
            squeeze["squeeze_last"] = squeeze.pop("squeeze")
        params = {
            "filters": filters,
            "strides": strides,
            "width_ratio": width_ratio,
            "dilation": m.conv.dilation,
            "groups": m.conv.groups,
            "branch_activation": m.expand.activation,
            "output_activation": m.act.activation if m.act is not None else None,
            **({"strides_first": m.reduce.strides > 1} if strides > 1 else {}),
            **m.common(("reduce", "conv"), "activation"),
            **m.common(("reduce", "conv", "expand", "shortcut"), *STYLE),
            **read_projection(m, filters, strides),
            **squeeze,
        }
        require(len({value.shape for value in m.add.inputs}) == 1, "it adds unequal shapes")
        return params


def bottleneck(
    x: KerasTensor,
    filters: int,
    strides: int = 1,
    width_ratio: float = 0.25,
    dilation: int = 1,
    groups: int = 1,
    squeeze: int | None = None,
    squeeze_last: int | None = None,
    activation: str | None = "relu",
    branch_activation: str | None = None,
    output_activation: str | None = "relu",
    shortcut_pool: bool = False,
    strides_first: bool = False,
    squeeze_activation: str = "relu",
    squeeze_gate: str = "sigmoid",
    squeeze_bias: bool = True,
    *,
    name: str,
    **conv: Any,
) -> KerasTensor:
    """ResNet's bottleneck: 1×1, 3×3, 1×1, and the input or its projection added."""
    inputs = keras.Input(x.shape[1:])
    width = round(filters * width_ratio)
    first, second = 1, strides
    if strides_first:
        first, second = strides, 1
    y = conv_bn_act(inputs, width, 1, strides=first, activation=activation, name="reduce", **conv)
    y = conv_bn_act(
        y,
        width,
        3,
        strides=second,
        dilation=dilation,
        groups=groups,
        activation=activation,
        name="conv",
        **conv,
    )
    if squeeze is not None:
        y = squeeze_excite(y, squeeze, squeeze_activation, squeeze_gate, squeeze_bias, name="se")
    y = conv_bn_act(y, filters, 1, activation=branch_activation, name="expand", **conv)
    if squeeze_last is not None:
        y = squeeze_excite(
            y, squeeze_last, squeeze_activation, squeeze_gate, squeeze_bias, name="se"
        )
    shortcut = inputs
    if strides > 1 or x.shape[-1] != filters:
        if shortcut_pool and strides > 1:
            pool = layers.AveragePooling2D(2, padding="same", name="shortcut_pool")
            shortcut, strides = pool(inputs), 1
        shortcut = conv_bn_act(
            shortcut, filters, 1, strides=strides, activation=None, name="shortcut", **conv
        )
    y = layers.Add(name="add")([shortcut, y])
    if output_activation:
        y = layers.Activation(output_activation, name="act")(y)
    return keras.Model(inputs, y, name=name)(x)
