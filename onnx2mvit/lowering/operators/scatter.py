"""Writing into parts of a tensor, at places that stand in the file: x[:, :, ::2] = y."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from onnx2mvit.ir.code import KerasCode
from onnx2mvit.ir.expr import Item, KerasExpr, Name, alone, call
from onnx2mvit.ir.layout import plain
from onnx2mvit.lowering.operators.context import OpContext
from onnx2mvit.lowering.operators.operands import MixesBatch
from onnx2mvit.lowering.operators.registry import operator
from onnx2mvit.lowering.operators.sources import literal
from onnx2mvit.matcher.rooted import DIFFERS, Array, alike, require

REDUCTIONS = {"add": "add", "mul": "multiply", "max": "maximum", "min": "minimum"}
NO_LISTS = "its indices are not a list of places for each axis"


@dataclass(frozen=True)
class Part:
    """What is written along one axis of the data, which has this length.

    `places` are where, `axis` is that of the updates which goes along with them; None where they
    have none, as for x[:, 3] = y.
    """

    length: int
    places: tuple[int, ...]
    axis: int | None

    @property
    def whole(self) -> bool:
        """True if it is all of the axis."""
        return self.places == tuple(range(self.length))

    @property
    def index(self) -> slice | list[int]:
        """The places as Python has them in brackets."""
        first, last = self.places[0], self.places[-1]
        step = self.places[1] - first if len(self.places) > 1 else 1
        if step < 1 or self.places != tuple(range(first, last + 1, step)):
            return list(self.places)
        stop = None if last + step >= self.length else last + 1
        return slice(first or None, stop, None if step == 1 else step)


@operator("ScatterND", 11, 13, 16, 18)
def scatter_nd(op: OpContext) -> KerasCode:
    """Indices that are a list of places for each axis, as those of slices are."""
    indices, shape = op.const(1), op.shape()
    count, depth = indices.ndim - 1, indices.shape[-1]
    axes = [_axis_of(indices[..., at]) for at in range(depth)]
    free = [axis for axis in range(count) if axis not in axes]
    parts = []
    for at, axis in enumerate(axes):
        places = _along(indices[..., at], [axis])
        if axis is None and free and indices.shape[free[0]] == 1:
            axis = free.pop(0)
        parts.append(_part(shape[at], places, axis))
    known = [axis for axis in axes if axis is not None]
    require(not free and len(known) == len({*known}), NO_LISTS)
    rest = enumerate(shape[depth:], start=count)
    return assigned(op, [*parts, *(_part(n, np.arange(n), axis) for axis, n in rest)])


@operator("ScatterElements", 11, 13, 16, 18)
def scatter_elements(op: OpContext) -> KerasCode:
    """Indices that are the same for all that is written along the axis."""
    indices, along, shape = op.const(1), op.axis(op.attrs.get("axis", 0)), op.shape()
    places = [np.arange(length) for length in indices.shape]
    places[along] = _along(indices, [along])
    require((indices == places[along]).all(), "its indices differ from place to place")
    pairs = enumerate(zip(shape, places, strict=True))
    return assigned(op, [_part(length, at, axis) for axis, (length, at) in pairs])


def _axis_of(indices: Array) -> int | None:
    """The one axis along which indices differ; None if they are all the same."""
    axes = [at for at in range(indices.ndim) if (indices != indices.take([0], at)).any()]
    require(len(axes) < 2, NO_LISTS)
    return axes[0] if axes else None


def _along(indices: Array, axes: Sequence[int | None]) -> Array:
    """The indices on these axes, where they are the first on the others."""
    return indices[tuple(slice(None if at in axes else 1) for at in range(indices.ndim))]


def _part(length: int, places: Array, axis: int | None) -> Part:
    return Part(length, tuple(int(place) % length for place in places.reshape(-1)), axis)


def assigned(op: OpContext, parts: Sequence[Part]) -> KerasCode:
    """The data with other numbers at these places; a part for each of its axes in ONNX."""
    require(len(parts) > 1, "its data has one axis")
    if op.value(0).const is None:
        order, batch = op.layout().order, op.layout().batch
    else:
        own = op.layout(2).batch
        order = plain(len(parts))
        batch = next((at for at, part in enumerate(parts) if part.axis == own is not None), None)
    for axis, part in enumerate(parts):
        if axis == batch and not part.whole:
            raise MixesBatch(f"its indices pick images along axis {axis}")
        require(len({*part.places}) == len(part.places), "it writes to one place several times")
    there = [parts[axis] for axis in order]
    for axis in op.varying:
        index = parts[axis].index
        op.one_size |= isinstance(index, list)
        for bound in (index.start, index.stop) if isinstance(index, slice) else ():
            op.from_the_front(bound or 0, axis)
    if op.value(2).const is not None:
        x = op.data()
        updates = _constant(op, there, batch, _at_places(x, there))
    else:
        if op.layout(2).batch != (None if batch is None else parts[batch].axis):
            raise MixesBatch("its updates have the batch on another axis")
        updates = _computed(op, there)
        x = op.data() if op.value(0).const is None else _constant_data(op, batch, updates)
    if (reduction := op.attrs.get("reduction", "none")) != "none":
        updates = call(f"ops.{REDUCTIONS[reduction]}", _at_places(x, there), updates)
    target = Item(Name("np.s_"), tuple(part.index for part in there))
    return op.code(call("assign", x, target, updates), order, batch)


def _computed(op: OpContext, parts: Sequence[Part]) -> KerasExpr:
    """The updates, their axes in the order of these parts."""
    missing = [at for at, part in enumerate(parts) if part.axis is None]
    updates = op.data(2, tuple(part.axis for part in parts if part.axis is not None))
    return call("ops.expand_dims", updates, alone(missing)) if missing else updates


def _constant(
    op: OpContext, parts: Sequence[Part], batch: int | None, before: KerasExpr
) -> KerasExpr:
    """The same where they are constants; `before` has their shape, for any number of images."""
    array = op.const(2).transpose([part.axis for part in parts if part.axis is not None])
    array = np.expand_dims(array, tuple(at for at, part in enumerate(parts) if part.axis is None))
    if (array == array.flat[0]).all():
        return call("ops.full_like", before, literal(array.flat[0].item(), array.dtype))
    order = op.layout().order
    array = array if batch is None else _one_row(array, order.index(batch))
    op.one_size |= any(array.shape[at] > 1 for at, axis in enumerate(order) if axis in op.varying)
    return call("ops.add", call("ops.zeros_like", before), op.constant(array))


def _constant_data(op: OpContext, batch: int | None, updates: KerasExpr) -> KerasExpr:
    """The data where it is a constant; the updates' axes are as its own."""
    array = op.const(0) if batch is None else _one_row(op.const(0), batch)
    op.one_size |= sum(length > 1 for length in array.shape) > 1
    return op.for_every_image(array, updates, batch)


def _one_row(array: Array, batch: int) -> Array:
    require(alike(array, batch), DIFFERS)
    return array.take([0], batch)


def _at_places(x: KerasExpr, parts: Sequence[Part]) -> KerasExpr:
    """What stands there before."""
    index = [part.index for part in parts]
    x = x[tuple(slice(None) if isinstance(part, list) else part for part in index)]
    for at, part in enumerate(index):
        x = call("ops.take", x, part, axis=at) if isinstance(part, list) else x
    return x
