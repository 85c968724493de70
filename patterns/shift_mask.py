"""What the scores of one window have and others have not: masks (arXiv:2103.14030, figure 4)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from onnx2mvit.ir.layout import plain
from onnx2mvit.matcher import Array, Expr, Match, Mismatch, Ops, Pattern, Var, constant, require

if TYPE_CHECKING:
    from keras import KerasTensor, layers, ops

HIDDEN = -100  # what is added to the scores of two pixels that are no neighbours


class ShiftMask(Pattern):
    """Scores (B·n, heads, N, N) of n windows, lowered where two pixels are no neighbours.

    What was rolled out of the image at one side came in at the other.
    """

    keras = "shift_masked"
    inner = True
    before = ("WindowMask",)
    order = staticmethod(plain)

    def onnx(self, op: Ops, x: Var) -> Expr:
        return masked(op, x)

    def params(self, m: Match) -> dict[str, Any]:
        mask = mask_of(m)
        require(bool(np.isin(mask, (0, HIDDEN)).all()), f"it does not lower scores by {-HIDDEN}")
        return shift_of(mask != 0)


def masked(op: Ops, x: Var) -> Expr:
    """Scores (B·n, heads, N, N), and a constant that is another for each of n windows."""
    windows = op.Rearrange("(b n) h t s -> b n h t s", x)
    y = op.Add(windows, constant("mask", rank=5))
    return op.Rearrange("b n h t s -> (b n) h t s", y)


def mask_of(m: Match) -> Array:
    """(n, N, N): what is added for each window."""
    mask, (*_, tokens) = m.mask.const, m.shape("x", 4)
    require(mask.shape == (1, mask.shape[1], 1, tokens, tokens), "it is not one a window")
    found: Array = mask[0, :, 0]
    return found


def shift_masked(x: KerasTensor, shift: int, windows: tuple[int, int]) -> KerasTensor:
    """Scores (B·n, heads, N, N) of rows and columns of windows, of an image that was rolled."""
    _, heads, tokens, _ = x.shape
    x = ops.reshape(x, (-1, windows[0] * windows[1], heads, tokens, tokens))
    x = x + shift_mask(windows, round(tokens**0.5), shift)
    return ops.reshape(x, (-1, heads, tokens, tokens))


def shift_mask(windows: tuple[int, int], window_size: int, shift: int) -> Any:
    """(n, 1, N, N): lowers the scores of two pixels that come from two sides of the image."""
    # A single row or column of windows is not rolled across itself.
    rolled = [np.arange(n * window_size) >= n * window_size - shift * (n > 1) for n in windows]
    side = 2 * rolled[0][:, None] + rolled[1]
    side = side.reshape(windows[0], window_size, windows[1], window_size)
    side = side.transpose(0, 2, 1, 3).reshape(-1, 1, window_size**2)
    return np.where(side[..., None] == side[:, :, None], 0, -100).astype("float32")


def shift_of(hidden: Array) -> dict[str, Any]:
    """The shift, and the rows and columns of windows, that hide these pairs of pixels.

    Args:
        hidden: (n, N, N) for the windows of an image, or of several.

    Raises:
        Mismatch: there is none.
    """
    count, tokens, _ = hidden.shape
    size = math.isqrt(tokens)
    require(size * size == tokens, "it is not for square windows")
    for windows in grids(count):
        for shift in range(1, size):
            mask = shift_mask(windows, size, shift)[:, 0] != 0
            if (hidden.reshape(-1, *mask.shape) == mask).all():
                return {"shift": shift, "windows": windows}
    raise Mismatch("the mask is not that of shifted windows")


def grids(windows: int) -> Iterator[tuple[int, int]]:
    """So many windows, or those of several images, in rows and columns."""
    for rows in range(1, windows + 1):
        for columns in range(1, windows // rows + 1):
            if windows % (rows * columns) == 0 and rows * columns > 1:
                yield rows, columns


class WindowMask(Pattern):
    """Scores (B·n, heads, N, N) plus any number for each window and pair, alike for all heads.

    It is a parameter without a node. Keras: Embedding, one row for each window and pair.
    """

    keras = "window_masked"
    inner = True
    one_size = True
    order = staticmethod(plain)

    def onnx(self, op: Ops, x: Var) -> Expr:
        return masked(op, x)

    def params(self, m: Match) -> dict[str, Any]:
        return {"mask_windows": len(mask_of(m))}

    def weights(self, m: Match) -> dict[str, Array]:
        return {"embeddings": mask_of(m).reshape(-1, 1)}


def window_masked(x: KerasTensor, mask_windows: int, *, name: str) -> KerasTensor:
    """Scores (B·n, heads, N, N) of n windows plus a number for each of them and each pair."""
    _, heads, tokens, _ = x.shape
    index = np.arange(mask_windows * tokens**2).reshape(mask_windows, tokens, tokens)
    index = ops.zeros_like(x[:1, 0], dtype="int32") + index.astype("int32")
    mask = layers.Embedding(mask_windows * tokens**2, 1, name=name)(index)
    x = ops.reshape(x, (-1, mask_windows, heads, tokens, tokens))
    x = x + ops.reshape(mask, (1, mask_windows, 1, tokens, tokens))
    return ops.reshape(x, (-1, heads, tokens, tokens))
