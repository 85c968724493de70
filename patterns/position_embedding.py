"""Learned positions: a vector for every token."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from onnx2mvit.matcher.match import Match
from onnx2mvit.matcher.pattern import Array, Expr, Ops, Pattern, Var, constant, require

from .class_token import alike

if TYPE_CHECKING:
    from keras import KerasTensor, layers, ops


class PositionEmbedding(Pattern):
    """Tokens (B, N, d) plus a learned (N, d) (arXiv:2010.11929, section 3.1).

    A parameter has no node: it is what is added. Keras: Embedding, one row a position.
    """

    keras = "position_embedding"

    def onnx(self, op: Ops, x: Var) -> Expr:
        return op.Add(x, constant("table"))

    def params(self, m: Match) -> dict[str, Any]:
        _, tokens, dim = m.shape("x", 3)
        table = m.table.const
        require(m.x.const is None, "it is added to a constant")
        require(table.ndim in (2, 3) and table.shape[-2:] == (tokens, dim), "not one per token")
        require(tokens > 1, "a single token has no position")
        require(table.ndim == 2 or alike(table), "positions differ from image to image")
        return {"num_positions": tokens}

    def weights(self, m: Match) -> dict[str, Array]:
        table: Array = m.table.const
        return {"embeddings": table.reshape(-1, *table.shape[-2:])[0]}


def position_embedding(
    x: KerasTensor,
    num_positions: int,
    grid: tuple[int, int] | None = None,
    patch_size: int = 1,
    image: Any = None,
    *,
    name: str,
) -> KerasTensor:
    """Adds a learned vector to every token.

    Those of patches are for a `grid` (rows, columns) of them. For an `image` that has another
    they are resampled as Hugging Face does with `interpolate_pos_encoding=True`: bicubic
    (a = -0.75), half-pixel centres, no antialiasing. Without a grid there is no other size.
    """
    dim = x.shape[-1]
    index = ops.zeros_like(x[:1, :1, 0], dtype="int32") + np.arange(num_positions, dtype="int32")
    table = layers.Embedding(num_positions, dim, name=name)(index)
    if grid:
        size = (image.shape[1] // patch_size, image.shape[2] // patch_size)
        if size != grid:
            special, patches = ops.split(table, [num_positions - grid[0] * grid[1]], axis=1)
            patches = ops.reshape(patches, (*grid, dim))
            for old, new in zip(grid[::-1], size[::-1], strict=True):
                places = (np.arange(new, dtype="float32") + 0.5) * (old / new) - 0.5
                neighbours = np.arange(-2, old + 2)
                d = np.abs(places[:, None] - neighbours.astype("float32"))
                near = (1.25 * d - 2.25) * d * d + 1
                far = ((3.75 - 0.75 * d) * d - 6) * d + 3
                weights = np.where(d < 1, near, np.where(d < 2, far, 0)).astype("float32")
                patches = ops.take(patches, np.clip(neighbours, 0, old - 1), axis=1)
                patches = ops.swapaxes(ops.matmul(weights, patches), 0, 1)
            table = ops.concatenate([special, ops.reshape(patches, (1, -1, dim))], axis=1)
    if table.shape[1] != x.shape[1]:
        raise ValueError(f"{name} is for {table.shape[1]} tokens, not {x.shape[1]}")
    return x + table
