"""Rules for operators that only move data."""

from __future__ import annotations

from typing import Any

import numpy as np

from onnx2mvit.ir.graph import Value
from onnx2mvit.matcher import Expr, Ops, Var, any_of, constant, optional, scalar
from onnx2mvit.matcher.match import Match
from onnx2mvit.matcher.rooted import TRAINING, Mismatch, require
from onnx2mvit.matcher.rule import Builder, Rule, elements

READERS = 16  # of one value; looking at more of them again and again would be slow


def _in_order(perm: tuple[int, ...] | None) -> bool:
    """True for an order of axes that moves none, or that is not given."""
    return perm is None or list(perm) == [*range(len(perm))]


class DropIdentity(Rule):
    """Operators that do nothing with these attributes, or at inference.

    Identity(x) | Cast(x) | Dropout(x) | Pad(x, 0) | Add(x, 0) | Mul(x, 1) | Reshape(x) |
    Transpose(x) → x
    """

    needed_by = (
        "Pad: MobileViTv2 by Hugging Face, ml-cvnets and timm with `exportable=True`; "
        "Add: MobileOne and RepVGG by dynamo with `optimize=False`; Mul: the swish of "
        "PaddlePaddle; others: what rules leave"
    )

    def onnx(self, op: Ops, x: Var) -> Expr:
        return any_of(
            op.Identity(x),
            op.Cast(x),
            op.Dropout(x, optional("ratio"), optional("training_mode")),
            op.Pad(x, constant("pads"), optional("fill"), optional("axes")),
            op.Add(x, scalar("zero", 0.0)),
            op.Mul(x, scalar("one", 1.0)),
            op.Reshape(x),
            op.Transpose(x, role="transposed", perm=_in_order),
        )

    def rewrite(self, m: Match, new: Builder) -> Value:
        value: Value = m.x
        require(m.shape("x") == m.root.output.shape, "it changes the shape")
        require(None is not value.dtype == m.root.output.dtype, "it changes the type")
        require(m.training_mode is None or not m.training_mode.const.any(), TRAINING)
        require(m.pads is None or not m.pads.const.any(), "it pads")
        # With axes of its own the number may be a bias or a factor that is trained.
        number = m.zero or m.one
        require(number is None or number.const.ndim == 0, "the number has axes")
        given = m.transposed is None or "perm" in m.transposed.attrs or not value.shape
        require(given, "it turns all axes around")
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


class MergeMoves(Rule):
    """Two moves are one; dynamo without optimisation turns k by 0213 and then 0132.

    Reshape(Reshape(x)) | Transpose(Transpose(x, perm=p), perm=q)
    → Reshape(x) | Transpose(x, perm=p[q])
    """

    needed_by = "Hugging Face by dynamo with `optimize=False`; timm and cvnets"

    def onnx(self, op: Ops, x: Var) -> Expr:
        return any_of(
            op.Reshape(op.Reshape(x, role="between")), op.Transpose(op.Transpose(x, role="inner"))
        )

    def rewrite(self, m: Match, new: Builder) -> Value:
        if m.inner is None:
            given = m.graph.is_output(m.between.output)
            require(not given, "the network gives what is between")
            return new.like_root(m.x)
        first, second = m.inner.attrs.get("perm"), m.root.attrs.get("perm")
        if not first or not second:
            raise Mismatch("a permutation is implicit")
        return new.like_root(m.x, perm=tuple(first[axis] for axis in second))


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


class ResizeBySize(Rule):
    """All shapes are concrete: the output's says what sizes or scales would.

    Resize(x, roi, scales, sizes, mode="linear", half_pixel) → Resize(x, mode="linear")
    and with align_corners → Resize(x, mode="align_corners"); `by_sizes` where those were given
    """

    needed_by = "all, where the patch does not divide the image; align_corners: MobileViTv2"

    def onnx(self, op: Ops, x: Var) -> Expr:
        return op.Resize(x, optional("roi"), optional("scales"), optional("sizes"), mode="linear")

    def rewrite(self, m: Match, new: Builder) -> Value:
        attrs, shape = m.root.attrs, m.root.output.shape or ()
        require(m.scales is not None or m.sizes is not None, "it is written so already")
        require(not attrs.get("antialias"), "it smoothes")
        policy = attrs.get("keep_aspect_ratio_policy", "stretch")
        require(policy == "stretch" and not attrs.get("axes"), "its sizes are for some axes")
        require(bool(shape) and m.x.shape is not None, "the shape is not known")
        require(shape[:2] == m.x.shape[:2], "more than height and width are resized")
        how = attrs.get("coordinate_transformation_mode", "half_pixel")
        # PyTorch's differs where one pixel is left.
        same = how == "half_pixel" or (how == "pytorch_half_pixel" and min(shape[2:]) > 1)
        require(same or how == "align_corners", f"its coordinates are {how}")
        require(exact_scales(m, shape), "its scales are not those of the sizes")
        scaled = m.scales is not None and m.scales.const.size
        given: dict[str, Any] = {} if scaled else {"by_sizes": 1}
        return new.like_root(m.x, mode="linear" if same else how, **given)


def exact_scales(m: Match, shape: tuple[int, ...]) -> bool:
    """True if the scales, which Resize goes by where they are given, are those of the shapes."""
    if m.scales is None or not m.scales.const.size:
        return True
    ratios = [after / before for after, before in zip(shape, m.x.shape, strict=True)]
    return bool(np.allclose(m.scales.const, ratios, rtol=1e-6, atol=0))
