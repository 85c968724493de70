"""Taking parts of a tensor."""

from __future__ import annotations

import numpy as np

from onnx2mvit.ir.layout import Order, plain
from onnx2mvit.lowering.operators.registry import operator
from onnx2mvit.lowering.operators.step import Code, MixesBatch, Step
from onnx2mvit.lowering.operators.text import alone, cut
from onnx2mvit.matcher.pattern import Array, require


@operator("Slice", 11, 13)
def slices(step: Step) -> Code:
    """Any steps; what runs backwards is turned round first."""
    order, shape = step.place().order, step.shape()
    backwards, written = [], [":"] * len(shape)
    for axis, (start, end, by) in bounds(step).items():
        indices = range(*slice(start, end, by).indices(shape[axis]))
        require(len(indices) > 0, "it leaves nothing")
        if indices == range(shape[axis]):
            continue
        step.keep_apart([axis])
        where, first, stop = order.index(axis), indices.start, indices.stop
        if by < 0:
            backwards.append(where)
            first, stop = shape[axis] - 1 - first, shape[axis] - 1 - stop
        written[where] = between(first, stop if stop < shape[axis] else None, abs(by))
        if stop < shape[axis]:
            step.written_out([where])
    x = step.data()
    if backwards:
        x = f"ops.flip({x}, {alone(sorted(backwards))})"
    return step.code(cut(x, written), order)


def bounds(step: Step) -> dict[int, tuple[int, int, int]]:
    """Start, end and step for each axis that is cut."""
    attrs = step.attrs
    if "start" in attrs:  # as our rules write it
        return {attrs["axis"]: (attrs["start"], attrs["end"], 1)}
    starts, ends = step.integers(1) or [], step.integers(2) or []
    axes = step.integers(3) or list(range(len(starts)))
    steps = step.integers(4) or [1] * len(starts)
    parts = zip(axes, zip(starts, ends, steps, strict=True), strict=True)
    return {step.axis(axis): cut for axis, cut in parts}


def between(first: int, stop: int | None, by: int) -> str:
    """A slice as it is written."""
    text = f"{first or ''}:{'' if stop is None else stop}"
    return text if by == 1 else f"{text}:{by}"


@operator("Gather", 11, 13)
def gather(step: Step) -> Code:
    """Slices of an axis in another order; the axes of the indices take its place."""
    axis = step.axis(step.attrs.get("axis", 0))
    data, indices = step.value(0), step.value(1)
    rank, count = len(step.shape(0)), len(step.shape(1))
    before: Order = plain(rank) if data.const is not None else step.place(0).order
    own: Order = plain(count) if indices.const is not None else step.place(1).order
    where = before.index(axis)
    order: Order = ()
    for old in before:
        if old == axis:
            order += tuple(axis + index for index in own)
        else:
            order += (old if old < axis else old + count - 1,)
    batches = []
    if data.const is None and (batch := step.place(0).batch) is not None:
        step.keep_apart([axis])
        batches.append(batch if batch < axis else batch + count - 1)
    if indices.const is None and (batch := step.place(1).batch) is not None:
        batches.append(axis + batch)
    if len(batches) > 1:
        raise MixesBatch("every image has indices of its own")
    x = step.data(0)
    if indices.const is None:
        text = f"ops.take({x}, {step.data(1)}, axis={where})"
        return step.code(text, order, batches[0] if batches else None)
    text = _taken(step, x, indices.const % step.shape(0)[axis], where, rank)
    return step.code(text, order, batches[0] if batches else None)


def _taken(step: Step, x: str, indices: Array, where: int, rank: int) -> str:
    """Constant indices: one, a run of them, or any."""
    step.written_out([where])
    head = [":"] * where
    if indices.ndim == 0:
        return f"{x}[{', '.join([*head, str(int(indices))])}]"
    first = int(indices.flat[0])
    if indices.ndim == 1 and (indices == first + np.arange(len(indices))).all():
        return cut(x, [*head, f"{first or ''}:{first + len(indices)}"])
    if indices.ndim == 1:
        return f"ops.take({x}, {indices.tolist()}, axis={where})"
    return f"ops.take({x}, {step.constant(indices)}, axis={where})"


@operator("GatherElements", 11, 13)
def gather_elements(step: Step) -> Code:
    """Along an axis, elsewhere at the place of the index; the data may reach further there."""
    axis, order, batch = (
        step.axis(step.attrs.get("axis", 0)),
        step.place().order,
        step.place().batch,
    )
    step.keep_apart([axis])
    data, indices = step.shape(0), step.shape(1)
    lengths = [
        ":" if d == i or a == axis else f":{i}"
        for a, (d, i) in enumerate(zip(data, indices, strict=True))
    ]
    if batch is not None:
        lengths[batch] = ":"
    x = cut(step.data(), [lengths[axis] for axis in order])
    if step.value(1).const is None:
        require(step.place(1).batch == batch, "its indices have the batch on another axis")
        return step.code(
            f"ops.take_along_axis({x}, {step.data(1, order)}, axis={order.index(axis)})",
            order,
            batch,
        )
    step.fixed_size = True
    array = step.one_row(step.const(1) % data[axis], order).transpose(order)
    return step.code(
        f"ops.take_along_axis({x}, {step.constant(array)}, axis={order.index(axis)})", order, batch
    )


@operator("GatherND", 11, 12, 13)
def gather_nd(step: Step) -> Code:
    """Constant indices of several axes at once, which are made one."""
    first, indices, shape = step.attrs.get("batch_dims", 0), step.const(1), step.shape()
    depth, batch = indices.shape[-1], step.place().batch
    step.keep_apart(range(first, first + depth))
    for _ in range(first):
        require(bool((indices == indices[:1]).all()), "every image has indices of its own")
        indices = indices[0]
    gone = shape[first : first + depth]
    wrapped = np.moveaxis(indices, -1, 0) % np.array(gone).reshape(-1, *(1,) * (indices.ndim - 1))
    flat = np.ravel_multi_index(tuple(wrapped), gone)
    target = [*shape[:first], int(np.prod(gone)), *shape[first + depth :]]
    if batch is not None:
        if batch >= first:
            batch -= depth - 1
        target[batch] = -1
    step.fixed_size = True
    x = step.data(order=plain(len(shape)))
    text = _taken(step, f"ops.reshape({x}, {tuple(target)})", flat, first, len(target))
    rank = len(step.output_shape)
    if batch is not None and batch > first:
        batch += flat.ndim - 1
    return step.code(text, plain(rank), batch)


@operator("Trilu", 14)
def trilu(step: Step) -> Code:
    """The upper or the lower triangle of matrices."""
    rank, order = len(step.shape()), step.place().order
    step.keep_apart([rank - 2, rank - 1])
    rows, columns = step.shape()[-2:]
    diagonal = int(step.const(1).reshape(())) if step.has(1) else 0
    diagonal = min(max(diagonal, -rows), columns)  # TensorFlow takes none that lie outside
    if order[-2:] != (rank - 2, rank - 1):
        order = plain(rank)
    function = "triu" if step.attrs.get("upper", 1) else "tril"
    option = f", {diagonal}" if diagonal else ""
    return step.code(f"ops.{function}({step.data(0, order)}{option})", order)
