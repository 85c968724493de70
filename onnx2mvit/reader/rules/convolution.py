"""Rules for Conv."""

from __future__ import annotations

from typing import Any

import numpy as np

from onnx2mvit.ir.graph import Value
from onnx2mvit.ir.keras_layers import is_hard_sigmoid
from onnx2mvit.ir.window import window_of
from onnx2mvit.matcher import Expr, Ops, Var, constant, optional
from onnx2mvit.matcher.match import Match
from onnx2mvit.matcher.rooted import require
from onnx2mvit.matcher.rule import Builder, Rule

Array = np.ndarray[Any, Any]


class ExplicitConv(Rule):
    """Writes out what Conv leaves to be derived, save for padding that depends on the size.

    Conv(x, w, b, auto_pad="SAME_UPPER") → Conv(x, w, b, kernel_shape=…, pads=…, …)
    """

    needed_by = "all: torch's exporters leave some out, other producers more"

    def onnx(self, op: Ops, x: Var) -> Expr:
        return op.Conv(x, constant("weight"), optional("bias"))

    def rewrite(self, m: Match, new: Builder) -> Value:
        attrs = explicit(m)
        require(attrs != m.root.attrs, "everything is written out")
        return new.like_root(m.x, m.weight, m.bias, **attrs)


def explicit(m: Match) -> dict[str, Any]:
    """The attributes of a Conv (operator versions 1 and 11) with nothing left implicit."""
    automatic = m.root.attrs.get("auto_pad", "NOTSET").startswith("SAME")
    require(not automatic or m.x.shape is not None, "the input's shape is not known")
    window = window_of(m.root)
    return {
        "kernel_shape": window.size,
        "strides": window.strides,
        "dilations": window.dilations,
        # At another size the padding is another.
        **({"auto_pad": window.auto_pad} if window.pads_by_size else {"pads": window.onnx_pads}),
        "group": m.root.attrs.get("group", 1),
    }


class PadIntoConv(Rule):
    """Zeros around an image are the padding of the convolution that reads it.

    Conv(Pad(x, pads, 0), w, b, pads=p) → Conv(x, w, b, pads=p + pads of height and width)
    """

    needed_by = "Hugging Face and timm by legacy, where a network pads as TensorFlow does"

    def onnx(self, op: Ops, x: Var) -> Expr:
        pads, axes = constant("pads", rank=1), optional("axes", rank=1)
        padded = op.Pad(x, pads, optional("fill"), axes, role="pad")
        return op.Conv(padded, constant("weight"), optional("bias"))

    def rewrite(self, m: Match, new: Builder) -> Value:
        attrs = m.root.attrs
        require("pads" in attrs and "auto_pad" not in attrs, "its own padding is implicit")
        require(m.pad.attrs.get("mode", "constant") == "constant", "it repeats the image")
        require(m.fill is None or not m.fill.const.any(), "it does not pad with zeros")
        require(m.x.shape is not None, "the input's shape is not known")
        rank = len(m.x.shape)
        axes = list(range(rank)) if m.axes is None else [a % rank for a in m.axes.const.tolist()]
        given = m.pads.const.tolist()
        before = dict(zip(axes, given[: len(axes)], strict=True))
        after = dict(zip(axes, given[len(axes) :], strict=True))
        require(min(given, default=0) >= 0, "it cuts off")
        require(
            not any(side.get(axis) for side in (before, after) for axis in (0, 1)),
            "it pads batch or channels",
        )
        more = [side.get(axis, 0) for side in (before, after) for axis in range(2, rank)]
        pads = tuple(map(sum, zip(attrs["pads"], more, strict=True)))
        return new.like_root(m.x, m.weight, m.bias, **{**attrs, "pads": pads})


