"""Comparison, logic, and choosing between two tensors or numbers, each element by itself."""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import onnx

from onnx2mvit.ir.code import KerasCode
from onnx2mvit.ir.expr import call
from onnx2mvit.lowering.operators.arithmetic import elementwise
from onnx2mvit.lowering.operators.context import OpContext
from onnx2mvit.lowering.operators.registry import operator
from onnx2mvit.lowering.operators.sources import literal
from onnx2mvit.matcher.rooted import TRAINING, require

# Operator, its versions, and the function of keras.ops.
ELEMENTWISE: tuple[tuple[str, tuple[int, ...], str], ...] = (
    ("And", (7,), "logical_and"),
    ("Equal", (11, 13, 19), "equal"),
    ("Greater", (9, 13), "greater"),
    ("GreaterOrEqual", (12, 16), "greater_equal"),
    ("IsNaN", (9, 13, 20), "isnan"),
    ("Less", (9, 13), "less"),
    ("LessOrEqual", (12, 16), "less_equal"),
    ("Not", (1,), "logical_not"),
    ("Or", (7,), "logical_or"),
    ("Where", (9, 16), "where"),
    ("Xor", (7,), "logical_xor"),
)
# What Keras computes with on every backend.
DTYPES = frozenset(
    ("bool", "float16", "float32", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32")
)

WRAPS = 4  # bytes of the integers that floats become first

for _name, _since, _function in ELEMENTWISE:
    operator(_name, *_since)(partial(elementwise, function=f"ops.{_function}"))


@operator("IsInf", 10, 20)
def isinf(op: OpContext) -> KerasCode:
    """Either infinity, or one of them."""
    positive = op.attrs.get("detect_positive", 1)
    negative = op.attrs.get("detect_negative", 1)
    require(bool(positive or negative), "it looks for no infinity")
    if positive and negative:
        return elementwise(op, "ops.isinf")
    return op.code(call("ops.equal", op.data(), math.inf if positive else -math.inf))


@operator("Cast", 9, 13, 19, 21, 23, 24, 25)
def cast(op: OpContext) -> KerasCode:
    """To a type that every backend of Keras has."""
    target = onnx.helper.tensor_dtype_to_np_dtype(op.attrs["to"])
    return _as_type(op, target)


@operator("CastLike", 15, 19, 21, 23, 24, 25)
def cast_like(op: OpContext) -> KerasCode:
    """To the type of another tensor."""
    target = op.value(1).dtype
    assert target is not None
    return _as_type(op, target)


def _as_type(op: OpContext, target: np.dtype) -> KerasCode:
    have = op.value().dtype
    if have == target:
        return op.code(op.data())
    for dtype in (have, target):
        require(dtype is not None and dtype.name in DTYPES, f"Keras has no {dtype} everywhere")
    x = op.data()
    if have is not None and have.kind == "f" and target.kind in "iu" and target.itemsize < WRAPS:
        # Of numbers that are out of its range onnxruntime keeps the lowest bits, XLA the nearest.
        x = call("ops.cast", x, "int32")
    return op.code(call("ops.cast", x, target.name))


@operator("OneHot", 11)
def one_hot(op: OpContext) -> KerasCode:
    """A number at the place of each index, another everywhere else, along a new axis."""
    depth, (off, on) = op.const(1).reshape(()), (literal(n, op.const(2).dtype) for n in op.const(2))
    layout, axis = op.layout(), op.attrs.get("axis", -1) % (len(op.shape()) + 1)
    dtype = op.value(2).dtype
    assert dtype is not None
    require(dtype.name in DTYPES, f"Keras has no {dtype} everywhere")
    op.one_size |= op.is_length(int(depth))
    order = (*(old + (old >= axis) for old in layout.order), axis)
    batch = None if layout.batch is None else layout.batch + (layout.batch >= axis)
    made = call("one_hot", op.data(), int(depth), off, on)
    return op.code(made if dtype.kind == "f" else call("ops.cast", made, dtype.name), order, batch)


@operator("Identity", 1, 13, 14, 16, 19, 21, 23, 24, 25)
def identity(op: OpContext) -> KerasCode:
    """The tensor itself."""
    return op.code(op.data())


@operator("Dropout", 10, 12, 13, 22)
def dropout(op: OpContext) -> KerasCode:
    """The tensor itself, unless the file is in training mode."""
    require(not op.has(2) or not op.const(2).any(), TRAINING)
    return op.code(op.data())
