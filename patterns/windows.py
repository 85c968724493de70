"""Windows of an image, and the image again."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from onnx2mvit.matcher import Expr, Match, Ops, any_of, constant, optional, p, require

if TYPE_CHECKING:
    from keras import KerasTensor, ops

SINGLE: dict[str, Any] = {"p": p.window_size, "q": p.window_size}
SQUARE = {**SINGLE, "r": p._rows, "c": p._columns}


def in_windows(op: Ops, image: Expr, tokens: Expr) -> Expr:
    """(B·n, N, C): the windows of an image (B, H, W, C), or of tokens that are its pixels."""
    return any_of(
        op.Rearrange("b (r p) (c q) d -> (b r c) (p q) d", image, **SQUARE),
        op.Rearrange("b (r p c q) d -> (b r c) (p q) d", tokens, **SQUARE),
        op.Rearrange("b p q d -> b (p q) d", tokens, **SINGLE),  # a single window
        tokens,
    )


def filled(op: Ops, image: Expr, role: str) -> Expr:
    """An image (B, H, W, C) with more rows and columns, so that windows fill it."""
    return op.Pad(image, constant("pads"), optional("zero"), optional("axes"), role=role)


def cut_to_image(op: Ops, whole: Expr) -> Expr:
    """The image again, without rows or columns, or both, that were added."""
    rows = op.Slice(whole, role="rows", axis=1, start=0)
    return any_of(
        op.Slice(rows, role="columns", axis=2, start=0),
        rows,
        op.Slice(whole, role="columns", axis=2, start=0),
    )


def image_in_windows(m: Match, size: int) -> tuple[int, int]:
    """The height and width of the image, which zeros below and to the right fill, if any do."""
    whole = ((m._rows or 1) * size, (m._columns or 1) * size)
    pads = [0] * 8 if m.pads is None else m.pads.const.tolist()
    require(m.axes is None and len(pads) == 8, "it is padded otherwise")
    image = (whole[0] - pads[5], whole[1] - pads[6])
    missing = [0] * 5 + [-image[0] % size, -image[1] % size, 0]
    zero = m.zero is None or not m.zero.const.any()
    require(pads == missing and zero, "it is padded otherwise")
    cut = [part.output.shape for part in (m.rows, m.columns) if part is not None]
    at = tuple(cut[-1][1:3]) if cut else whole
    require(at == image, f"{at} pixels are left of {image}")
    return image


def window_size_of(m: Match) -> int:
    """How many pixels wide its windows are, which are square, and its bias with them."""
    pixels = math.prod(m.shape("attn")[1:-1])
    size: int = m.window_size or math.isqrt(pixels)
    require(pixels == size * size > 1, "its windows are not square")
    require(m._biased in (None, (size, size)), "the bias is not for its windows")
    return size


def window_fill(x: KerasTensor, window_size: int) -> KerasTensor:
    """(B, H, W, C) → (B, H', W', C): with zeros below and to the right, so that windows fill it."""
    _, height, width, _ = x.shape
    return ops.pad(x, ((0, 0), (0, -height % window_size), (0, -width % window_size), (0, 0)))


def window_partition(x: KerasTensor, window_size: int) -> KerasTensor:
    """(B, H, W, C) → (B·n, N, C): the pixels of each of n windows, row by row."""
    _, height, width, dim = x.shape
    rows, columns = height // window_size, width // window_size
    x = ops.reshape(x, (-1, rows, window_size, columns, window_size, dim))
    return ops.reshape(ops.transpose(x, (0, 1, 3, 2, 4, 5)), (-1, window_size**2, dim))


def window_reverse(x: KerasTensor, height: int, width: int, window_size: int) -> KerasTensor:
    """(B·n, N, C) → (B, H, W, C): the image of which these are the windows."""
    dim = x.shape[-1]
    rows, columns = height // window_size, width // window_size
    x = ops.reshape(x, (-1, rows, columns, window_size, window_size, dim))
    return ops.reshape(ops.transpose(x, (0, 1, 3, 2, 4, 5)), (-1, height, width, dim))


def grid_partition(x: KerasTensor, grid_size: int) -> KerasTensor:
    """(B, H, W, C) → (B·n, N, C): pixels as far from each other as a grid of so many allows."""
    _, height, width, dim = x.shape
    rows, columns = height // grid_size, width // grid_size
    x = ops.reshape(x, (-1, grid_size, rows, grid_size, columns, dim))
    return ops.reshape(ops.transpose(x, (0, 2, 4, 1, 3, 5)), (-1, grid_size**2, dim))


def grid_reverse(x: KerasTensor, height: int, width: int, grid_size: int) -> KerasTensor:
    """(B·n, N, C) → (B, H, W, C): the image of which these are the grids."""
    dim = x.shape[-1]
    rows, columns = height // grid_size, width // grid_size
    x = ops.reshape(x, (-1, rows, columns, grid_size, grid_size, dim))
    return ops.reshape(ops.transpose(x, (0, 3, 1, 4, 2, 5)), (-1, height, width, dim))
