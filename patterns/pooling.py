"""Pooling: of windows, and of all pixels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from onnx2mvit.ir.window import window_of
from onnx2mvit.matcher import Expr, Match, Ops, Pattern, Var, require

from .conv import square

if TYPE_CHECKING:
    from keras import KerasTensor, layers, ops


def require_floats(m: Match) -> None:
    """The mean of integers is an integer in ONNX, and their smallest is not minus infinity."""
    dtype = m.root.output.dtype
    require(dtype is None or dtype.kind == "f", f"it computes {dtype}, not floats")


def pooling_window(m: Match) -> tuple[int, int, int]:
    """Size and stride of a square window, and its padding, which is alike on every side."""
    m.shape("x", 4)
    require_floats(m)
    window = window_of(m.pool)
    size, stride, dilation = square(window)
    require(dilation == 1, "the window is dilated")
    automatic = window.auto_pad not in ("NOTSET", "VALID")
    require(not automatic, f"the padding depends on the size ({window.auto_pad})")
    (padding, *others) = window.onnx_pads
    require(set(others) == {padding}, f"the padding {window.onnx_pads} differs")
    return size, stride, padding


class MaxPooling2D(Pattern):
    """MaxPool with PyTorch's padding, which is alike on every side and never the largest.

    Keras has no such padding: "same" begins elsewhere on even sizes, and zeros may be larger.
    With `ceil_mode` windows may reach over the end, if they begin in the image.
    """

    keras = "max_pooling"

    def onnx(self, op: Ops, x: Var) -> Expr:
        return op.MaxPool(x, role="pool")

    def params(self, m: Match) -> dict[str, Any]:
        size, stride, padding = pooling_window(m)
        ceil_mode = window_of(m.pool).ceil_mode
        require(2 * padding <= size, f"{padding} pixels of padding are wider than half a window")
        # Else PyTorch leaves the last window out at some sizes, as it would see padding alone.
        require(not ceil_mode or stride + padding <= size, "a window may begin behind the image")
        return {
            "pool_size": size,
            "strides": stride,
            "padding": padding,
            "ceil_mode": ceil_mode,
        }


def max_pooling(
    x: KerasTensor,
    pool_size: int,
    strides: int = 1,
    padding: int = 0,
    ceil_mode: bool = False,
    *,
    name: str,
) -> KerasTensor:
    """The largest pixel of every window; as in PyTorch, padding counts as minus infinity."""
    end = padding + strides - 1 if ceil_mode else padding
    if end:
        border = (padding, end)
        x = ops.pad(x, ((0, 0), border, border, (0, 0)), constant_values=float("-inf"))
    return layers.MaxPooling2D(pool_size, strides, name=name)(x)


class AveragePooling2D(Pattern):
    """AveragePool without padding, or one that keeps the size: (B, C, H, W) → (B, C, H', W').

    Windows that reach over the border are the mean of what is there, which is Keras's "same".
    With `ceil_mode` the last window may reach over the end and is the mean of what is there.
    That is Keras's "same" where windows of two pixels stand side by side, as in ResNet-D.
    """

    layer = "AveragePooling2D"

    def onnx(self, op: Ops, x: Var) -> Expr:
        return op.AveragePool(x, role="pool")

    def params(self, m: Match) -> dict[str, Any]:
        size, stride, padding = pooling_window(m)
        partial = not m.pool.attrs.get("count_include_pad")
        if stride == 1 and size % 2 and padding == size // 2 > 0 and partial:
            return {"pool_size": size, "strides": 1, "padding": "same"}
        require(padding == 0, f"the padding is {padding}")
        ceil_mode = window_of(m.pool).ceil_mode
        require(not ceil_mode or size == stride == 2, "its last window is not Keras's")
        require(
            not ceil_mode or partial,
            "what is behind the image counts as zeros",
        )
        return {"pool_size": size, "strides": stride, "padding": "same" if ceil_mode else "valid"}


class GlobalAveragePooling2D(Pattern):
    """ReduceMean over height and width: (B, C, H, W) → (B, C)."""

    layer = "GlobalAveragePooling2D"

    def onnx(self, op: Ops, x: Var) -> Expr:
        return op.ReduceMean(x, axes=(2, 3), keepdims=0)

    def params(self, m: Match) -> dict[str, Any]:
        m.shape("x", 4)
        require_floats(m)
        return {}


class GlobalMean(Pattern):
    """ReduceMean over height and width that keeps them: (B, C, H, W) → (B, C, 1, 1).

    Images are larger here than before a classifier: Keras's GlobalAveragePooling2D would be off
    by 1e-5 at 112×112 where a channel is nearly constant (measured on TensorFlow 2.21, CPU).
    """

    keras = "global_mean"

    def onnx(self, op: Ops, x: Var) -> Expr:
        return op.ReduceMean(x, axes=(2, 3), keepdims=1)

    def params(self, m: Match) -> dict[str, Any]:
        m.shape("x", 4)
        require_floats(m)
        return {}


def global_mean(x: KerasTensor) -> KerasTensor:
    """The mean of all pixels, by rows first: one sum over all of them would lose digits."""
    return ops.mean(ops.mean(x, axis=2, keepdims=True), axis=1, keepdims=True)
