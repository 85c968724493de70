"""ResNet's basic block: two 3×3 convolutions, and the input or its projection added."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from onnx2mvit.matcher.match import Match
from onnx2mvit.matcher.pattern import Expr, Ops, Pattern, Var, any_of, maybe, require

from .conv_bn_act import FULL, STYLE, conv_bn_act
from .shortcut import projection, read_projection
from .squeeze_excite import SQUEEZE, squeeze_excite, squeeze_params

if TYPE_CHECKING:
    import keras
    from keras import KerasTensor, layers


class BasicBlock(Pattern):
    """arXiv:1512.03385, section 4.2 and figure 5, left; in SE-ResNet squeezed before the sum."""

    keras = "basic_block"
    nested = True
    style = ("activation", "branch_activation", "output_activation", "shortcut_pool", *SQUEEZE)

    def onnx(self, op: Ops, x: Var) -> Expr:
        y: Expr = op.ConvBnAct(x, role="conv1", kernel_size=3, **FULL)
        y = op.ConvBnAct(y, role="conv2", kernel_size=3, strides=1, **FULL)
        y = any_of(y, op.SqueezeExcite(y, role="se"))
        return maybe(op.Activation(op.Add(y, projection(op, x), role="add"), role="act"))

    def params(self, m: Match) -> dict[str, Any]:
        filters, strides = m.conv2.filters, m.conv1.strides
        require(m.conv1.filters == filters, "its convolutions differ in filters")
        params = {
            "filters": filters,
            "strides": strides,
            "activation": m.conv1.activation,
            "branch_activation": m.conv2.activation,
            "output_activation": m.act.activation if m.act is not None else None,
            **m.common(("conv1", "conv2"), "dilation"),
            **m.common(("conv1", "conv2", "shortcut"), *STYLE),
            **read_projection(m, filters, strides),
            **squeeze_params(m),
        }
        require(len({value.shape for value in m.add.inputs}) == 1, "it adds unequal shapes")
        return params


def basic_block(
    x: KerasTensor,
    filters: int,
    strides: int = 1,
    dilation: int = 1,
    squeeze: int | None = None,
    activation: str | None = "relu",
    branch_activation: str | None = None,
    output_activation: str | None = "relu",
    shortcut_pool: bool = False,
    squeeze_activation: str = "relu",
    squeeze_gate: str = "sigmoid",
    squeeze_bias: bool = True,
    *,
    name: str,
    **conv: Any,
) -> KerasTensor:
    """ResNet's basic block: two 3×3 convolutions, and the input or its projection added."""
    inputs = keras.Input(x.shape[1:])
    steps = {"dilation": dilation, **conv}
    y = conv_bn_act(
        inputs, filters, 3, strides=strides, activation=activation, name="conv1", **steps
    )
    y = conv_bn_act(y, filters, 3, activation=branch_activation, name="conv2", **steps)
    if squeeze is not None:
        y = squeeze_excite(y, squeeze, squeeze_activation, squeeze_gate, squeeze_bias, name="se")
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
