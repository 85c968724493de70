"""GhostNet (arXiv:1911.11907) and GhostNetV2 (arXiv:2211.12905)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from onnx2mvit.ir.graph import Value
from onnx2mvit.matcher import (
    Builder,
    Expr,
    Match,
    Ops,
    Pattern,
    Rule,
    Var,
    any_of,
    constant,
    maybe,
    optional,
    p,
    require,
)

from .conv import STYLE, DepthwiseConv, PointwiseConv, conv_bn_act
from .squeeze_excite import SQUEEZE, SQUEEZED, squeeze_excite

if TYPE_CHECKING:
    import keras
    from keras import KerasTensor, layers, ops


class ScatterOfAll(Rule):
    """All images of a batch are written anew: a sum in place, of a slice that has everything.

    ScatterND(x, indices, y), indices 0 to n - 1 of its first axis of length n → y
    """

    needed_by = "timm's GhostNet by dynamo with `optimize=False`"

    def onnx(self, op: Ops, x: Var) -> Expr:
        return op.ScatterND(x, constant("indices"), Var("y"), role="scatter")

    def rewrite(self, m: Match, new: Builder) -> Value:
        length, *_ = m.shape("x")
        require(m.scatter.attrs.get("reduction", "none") == "none", "it adds to what is there")
        indices = m.indices.const
        require(indices.shape == (length, 1), "it does not write along the first axis")
        require(bool((indices[:, 0] == np.arange(length)).all()), "it does not write everywhere")
        value: Value = m.y
        return value


class DFCAttention(Pattern):
    """(B, C, H, W) → (B, d, H/2, W/2): gates from the rows and columns around each pixel.

    Decoupled fully connected attention as a convolution of 1×k pixels and one of k×1 on an image
    of half the size (arXiv:2211.12905, section 4.1).
    """

    keras = "dfc_attention"

    def onnx(self, op: Ops, x: Var) -> Expr:
        pooled = op.AveragePooling2D(x, role="pool", pool_size=2, strides=2, padding="valid")
        # Of 2×2 pixels it is their mean, which exporters write so.
        y: Expr = any_of(pooled, op.GlobalMean(x, role="mean"))
        y = PointwiseConv(y, role="conv", filters=p.filters, activation=None, **STYLE)
        along = {"strides": 1, "dilation": 1, **STYLE}
        y = DepthwiseConv(y, role="row", kernel_size=p._row, activation=None, **along)
        return DepthwiseConv(y, role="column", kernel_size=p._column, activation="sigmoid", **along)

    def params(self, m: Match) -> dict[str, Any]:
        pixels = m.shape("x", 4)[2:]
        require(m.mean is None or pixels == (2, 2), f"it is the mean of {pixels} pixels")
        require(isinstance(m._row, tuple) and m._row[0] == 1, "it does not go along rows first")
        length = m._row[1]
        require(m._column == (length, 1), f"it does not go along columns of {length} pixels")
        return {"kernel_size": length}


def dfc_attention(
    x: KerasTensor, filters: int, kernel_size: int = 5, *, name: str, **conv: Any
) -> KerasTensor:
    """Gates for an image of half the size, of the rows and the columns around each pixel."""
    y = layers.AveragePooling2D(2, name=f"{name}_pool")(x)
    y = conv_bn_act(y, filters, 1, activation=None, name=f"{name}_conv", **conv)
    conv["depthwise"] = True
    row, column = (1, kernel_size), (kernel_size, 1)
    y = conv_bn_act(y, filters, row, activation=None, name=f"{name}_row", **conv)
    return conv_bn_act(y, filters, column, activation="sigmoid", name=f"{name}_column", **conv)


class GhostModule(Pattern):
    """arXiv:1911.11907, section 3.1: half of the channels are made of the others, each of one.

    With an odd number of channels one is left over. In V2 they are weighted by DFC attention.
    """

    keras = "ghost_module"
    style = ("activation", "kernel_size", "attention")
    inner = True

    def onnx(self, op: Ops, x: Var) -> Expr:
        own = {"activation": p.activation, **STYLE}
        primary = PointwiseConv(x, role="primary", filters=p._primary, **own)
        steps = {"strides": 1, "dilation": 1, "kernel_size": p.kernel_size}
        cheap = DepthwiseConv(primary, role="cheap", filters=p._primary, **steps, **own)
        y: Expr = op.Concat(primary, cheap, role="both", axis=1)
        y = maybe(op.Slice(y, role="cut", axis=1, start=0))
        gate = op.DFCAttention(x, role="attention", filters=p._gates)
        sizes = optional("roi"), optional("scales"), optional("sizes")
        gate = op.Resize(gate, *sizes, role="resize", mode="nearest", **NEAREST)
        return any_of(op.Mul(y, gate), y)

    def params(self, m: Match) -> dict[str, Any]:
        _, filters, _, _ = m.shape("both", 4)
        filters = m.cut.attrs["end"] if m.cut is not None else filters
        require(2 * m._primary - filters in (0, 1), "it leaves out more than one channel")
        require(m._gates in (None, filters), f"the gates are for {m._gates} channels")
        whole = m.resize is None or m.resize.output.shape == m.root.output.shape
        require(whole, "the gates are not for all pixels")
        return {"filters": filters, "attention": m.attention and m.attention.kernel_size}


NEAREST = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}


def ghost_module(
    x: KerasTensor,
    filters: int,
    kernel_size: int = 3,
    activation: str | None = "relu",
    attention: int | None = None,
    *,
    name: str,
    **conv: Any,
) -> KerasTensor:
    """Some channels by a 1×1 convolution, and as many by a cheap operation on each of those."""
    conv["activation"] = activation
    primary = conv_bn_act(x, -(-filters // 2), 1, name=f"{name}_primary", **conv)
    y = conv_bn_act(
        primary, primary.shape[-1], kernel_size, depthwise=True, name=f"{name}_cheap", **conv
    )
    y = layers.Concatenate(name=f"{name}_concat")([primary, y])
    if y.shape[-1] > filters:
        y = y[..., :filters]
    if attention:
        del conv["activation"]
        gate = dfc_attention(x, filters, attention, name=f"{name}_attention", **conv)
        y = layers.Multiply(name=f"{name}_gated")([y, stretched(gate, y)])
    return y


def stretched(x: KerasTensor, image: KerasTensor) -> KerasTensor:
    """As large as an image, by the nearest pixel as PyTorch has it: that before, not around."""
    for axis in (1, 2):
        length = image.shape[axis]
        x = ops.take(x, np.arange(length) * x.shape[axis] // length, axis=axis)
    return x


def stretched_any_size() -> None:
    """For images of any size: what takes the place of `stretched`."""

    @keras.saving.register_keras_serializable("onnx2mvit")
    class NearestPixels(layers.Layer):
        """As large as an image, by the nearest pixel as PyTorch has it: that before."""

        def call(self, inputs: list[KerasTensor]) -> KerasTensor:
            x, image = inputs
            for axis in (1, 2):
                length = ops.shape(image)[axis]
                x = ops.take(x, ops.arange(length) * ops.shape(x)[axis] // length, axis=axis)
            return x

        def compute_output_shape(self, shapes: list[tuple[int | None, ...]]) -> Any:
            x, image = shapes
            return (*image[:3], x[3])

    def stretched(x: KerasTensor, image: KerasTensor) -> KerasTensor:
        """As large as an image, by the nearest pixel as PyTorch has it: that before."""
        return NearestPixels()([x, image])


class GhostBottleneck(Pattern):
    """arXiv:1911.11907, section 3.2 and figure 3: two Ghost modules, and the input added.

    With a stride there is a depthwise convolution between them. Where the shape changes, the
    shortcut is a depthwise convolution and a pointwise one.
    """

    keras = "ghost_bottleneck"
    nested = True
    style = ("activation", "cheap_kernel_size", "attention", *SQUEEZE)
    before = ("InvertedResidual", "DepthwiseSeparable", "FusedMBConv")

    def onnx(self, op: Ops, x: Var) -> Expr:
        own = {"kernel_size": p.kernel_size, "strides": p.strides, "activation": None, **STYLE}
        alike = {"kernel_size": p.cheap_kernel_size, **STYLE}
        active = p.activation.where(lambda how: how is not None)
        hidden = {"filters": p.hidden, "activation": active, "attention": p.attention}
        y: Expr = op.GhostModule(x, role="ghost1", **hidden, **alike)
        y = any_of(DepthwiseConv(y, role="depthwise", **own), y)
        y = any_of(op.SqueezeExcite(y, role="se", **SQUEEZED), y)
        plain = {"activation": None, "attention": None}
        y = op.GhostModule(y, role="ghost2", filters=p.filters, **plain, **alike)
        shortcut = DepthwiseConv(x, role="shortcut_depthwise", **own)
        shortcut = PointwiseConv(
            shortcut, role="shortcut", filters=p.filters, activation=None, **STYLE
        )
        return op.Add(y, any_of(shortcut, x))

    def params(self, m: Match) -> dict[str, Any]:
        _, channels, _, _ = m.shape("x", 4)
        strides = m.strides or 1
        fits = strides == 1 and m.filters == channels
        require((m.depthwise is not None) == (strides > 1), "it has strides where it has none")
        require((m.shortcut is None) == fits, "its input is projected where it need not be")
        return {"strides": strides}


def ghost_bottleneck(
    x: KerasTensor,
    filters: int,
    hidden: int,
    strides: int = 1,
    kernel_size: int = 3,
    squeeze: int | None = None,
    activation: str = "relu",
    cheap_kernel_size: int = 3,
    attention: int | None = None,
    squeeze_activation: str = "relu",
    squeeze_gate: str = "hard_sigmoid",
    squeeze_bias: bool = True,
    *,
    name: str,
    **conv: Any,
) -> KerasTensor:
    """Two Ghost modules, between them strides and squeeze and excitation, and the input added."""
    inputs = keras.Input(x.shape[1:])
    ghost = {"kernel_size": cheap_kernel_size, **conv}
    conv |= {"activation": None}
    steps = {"kernel_size": kernel_size, "strides": strides, "depthwise": True, **conv}
    y = ghost_module(
        inputs, hidden, activation=activation, attention=attention, name="ghost1", **ghost
    )
    if strides > 1:
        y = conv_bn_act(y, hidden, name="depthwise", **steps)
    if squeeze is not None:
        y = squeeze_excite(
            y,
            squeeze,
            activation=squeeze_activation,
            gate=squeeze_gate,
            use_bias=squeeze_bias,
            name="se",
        )
    y = ghost_module(y, filters, activation=None, name="ghost2", **ghost)
    shortcut = inputs
    if strides > 1 or x.shape[-1] != filters:
        shortcut = conv_bn_act(inputs, x.shape[-1], name="shortcut_depthwise", **steps)
        shortcut = conv_bn_act(shortcut, filters, 1, name="shortcut", **conv)
    y = layers.Add(name="add")([y, shortcut])
    return keras.Model(inputs, y, name=name)(x)
