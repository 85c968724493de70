"""Activation functions, with whatever numbers a file gives them."""

from __future__ import annotations

from functools import partial

import numpy as np

from onnx2mvit.ir.code import KerasCode
from onnx2mvit.ir.expr import KerasExpr, Literal, call, layer, unless
from onnx2mvit.ir.keras_layers import ACTIVATIONS, is_exact_gelu, is_hard_sigmoid
from onnx2mvit.lowering.operators.context import OpContext
from onnx2mvit.lowering.operators.registry import operator
from onnx2mvit.matcher.rooted import require

# The versions of those without numbers.
PLAIN: dict[str, tuple[int, ...]] = {
    "HardSwish": (14, 22),
    "Mish": (18, 22),
    "Relu": (6, 13, 14),
    "Sigmoid": (6, 13),
    "Softplus": (1, 22),
    "Softsign": (1, 22),
    "Tanh": (6, 13),
}
SELU = (1.6732632, 1.0507010)  # alpha and scale in Keras


def activation(op: OpContext, function: str) -> KerasCode:
    """A function by its name."""
    return op.code(layer("Activation", function)(op.data()))


for _name, _since in PLAIN.items():
    operator(_name, *_since)(partial(activation, function=ACTIVATIONS[_name]))


@operator("LeakyRelu", 6, 16)
def leaky_relu(op: OpContext) -> KerasCode:
    """x, or alpha · x below zero."""
    slope = op.attrs.get("alpha", 0.01)
    return op.code(layer("LeakyReLU", negative_slope=slope)(op.data()))


@operator("PRelu", 9, 16)
def prelu(op: OpContext) -> KerasCode:
    """The same with slopes that were learned, for each channel most often."""
    layout, rank = op.layout(), len(op.shape())
    if op.value(1).const is None or layout.batch_at != 0 or len(op.shape(1)) > rank:
        order = layout.order
        x, other = op.broadcast(0, order), op.broadcast(1, order)
        below = call("ops.multiply", x, other)
        return op.code(call("ops.where", call("ops.less", x, 0.0), below, x), order)
    slope = op.const(1)
    slope = op.one_row(slope.reshape((1,) * (rank - slope.ndim) + slope.shape), layout.order)
    lengths = [(slope.shape[axis], op.shape()[axis]) for axis in layout.order[1:]]
    shared = [at for at, (own, full) in enumerate(lengths, start=1) if own == 1 < full]
    op.weights["alpha"] = slope.transpose(layout.order)[0]
    op.one_size |= any(slope.shape[axis] > 1 for axis in op.varying)
    return op.code(layer("PReLU", shared_axes=shared or None)(op.data()))


@operator("Elu", 6, 22)
def elu(op: OpContext) -> KerasCode:
    """x, or alpha · (exp(x) - 1) below zero."""
    alpha = unless(op.attrs.get("alpha", 1.0), 1.0)
    return op.code(layer("ELU", alpha=alpha)(op.data()))


@operator("Selu", 6, 22)
def selu(op: OpContext) -> KerasCode:
    """A scaled ELU; with the numbers of its paper it has a name in Keras."""
    alpha, gamma = op.attrs.get("alpha", SELU[0]), op.attrs.get("gamma", SELU[1])
    if np.allclose((alpha, gamma), SELU, rtol=1e-6, atol=0):
        return activation(op, "selu")
    return op.code(call("ops.multiply", call("ops.elu", op.data(), alpha=alpha), gamma))


@operator("Celu", 12)
def celu(op: OpContext) -> KerasCode:
    """An ELU that is smooth for every alpha."""
    alpha = unless(op.attrs.get("alpha", 1.0), 1.0)
    return op.code(call("ops.celu", op.data(), alpha=alpha))


@operator("HardSigmoid", 6, 22)
def hard_sigmoid(op: OpContext) -> KerasCode:
    """alpha · x + beta between 0 and 1; Keras's own has a slope of 1/6."""
    alpha, beta = op.attrs.get("alpha", 0.2), op.attrs.get("beta", 0.5)
    if is_hard_sigmoid(alpha, beta):
        return activation(op, "hard_sigmoid")
    line = call("ops.add", call("ops.multiply", op.data(), alpha), beta)
    return op.code(call("ops.clip", line, 0.0, 1.0))


@operator("ThresholdedRelu", 10, 22)
def thresholded_relu(op: OpContext) -> KerasCode:
    """x where it is above alpha, else 0."""
    return op.code(call("ops.threshold", op.data(), op.attrs.get("alpha", 1.0), 0.0))


@operator("Gelu", 20)
def gelu(op: OpContext) -> KerasCode:
    """The exact one by its name, the approximation by tanh as `ops.gelu`."""
    approximate = op.attrs.get("approximate", "none")
    require(approximate in ("none", "tanh"), f"the approximation {approximate!r} is not known")
    if is_exact_gelu(approximate):
        return activation(op, "gelu")
    return op.code(call("ops.gelu", op.data()))


@operator("Swish", 24)
def swish(op: OpContext) -> KerasCode:
    """x · sigmoid(alpha · x)."""
    alpha = op.attrs.get("alpha", 1.0)
    if alpha == 1.0:
        return activation(op, "silu")
    x = op.data()
    gate = call("ops.sigmoid", call("ops.multiply", x, alpha))
    return op.code(call("ops.multiply", x, gate))


@operator("Shrink", 9)
def shrink(op: OpContext) -> KerasCode:
    """x moved towards zero by bias, and zero between -lambd and lambd."""
    bias, edge, x = op.attrs.get("bias", 0.0), op.attrs.get("lambd", 0.5), op.data()
    lower, raised = call("ops.subtract", x, bias), call("ops.add", x, bias)
    above = call("ops.where", call("ops.greater", x, edge), lower, 0.0)
    return op.code(call("ops.where", call("ops.less", x, -edge), raised, above))


@operator("Clip", 11, 12, 13)
def clip(op: OpContext) -> KerasCode:
    """Bounds that are numbers, computed, or missing; where they cross, the upper one counts."""
    x = op.data()
    low, high = _bound(op, 1), _bound(op, 2)
    computed = any(op.has(index) and op.value(index).const is None for index in (1, 2))
    if low is not None and high is not None and not computed and op.const(1) <= op.const(2):
        return op.code(call("ops.clip", x, low, high))
    if low == Literal(0.0) and high is None:
        return op.code(layer("Activation", "relu")(x))
    x = x if low is None else call("ops.maximum", x, low)
    return op.code(x if high is None else call("ops.minimum", x, high))


def _bound(op: OpContext, index: int) -> KerasExpr | None:
    if not op.has(index):
        return None
    require(op.shape(index) in ((), (1,)), "a bound is no number")
    bound = op.value(index).const
    return op.data(index) if bound is None else op.constant(bound, scalar=True)
