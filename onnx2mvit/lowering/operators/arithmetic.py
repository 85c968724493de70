"""Arithmetic: each element by itself, or with the one at its layout."""

from __future__ import annotations

import math
from functools import partial

import numpy as np

from onnx2mvit.base.numbers import is_unbiased
from onnx2mvit.ir.code import KerasCode
from onnx2mvit.ir.expr import KerasExpr, call, layer
from onnx2mvit.ir.graph import Value
from onnx2mvit.ir.layout import BATCH, Order, Shape, plain
from onnx2mvit.lowering.operators.context import OpContext
from onnx2mvit.lowering.operators.registry import operator
from onnx2mvit.matcher.rooted import require

# Operator, its versions, and the function of keras.ops.
UNARY: tuple[tuple[str, tuple[int, ...], str], ...] = (
    ("Abs", (6, 13), "abs"),
    ("Acos", (7, 22), "arccos"),
    ("Acosh", (9, 22), "arccosh"),
    ("Asin", (7, 22), "arcsin"),
    ("Asinh", (9, 22), "arcsinh"),
    ("Atan", (7, 22), "arctan"),
    ("Atanh", (9, 22), "arctanh"),
    ("Ceil", (6, 13), "ceil"),
    ("Cos", (7, 22), "cos"),
    ("Cosh", (9, 22), "cosh"),
    ("Erf", (9, 13), "erf"),
    ("Exp", (6, 13), "exp"),
    ("Floor", (6, 13), "floor"),
    ("Log", (6, 13), "log"),
    ("Neg", (6, 13), "negative"),
    ("Reciprocal", (6, 13), "reciprocal"),
    ("Round", (11, 22), "round"),
    ("Sign", (9, 13), "sign"),
    ("Sin", (7, 22), "sin"),
    ("Sinh", (9, 22), "sinh"),
    ("Sqrt", (6, 13), "sqrt"),
    ("Tan", (7, 22), "tan"),
)
# Operator, its versions, the function of keras.ops, and the layer for tensors of one shape.
BINARY: tuple[tuple[str, tuple[int, ...], str, str | None], ...] = (
    ("Add", (7, 13, 14), "add", "Add"),
    ("Div", (7, 13, 14), "divide", None),
    ("Max", (8, 12, 13), "maximum", "Maximum"),
    ("Mean", (8, 13), "add", "Average"),
    ("Min", (8, 12, 13), "minimum", "Minimum"),
    ("Mul", (7, 13, 14), "multiply", "Multiply"),
    ("Pow", (7, 12, 13, 15), "power", None),
    ("Sub", (7, 13, 14), "subtract", "Subtract"),
    ("Sum", (8, 13), "add", "Add"),
)
SUMMING = ("MatMul", "Gemm", "Einsum", "Dense", "GlobalLpPool")  # over an axis
OF_INTEGERS = ("add", "maximum", "minimum", "multiply", "subtract")  # as in Python


def operand_order(op: OpContext) -> Order:
    """The order that costs least: that of the first operand with all axes of the result."""
    rank = len(op.output_shape)
    for index, value in enumerate(op.node.inputs):
        if value is not None and value.const is None and len(op.shape(index)) == rank:
            return op.layout(index).order
    return plain(rank)


def elementwise(op: OpContext, function: str) -> KerasCode:
    """A function of all operands, which are broadcast to each other."""
    order = operand_order(op)
    operands = [op.broadcast(index, order) for index in range(len(op.node.inputs))]
    return op.code(call(function, *operands), order)


def arithmetic(op: OpContext, function: str, kind: str | None) -> KerasCode:
    """Operands of floats; by a layer where all are computed and of one shape."""
    order, count = operand_order(op), len(op.node.inputs)
    dtype = op.node.output.dtype
    if function == "divide" and dtype is not None and dtype.kind in "iu":
        divisor = op.value(1).const
        require(divisor is None or bool(divisor.all()), "it divides integers by zero")
        return elementwise(op, "divide_integers")
    kinds = "fiu" if function in OF_INTEGERS else "f"
    require(dtype is not None and dtype.kind in kinds, f"it computes {dtype}, not floats")
    shapes = {op.shape(index) for index in range(count)}
    if function in ("multiply", "divide") and count == 2:
        for index in range(count):
            if op.value(index).const is not None and op.const(index).size == 1:
                op.is_for(places_in(op, index))
    computed = all(op.value(index).const is None for index in range(count))
    if kind is not None and computed and len(shapes) == 1 and shapes != {()} and count > 1:
        operands = [op.data(index, order) for index in range(count)]
        return op.code(layer(kind)(operands), order)
    x, so_far = op.broadcast(0, order), op.lengths(0, order)
    for index in range(1, count):
        other, lengths = op.broadcast(index, order), op.lengths(index, order)
        if function == "add":
            x = added(x, other, so_far, lengths)
        else:
            x = call(f"ops.{function}", x, other)
        so_far = np.broadcast_shapes(so_far, lengths)
    if kind == "Average":
        x = call("ops.divide", x, count)
    return op.code(x, order)


