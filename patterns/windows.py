"""Windows of an image, and the image again."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from keras import KerasTensor, ops


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
