"""MobileViT's unfold: an image becomes sequences of pixels, one for each place in a patch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from onnx2mvit.matcher.match import Match
from onnx2mvit.matcher.pattern import Expr, Ops, Pattern, Var, maybe, require

if TYPE_CHECKING:
    from keras import KerasTensor, ops


class Unfold(Pattern):
    """(B, d, H, W) → (B·P, N, d) with P pixels a patch and N patches (arXiv:2110.02178, 3.1).

    Where patches do not fill the image, it is stretched first (bilinear, half-pixel centres).
    """

    keras = "unfold"
    inner = True

    def onnx(self, op: Ops, x: Var) -> Expr:
        whole = maybe(op.Resize(x, role="stretch", mode="linear"))
        y = op.Transpose(op.Reshape(whole, role="rows"), perm=(0, 2, 1, 3))
        y = op.Transpose(op.Reshape(y, role="patches"), perm=(0, 3, 2, 1))
        return op.Reshape(y, role="tokens")

    def params(self, m: Match) -> dict[str, Any]:
        _, patch, columns, patch_width = m.shape("rows", 4)
        require(patch == patch_width, f"a patch is {patch}×{patch_width}, not square")
        batch, dim, *size = m.shape("x", 4)
        height, width = m.shape("stretch", 4)[2:] if m.stretch is not None else size
        rows = height // patch
        require([height, width] == fill(size, patch), "patches do not fill the image")
        require(columns * patch == width, "patches do not fill the image")
        require(m.rows.output.shape[0] == batch * dim * rows, "the rows are taken apart otherwise")
        require(
            m.patches.output.shape == (batch, dim, rows * columns, patch * patch)
            and m.tokens.output.shape == (batch * patch * patch, rows * columns, dim),
            "the pixels of a patch are ordered otherwise",
        )
        return {"patch_size": patch}


def fill(size: list[int], patch_size: int) -> list[int]:
    """The smallest height and width that patches fill."""
    return [-(-length // patch_size) * patch_size for length in size]


def unfold(x: KerasTensor, patch_size: int) -> KerasTensor:
    """(B, H, W, d) → (B·P, N, d): one sequence for each of the P pixels of a patch."""
    _, height, width, dim = x.shape
    rows, columns = -(-height // patch_size), -(-width // patch_size)
    whole = (rows * patch_size, columns * patch_size)
    if whole != (height, width):
        # Patches must fill the image: it is stretched here, and shrunk after fold.
        x = ops.image.resize(x, whole, interpolation="bilinear")
    x = ops.reshape(x, (-1, rows, patch_size, columns, patch_size, dim))
    x = ops.transpose(x, (0, 2, 4, 1, 3, 5))
    return ops.reshape(x, (-1, rows * columns, dim))
