"""Rules for Conv."""

from __future__ import annotations

from typing import Any

from onnx2mvit.ir.graph import Value
from onnx2mvit.ir.window import window_of
from onnx2mvit.matcher import Expr, Ops, Var, constant, optional
from onnx2mvit.matcher.match import Match
from onnx2mvit.matcher.rooted import require
from onnx2mvit.matcher.rule import Builder, Rule


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
        weight, (factor, offset) = m.weight.const, (m.factor.const, m.offset.const)
        alone = len(m.graph.consumers(m.conv.output)) == 1 and not m.graph.is_output(m.conv.output)
        require(alone, "what the convolution gives is used without them too")
        one_each = (len(weight), *[1] * (weight.ndim - 2))
        require(
            {factor.shape, offset.shape} <= {one_each, (1, *one_each)},
            "they are not one for each channel",
        )
        factor, offset = factor.reshape(-1), offset.reshape(-1)
        bias = 0 if m.bias is None else m.bias.const
        kernel = weight * factor.reshape(-1, *[1] * (weight.ndim - 1))
        return new.like_root(
            m.x,
            new.constant(kernel, "weight"),
            new.constant((bias * factor + offset).astype(weight.dtype), "bias"),
            op="Conv",
            **m.conv.attrs,
        )
