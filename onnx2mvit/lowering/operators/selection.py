"""Taking parts of a tensor."""

from __future__ import annotations

import numpy as np

from onnx2mvit.ir.code import KerasCode
from onnx2mvit.ir.expr import KerasExpr, alone, call
from onnx2mvit.ir.layout import Order, plain
from onnx2mvit.lowering.operators.context import OpContext
from onnx2mvit.lowering.operators.operands import MixesBatch
from onnx2mvit.lowering.operators.registry import operator
from onnx2mvit.matcher.rooted import Array, alike, require


@operator("Slice", 11, 13)
def slices(op: OpContext) -> KerasCode:
    """Any steps; what runs backwards is turned round first."""
    order, shape = op.layout().order, op.shape()
    if "part" in op.attrs and op.varies([op.attrs["axis"]]):
        return _part(op)
    backwards, parts = [], [slice(None)] * len(shape)
    for axis, (start, end, by) in bounds(op).items():
        indices = range(*slice(start, end, by).indices(shape[axis]))
        require(len(indices) > 0, "it leaves nothing")
        where = order.index(axis)
        if by < 0:
            backwards.append(where)
        elif indices == range(shape[axis]):
            continue
        op.forbid_batch_reduction([axis])
        if op.varies([axis]):
            length = shape[axis]
            from_border = start <= -length if by > 0 else start >= length - 1
            to_border = end >= length if by > 0 else end < -length
            first = None if from_border else _place(op, start, axis, by)
            stop = None if to_border else _place(op, end, axis, by)
        else:
            first, stop = indices.start, indices.stop
            if by < 0:
                first, stop = shape[axis] - 1 - first, shape[axis] - 1 - stop
            stop = stop if stop < shape[axis] else None
        parts[where] = slice(first, stop, abs(by))
    x = op.data()
    if backwards:
        x = call("ops.flip", x, alone(sorted(backwards)))
    return op.code(x[tuple(parts)])


def _part(op: OpContext) -> KerasCode:
    """One of several parts of an axis, whatever its length is."""
    (index, count), axis = op.attrs["part"], op.attrs["axis"]
    op.forbid_batch_reduction([axis])
    where = op.layout().order.index(axis)
    return op.code(call("part", op.data(), index, count, axis=where))


def _place(op: OpContext, position: int, axis: int, by: int) -> int:
    """A bound of a slice, counted from the end that the file counts from."""
    (op.from_the_front if position >= 0 else op.from_a_border)(position, axis)
    return position if by > 0 else -1 - position


def bounds(op: OpContext) -> dict[int, tuple[int, int, int]]:
    """Start, end and step for each axis that is cut, as they stand in the file."""
    attrs = op.attrs
    if "start" in attrs:  # as our rules write it
        return {attrs["axis"]: (*attrs.get("stated", (attrs["start"], attrs["end"])), 1)}
    starts, ends = op.integers(1) or [], op.integers(2) or []
    axes = op.integers(3) or list(range(len(starts)))
    steps = op.integers(4) or [1] * len(starts)
    parts = zip(axes, zip(starts, ends, steps, strict=True), strict=True)
    return {op.axis(axis): part for axis, part in parts}


@operator("Gather", 11, 13)
def gather(op: OpContext) -> KerasCode:
    """Slices of an axis in another order; the axes of the indices take its layout."""
    axis = op.axis(op.attrs.get("axis", 0))
    data, indices = op.value(0), op.value(1)
    rank, count = len(op.shape(0)), len(op.shape(1))
    before: Order = plain(rank) if data.const is not None else op.layout(0).order
    own: Order = plain(count) if indices.const is not None else op.layout(1).order
    where = before.index(axis)
    order: Order = ()
    for old in before:
        if old == axis:
            order += tuple(axis + index for index in own)
        else:
            order += (old if old < axis else old + count - 1,)
    batches = []
    if data.const is None and (batch := op.layout(0).batch) is not None:
        op.forbid_batch_reduction([axis])
        batches.append(batch if batch < axis else batch + count - 1)
    if indices.const is None and (batch := op.layout(1).batch) is not None:
        batches.append(axis + batch)
    if len(batches) > 1:
        raise MixesBatch("every image has indices of its own")
    x = op.data(0)
    if indices.const is None:
        x = call("ops.take", x, op.data(1), axis=where)
    else:
        x = _taken(op, x, indices.const, axis)
    return op.code(x, order, batches[0] if batches else None)


def _taken(op: OpContext, x: KerasExpr, indices: Array, axis: int) -> KerasExpr:
    """Constant indices into an axis of a computed input, or of a constant."""
    if not op.varies([axis]):
        indices = indices % op.shape()[axis]
    op.from_the_front(int(indices.max()), axis)
    order: Order = plain(len(op.shape())) if op.value().const is not None else op.layout().order
    return _at(op, x, indices, order.index(axis))


def _at(op: OpContext, x: KerasExpr, indices: Array, where: int) -> KerasExpr:
    """One index, a run of them, or any."""
    if indices.ndim == 0:
        return x.along(where, int(indices))
    first = int(indices.flat[0])
    run = indices.ndim == 1 and (indices == first + np.arange(len(indices))).all()
    if run and (first >= 0 or first + len(indices) <= 0):
        return x.along(where, slice(first, first + len(indices) or None))
    listed = indices.tolist() if indices.ndim == 1 else op.constant(indices)
    return call("ops.take", x, listed, axis=where)


