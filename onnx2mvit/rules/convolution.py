"""Rules for Conv."""

from __future__ import annotations

from typing import Any

from onnx2mvit.graph import Value
from onnx2mvit.matcher import Match
from onnx2mvit.pattern import Expr, Ops, Var, constant, optional, require
from onnx2mvit.rules.base import Builder, Rule


class ExplicitConv(Rule):
    """Writes out what Conv leaves to be derived: kernel_shape, strides, dilations and pads.

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
    given = m.root.attrs
    kernel = tuple(m.weight.const.shape[2:])
    rank = len(kernel)
    strides = tuple(given.get("strides") or (1,) * rank)
    dilations = tuple(given.get("dilations") or (1,) * rank)
    auto_pad = given.get("auto_pad", "NOTSET")
    pads = tuple(given.get("pads") or (0,) * (2 * rank))
    if auto_pad == "VALID":
        pads = (0,) * (2 * rank)
    elif auto_pad in ("SAME_UPPER", "SAME_LOWER"):
        require(m.x.shape is not None, "the input's shape is not known")
        before, after = [], []
        for size, k, stride, dilation in zip(
            m.x.shape[2:], kernel, strides, dilations, strict=True
        ):
            total = max((-(-size // stride) - 1) * stride + (k - 1) * dilation + 1 - size, 0)
            small, large = total // 2, total - total // 2
            before.append(small if auto_pad == "SAME_UPPER" else large)
            after.append(large if auto_pad == "SAME_UPPER" else small)
        pads = (*before, *after)
    return {
        "kernel_shape": kernel,
        "strides": strides,
        "dilations": dilations,
        "pads": pads,
        "group": given.get("group", 1),
    }


class DropZeroBias(Rule):
    """A bias of zeros is none: dynamo adds one to every Conv that has none in torch.

    Conv(x, w, 0) → Conv(x, w)
    """

    needed_by = "dynamo with `optimize=False`"

    def onnx(self, op: Ops, x: Var) -> Expr:
        return op.Conv(x, constant("weight"), constant("bias"))

    def rewrite(self, m: Match, new: Builder) -> Value:
        require(not m.bias.const.any(), "the bias is not zero")
        return new.like_root(m.x, m.weight, **m.root.attrs)