class DropZeroBias(Rule):
    """A bias of zeros is none: dynamo adds one to every Conv that has none in torch.

    Conv(x, w, 0) → Conv(x, w), where the zeros are no parameter of torch, as `stem.conv.bias`
    """

    needed_by = "dynamo with `optimize=False`"

    def onnx(self, op: Ops, x: Var) -> Expr:
        return op.Conv(x, constant("weight"), constant("bias"))

    def rewrite(self, m: Match, new: Builder) -> Value:
        require(not m.bias.const.any(), "the bias is not zero")
        require(not m.bias.name.endswith(".bias"), "it is a parameter of torch")
        return new.like_root(m.x, m.weight, **m.root.attrs)


class FrozenNormIntoConv(Rule):
    """A factor and an offset for each channel are the convolution's own.

    Add(Mul(Conv(x, w, b), factor), offset) → Conv(x, w · factor, b · factor + offset)
    """

    needed_by = "detectors of torchvision and DETR, whose batch normalization is frozen"

    def onnx(self, op: Ops, x: Var) -> Expr:
        y = op.Conv(x, constant("weight"), optional("bias"), role="conv")
        return op.Add(op.Mul(y, constant("factor")), constant("offset"))

    def rewrite(self, m: Match, new: Builder) -> Value:
        weight = m.weight.const
        factor, offset = (one_each(m, value) for value in (m.factor, m.offset))
        bias = 0 if m.bias is None else m.bias.const
        kernel = weight * factor.reshape(-1, *[1] * (weight.ndim - 1))
        return new.like_root(
            m.x,
            new.constant(kernel, "weight"),
            new.constant((bias * factor + offset).astype(weight.dtype), "bias"),
            op="Conv",
            **m.conv.attrs,
        )


class BiasIntoConv(Rule):
    """A number for each channel, added to what a convolution gives, is its bias.

    Add(Conv(x, w), b[C, 1, 1]) → Conv(x, w, b)
    """

    needed_by = "PaddlePaddle, by paddle2onnx; TensorFlow and Keras, by tf2onnx"

    def onnx(self, op: Ops, x: Var) -> Expr:
        return op.Add(op.Conv(x, constant("weight"), role="conv"), constant("bias"))

    def rewrite(self, m: Match, new: Builder) -> Value:
        bias = new.constant(one_each(m, m.bias), "bias")
        return new.like_root(m.x, m.weight, bias, op="Conv", **m.conv.attrs)


class SlopeIntoConv(Rule):
    """A hard sigmoid of another slope is the usual one of a convolution that is as much steeper.

    HardSigmoid(Conv(x, w, b), alpha=a, beta=½) → HardSigmoid(Conv(x, 6a · w, 6a · b), alpha=1/6)
    """

    needed_by = "PaddlePaddle, whose squeeze and excitation has a slope of 0.2"

    def onnx(self, op: Ops, x: Var) -> Expr:
        y = op.Conv(x, constant("weight"), optional("bias"), role="conv")
        return op.HardSigmoid(y, role="gate", beta=lambda beta: beta in (None, 0.5))

    def rewrite(self, m: Match, new: Builder) -> Value:
        alone(m)
        slope = m.gate.attrs.get("alpha", 0.2)
        require(slope > 0 and not is_hard_sigmoid(slope), "the slope is the usual one, or none")
        weights = [
            value and new.constant((value.const * (6 * slope)).astype(value.const.dtype), name)
            for name, value in (("weight", m.weight), ("bias", m.bias))
        ]
        y: Value = new.Conv(m.x, *weights, shape=m.conv.output.shape, **m.conv.attrs)
        return new.like_root(y, alpha=float(np.float32(1 / 6)), beta=0.5)


def one_each(m: Match, value: Value) -> Array:
    """A constant with a number for each channel of a convolution, as a vector."""
    alone(m)
    kernel, array = m.weight.const, value.const
    assert array is not None
    shape = (len(kernel), *[1] * (kernel.ndim - 2))
    require(array.shape in (shape, (1, *shape)), "it is not one for each channel")
    return array.reshape(-1)


def alone(m: Match) -> None:
    """Requires that what the convolution gives is read by what follows it alone."""
    y = m.conv.output
    require(
        len(m.graph.consumers(y)) == 1 and not m.graph.is_output(y),
        "what the convolution gives is used without it too",
    )
