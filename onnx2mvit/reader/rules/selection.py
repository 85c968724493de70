"""Rules for taking a part of a tensor: how it is written, and that it is taken early.

Some code bases compute query, key and value in one linear layer and cut the result up. The parts
are followed back to it, and `linear` has what is left then: three linear layers.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import numpy as np

from onnx2mvit.ir.graph import Value
from onnx2mvit.matcher import Expr, Ops, Var, any_of, constant, each, optional
from onnx2mvit.matcher.match import Match
from onnx2mvit.matcher.rooted import Mismatch, require
from onnx2mvit.matcher.rule import Builder, Rule, Shape, elements


class SplitIsSlices(Rule):
    """Each part by itself, bounds and axis as attributes.

    Split(x, sizes, axis=a) → Slice(x, axis=a, start=…, end=…) for each output
    """

    needed_by = "timm by legacy; cvnets for mobile by dynamo"

    def onnx(self, op: Ops, x: Var) -> Expr:
        return op.Split(x, optional("sizes"))

    def rewrite(self, m: Match, new: Builder) -> tuple[Value, ...]:
        axis = m.root.attrs.get("axis", 0) % len(m.shape("x"))
        shapes = [value.shape or () for value in m.root.outputs]
        require(all(shapes), "a part's shape is not known")
        ends = np.cumsum([0, *(shape[axis] for shape in shapes)]).tolist()
        # Without sizes it is so many parts, whatever the length.
        equal = m.sizes is None
        return tuple(
            new.Slice(
                m.x,
                shape=shape,
                axis=axis,
                start=start,
                end=end,
                **({"part": (index, len(shapes))} if equal else {}),
            )
            for index, (shape, (start, end)) in enumerate(zip(shapes, pairwise(ends), strict=True))
        )


class SliceAttributes(Rule):
    """Bounds and axis as attributes, counted from the front, where one axis is cut.

    Where the file counts otherwise, `stated` has how.

    Slice(x, starts, ends, axes, steps) → Slice(x, axis=a, start=…, end=…), or x if it is all of x
    """

    needed_by = "timm by dynamo; cvnets for mobile by legacy"

    def onnx(self, op: Ops, x: Var) -> Expr:
        axes, steps = optional("axes"), optional("steps")
        return op.Slice(x, constant("starts"), constant("ends"), axes, steps)

    def rewrite(self, m: Match, new: Builder) -> Value:
        shape: Shape = m.x.shape or ()
        require(bool(shape), "the input's shape is not known")
        starts, ends = m.starts.const.tolist(), m.ends.const.tolist()
        axes = range(len(starts)) if m.axes is None else m.axes.const.tolist()
        steps = [1] * len(starts) if m.steps is None else m.steps.const.tolist()
        require(set(steps) == {1}, "it leaves elements out")
        cuts = []
        for start, end, axis in zip(starts, ends, axes, strict=True):
            first, last, _ = slice(start, end).indices(shape[axis])
            if (first, last) != (0, shape[axis]):
                cuts.append((axis % len(shape), first, last, (start, end)))
        value: Value = m.x
        if not cuts:
            return value
        require(len(cuts) == 1, "it cuts several axes")
        ((axis, first, last, stated),) = cuts
        kept: dict[str, Any] = {"stated": stated} if stated != (first, last) else {}
        return new.like_root(m.x, axis=axis, start=first, end=last, **kept)


class MovedConstant(Rule):
    """A part of a constant, or its axes in another order, is a constant.

    Slice(w, axis=a, start=…, end=…) | Transpose(w, perm=p) | Reshape(w) → w'
    """

    needed_by = "torch's nn.MultiheadAttention of a sequence with others, by dynamo"

    def onnx(self, op: Ops, x: Var) -> Expr:
        w = constant("w")
        return any_of(op.Slice(w, role="part"), op.Transpose(w, role="turned"), op.Reshape(w))

    def rewrite(self, m: Match, new: Builder) -> Value:
        array, attrs, shape = m.w.const, m.root.attrs, m.root.output.shape
        if m.part is not None:
            require("start" in attrs, "the cut is not known")
            array = array.take(range(attrs["start"], attrs["end"]), axis=attrs["axis"])
        elif m.turned is not None:
            array = array.transpose(attrs.get("perm"))
        elif shape is not None:
            array = array.reshape(shape)
        require(array.shape == shape, "the shape is not known")
        return new.constant(np.ascontiguousarray(array), "moved")


class SelectFromSlice(Rule):
    """A slice of one element whose axis is dropped.

    Reshape(Slice(x, axis=a, start=i, end=i+1)) without axis a → Select(x, axis=a, index=i)
    """

    needed_by = "timm by both exporters"

    def onnx(self, op: Ops, x: Var) -> Expr:
        return op.Reshape(op.Slice(x, role="part"))

    def rewrite(self, m: Match, new: Builder) -> Value:
        attrs, shape = m.part.attrs, m.shape("part")
        require("start" in attrs and attrs["end"] - attrs["start"] == 1, "several elements")
        axis = attrs["axis"]
        rest = (*shape[:axis], *shape[axis + 1 :])
        require(m.root.output.shape == rest, "another axis is dropped")
        return new.like_root(m.x, op="Select", axis=axis, **index(attrs["start"], attrs))


class SelectFromGather(Rule):
    """Gather of one index without an axis of its own.

    Gather(x, i, axis=a) → Select(x, axis=a, index=i)
    """

    needed_by = "cvnets by both exporters"

    def onnx(self, op: Ops, x: Var) -> Expr:
        return op.Gather(x, constant("index", rank=0))

    def rewrite(self, m: Match, new: Builder) -> Value:
        require(m.x.const is None, "it gathers from a constant")
        shape = m.shape("x")
        axis = m.root.attrs.get("axis", 0) % len(shape)
        stated = int(m.index.const)
        place = index(stated % shape[axis], {"stated": (stated,)})
        return new.like_root(m.x, op="Select", axis=axis, **place)


def index(place: int, attrs: Mapping[str, Any]) -> dict[str, int]:
    """The attributes of a Select: the index from the front, and as it is stated if otherwise."""
    stated, *_ = attrs.get("stated", (place,))
    return {"index": place} | ({"stated": stated} if stated != place else {})


class GatherOfAll(Rule):
    """All elements in their order; what is left of torch's `as_strided`.

    Gather(Reshape(x) of rank 1, arange(n) in any shape) → Reshape(x) to that shape
    """

    needed_by = "timm's ConvNeXt by dynamo"

    def onnx(self, op: Ops, x: Var) -> Expr:
        return op.Gather(op.Reshape(x, role="flat"), constant("indices"))

    def rewrite(self, m: Match, new: Builder) -> Value:
        length, indices = elements(m.x.shape), m.indices.const
        require(m.flat.output.shape == (length,), "it is not flat")
        require(np.array_equal(indices.reshape(-1), np.arange(length)), "another order, or a part")
        return new.like_root(m.x, op="Reshape")


class ConcatGrows(Rule):
    """What is joined to a list that was joined before is joined to the result of that.

    Concat(a, b, c) where Concat(a, b) is in the graph → Concat(Concat(a, b), c)
    """

    needed_by = "DenseNets, whose layers join the outputs of all before"

    def onnx(self, op: Ops, x: Var) -> Expr:
        return op.Concat(each(Var("part"), role="parts"))

    def rewrite(self, m: Match, new: Builder) -> Value:
        inputs, axis = m.root.inputs, m.root.attrs.get("axis")
        if inputs[0] is None or inputs[0].const is not None:
            raise Mismatch("it begins with a constant")
        shorter = [
            node
            for node in m.graph.consumers(inputs[0])
            if node.op == "Concat"
            and node.attrs.get("axis") == axis
            and 1 < len(node.inputs) < len(inputs)
            and node.inputs == inputs[: len(node.inputs)]
            and node.position < m.root.position
        ]
        require(bool(shorter), "no part of it is joined before")
        longest = max(shorter, key=lambda node: len(node.inputs))
        return new.like_root(longest.output, *inputs[len(longest.inputs) :], axis=axis)


class RollFromSlices(Rule):
    """What is cut off at one end is joined to the other: torch.roll.

    Concat(Slice(x, axis=a, start=s, end=n), Slice(x, axis=a, start=0, end=s), axis=a)
    → Roll(x, axes=(a,), shifts=(-s,)), or (n-s,) if that is less
    """

    needed_by = "Swin transformers"

    def onnx(self, op: Ops, x: Var) -> Expr:
        return op.Concat(op.Slice(x, role="second"), op.Slice(x, role="first"))

    def rewrite(self, m: Match, new: Builder) -> Value:
        first, second = m.first.attrs, m.second.attrs
        require("start" in first and "start" in second, "the cuts are not known")
        axis, cut = first["axis"], first["end"]
        same = axis == second["axis"] == m.root.attrs["axis"] % len(m.x.shape)
        require(same, "it is cut and joined along different axes")
        length = m.x.shape[axis]
        whole = (first["start"], second["start"], second["end"]) == (0, cut, length)
        require(whole, "the parts are not all of it")
        shift = -cut if cut <= length - cut else length - cut
        return new.like_root(m.x, op="Roll", axes=(axis,), shifts=(shift,))


class MergeRolls(Rule):
    """Rolls along different axes are one.

    Roll(Roll(x, axes=(a,), shifts=(s,)), axes=(b,), shifts=(t,)) → Roll(x, axes=(a, b), …)
    """

    needed_by = "Swin transformers"

    def onnx(self, op: Ops, x: Var) -> Expr:
        return op.Roll(op.Roll(x, role="inner"))

    def rewrite(self, m: Match, new: Builder) -> Value:
        inner, outer = m.inner.attrs, m.root.attrs
        require(not {*inner["axes"]} & {*outer["axes"]}, "both along one axis")
        axes, shifts = ((*inner[key], *outer[key]) for key in ("axes", "shifts"))
        return new.like_root(m.x, axes=axes, shifts=shifts)


class SelectBeforeTranspose(Rule):
    """What is selected is transposed by itself.

    Select(Transpose(x, perm=p), axis=a) → Transpose(Select(x, axis=p[a]), perm=p without p[a])
    """

    needed_by = "timm and cvnets"

    def onnx(self, op: Ops, x: Var) -> Expr:
        return op.Select(op.Transpose(x, role="moved"))

    def rewrite(self, m: Match, new: Builder) -> Value:
        perm, shape = m.moved.attrs.get("perm"), m.shape("x")
        require(bool(perm), "the permutation is implicit")
        axis = perm[m.root.attrs["axis"]]
        rest = (*shape[:axis], *shape[axis + 1 :])
        selected = new.Select(m.x, shape=rest, **{**m.root.attrs, "axis": axis})
        order = tuple(place - (place > axis) for place in perm if place != axis)
        return new.Transpose(selected, shape=m.root.output.shape, perm=order)


class SliceBeforeTranspose(Rule):
    """What is cut out of a reshaped tensor is transposed by itself.

    Slice(Transpose(Reshape(x), perm=p), axis=a) → Transpose(Slice(Reshape(x), axis=p[a]), perm=p)
    """

    needed_by = "EfficientFormer, whose query, key and value are cut out of heads"

    def onnx(self, op: Ops, x: Var) -> Expr:
        return op.Slice(op.Transpose(op.Reshape(x, role="divided"), role="moved"))

    def rewrite(self, m: Match, new: Builder) -> Value:
        perm, attrs = m.moved.attrs.get("perm"), m.root.attrs
        require(bool(perm) and "start" in attrs, "the permutation or the cut is not known")
        require(attrs["end"] - attrs["start"] > 1, "one element is selected")
        axis, shape = perm[attrs["axis"]], list(m.shape("divided"))
        shape[axis] = attrs["end"] - attrs["start"]
        cut = new.Slice(m.divided.output, shape=tuple(shape), **{**attrs, "axis": axis})
        return new.Transpose(cut, shape=m.root.output.shape, perm=perm)
