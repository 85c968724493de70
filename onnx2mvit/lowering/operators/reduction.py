"""Reductions over axes, and what goes along an axis."""

from __future__ import annotations

import math
from functools import partial

import numpy as np

from onnx2mvit.ir.code import KerasCode
from onnx2mvit.ir.expr import KerasExpr, Operand, alone, call, layer
from onnx2mvit.ir.layout import without
from onnx2mvit.lowering.operators.context import OpContext
from onnx2mvit.lowering.operators.registry import operator
from onnx2mvit.matcher.rooted import require

# Operator, its versions, and the functions of keras.ops for each element, over them, and at last.
REDUCTIONS: tuple[tuple[str, tuple[int, ...], str | None, str, str | None], ...] = (
    ("ReduceL1", (11, 13, 18), "abs", "sum", None),
    ("ReduceL2", (11, 13, 18), "square", "sum", "sqrt"),
    ("ReduceLogSum", (11, 13, 18), None, "sum", "log"),
    ("ReduceLogSumExp", (11, 13, 18), None, "logsumexp", None),
    ("ReduceMax", (11, 12, 13, 18, 20), None, "max", None),
    ("ReduceMean", (11, 13, 18), None, "mean", None),
    ("ReduceMin", (11, 12, 13, 18, 20), None, "min", None),
    ("ReduceProd", (11, 13, 18), None, "prod", None),
    ("ReduceSum", (11, 13), None, "sum", None),
    ("ReduceSumSquare", (11, 13, 18), "square", "sum", None),
)
INT32 = np.iinfo(np.int32)
POOLING = {"ReduceMax": "Max", "ReduceMean": "Average"}


def reduced_axes(op: OpContext) -> list[int]:
    """ONNX's axes, an attribute or an input; all of them where none are given."""
    given = op.attrs.get("axes") or op.integers(1) or []
    rank = len(op.shape())
    if not given and op.attrs.get("noop_with_empty_axes"):
        return []
    return sorted({op.axis(axis) for axis in given}) if given else list(range(rank))


def after(op: OpContext, x: KerasExpr, axes: list[int], keepdims: bool) -> KerasCode:
    """The answer for an expression that keeps these axes with length one, or drops them."""
    layout = op.layout()
    if keepdims:
        return op.code(x, layout.order, layout.batch)
    batch = layout.batch
    if batch is not None:
        batch -= sum(axis < batch for axis in axes)
    return op.code(x, without(layout.order, axes), batch)


def reduction(op: OpContext, each: str | None, over: str, last: str | None) -> KerasCode:
    """In the order that is there; over the space of an image by a layer."""
    axes, keepdims = reduced_axes(op), bool(op.attrs.get("keepdims", 1))
    op.forbid_batch_reduction(axes)
    order, rank, x = op.layout().order, len(op.shape()), op.data()
    where = tuple(sorted(order.index(axis) for axis in axes))
    kind, space = POOLING.get(op.node.op), rank - 2
    dtype = op.node.output.dtype
    floats = dtype is not None and dtype.kind == "f"
    whole = last is None and over not in ("mean", "logsumexp")
    require(floats or whole, f"{op.node.op} of integers is an integer, which Keras's is not")
    if kind and floats and 1 <= space <= 3 and where == tuple(range(1, rank - 1)):
        pool = layer(f"Global{kind}Pooling{space}D", keepdims=keepdims or None)
        return after(op, pool(x), axes, keepdims)
    grows = not floats and over in ("sum", "prod")  # beyond what the type holds
    narrow = grows and dtype == np.int32
    square = grows and each == "square"
    if square or (grows and over == "prod"):
        require(narrow, f"onnxruntime's {op.node.op} of {dtype} ends at the largest integer")
    if grows and over == "prod":
        some = math.prod(op.shape()[axis] for axis in axes) <= 2
        require(some, "onnxruntime's product of many integers ends at the largest integer")
    x = call("ops.cast", x, "int64") if narrow else x
    x = call(f"ops.{each}", x) if each else x
    x = call("ops.minimum", x, int(INT32.max)) if square else x  # lest their sum turns round
    x = call(f"ops.{over}", x, axis=alone(where), keepdims=(keepdims and bool(where)) or None)
    if narrow:  # onnxruntime's end at the largest integer, where TensorFlow's turn round
        x = call("ops.cast", call("ops.clip", x, int(INT32.min), int(INT32.max)), "int32")
    return after(op, call(f"ops.{last}", x) if last else x, axes, keepdims)


