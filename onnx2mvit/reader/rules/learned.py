"""Rules for what is learned and has no node, as DETR's queries."""

from __future__ import annotations

from itertools import groupby

import numpy as np

from onnx2mvit.ir.graph import Value
from onnx2mvit.matcher import Builder, Expr, Match, Ops, Rule, Var, any_of, constant, each, optional
from onnx2mvit.matcher.rooted import Array, alike, require
from onnx2mvit.matcher.rule import elements
from onnx2mvit.reader.rules.sequence import TURN


class LayerOfParameter(Rule):
    """A layer that reads a constant reads a parameter of the network, alike for all images.

    LayerNormalization(w, …) | MatMul(w, kernel) | Conv(w, kernel, …), w of shape s
    → LayerNormalization(Expand(w, s), …) | MatMul(Expand(w, s), …) | Conv(Expand(w, s), …)
    where an axis of w that is the batch has length 1, and stands first
    """

    needed_by = "queries and positions that are learned, as DETR's and EdgeNeXt's"
    forward = True  # so that the first layer that reads a parameter makes it

    def onnx(self, op: Ops, x: Var) -> Expr:
        w, kernel = constant("w"), constant("kernel")
        return any_of(
            op.LayerNormalization(w, constant("gamma"), constant("beta")),
            op.MatMul(w, constant("matrix", rank=2)),
            op.Conv(w, kernel, optional("bias")),
        )

    def rewrite(self, m: Match, new: Builder) -> Value:
        array, batch = m.w.const, m.graph.batch_size
        images_first = array.shape[0] == batch and alike(array)
        turned = array.ndim == 3 and array.shape[1] == batch and not images_first
        turned = turned and alike(array.transpose(TURN))
        if turned:
            array = array.transpose(TURN)
        shape = array.shape
        if turned or images_first:
            array = array[:1]
        made = parameter(m, new, np.ascontiguousarray(array), shape)
        if turned:
            made = new.Transpose(made, perm=TURN)
        return new.like_root(made, *m.root.inputs[1:], **m.root.attrs)


class ConstantScores(Rule):
    """What constants alone make is a constant: the attention of parameters to each other.

    MatMul(a, b) | Mul(a, b) | Add(a, b) | Softmax(a), of constants → the constant
    """

    needed_by = "decoders whose queries are learned, by dynamo from opset 23 on"

    def onnx(self, op: Ops, x: Var) -> Expr:
        a, b = constant("a"), constant("b")
        binary = (getattr(op, name)(a, b, role=name) for name in ("MatMul", "Mul", "Add"))
        return any_of(*binary, op.Softmax(a, role="Softmax", axis=-1))

    def rewrite(self, m: Match, new: Builder) -> Value:
        a, b = m.a.const, m.b.const if m.b is not None else None
        require(a.dtype == np.float32, "it is of integers")
        width = a.shape[-1] if m.MatMul is not None else 1
        require(elements(m.root.output.shape) * width <= MOST_WORK, "it is large")
        if m.Softmax is not None:
            largest = a.max(axis=-1, keepdims=True)
            require(bool(np.isfinite(largest).all()), "a row of it has no finite number")
            a = np.exp(a - largest)
            return new.constant(a / a.sum(axis=-1, keepdims=True), "constant")
        function = next(f for name, f in ARITHMETIC.items() if m.bound[name] is not None)
        return new.constant(function(a, b), "constant")


class JoinedConstants(Rule):
    """Constants that are joined side by side are one.

    Concat(a, b, x), a and b constant → Concat(ab, x)
    """

    needed_by = "DeiT with its token for distillation by dynamo, deployed, whose batch is open"

    def onnx(self, op: Ops, x: Var) -> Expr:
        return op.Concat(each(Var("part"), role="parts"))

    def rewrite(self, m: Match, new: Builder) -> Value:
        axis, inputs = m.root.attrs["axis"], list[Value | None]()
        for are_constant, run in groupby(m.root.inputs, is_constant):
            parts = [*run]
            arrays = [part.const for part in parts if part is not None and part.const is not None]
            if are_constant and len(arrays) > 1:
                parts = [new.constant(np.concatenate(arrays, axis), f"{len(inputs)}")]
            inputs += parts
        require(len(inputs) < len(m.root.inputs), "no constants stand side by side")
        return new.like_root(*inputs, axis=axis)


def is_constant(value: Value | None) -> bool:
    """True if its numbers are known."""
    return value is not None and value.const is not None


MOST_WORK = 1 << 24
ARITHMETIC = {"MatMul": np.matmul, "Mul": np.multiply, "Add": np.add}


def parameter(m: Match, new: Builder, table: Array, shape: tuple[int, ...]) -> Value:
    """A parameter with this shape, which may be there already."""
    for node in m.graph.of(["Expand"]):
        known = node.inputs[0]
        const = known.const if known is not None and node.output.shape == shape else None
        if const is not None and np.array_equal(const, table):
            return node.output
    wanted = new.constant(np.asarray(shape), "shape")
    made: Value = new.Expand(new.constant(table, "parameter"), wanted, shape=shape)
    return made