def places_in(op: OpContext, index: int) -> int | None:
    """How many places of the traced image a constant of one number may say that there are.

    A mean may be written as a sum and the share of each place, and the scale of attention goes
    with the number of tokens; for a variance see `pixels_of_variance`.
    """
    number, (other,) = abs(float(op.const(index).reshape(()))), {0, 1} - {index}
    value = op.value(other)
    producer = op.graph.producer(value)
    if producer is None or not number:
        return None
    if producer.op not in SUMMING and not producer.op.startswith("Reduce"):
        return pixels_of_variance(op, number, value)
    after = math.prod(op.varying_axes.lengths_of(value))
    before = (
        op.varying_axes.lengths_of(each) for each in producer.inputs if each and each.const is None
    )
    counted = {after, *(math.prod(lengths) // after for lengths in before)} - {1}
    ways = (number, 1 / number, number**2, number**-2)
    near = (n for n in counted if any(math.isclose(way, n, rel_tol=1e-5) for way in ways))
    return next(near, None) or pixels_of_variance(op, number, value)


def pixels_of_variance(op: OpContext, number: float, mean: Value) -> int | None:
    """How many places of the traced image a mean is of, if a factor makes it an unbiased estimate.

    torch's `var` and `std` are written so; on its way to the factor the mean may be reshaped.
    """
    producer = op.graph.producer(mean)
    while producer is not None and producer.op == "Reshape" and producer.inputs[0] is not None:
        producer = op.graph.producer(producer.inputs[0])
    given = producer.inputs[0] if producer is not None and producer.inputs else None
    if given is None or len(op.varying_axes.lengths_of(given)) <= len(
        op.varying_axes.lengths_of(mean)
    ):
        return None
    count = math.prod(given.shape or ()) // math.prod(mean.shape or ())
    return count if is_unbiased(number, count) else None


def added(first: KerasExpr, second: KerasExpr, its: Shape, other: Shape) -> KerasExpr:
    """A sum of two tensors of these shapes, as Keras computes it on every backend.

    On TensorFlow (Keras 3.15) `ops.add(x, y)` takes any y with one axis longer than 1 for a bias
    of the last axis of x, or of its axis 1, wherever that axis stands.
    """
    if _sound(its, other):
        return call("ops.add", first, second)
    if _sound(other, its):
        return call("ops.add", second, first)
    return call("ops.subtract", first, call("ops.negative", second))


def _sound(its: Shape, other: Shape) -> bool:
    """True if the sum is right whatever the length of the batch is when it is computed."""
    for batch in {1, BATCH, *its, *other}:
        x, y = (tuple(batch if n == BATCH else n for n in shape) for shape in (its, other))
        long = [at - len(y) for at, length in enumerate(y) if length > 1]
        if len(long) != 1 or len(x) < 2 or y[long[0]] not in (x[1], x[-1]):
            continue
        taken = -1 if x[-1] == y[long[0]] else 1 - len(x)
        if taken != long[0] or len(y) > len(x):
            return False
    return True


@operator("Mod", 10, 13)
def mod(op: OpContext) -> KerasCode:
    """What division leaves: with the sign of the divisor, or (fmod) with that of the dividend."""
    return elementwise(op, "fmod" if op.attrs.get("fmod") else "ops.mod")


for _name, _since, _function in UNARY:
    operator(_name, *_since)(partial(elementwise, function=f"ops.{_function}"))
for _name, _since, _function, _layer in BINARY:
    operator(_name, *_since)(partial(arithmetic, function=_function, kind=_layer))
