"""Rules for means over an image."""

from __future__ import annotations

from onnx2mvit.ir.graph import Value, statements
from onnx2mvit.ir.window import window_of
from onnx2mvit.matcher import Expr, Ops, Var, any_of, optional
from onnx2mvit.matcher.match import Match
from onnx2mvit.matcher.rooted import require
from onnx2mvit.matcher.rule import Builder, Rule


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


class AveragePoolIsMean(Rule):
    """A window as large as the image, or larger where it is cut off at the border.

    AveragePool(x, kernel_shape=(H, W)) | AveragePool(x, kernel_shape=(1280, 1280), ceil_mode=1)
    → ReduceMean(x, axes=(2, 3), keepdims=1), `traced` where that is so at this size alone
    """

    needed_by = "Hugging Face's EfficientNet; networks that end in a pooling of 7×7"

    def onnx(self, op: Ops, x: Var) -> Expr:
        return op.AveragePool(x)

    def rewrite(self, m: Match, new: Builder) -> Value:
        shape = m.x.shape or ()
        require(len(shape) == 4, "the input is no image")
        window = window_of(m.root)
        require(m.root.output.shape == (*shape[:2], 1, 1), "there is more than one window")
        require(not window.padded, "it is padded")
        require(window.auto_pad in ("NOTSET", "VALID"), "it is padded")
        require(window.spans == window.size, "it leaves pixels out")
        sizes = zip(window.size, shape[2:], strict=True)
        require(
            all(k == size or (k > size and window.ceil_mode) for k, size in sizes),
            "the window is smaller than the image",
        )
        exact = any(map(int.__eq__, window.size, shape[2:]))
        traced = {"traced": 1} if exact else {}
        return new.like_root(m.x, op="ReduceMean", axes=(2, 3), keepdims=1, **traced)


class MeanAxes(Rule):
    """Axes as an attribute, counted from the front; an input from opset 18, of sums from 13.

    ReduceMean(x, axes) | ReduceMean(x, axes=(-1, -2)) → ReduceMean(x, axes=(2, 3))
    and so ReduceSum and ReduceL2
    """

    needed_by = (
        "Hugging Face and cvnets; timm by dynamo; ReduceSum: MobileViTv2; ReduceL2: ConvNeXt V2"
    )

    def onnx(self, op: Ops, x: Var) -> Expr:
        axes = optional("axes")
        return any_of(op.ReduceMean(x, axes), op.ReduceSum(x, axes), op.ReduceL2(x, axes))

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
            **statements(m.root),
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
        kept = statements(m.mean)
        return new.like_root(m.x, op="ReduceMean", axes=axes, keepdims=0, **kept)


def _one_pixel(value: Value) -> str | None:
    """What is wrong with a value that is to be an image of a single pixel."""
    shape = value.shape or ()
    return None if len(shape) == 4 and shape[2:] == (1, 1) else "is more than one pixel"


class FlattenOfPixelIsMean(Rule):
    """The mean of a single pixel is that pixel, so that a linear layer follows a mean or nothing.

    Reshape(x) from (B, C, 1, 1) to (B, C) → ReduceMean(x, axes=(2, 3), keepdims=0)
    """

    needed_by = "MobileNetV3 by timm: between its convolution after pooling and the classifier"

    def onnx(self, op: Ops, x: Var) -> Expr:
        return op.Reshape(Var("x", _one_pixel))

    def rewrite(self, m: Match, new: Builder) -> Value:
        shape = m.shape("x")
        before = m.graph.producer(m.x)
        mean = before is not None and before.op == "ReduceMean"
        require(not mean, "it is a mean already, whose axes need not be kept")
        require(m.root.output.shape == shape[:2], "it is reshaped to something else")
        return new.like_root(m.x, op="ReduceMean", axes=(2, 3), keepdims=0, traced=1)
