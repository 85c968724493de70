"""MobileViT's fold: the way back from sequences to an image."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from onnx2mvit.matcher.match import Match
from onnx2mvit.matcher.pattern import Expr, Ops, Pattern, Var, maybe, require

from .unfold import fill

if TYPE_CHECKING:
    from keras import KerasTensor, ops


class Fold(Pattern):
    """(B·P, N, d) → (B, d, H, W), the inverse of Unfold (arXiv:2110.02178, section 3.1).

    Where the image was stretched before, it is shrunk to its own size again.
    """

    keras = "fold"
    inner = True

    def onnx(self, op: Ops, x: Var) -> Expr:
        y = op.Transpose(op.Reshape(x, role="patches"), perm=(0, 3, 2, 1))
        y = op.Transpose(op.Reshape(y, role="rows"), perm=(0, 2, 1, 3))
        return maybe(op.Resize(op.Reshape(y, role="whole"), role="shrink", mode="linear"))

    def params(self, m: Match) -> dict[str, Any]:
        batch, dim, height, width = m.shape("whole", 4)
        _, columns, patch, patch_width = m.shape("rows", 4)
        rows = height // patch
        require(patch == patch_width, f"a patch is {patch}×{patch_width}, not square")
        require((rows * patch, columns * patch) == (height, width), "patches do not fill the image")
        size = list(m.root.output.shape or ())[2:]
        require(fill(size, patch) == [height, width], "the image is shrunk to another size")
        require(m.rows.output.shape[0] == batch * dim * rows, "the rows are put together otherwise")
        require(
            m.patches.output.shape == (batch, patch * patch, rows * columns, dim)
            and m.x.shape == (batch * patch * patch, rows * columns, dim),
            "the pixels of a patch are ordered otherwise",
        )
        return {"patch_size": patch}


def fold(x: KerasTensor, image: KerasTensor, patch_size: int) -> KerasTensor:
    """(B·P, N, d) → (B, H, W, d) with the size of `image`: the inverse of unfold."""
    _, height, width, _ = image.shape
    rows, columns = -(-height // patch_size), -(-width // patch_size)
    x = ops.reshape(x, (-1, patch_size, patch_size, rows, columns, x.shape[-1]))
    x = ops.transpose(x, (0, 3, 1, 4, 2, 5))
    x = ops.reshape(x, (-1, rows * patch_size, columns * patch_size, x.shape[-1]))
    if x.shape[1:3] != (height, width):
        x = ops.image.resize(x, (height, width), interpolation="bilinear")
    return x
