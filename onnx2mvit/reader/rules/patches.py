"""Rules for ways from an image to its patches and back."""

from __future__ import annotations

import numpy as np

from onnx2mvit.ir.graph import Value
from onnx2mvit.matcher import Expr, Ops, Var, constant
from onnx2mvit.matcher.match import Match
from onnx2mvit.matcher.rooted import require
from onnx2mvit.matcher.rule import Builder, Rule


class PixelShuffle(Rule):
    """torch.nn.functional.pixel_shuffle written out; depth first (DCR) is another order.

    DepthToSpace(x, blocksize=p, mode="CRD")
    → Reshape(Transpose(Reshape(x, [B, C, p, p, H, W]), perm=(0, 1, 4, 2, 5, 3)))
    """

    needed_by = "ml-cvnets' MobileViTv2 for mobile, timm's with `exportable=True`"

    def onnx(self, op: Ops, x: Var) -> Expr:
        return op.DepthToSpace(x, mode="CRD")

    def rewrite(self, m: Match, new: Builder) -> Value:
        batch, channels, height, width = m.shape("x", 4)
        p = m.root.attrs["blocksize"]
        apart = new.Reshape(m.x, shape=(batch, channels // p**2, p, p, height, width))
        return new.like_root(new.Transpose(apart, perm=(0, 1, 4, 2, 5, 3)), op="Reshape")


class DropExpand(Rule):
    """Mul broadcasts by itself.

    Mul(x, Expand(y, shape)) → Mul(x, y)
    """

    needed_by = "MobileViTv2 by both exporters"

    def onnx(self, op: Ops, x: Var) -> Expr:
        return op.Mul(x, op.Expand(Var("y"), constant("shape")))

    def rewrite(self, m: Match, new: Builder) -> Value:
        shape = np.broadcast_shapes(m.shape("x"), m.shape("y"))
        require(shape == m.root.output.shape, "it would be smaller without")
        return new.like_root(m.x, m.y)
