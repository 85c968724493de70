"""Rules for means over an image."""

from __future__ import annotations

from onnx2mvit.graph import Value
from onnx2mvit.matcher import Match
from onnx2mvit.pattern import Expr, Ops, Var, any_of, optional, require
from onnx2mvit.rules.base import Builder, Rule


class GlobalAveragePoolIsMean(Rule):
    """The mean over all but batch and channels.

    GlobalAveragePool(x) → ReduceMean(x, axes=(2, 3), keepdims=1)
    """

    needed_by = "timm by legacy"

    def onnx(self, op: Ops, x: Var) -> Expr:
        return op.GlobalAveragePool(x)

    def rewrite(self, m: Match, new: Builder) -> Value:
        require(m.x.shape is not None, "the input's shape is not known")
        axes = tuple(range(2, len(m.x.shape)))
        return new.like_root(m.x, op="ReduceMean", axes=axes, keepdims=1)


class MeanAxes(Rule):
    """Axes as an attribute, counted from the front; an input from opset 18, of sums from 13.

    ReduceMean(x, axes) | ReduceMean(x, axes=(-1, -2)) → ReduceMean(x, axes=(2, 3))
    and so ReduceSum
    """

    needed_by = "Hugging Face and cvnets; timm by dynamo; ReduceSum: MobileViTv2"

    def onnx(self, op: Ops, x: Var) -> Expr:
        axes = optional("axes")
        return any_of(op.ReduceMean(x, axes), op.ReduceSum(x, axes))

    def rewrite(self, m: Match, new: Builder) -> Value:
        require(m.x.shape is not None, "the input's shape is not known")
        rank = len(m.x.shape)
        given = m.root.attrs.get("axes") if m.axes is None else m.axes.const.tolist()
        if not given:
            require(not m.root.attrs.get("noop_with_empty_axes"), "it does nothing")
            given = range(rank)
        attrs = {
            "axes": tuple(sorted(axis % rank for axis in given)),
            "keepdims": m.root.attrs.get("keepdims", 1),
        }
        require(m.axes is not None or attrs != m.root.attrs, "the axes are written so already")
        return new.like_root(m.x, **attrs)


class MeanWithoutKeptAxes(Rule):
    """Axes that are kept and then reshaped away.

    Reshape(ReduceMean(x, axes, keepdims=1)) → ReduceMean(x, axes, keepdims=0)
    """

    needed_by = "timm"

    def onnx(self, op: Ops, x: Var) -> Expr:
        return op.Reshape(op.ReduceMean(x, role="mean", keepdims=1))

    def rewrite(self, m: Match, new: Builder) -> Value:
        axes = m.mean.attrs.get("axes")
        require(axes is not None and m.x.shape is not None, "the axes are not known")
        rest = tuple(dim for axis, dim in enumerate(m.x.shape) if axis not in axes)
        require(m.root.output.shape == rest, "it is reshaped to something else")
        return new.like_root(m.x, op="ReduceMean", axes=axes, keepdims=0)
