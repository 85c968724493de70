"""Softmax and its relatives.

Before opset 13 they flatten all axes from `axis` on to one, and go over that.
"""

from __future__ import annotations

from functools import partial

from onnx2mvit.lowering.operators.registry import operator
from onnx2mvit.lowering.operators.step import Code, Step
from onnx2mvit.lowering.operators.text import layer, unless
from onnx2mvit.matcher.pattern import require


def _places(step: Step, flat: bool) -> list[int]:
    """Where the axes stand in the Keras tensor that are gone over together."""
    rank, shape = len(step.shape()), step.shape()
    first = step.axis(step.attrs.get("axis", 1 if flat else -1))
    axes = [axis for axis in range(first, rank) if shape[axis] > 1] if flat else [first]
    step.keep_apart(axes)
    return sorted(step.place().order.index(axis) for axis in axes or [first])


def _one(places: list[int], rank: int) -> int:
    """The last axis as -1."""
    require(len(places) == 1, "it goes over several axes at once")
    return -1 if places[0] == rank - 1 else places[0]


def softmax(step: Step, flat: bool) -> Code:
    """As the layer `Softmax`, which takes several axes too."""
    places, rank = _places(step, flat), len(step.shape())
    axis = _one(places, rank) if len(places) == 1 else tuple(places)
    text = layer("Softmax", axis=unless(axis, -1))
    return step.code(f"{text}({step.data()})", step.place().order)


def log_softmax(step: Step, flat: bool) -> Code:
    """As `log_softmax`; over several axes by its definition."""
    places, rank, x = _places(step, flat), len(step.shape()), step.data()
    if len(places) > 1:
        total = f"ops.logsumexp({x}, axis={tuple(places)}, keepdims=True)"
        return step.code(f"ops.subtract({x}, {total})", step.place().order)
    axis = _one(places, rank)
    option = "" if axis == -1 else f", axis={axis}"
    return step.code(f"ops.log_softmax({x}{option})", step.place().order)


def hardmax(step: Step, flat: bool) -> Code:
    """One at the first of the largest, zero elsewhere."""
    places, rank = _places(step, flat), len(step.shape())
    axis, x, order = _one(places, rank), step.data(), step.place().order
    length = step.shape()[order[axis]]
    largest = f"ops.argmax({x}, axis={axis})"
    return step.code(f"ops.one_hot({largest}, {length}, axis={axis})", order)


for _name, _converter in (
    ("Softmax", softmax),
    ("LogSoftmax", log_softmax),
    ("Hardmax", hardmax),
):
    operator(_name, 11)(partial(_converter, flat=True))
    operator(_name, 13)(partial(_converter, flat=False))
