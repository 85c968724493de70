"""Arithmetic: each element by itself, or with the one at its place."""

from __future__ import annotations

from functools import partial

import numpy as np

from onnx2mvit.ir.layout import BATCH, Order, Shape, plain
from onnx2mvit.lowering.operators.registry import operator
from onnx2mvit.lowering.operators.step import Code, Step
from onnx2mvit.matcher.pattern import require

# Operator, its versions, and the expression with `{}` for the operand.
UNARY: tuple[tuple[str, tuple[int, ...], str], ...] = (
    ("Abs", (6, 13), "ops.abs({})"),
    ("Acos", (7, 22), "ops.arccos({})"),
    ("Acosh", (9, 22), "ops.arccosh({})"),
    ("Asin", (7, 22), "ops.arcsin({})"),
    ("Asinh", (9, 22), "ops.arcsinh({})"),
    ("Atan", (7, 22), "ops.arctan({})"),
    ("Atanh", (9, 22), "ops.arctanh({})"),
    ("Ceil", (6, 13), "ops.ceil({})"),
    ("Cos", (7, 22), "ops.cos({})"),
    ("Cosh", (9, 22), "ops.cosh({})"),
    ("Erf", (9, 13), "ops.erf({})"),
    ("Exp", (6, 13), "ops.exp({})"),
    ("Floor", (6, 13), "ops.floor({})"),
    ("Log", (6, 13), "ops.log({})"),
    ("Neg", (6, 13), "ops.negative({})"),
    ("Reciprocal", (6, 13), "ops.reciprocal({})"),
    ("Round", (11, 22), "ops.round({})"),
    ("Sign", (9, 13), "ops.sign({})"),
    ("Sin", (7, 22), "ops.sin({})"),
    ("Sinh", (9, 22), "ops.sinh({})"),
    ("Sqrt", (6, 13), "ops.sqrt({})"),
    ("Tan", (7, 22), "ops.tan({})"),
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
OF_INTEGERS = ("add", "maximum", "minimum", "multiply", "subtract")  # as in Python


def operand_order(step: Step) -> Order:
    """The order that costs least: that of the first operand with all axes of the result."""
    rank = len(step.output_shape)
    for index, value in enumerate(step.node.inputs):
        if value is not None and value.const is None and len(step.shape(index)) == rank:
            return step.place(index).order
    return plain(rank)


def elementwise(step: Step, text: str) -> Code:
    """An expression with `{}` for every operand, which are broadcast to each other."""
    order = operand_order(step)
    operands = [step.broadcast(index, order) for index in range(len(step.node.inputs))]
    return step.code(text.format(*operands), order)


def arithmetic(step: Step, function: str, layer: str | None) -> Code:
    """Operands of floats; by a layer where all are computed and of one shape."""
    order, count = operand_order(step), len(step.node.inputs)
    dtype = step.node.output.dtype
    kinds = "fiu" if function in OF_INTEGERS else "f"
    require(dtype is not None and dtype.kind in kinds, f"it computes {dtype}, not floats")
    shapes = {step.shape(index) for index in range(count)}
    computed = all(step.value(index).const is None for index in range(count))
    if layer is not None and computed and len(shapes) == 1 and count > 1:
        operands = ", ".join(step.data(index, order) for index in range(count))
        return step.code(f"layers.{layer}(name=$name)([{operands}])", order)
    text, so_far = step.broadcast(0, order), step.lengths(0, order)
    for index in range(1, count):
        other, lengths = step.broadcast(index, order), step.lengths(index, order)
        if function == "add":
            text = added(text, other, so_far, lengths)
        else:
            text = f"ops.{function}({text}, {other})"
        so_far = np.broadcast_shapes(so_far, lengths)
    if layer == "Average":
        text = f"ops.divide({text}, {count})"
    return step.code(text, order)


def added(first: str, second: str, its: Shape, other: Shape) -> str:
    """A sum of two tensors of these shapes, as Keras computes it on every backend.

    On TensorFlow (Keras 3.15) `ops.add(x, y)` takes any y with one axis longer than 1 for a bias
    of the last axis of x, or of its axis 1, wherever that axis stands.
    """
    if _sound(its, other):
        return f"ops.add({first}, {second})"
    if _sound(other, its):
        return f"ops.add({second}, {first})"
    return f"ops.subtract({first}, ops.negative({second}))"


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
def mod(step: Step) -> Code:
    """What division leaves: with the sign of the divisor, or (fmod) with that of the dividend."""
    return elementwise(step, "fmod({}, {})" if step.attrs.get("fmod") else "ops.mod({}, {})")


for _name, _since, _text in UNARY:
    operator(_name, *_since)(partial(elementwise, text=_text))
for _name, _since, _function, _layer in BINARY:
    operator(_name, *_since)(partial(arithmetic, function=_function, layer=_layer))
