"""ResNet's two blocks (arXiv:1512.03385), as the networks after it have them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from onnx2mvit.base.numbers import ratio
from onnx2mvit.matcher import Expr, Match, Ops, Pattern, Var, any_of, maybe, p, require

from .conv import STYLE, Conv, Conv1x1, GroupConv, PointwiseConv, conv_bn_act
from .squeeze_excite import SQUEEZE, SQUEEZED, squeeze_excite

if TYPE_CHECKING:
    import keras
    from keras import KerasTensor, layers


def projection(op: Ops, x: Var) -> Expr:
    """The input, or where the shape changes a 1×1 convolution of it (option B in the paper).

    ResNet-D (arXiv:1812.01187, section 4.2) takes the mean of 2×2 pixels before that, which is
    the mean of all where there are no more.
    """
    pool = op.AveragePooling2D(x, role="shortcut_pool")
    y = any_of(pool, op.GlobalMean(x, role="shortcut_mean"), x)
    projected = Conv1x1(y, role="shortcut", filters=p.filters, activation=None, **STYLE)
    return any_of(projected, x)


def read_projection(m: Match, filters: int, strides: int) -> dict[str, Any]:
    """The hyperparameters of the shortcut of a block with so many filters and these strides."""
    _, channels, height, _ = m.shape("x", 4)
    if m.shortcut is None:
        require(strides == 1 and channels == filters, "its shape changes without a projection")
        return {}
    require(strides > 1 or channels != filters, "its input is projected where it need not be")
    size, step, pooled = 1, m.shortcut.strides, True
    if m.shortcut_pool is not None:
        size, step = m.shortcut_pool.pool_size, m.shortcut_pool.strides
    elif m.shortcut_mean is not None:
        size = step = height
    else:
        pooled = False
    require(step == strides, f"its shortcut has strides {step}, not {strides}")
    require(not pooled or size == step == 2, f"its shortcut is the mean of {size}×{size} pixels")
    require(not pooled or m.shortcut.strides == 1, "its shortcut has strides twice")
    return {"shortcut_pool": pooled} if strides > 1 else {}


class BasicBlock(Pattern):
    """arXiv:1512.03385, section 4.2 and figure 5, left; in SE-ResNet squeezed before the sum."""

    keras = "basic_block"
    nested = True
    style = ("activation", "branch_activation", "output_activation", "shortcut_pool", *SQUEEZE)

    def onnx(self, op: Ops, x: Var) -> Expr:
        conv = {**p("filters", "dilation"), **STYLE}
        first = {"kernel_size": 3, "strides": p.strides, "activation": p.activation}
        second = {"kernel_size": 3, "strides": 1, "activation": p.branch_activation}
        y: Expr = Conv(x, role="conv1", **first, **conv)
        y = Conv(y, role="conv2", **second, **conv)
        y = any_of(y, op.SqueezeExcite(y, role="se", **SQUEEZED))
        y = op.Add(y, projection(op, x), role="add")
        return maybe(op.Activation(y, role="act", activation=p.output_activation))

    def params(self, m: Match) -> dict[str, Any]:
        params = read_projection(m, m.filters, m.strides)
        require(len({value.shape for value in m.add.inputs}) == 1, "it adds unequal shapes")
        return {"output_activation": m.output_activation, **params}


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
        conv = {"filters": p._width, "activation": p.activation, **STYLE}
        y: Expr = Conv1x1(x, role="reduce", **conv)
        y = GroupConv(y, role="conv", kernel_size=3, **p("dilation", "groups"), **conv)
        last = {"filters": p.filters, "activation": p.branch_activation, **STYLE}
        plain = PointwiseConv(y, role="expand", **last)
        at_the_end = {**SQUEEZED, "filters": p.squeeze_last}
        squeezed_last = op.SqueezeExcite(plain, role="se", **at_the_end)
        squeezed = op.SqueezeExcite(y, role="se", **SQUEEZED)
        y = any_of(plain, squeezed_last, PointwiseConv(squeezed, role="expand", **last))
        y = op.Add(y, projection(op, x), role="add")
        return maybe(op.Activation(y, role="act", activation=p.output_activation))

    def params(self, m: Match) -> dict[str, Any]:
        strides = m.reduce.strides * m.conv.strides
        width_ratio = ratio(m._width, m.filters)
        require(width_ratio is not None, f"{m._width} is no share of {m.filters} filters")
        require(1 in (m.reduce.strides, m.conv.strides), "it has strides twice")
        params = {
            "strides": strides,
            "width_ratio": width_ratio,
            "output_activation": m.output_activation,
            **({"strides_first": m.reduce.strides > 1} if strides > 1 else {}),
            **read_projection(m, m.filters, strides),
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
