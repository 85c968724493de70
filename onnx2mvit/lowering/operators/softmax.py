"""Softmax and its relatives.

Before opset 13 they flatten all axes from `axis` on to one, and go over that.
"""

from __future__ import annotations

from functools import partial

from onnx2mvit.ir.code import KerasCode
from onnx2mvit.ir.expr import call, layer, unless
from onnx2mvit.lowering.operators.context import OpContext
from onnx2mvit.lowering.operators.reduction import extremes
from onnx2mvit.lowering.operators.registry import operator
from onnx2mvit.matcher.rooted import require


def _places(op: OpContext, flat: bool) -> list[int]:
    """Where the axes stand in the Keras tensor that are gone over together."""
    rank, shape = len(op.shape()), op.shape()
    first = op.axis(op.attrs.get("axis", 1 if flat else -1))
    axes = [axis for axis in range(first, rank) if shape[axis] > 1] if flat else [first]
    op.forbid_batch_reduction(axes)
    return sorted(op.layout().order.index(axis) for axis in axes or [first])


def _one(places: list[int], rank: int) -> int:
    """The last axis as -1."""
    require(len(places) == 1, "it goes over several axes at once")
    return -1 if places[0] == rank - 1 else places[0]


def softmax(op: OpContext, flat: bool) -> KerasCode:
    """As the layer `Softmax`, which takes several axes too."""
    places, rank = _places(op, flat), len(op.shape())
    axis = _one(places, rank) if len(places) == 1 else tuple(places)
    return op.code(layer("Softmax", axis=unless(axis, -1))(op.data()))


def log_softmax(op: OpContext, flat: bool) -> KerasCode:
    """As `log_softmax`; over several axes by its definition."""
    places, rank, x = _places(op, flat), len(op.shape()), op.data()
    if len(places) > 1:
        total = call("ops.logsumexp", x, axis=tuple(places), keepdims=True)
        return op.code(call("ops.subtract", x, total))
    return op.code(call("ops.log_softmax", x, axis=unless(_one(places, rank), -1)))


def hardmax(op: OpContext, flat: bool) -> KerasCode:
    """One at the first of the largest, zero elsewhere."""
    places, rank = _places(op, flat), len(op.shape())
    axis = _one(places, rank)
    hot = op.layout().order[axis]
    op.has_lengths_of([hot])
    length = op.shape()[hot]
    largest = call("ops.argmax", extremes(op.data(), "max", axis), axis=axis)
    return op.code(call("ops.one_hot", largest, length, axis=axis))


for _name, _converter in (
    ("Softmax", softmax),
    ("LogSoftmax", log_softmax),
    ("Hardmax", hardmax),
):
    operator(_name, 11)(partial(_converter, flat=True))
    operator(_name, 13)(partial(_converter, flat=False))