@operator("GatherElements", 11, 13)
def gather_elements(op: OpContext) -> KerasCode:
    """Along an axis, elsewhere at the place of the index; the data may reach further there."""
    axis, layout = op.axis(op.attrs.get("axis", 0)), op.layout()
    order, batch = layout.order, layout.batch
    op.forbid_batch_reduction([axis])
    data, indices = op.shape(0), op.shape(1)
    lengths = [
        slice(None) if d == i or a in (axis, batch) else slice(i)
        for a, (d, i) in enumerate(zip(data, indices, strict=True))
    ]
    x = op.data()[tuple(lengths[axis] for axis in order)]
    if op.value(1).const is None:
        require(op.layout(1).batch == batch, "its indices have the batch on another axis")
        there = op.data(1, order)
    else:
        op.one_size = True
        array = op.one_row(op.const(1) % data[axis], order).transpose(order)
        there = op.constant(array)
    x = call("ops.take_along_axis", x, there, axis=order.index(axis))
    return op.code(x, order, batch)


@operator("GatherND", 11, 12, 13)
def gather_nd(op: OpContext) -> KerasCode:
    """Constant indices of several axes at once, which are made one, or some for each image."""
    op.one_size = True
    if op.value(1).const is None:
        return _of_each_image(op)
    first, indices, shape = op.attrs.get("batch_dims", 0), op.const(1), op.shape()
    depth, batch = indices.shape[-1], op.layout().batch
    op.forbid_batch_reduction(range(first, first + depth))
    for _ in range(first):
        require(alike(indices), "every image has indices of its own")
        indices = indices[0]
    gone = shape[first : first + depth]
    wrapped = np.moveaxis(indices, -1, 0) % np.array(gone).reshape(-1, *(1,) * (indices.ndim - 1))
    flat = np.ravel_multi_index(tuple(wrapped), gone)
    target = [*shape[:first], int(np.prod(gone)), *shape[first + depth :]]
    if batch is not None:
        if batch >= first:
            batch -= depth - 1
        target[batch] = -1
    joined = call("ops.reshape", op.data(order=plain(len(shape))), tuple(target))
    x = _at(op, joined, flat, first)
    rank = len(op.output_shape)
    if batch is not None and batch > first:
        batch += flat.ndim - 1
    return op.code(x, plain(rank), batch)


def _of_each_image(op: OpContext) -> KerasCode:
    """Places along the axis after the batch, computed for each image (B, 1) or (B, K, 1)."""
    rank, indices = len(op.shape()), op.shape(1)
    one = op.attrs.get("batch_dims", 0) == 1 and indices[-1] == 1 and len(indices) <= rank
    require(one and len(indices) < 4, "its indices are computed, and not one along an axis")
    if {op.layout(index).batch for index in range(2)} != {0}:
        raise MixesBatch("its indices pick images")
    places = op.data(1, plain(len(indices)))
    if rank > len(indices):
        places = call("ops.expand_dims", places, alone(range(len(indices), rank)))
    x = call("ops.take_along_axis", op.data(order=plain(rank)), places, axis=1)
    x = x if len(indices) == 3 else call("ops.squeeze", x, 1)
    return op.code(x, plain(len(op.output_shape)), 0)


@operator("ReverseSequence", 10)
def reverse_sequence(op: OpContext) -> KerasCode:
    """The first so many steps of each sequence backwards, the others as they are."""
    batch_axis, time = op.attrs.get("batch_axis", 1), op.attrs.get("time_axis", 0)
    layout = op.layout()
    op.forbid_batch_reduction([time])
    own = batch_axis == layout.batch
    if op.value(1).const is None:
        if op.layout(1).batch is None or not own:
            raise MixesBatch("its lengths are not those of the images")
        lengths = op.data(1)
    else:
        array = op.const(1)
        if own:
            require(alike(array, 0), "a length differs from image to image")
            array = array[:1]
        op.has_lengths_of([time, batch_axis] if not own else [time])
        lengths = op.constant(array)
    where = (layout.order.index(axis) for axis in (batch_axis, time))
    return op.code(call("reverse_sequence", op.data(), lengths, *where), batch=layout.batch)


@operator("Trilu", 14)
def trilu(op: OpContext) -> KerasCode:
    """The upper or the lower triangle of matrices."""
    rank, order = len(op.shape()), op.layout().order
    op.forbid_batch_reduction([rank - 2, rank - 1])
    rows, columns = op.shape()[-2:]
    diagonal = int(op.const(1).reshape(())) if op.has(1) else 0
    if not -rows <= diagonal <= columns:  # TensorFlow takes none that lie outside
        op.has_lengths_of([rank - 2, rank - 1])
        diagonal = min(max(diagonal, -rows), columns)
    if order[-2:] != (rank - 2, rank - 1):
        order = plain(rank)
    function = "triu" if op.attrs.get("upper", 1) else "tril"
    x = call(f"ops.{function}", op.data(0, order), *([diagonal] if diagonal else []))
    return op.code(x, order)
