"""Rules for torch's `x[torch.arange(len(x)), places]`: a place of its own for each image."""

from __future__ import annotations

import numpy as np

from onnx2mvit.ir.graph import Value
from onnx2mvit.matcher import Expr, Match, Ops, Var, any_of, constant, require
from onnx2mvit.matcher.rule import Builder, Rule


class PlaceOfEachImage(Rule):
    """Images are counted by no constant, so that there may be any number of them.

    GatherND(x, Concat(arange(B), places)) → GatherND(x, places, batch_dims=1)
    Gather(Reshape(x) to (B·N, …), places + N·arange(B)) → the same
    """

    needed_by = "cvnets' CLIP, transformers that classify by a token that they look for"

    def onnx(self, op: Ops, x: Var) -> Expr:
        last = op.Concat(
            constant("images", rank=2), Var("column"), axis=lambda axis: axis in (-1, 1)
        )
        counted = op.Add(Var("places"), constant("starts", rank=1))
        return any_of(
            op.GatherND(x, last, batch_dims=0),
            op.Gather(op.Reshape(x, role="rows"), counted, axis=0),
        )

    def rewrite(self, m: Match, new: Builder) -> Value:
        images, *lengths = m.shape("x")
        require(bool(lengths), "it has nothing but images")
        if m.column is not None:
            first, column, shape = m.images.const.ravel(), m.column, m.shape("column")
            require(shape == (images, 1), "it is not one place for each image")
        else:
            require(
                m.shape("rows") == (images * lengths[0], *lengths[1:]), "its rows are no places"
            )
            require(m.shape("places") == (images,), "it is not one place for each image")
            first, left = np.divmod(m.starts.const, lengths[0])
            require(not left.any(), "it does not count from the beginning of an image")
            target = new.constant(np.array([images, 1], np.int64), "column")
            column = new.Reshape(m.places, target, shape=(images, 1))
            column.dtype = m.places.dtype
        require(np.array_equal(first, np.arange(images)), "images give to each other")
        return new.like_root(m.x, column, op="GatherND", batch_dims=1)
