"""Comparison, logic, and choosing between two tensors, each element by itself."""

from __future__ import annotations

from functools import partial

import numpy as np
import onnx

from onnx2mvit.lowering.operators.arithmetic import elementwise
from onnx2mvit.lowering.operators.registry import operator
from onnx2mvit.lowering.operators.step import Code, Step
from onnx2mvit.matcher.pattern import TRAINING, require

# Operator, its versions, and the expression with `{}` for every operand.
ELEMENTWISE: tuple[tuple[str, tuple[int, ...], str], ...] = (
    ("And", (7,), "ops.logical_and({}, {})"),
    ("Equal", (11, 13, 19), "ops.equal({}, {})"),
    ("Greater", (9, 13), "ops.greater({}, {})"),
    ("GreaterOrEqual", (12, 16), "ops.greater_equal({}, {})"),
    ("IsNaN", (9, 13, 20), "ops.isnan({})"),
    ("Less", (9, 13), "ops.less({}, {})"),
    ("LessOrEqual", (12, 16), "ops.less_equal({}, {})"),
    ("Not", (1,), "ops.logical_not({})"),
    ("Or", (7,), "ops.logical_or({}, {})"),
    ("Where", (9, 16), "ops.where({}, {}, {})"),
    ("Xor", (7,), "ops.logical_xor({}, {})"),
)
# What Keras computes with on every backend.
DTYPES = frozenset(
    ("bool", "float16", "float32", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32")
)

for _name, _since, _text in ELEMENTWISE:
    operator(_name, *_since)(partial(elementwise, text=_text))


@operator("IsInf", 10, 20)
def isinf(step: Step) -> Code:
    """Either infinity, or one of them."""
    positive = step.attrs.get("detect_positive", 1)
    negative = step.attrs.get("detect_negative", 1)
    require(bool(positive or negative), "it looks for no infinity")
    if positive and negative:
        return elementwise(step, "ops.isinf({})")
    return elementwise(step, f'ops.equal({{}}, float("{"" if positive else "-"}inf"))')


@operator("Cast", 9, 13, 19, 21, 23, 24, 25)
def cast(step: Step) -> Code:
    """To a type that every backend of Keras has."""
    target = onnx.helper.tensor_dtype_to_np_dtype(step.attrs["to"])
    return _as_type(step, target)


@operator("CastLike", 15, 19, 21, 23, 24, 25)
def cast_like(step: Step) -> Code:
    """To the type of another tensor."""
    target = step.value(1).dtype
    assert target is not None
    return _as_type(step, target)


def _as_type(step: Step, target: np.dtype) -> Code:
    have, order = step.value().dtype, step.place().order
    if have == target:
        return step.code(step.data(), order)
    for dtype in (have, target):
        require(dtype is not None and dtype.name in DTYPES, f"Keras has no {dtype} everywhere")
    return step.code(f'ops.cast({step.data()}, "{target.name}")', order)


@operator("Identity", 1, 13, 14, 16, 19, 21, 23, 24, 25)
def identity(step: Step) -> Code:
    """The tensor itself."""
    return step.code(step.data(), step.place().order)


@operator("Dropout", 10, 12, 13, 22)
def dropout(step: Step) -> Code:
    """The tensor itself, unless the file is in training mode."""
    require(not step.has(2) or not step.const(2).any(), TRAINING)
    return step.code(step.data(), step.place().order)
