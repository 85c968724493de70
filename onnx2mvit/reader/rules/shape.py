"""Rules for operators that only move data."""

from __future__ import annotations

import numpy as np

from onnx2mvit.ir.graph import Value
from onnx2mvit.matcher.expression import Expr, Ops, Var, any_of, constant, optional
from onnx2mvit.matcher.match import Match
from onnx2mvit.matcher.rooted import TRAINING, Mismatch, require
from onnx2mvit.matcher.rule import Builder, Rule, elements

READERS = 16  # of one value; looking at more of them again and again would be slow


class DropIdentity(Rule):
    """Identity, and a Cast from float32 to float32, do nothing.

    Identity(x) → x
    """

    needed_by = "none of the files here: onnx-ir and constant folding leave none; other producers"

    def onnx(self, op: Ops, x: Var) -> Expr:
        return any_of(op.Identity(x), op.Cast(x))

    def rewrite(self, m: Match, new: Builder) -> Value:
        value: Value = m.x
        require(value.dtype is not None and value.dtype == m.root.output.dtype, "changes the type")
        return value


class DropDropout(Rule):
    """Dropout does nothing at inference; files with BatchNormalization kept may hold it.

    Dropout(x, ratio, training_mode=False) → x
    """

    needed_by = "none of the files here; legacy with `training=PRESERVE` may keep it"

    def onnx(self, op: Ops, x: Var) -> Expr:
        return op.Dropout(x, optional("ratio"), optional("training_mode"))

    def rewrite(self, m: Match, new: Builder) -> Value:
        training = m.training_mode
        require(training is None or not training.const.any(), TRAINING)
        value: Value = m.x
        return value


class AnyReshapeIsReshape(Rule):
    """All shapes are concrete, so the output's shape says everything.

    Reshape(x, shape) | Flatten(x) | Squeeze(x, axes) | Unsqueeze(x, axes) → Reshape(x)
    """

    needed_by = "all"

    def onnx(self, op: Ops, x: Var) -> Expr:
        return any_of(
            op.Reshape(x, constant("shape")),
            op.Flatten(x),
            op.Squeeze(x, optional("squeezed")),
            op.Unsqueeze(x, optional("unsqueezed")),
        )

    def rewrite(self, m: Match, new: Builder) -> Value:
        require(m.root.output.shape is not None, "the shape is not known")
        require(elements(m.x.shape) == elements(m.root.output.shape), "the sizes contradict")
        return new.like_root(m.x, op="Reshape")


class MergeReshapes(Rule):
    """Only the last of several shapes matters.

    Reshape(Reshape(x)) → Reshape(x)
    """

    needed_by = "none of the files here: what other rules leave"

    def onnx(self, op: Ops, x: Var) -> Expr:
        return op.Reshape(op.Reshape(x))

    def rewrite(self, m: Match, new: Builder) -> Value:
        return new.like_root(m.x)


class SharedReshape(Rule):
    """The same value in the same shape twice.

    Reshape(x), Reshape(x) → Reshape(x)
    """

    needed_by = "none of the files here: what merging leaves where a norm and a sum read one value"

    def onnx(self, op: Ops, x: Var) -> Expr:
        return op.Reshape(x)

    def rewrite(self, m: Match, new: Builder) -> Value:
        known = m.graph.producer(m.x) is not None and not m.graph.used_by_many(m.x, READERS)
        require(known, "it is read by many")
        for other in m.graph.consumers(m.x):
            before = other.op == "Reshape" and other.position < m.root.position
            if before and other.output.shape == m.root.output.shape is not None:
                return other.output
        raise Mismatch("it is the first in this shape")


class DropReshape(Rule):
    """Reshape to the shape that is there already.

    Reshape(x) → x
    """

    needed_by = "none of the files here: what other rules leave"

    def onnx(self, op: Ops, x: Var) -> Expr:
        return op.Reshape(x)

    def rewrite(self, m: Match, new: Builder) -> Value:
        value: Value = m.x
        require(value.shape is not None and value.shape == m.root.output.shape, "changes the shape")
        return value


class MergeTransposes(Rule):
    """Two permutations are one; dynamo without optimisation writes k's as 0213 and then 0132.

    Transpose(Transpose(x, perm=p), perm=q) → Transpose(x, perm=p[q])
    """

    needed_by = "Hugging Face by dynamo with `optimize=False`; timm and cvnets"

    def onnx(self, op: Ops, x: Var) -> Expr:
        return op.Transpose(op.Transpose(x, role="inner"))

    def rewrite(self, m: Match, new: Builder) -> Value:
        first, second = m.inner.attrs.get("perm"), m.root.attrs.get("perm")
        require(bool(first) and bool(second), "a permutation is implicit")
        return new.like_root(m.x, perm=tuple(first[axis] for axis in second or ()))


class DropTranspose(Rule):
    """A permutation that moves nothing.

    Transpose(x, perm=(0, 1, …)) → x
    """

    needed_by = "none of the files here: what MergeTransposes leaves"

    def onnx(self, op: Ops, x: Var) -> Expr:
        return op.Transpose(x)

    def rewrite(self, m: Match, new: Builder) -> Value:
        perm = m.root.attrs.get("perm")
        require(bool(perm), "the permutation is implicit")
        require(tuple(perm or ()) == tuple(range(len(perm or ()))), "it moves something")
        value: Value = m.x
        return value


class ResizeBySize(Rule):
    """All shapes are concrete: the output's says what sizes or scales would.

    Resize(x, roi, scales, sizes, mode="linear", half_pixel) → Resize(x, mode="linear")
    and with align_corners → Resize(x, mode="align_corners")
    """

    needed_by = "all, where the patch does not divide the image; align_corners: MobileViTv2"

    def onnx(self, op: Ops, x: Var) -> Expr:
        return op.Resize(x, optional("roi"), optional("scales"), optional("sizes"), mode="linear")

    def rewrite(self, m: Match, new: Builder) -> Value:
        attrs, shape = m.root.attrs, m.root.output.shape or ()
        require(m.scales is not None or m.sizes is not None, "it is written so already")
        require(not attrs.get("antialias"), "it smoothes")
        require(bool(shape) and m.x.shape is not None, "the shape is not known")
        require(shape[:2] == m.x.shape[:2], "more than height and width are resized")
        how = attrs.get("coordinate_transformation_mode", "half_pixel")
        # PyTorch's differs where one pixel is left.
        same = how == "half_pixel" or (how == "pytorch_half_pixel" and min(shape[2:]) > 1)
        require(same or how == "align_corners", f"its coordinates are {how}")
        require(exact_scales(m, shape), "its scales are not those of the sizes")
        return new.like_root(m.x, mode="linear" if same else how)


def exact_scales(m: Match, shape: tuple[int, ...]) -> bool:
    """True if the scales, which Resize goes by where they are given, are those of the shapes."""
    if m.scales is None or not m.scales.const.size:
        return True
    ratios = [after / before for after, before in zip(shape, m.x.shape, strict=True)]
    return bool(np.allclose(m.scales.const, ratios, rtol=1e-6, atol=0))
