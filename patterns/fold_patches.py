"""MobileViTv2's fold: the way back from patches to an image."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from onnx2mvit.matcher.match import Match
from onnx2mvit.matcher.pattern import Expr, Ops, Pattern, Var, any_of, constant, require

if TYPE_CHECKING:
    from keras import KerasTensor, ops


class FoldPatches(Pattern):
    """(B, d, P, N) → (B, d, H, W), the inverse of UnfoldPatches (arXiv:2206.02680, 3.1).

    ONNX Col2Im (operator version 18) leaves zeros where there is no patch; where it is made of
    Reshape and Transpose, there is none such place.
    """

    keras = "fold_patches"
    inner = True

    def onnx(self, op: Ops, x: Var) -> Expr:
        apart = op.Transpose(op.Reshape(x, role="apart"), perm=(0, 1, 4, 2, 5, 3))
        col2im = op.Col2Im(
            op.Reshape(x, role="columns"),
            constant("size", rank=1),
            constant("patch", rank=1),
            role="col2im",
            pads=lambda pads: not any(pads or ()),
            dilations=lambda dilations: set(dilations or (1,)) == {1},
        )
        return any_of(col2im, op.Reshape(apart))

    def params(self, m: Match) -> dict[str, Any]:
        batch, dim, _, _ = m.shape("x", 4)
        *_, height, width = m.root.output.shape or (0, 0)
        if m.col2im is not None:
            patch, patch_width = m.patch.const.tolist()
            strides = m.col2im.attrs.get("strides") or (1, 1)
            require(tuple(strides) == (patch, patch_width), f"patches of {patch} step {strides}")
        else:
            _, _, patch, patch_width, _, _ = m.shape("apart", 6)
        require(patch == patch_width, f"a patch is {patch}×{patch_width}, not square")
        rows, columns, pixels = height // patch, width // patch, patch**2
        between: tuple[int, ...] = (batch, dim, patch, patch, rows, columns)
        if m.col2im is not None:
            between = (batch, dim * pixels, rows * columns)
        require(
            m.x.shape == (batch, dim, pixels, rows * columns)
            and (m.columns or m.apart).output.shape == between
            and m.root.output.shape == (batch, dim, height, width),
            "the pixels of a patch are ordered otherwise",
        )
        return {"patch_size": patch, "zeros": m.col2im is not None}


def fold_patches(x: KerasTensor, image: KerasTensor, patch_size: int) -> KerasTensor:
    """(B, P, N, d) → (B, H, W, d) with the size of `image`: the inverse of unfold_patches."""
    _, height, width, dim = image.shape
    rows, columns = height // patch_size, width // patch_size
    x = ops.reshape(x, (-1, patch_size, patch_size, rows, columns, dim))
    x = ops.transpose(x, (0, 3, 1, 4, 2, 5))
    x = ops.reshape(x, (-1, rows * patch_size, columns * patch_size, dim))
    rest = (height % patch_size, width % patch_size)
    if rest != (0, 0):
        x = ops.pad(x, ((0, 0), (0, rest[0]), (0, rest[1]), (0, 0)))
    return x
