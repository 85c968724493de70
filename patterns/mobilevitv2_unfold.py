"""What exporters write for MobileViTv2's `unfold`, brought to Reshape and Transpose."""

from __future__ import annotations

import numpy as np

from onnx2mvit.ir.graph import Value
from onnx2mvit.matcher import Builder, Expr, Match, Ops, Rule, Var, constant, optional, require


class UnfoldFromGather(Rule):
    """torch.nn.functional.unfold with a stride of one patch.

    Transpose(Gather(Gather(x, i, axis=2), j, axis=4), perm=(0, 1, 2, 4, 3, 5)),
    where i[k, n] and j[k, n] are k + n·p, as many as fit
    → Transpose(Reshape(x), perm=(0, 1, 3, 5, 2, 4)), x cut to whole patches by Slice
    """

    needed_by = "Hugging Face's and ml-cvnets' MobileViTv2, timm's with `exportable=True`"

    def onnx(self, op: Ops, x: Var) -> Expr:
        rows = op.Gather(x, constant("rows", rank=2), axis=2)
        both = op.Gather(rows, constant("columns", rank=2), axis=4)
        return op.Transpose(both, perm=(0, 1, 2, 4, 3, 5))

    def rewrite(self, m: Match, new: Builder) -> Value:
        require(m.x.shape is not None and len(m.x.shape) == 4, "it is no image")
        patch = []
        for index, length in zip((m.rows, m.columns), m.x.shape[2:], strict=True):
            size, count = index.const.shape
            expected = np.arange(size)[:, None] + size * np.arange(count)
            require(bool((index.const == expected).all()), "the patches have gaps or overlap")
            require(count == length // size, "whole patches are left out")
            patch.append(size)
        return patches(new, m.x, patch[0], patch[1])


class UnfoldFromConv(Rule):
    """A convolution that does nothing but pick: each of its filters is one pixel of a patch.

    Conv(x, w, strides=[p, q], group=channels), w[c·p·q + k] one at pixel k and zero elsewhere
    → Reshape(Transpose(Reshape(x), perm=(0, 1, 3, 5, 2, 4))), x cut to whole patches by Slice
    """

    needed_by = "ml-cvnets' MobileViTv2 for mobile"

    def onnx(self, op: Ops, x: Var) -> Expr:
        kernel, bias = constant("kernel", rank=4), optional("bias")
        return op.Conv(x, kernel, bias, pads=(0, 0, 0, 0), dilations=(1, 1))

    def rewrite(self, m: Match, new: Builder) -> Value:
        filters, per_group, height, width = m.kernel.const.shape
        pixels, group = height * width, m.root.attrs["group"]
        require(pixels > 1 and m.root.attrs.get("strides") == (height, width), "they overlap")
        require(per_group == 1 and filters == group * pixels, "not one filter for each pixel")
        require(m.bias is None or not m.bias.const.any(), "it has a bias")
        picks = np.tile(np.eye(pixels, dtype=np.float32), (group, 1))
        require(np.array_equal(m.kernel.const.reshape(filters, pixels), picks), "it does not pick")
        require(m.x.shape is not None, "the input's shape is not known")
        return new.like_root(patches(new, m.x, height, width), op="Reshape")


def patches(new: Builder, x: Value, height: int, width: int) -> Value:
    """An image [B, C, H, W] as [B, C, height, width, rows, columns], its whole patches alone."""
    assert x.shape is not None
    rows, columns = x.shape[2] // height, x.shape[3] // width
    for axis, end in ((2, rows * height), (3, columns * width)):
        assert x.shape is not None
        if end != x.shape[axis]:
            shape = (*x.shape[:axis], end, *x.shape[axis + 1 :])
            x = new.Slice(x, shape=shape, axis=axis, start=0, end=end)
    assert x.shape is not None
    apart = new.Reshape(x, shape=(*x.shape[:2], rows, height, columns, width))
    return new.Transpose(apart, perm=(0, 1, 3, 5, 2, 4))
