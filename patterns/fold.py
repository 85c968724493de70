"""MobileViT's fold: the way back from sequences to an image."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from onnx2mvit.matcher import Match
from onnx2mvit.pattern import Expr, Ops, Pattern, Var, require

if TYPE_CHECKING:
    from keras import KerasTensor, ops


class Fold(Pattern):
    """(B·P, N, d) → (B, d, H, W), the inverse of Unfold (arXiv:2110.02178, section 3.1)."""

    keras = "fold"

    def onnx(self, op: Ops, x: Var) -> Expr:
        y = op.Transpose(op.Reshape(x, role="patches"), perm=(0, 3, 2, 1))
        y = op.Transpose(op.Reshape(y, role="rows"), perm=(0, 2, 1, 3))
        return op.Reshape(y, role="image")

    def params(self, m: Match) -> dict[str, Any]:
        batch, dim, height, width = m.image.output.shape
        _, columns, patch, patch_width = m.rows.output.shape
        rows = height // patch
        require(patch == patch_width, f"a patch is {patch}×{patch_width}, not square")
        require((rows * patch, columns * patch) == (height, width), "patches do not fill the image")
        require(m.rows.output.shape[0] == batch * dim * rows, "the rows are put together otherwise")
        require(
            m.patches.output.shape == (batch, patch * patch, rows * columns, dim)
            and m.x.shape == (batch * patch * patch, rows * columns, dim),
            "the pixels of a patch are ordered otherwise",
        )
        return {"patch_size": patch}


def fold(x: KerasTensor, patch_size: int, height: int, width: int) -> KerasTensor:
    """(B·P, N, d) → (B, height, width, d): the inverse of unfold."""
    dim = x.shape[-1]
    rows, columns = height // patch_size, width // patch_size
    x = ops.reshape(x, (-1, patch_size, patch_size, rows, columns, dim))
    x = ops.transpose(x, (0, 3, 1, 4, 2, 5))
    return ops.reshape(x, (-1, height, width, dim))
