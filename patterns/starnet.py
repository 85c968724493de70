"""StarNet (arXiv:2403.19967): two linear layers on the same pixels, multiplied."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from onnx2mvit.matcher import Expr, Match, Ops, Pattern, Var, multiple, p, require

from .conv import STYLE, DepthwiseConv, PointwiseConv, conv_bn_act

if TYPE_CHECKING:
    import keras
    from keras import KerasTensor, layers

EACH = {"strides": 1, "dilation": 1, "activation": None}
ALONE = {"batch_norm": False, "use_bias": True}


class StarBlock(Pattern):
    """x + depthwise(1×1(activation(1×1(y)) · 1×1(y))), where y = depthwise(x) (figure 2).

    The first depthwise convolution and the 1×1 after the product are normalized.
    """

    keras = "star_block"
    nested = True
    style = ("mlp_ratio", "kernel_size", "activation")

    def onnx(self, op: Ops, x: Var) -> Expr:
        size = {"kernel_size": p.kernel_size, **EACH}
        active = p.activation.where(lambda how: how is not None)
        y = DepthwiseConv(x, role="dwconv", **size, **STYLE)
        one = PointwiseConv(y, role="f1", filters=p._wide, activation=active, **ALONE)
        other = PointwiseConv(y, role="f2", filters=p._wide, activation=None, **ALONE)
        y = PointwiseConv(op.Mul(one, other), role="g", activation=None, **STYLE)
        y = DepthwiseConv(y, role="dwconv2", padding=p.padding, **size, **ALONE)
        return op.Add(x, y)

    def params(self, m: Match) -> dict[str, Any]:
        _, channels, _, _ = m.shape("x", 4)
        mlp_ratio = multiple(m.f1.filters, channels)
        require(m.g.filters == channels, f"it makes {m.g.filters} channels of {channels}")
        require(m.x.shape == m.root.output.shape, "it adds unequal shapes")
        return {"mlp_ratio": mlp_ratio}


def star_block(
    x: KerasTensor,
    mlp_ratio: float = 4,
    kernel_size: int = 7,
    activation: str = "relu6",
    *,
    name: str,
    **conv: Any,
) -> KerasTensor:
    """Two linear layers on the pixels of a depthwise convolution, multiplied; with a residual."""
    inputs = keras.Input(x.shape[1:])
    dim, wide = x.shape[-1], round(x.shape[-1] * mlp_ratio)
    alone = {**conv, "batch_norm": False, "use_bias": True}
    each: dict[str, Any] = {"depthwise": True, "activation": None}
    y = conv_bn_act(inputs, dim, kernel_size, name="dwconv", **each, **conv)
    one = conv_bn_act(y, wide, 1, activation=activation, name="f1", **alone)
    other = conv_bn_act(y, wide, 1, activation=None, name="f2", **alone)
    y = layers.Multiply(name="star")([one, other])
    y = conv_bn_act(y, dim, 1, activation=None, name="g", **conv)
    y = conv_bn_act(y, dim, kernel_size, name="dwconv2", **each, **alone)
    y = layers.Add(name="add")([inputs, y])
    return keras.Model(inputs, y, name=name)(x)
