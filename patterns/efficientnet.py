"""EfficientNetV2's own block; the first EfficientNet's is MobileNetV3's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from onnx2mvit.matcher import Expr, Match, Ops, Pattern, Var, any_of, maybe, multiple, p, require

from .conv import STYLE, GroupConv, PointwiseConv, conv_bn_act
from .masks import is_mask
from .squeeze_excite import SQUEEZE, SQUEEZED, squeeze_excite

if TYPE_CHECKING:
    import keras
    from keras import KerasTensor, layers


class FusedMBConv(Pattern):
    """EfficientNetV2's Fused-MBConv (arXiv:2104.00298, section 3.2 and figure 2).

    The inverted residual with one k×k convolution in the place of expansion and depthwise one.
    Without expansion that is the only one, and it is this block where its input is added. The
    first convolution of MobileNet-EdgeTPU-V2 is in groups.
    """

    keras = "fused_mbconv"
    nested = True
    style = ("activation", *SQUEEZE)

    def onnx(self, op: Ops, x: Var) -> Expr:
        own: dict[str, Any] = {
            "kernel_size": p.kernel_size.where(lambda size: size > 1),
            "activation": p.activation.where(lambda how: how is not None),
        }
        own |= {"strides": p.strides, "dilation": 1, "groups": p._groups}
        y = GroupConv(x, role="expand", **own, **STYLE)
        alone = op.Add(x, y, role="alone")
        squeezed = maybe(op.SqueezeExcite(y, role="se", **SQUEEZED))
        y = PointwiseConv(squeezed, role="project", activation=None, **STYLE)
        return any_of(op.Add(x, y, role="add"), alone, y)

    def params(self, m: Match) -> dict[str, Any]:
        _, channels, _, _ = m.shape("x", 4)
        expanded = m.expand.filters
        filters = expanded if m.project is None else m.project.filters
        expansion = None
        if m.project is not None:
            require(expanded > max(channels, filters), f"it expands {channels} to {expanded}")
            expansion = multiple(expanded, channels)
        readers = m.graph.consumers(m.root.output)
        require(not any(is_mask(m.graph, node) for node in readers), "it gives logits of pixels")
        residual = m.strides == 1 and filters == channels
        added = m.add is not None or m.alone is not None
        require(added == residual, "the input is not added where it could be")
        return {
            "filters": filters,
            "expansion": expansion,
            "groups": m._groups if m._groups > 1 else None,
        }


def fused_mbconv(
    x: KerasTensor,
    filters: int,
    expansion: float | None,
    strides: int = 1,
    kernel_size: int = 3,
    activation: str = "silu",
    groups: int | None = None,
    squeeze: int | None = None,
    squeeze_activation: str = "silu",
    squeeze_gate: str = "sigmoid",
    squeeze_bias: bool = True,
    *,
    name: str,
    **conv: Any,
) -> KerasTensor:
    """A convolution that expands, 1×1 project, and the input added if it fits."""
    inputs = keras.Input(x.shape[1:])
    channels = x.shape[-1]
    expanded = filters if expansion is None else round(channels * expansion)
    expand = {"strides": strides, "activation": activation, **conv}
    if groups is not None:
        expand["groups"] = groups
    y = conv_bn_act(inputs, expanded, kernel_size, name="expand", **expand)
    if squeeze is not None:
        y = squeeze_excite(
            y,
            squeeze,
            activation=squeeze_activation,
            gate=squeeze_gate,
            use_bias=squeeze_bias,
            name="se",
        )
    if expansion is not None:
        y = conv_bn_act(y, filters, 1, activation=None, name="project", **conv)
    if strides == 1 and channels == filters:
        y = layers.Add(name="add")([inputs, y])
    return keras.Model(inputs, y, name=name)(x)
