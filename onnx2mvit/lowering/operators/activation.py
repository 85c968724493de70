"""Activation functions, with whatever numbers a file gives them."""

from __future__ import annotations

import math

import numpy as np

from onnx2mvit.lowering.operators.registry import Converter, operator
from onnx2mvit.lowering.operators.step import Code, Step, literal
from onnx2mvit.lowering.operators.text import Raw, call, layer, unless
from onnx2mvit.matcher.pattern import require

# Those without numbers: the operator, its versions, and Keras's name of the function.
PLAIN: tuple[tuple[str, tuple[int, ...], str], ...] = (
    ("HardSwish", (14, 22), "hard_silu"),
    ("Mish", (18, 22), "mish"),
    ("Relu", (6, 13, 14), "relu"),
    ("Sigmoid", (6, 13), "sigmoid"),
    ("Softplus", (1, 22), "softplus"),
    ("Softsign", (1, 22), "softsign"),
    ("Tanh", (6, 13), "tanh"),
)
SELU = (1.6732632, 1.0507010)  # alpha and scale in Keras


def unary(step: Step, text: str) -> Code:
    """A layer or function, `{}` for its input, in the order that is there."""
    return step.code(text.format(step.data()), step.place().order)


def activation(function: str) -> Converter:
    """A function by its name."""
    return lambda step: unary(step, layer("Activation", function) + "({})")


for _name, _since, _function in PLAIN:
    operator(_name, *_since)(activation(_function))


@operator("LeakyRelu", 6, 16)
def leaky_relu(step: Step) -> Code:
    """x, or alpha · x below zero."""
    slope = step.attrs.get("alpha", 0.01)
    return unary(step, layer("LeakyReLU", negative_slope=slope) + "({})")


@operator("PRelu", 9, 16)
def prelu(step: Step) -> Code:
    """The same with slopes that were learned, for each channel most often."""
    place, rank = step.place(), len(step.shape())
    if step.value(1).const is None or place.batch_at != 0 or len(step.shape(1)) > rank:
        order = place.order
        x, other = step.broadcast(0, order), step.broadcast(1, order)
        return step.code(f"ops.where(ops.less({x}, 0.0), ops.multiply({x}, {other}), {x})", order)
    slope = step.const(1)
    slope = step.one_row(slope.reshape((1,) * (rank - slope.ndim) + slope.shape), place.order)
    lengths = [(slope.shape[axis], step.shape()[axis]) for axis in place.order[1:]]
    shared = [at for at, (own, full) in enumerate(lengths, start=1) if own == 1 < full]
    step.weights["alpha"] = slope.transpose(place.order)[0]
    step.fixed_size = sum(own > 1 for own, _ in lengths) > 1
    return unary(step, layer("PReLU", shared_axes=shared or None) + "({})")


@operator("Elu", 6, 22)
def elu(step: Step) -> Code:
    """x, or alpha · (exp(x) - 1) below zero."""
    return unary(step, layer("ELU", alpha=unless(step.attrs.get("alpha", 1.0), 1.0)) + "({})")


@operator("Selu", 6, 22)
def selu(step: Step) -> Code:
    """A scaled ELU; with the numbers of its paper it has a name in Keras."""
    alpha, gamma = step.attrs.get("alpha", SELU[0]), step.attrs.get("gamma", SELU[1])
    if np.allclose((alpha, gamma), SELU, rtol=1e-6, atol=0):
        return unary(step, layer("Activation", "selu") + "({})")
    elu = call("ops.elu", Raw("{}"), alpha=alpha)
    return unary(step, call("ops.multiply", Raw(elu), gamma))


@operator("Celu", 12)
def celu(step: Step) -> Code:
    """An ELU that is smooth for every alpha."""
    return unary(step, call("ops.celu", Raw("{}"), alpha=unless(step.attrs.get("alpha", 1.0), 1.0)))


@operator("HardSigmoid", 6, 22)
def hard_sigmoid(step: Step) -> Code:
    """alpha · x + beta between 0 and 1; Keras's own has a slope of 1/6."""
    alpha, beta = step.attrs.get("alpha", 0.2), step.attrs.get("beta", 0.5)
    if math.isclose(alpha, 1 / 6, rel_tol=1e-6) and beta == 0.5:
        return unary(step, layer("Activation", "hard_sigmoid") + "({})")
    line = call("ops.add", Raw(call("ops.multiply", Raw("{}"), alpha)), beta)
    return unary(step, call("ops.clip", Raw(line), 0.0, 1.0))


@operator("ThresholdedRelu", 10, 22)
def thresholded_relu(step: Step) -> Code:
    """x where it is above alpha, else 0."""
    return unary(step, call("ops.threshold", Raw("{}"), step.attrs.get("alpha", 1.0), 0.0))


@operator("Gelu", 20)
def gelu(step: Step) -> Code:
    """The exact one by its name, the approximation by tanh as `ops.gelu`."""
    approximate = step.attrs.get("approximate", "none")
    require(approximate in ("none", "tanh"), f"the approximation {approximate!r} is not known")
    return unary(
        step, layer("Activation", "gelu") + "({})" if approximate == "none" else "ops.gelu({})"
    )


@operator("Swish", 24)
def swish(step: Step) -> Code:
    """x · sigmoid(alpha · x)."""
    alpha = step.attrs.get("alpha", 1.0)
    if alpha == 1.0:
        return unary(step, layer("Activation", "silu") + "({})")
    gate = f"ops.sigmoid({call('ops.multiply', Raw('{0}'), alpha)})"
    return unary(step, f"ops.multiply({{0}}, {gate})")


@operator("Shrink", 9)
def shrink(step: Step) -> Code:
    """x moved towards zero by bias, and zero between -lambd and lambd."""
    bias, edge = (
        literal(step.attrs.get(name, default), np.dtype("f4"))
        for name, default in (("bias", 0.0), ("lambd", 0.5))
    )
    above = f"ops.where(ops.greater({{0}}, {edge}), ops.subtract({{0}}, {bias}), 0.0)"
    return unary(step, f"ops.where(ops.less({{0}}, -{edge}), ops.add({{0}}, {bias}), {above})")


@operator("Clip", 11, 12, 13)
def clip(step: Step) -> Code:
    """Bounds that are numbers, computed, or missing; where they cross, the upper one counts."""
    order, x = step.place().order, step.data()
    low, high = _bound(step, 1), _bound(step, 2)
    computed = any(step.has(index) and step.value(index).const is None for index in (1, 2))
    if low is not None and high is not None and not computed and step.const(1) <= step.const(2):
        return step.code(f"ops.clip({x}, {low}, {high})", order)
    if low == "0.0" and high is None:
        return step.code(f"{layer('Activation', 'relu')}({x})", order)
    text = x if low is None else f"ops.maximum({x}, {low})"
    return step.code(text if high is None else f"ops.minimum({text}, {high})", order)


def _bound(step: Step, index: int) -> str | None:
    if not step.has(index):
        return None
    require(step.shape(index) in ((), (1,)), "a bound is no number")
    bound = step.value(index).const
    return step.data(index) if bound is None else step.constant(bound, scalar=True)
