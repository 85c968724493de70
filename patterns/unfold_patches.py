"""MobileViTv2's unfold: the pixels of an image by their place in a patch, and by patch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from onnx2mvit.matcher.match import Match
from onnx2mvit.matcher.pattern import Expr, Ops, Pattern, Var, maybe, require

if TYPE_CHECKING:
    from keras import KerasTensor, ops


class UnfoldPatches(Pattern):
    """(B, d, H, W) → (B, d, P, N) with P pixels a patch and N patches (arXiv:2206.02680, 3.1).

    The pixels of a patch come row by row, and so do the patches. It is torch.nn.functional.unfold
    with a stride of one patch, which leaves out what is beyond the last whole patch.
    """

    keras = "unfold_patches"
    inner = True

    def onnx(self, op: Ops, x: Var) -> Expr:
        whole = maybe(op.Slice(x, axis=2, start=0))
        whole = maybe(op.Slice(whole, axis=3, start=0))
        y = op.Transpose(op.Reshape(whole, role="apart"), perm=(0, 1, 3, 5, 2, 4))
        return op.Reshape(y, role="patches")

    def params(self, m: Match) -> dict[str, Any]:
        batch, dim, height, width = m.shape("x", 4)
        _, _, rows, patch, columns, patch_width = m.shape("apart", 6)
        require(patch == patch_width, f"a patch is {patch}×{patch_width}, not square")
        require((rows, columns) == (height // patch, width // patch), "it leaves out whole patches")
        require(
            m.apart.inputs[0].shape == (batch, dim, rows * patch, columns * patch)
            and m.apart.output.shape[:2] == (batch, dim)
            and m.patches.output.shape == (batch, dim, patch * patch, rows * columns),
            "the pixels of a patch are ordered otherwise",
        )
        return {"patch_size": patch}


def unfold_patches(x: KerasTensor, patch_size: int) -> KerasTensor:
    """(B, H, W, d) → (B, P, N, d) for the P pixels of each of N patches."""
    _, height, width, dim = x.shape
    rows, columns = height // patch_size, width // patch_size
    if (height % patch_size, width % patch_size) != (0, 0):
        x = x[:, : rows * patch_size, : columns * patch_size]
    x = ops.reshape(x, (-1, rows, patch_size, columns, patch_size, dim))
    x = ops.transpose(x, (0, 2, 4, 1, 3, 5))
    return ops.reshape(x, (-1, patch_size**2, rows * columns, dim))