for _name, _since, _each, _over, _last in REDUCTIONS:
    operator(_name, *_since)(partial(reduction, each=_each, over=_over, last=_last))


def extremes(x: KerasExpr, extreme_of: str, axis: int) -> KerasExpr:
    """One where x is the "max" or "min" along an axis, zero elsewhere, for ops.argmax.

    That looks among integers then: of floats, Keras also tells zeros of both signs apart, by
    operations of TensorFlow that neither LiteRT nor ONNX has.
    """
    extreme = call(f"ops.{extreme_of}", x, axis=axis, keepdims=True)
    return call("ops.cast", call("ops.equal", x, extreme), "int32")


def arg(op: OpContext, extreme_of: str) -> KerasCode:
    """The place of the first of the extremes, or of the last."""
    axis, x = op.axis(op.attrs.get("axis", 0)), op.data()
    op.forbid_batch_reduction([axis])
    where, keepdims = op.layout().order.index(axis), bool(op.attrs.get("keepdims", 1))
    latest = op.attrs.get("select_last_index")
    x = extremes(x, extreme_of, where)
    if latest:
        op.has_lengths_of([axis])
        x = call("ops.flip", x, where)
    x = call("ops.argmax", x, axis=where, keepdims=keepdims or None)
    x = call("ops.subtract", op.shape()[axis] - 1, x) if latest else x
    return after(op, x, [axis], keepdims)


operator("ArgMax", 11, 12, 13)(partial(arg, extreme_of="max"))
operator("ArgMin", 11, 12, 13)(partial(arg, extreme_of="min"))


@operator("CumSum", 11, 14)
def cumsum(op: OpContext) -> KerasCode:
    """The sum of all elements up to each; without itself, or from the end."""
    axis = op.axis(int(op.const(1).reshape(())))
    op.forbid_batch_reduction([axis])
    order = op.layout().order
    where, x = order.index(axis), op.data()
    reverse, exclusive = op.attrs.get("reverse", 0), op.attrs.get("exclusive", 0)
    x = call("ops.flip", x, where) if reverse else x
    if exclusive:
        shift = tuple((1, 0) if at == where else (0, 0) for at in range(len(order)))
        x = call("ops.pad", x.along(where, slice(-1)), shift)
    x = call("ops.cumsum", x, axis=where)
    return op.code(call("ops.flip", x, where) if reverse else x, order)


@operator("TopK", 11, 24)
def top_k(op: OpContext) -> KerasCode:
    """The largest along an axis in order, or the smallest, and where they stand."""
    axis = op.axis(op.attrs.get("axis", -1))
    op.forbid_batch_reduction([axis])
    order = (*(other for other in op.layout().order if other != axis), axis)
    count, x, batch = int(op.const(1).reshape(())), op.data(0, order), op.layout().batch
    require(bool(op.attrs.get("sorted", 1)) or count == 1, "its results are in no order")
    op.from_the_front(count, axis)
    values: KerasExpr = Operand(0)
    if not op.attrs.get("largest", 1):
        dtype = op.value().dtype
        require(dtype is not None and dtype.kind in "fi", f"it takes the smallest of {dtype}")
        x, values = call("ops.negative", x), call("ops.negative", values)
    found = call("ops.top_k", x, count)
    if not op.is_used(1):
        return op.code(values.bind([found[0]]), order)
    parts = ("values", "indices")
    results = [("values", values, order, batch), ("indices", Operand(1), order, batch)]
    return op.several(found, parts, results)
