"""Windows in Keras: what a converter requires of one, and padding and cropping as expressions."""

from __future__ import annotations

from typing import Any

from onnx2mvit.ir.expr import KerasExpr, alike, call
from onnx2mvit.ir.window import Pads, Window, window_of
from onnx2mvit.lowering.operators.context import OpContext
from onnx2mvit.matcher.rooted import require


def window(op: OpContext) -> Window:
    """The window of a Conv or a pooling; Mismatch if Keras has none like it."""
    w = window_of(op.node)
    rank = len(w.size)
    require(1 <= rank <= 3, f"it goes over {rank} axes of space")
    require(len(op.shape()) == rank + 2, "its window has not the rank of its input")
    require(min(map(min, w.pads)) >= 0, f"its padding {w.onnx_pads} is negative")
    return w


def explicit(op: OpContext, w: Window) -> None:
    """Notes that the padding of a window is written out."""
    if w.pads_by_size:
        op.has_lengths_of(range(2, len(op.shape())))


def is_turned(op: OpContext, w: Window) -> bool:
    """Whether the image is to be turned round, as its padding is at the end from there."""
    return w.same_from_the_end and op.varies(range(2, len(op.shape())))


def turned(x: KerasExpr, w: Window) -> KerasExpr:
    """An image, channels last, with its axes of space the other way round."""
    return call("ops.flip", x, tuple(range(1, len(w.size) + 1)))


def zero_padded(x: KerasExpr, pads: Pads) -> KerasExpr:
    """An image, channels last, with zeros around it."""
    return call(f"layers.ZeroPadding{len(pads)}D", widths(pads))(x)


def padded(x: KerasExpr, pads: Pads, value: float | None = None) -> KerasExpr:
    """The same with another number, or by a function."""
    return call("ops.pad", x, ((0, 0), *pads, (0, 0)), constant_values=value)


def cropped(x: KerasExpr, pads: Pads) -> KerasExpr:
    """An image with elements at its borders taken away."""
    return call(f"layers.Cropping{len(pads)}D", widths(pads))(x) if any(map(any, pads)) else x


def widths(pads: Pads) -> Any:
    """As Keras's layers for padding and cropping take it: 1, (1, 2) or ((0, 1), (0, 1))."""
    if len(pads) == 1:
        return pads[0][0] if len(set(pads[0])) == 1 else pads[0]
    if all(before == after for before, after in pads):
        return alike([before for before, _ in pads])
    return pads
