"""Pooling: of windows, and of all pixels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from onnx2mvit.matcher import Expr, Match, Ops, Pattern, Var, require

if TYPE_CHECKING:
    from keras import KerasTensor, layers, ops


def window(m: Match) -> dict[str, Any]:
    """A square window, equal strides and as much padding on every side, read off `m.pool`.

    ONNX MaxPool (operator versions 8 to 22) and AveragePool (7 to 22).
    """
    attrs = m.pool.attrs
    m.shape("x", 4)
    rank = len(attrs["kernel_shape"])
    (size, *other_sizes) = attrs["kernel_shape"]
    (stride, *other_strides) = attrs.get("strides") or (1,) * rank
    pads = attrs.get("pads") or (0,) * (2 * rank)
    require(set(other_sizes) == {size}, f"the window is {attrs['kernel_shape']}, not square")
    require(set(other_strides) == {stride}, f"the strides {attrs.get('strides')} differ")
    require(set(attrs.get("dilations") or (1,)) == {1}, "the window is dilated")
    how = attrs.get("auto_pad", "NOTSET")
    require(how in ("NOTSET", "VALID"), f"the padding depends on the size ({how})")
    require(len(set(pads)) == 1, f"the padding {pads} differs")
    return {"pool_size": size, "strides": stride, "padding": 0 if how == "VALID" else pads[0]}


class MaxPooling2D(Pattern):
    """MaxPool with PyTorch's padding, which is alike on every side and never the largest.

    Keras has no such padding: "same" begins elsewhere on even sizes, and zeros may be larger.
    With `ceil_mode` windows may reach over the end, if they begin in the image.
    """

    keras = "max_pooling"

    def onnx(self, op: Ops, x: Var) -> Expr:
        return op.MaxPool(x, role="pool")

    def params(self, m: Match) -> dict[str, Any]:
        found = window(m)
        ceil_mode = bool(m.pool.attrs.get("ceil_mode"))
        size, stride, padding = found["pool_size"], found["strides"], found["padding"]
        require(2 * padding <= size, f"{padding} pixels of padding are wider than half a window")
        # Else PyTorch leaves the last window out at some sizes, as it would see padding alone.
        require(not ceil_mode or stride + padding <= size, "a window may begin behind the image")
        return found | {"ceil_mode": ceil_mode}


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
    """AveragePool without padding: (B, C, H, W) → (B, C, H', W').

    With `ceil_mode` the last window may reach over the end and is the mean of what is there.
    That is Keras's "same" where windows of two pixels stand side by side, as in ResNet-D.
    """

    layer = "AveragePooling2D"

    def onnx(self, op: Ops, x: Var) -> Expr:
        return op.AveragePool(x, role="pool")

    def params(self, m: Match) -> dict[str, Any]:
        found = window(m)
        size, stride, padding = found["pool_size"], found["strides"], found["padding"]
        require(padding == 0, f"the padding is {padding}")
        ceil_mode = bool(m.pool.attrs.get("ceil_mode"))
        require(not ceil_mode or size == stride == 2, "its last window is not Keras's")
        require(
            not ceil_mode or not m.pool.attrs.get("count_include_pad"),
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
        return {}


def global_mean(x: KerasTensor) -> KerasTensor:
    """The mean of all pixels, by rows first: one sum over all of them would lose digits."""
    return ops.mean(ops.mean(x, axis=2, keepdims=True), axis=1, keepdims=True)
