"""Operators that move data without changing it.

Reading has made one Reshape of Reshape, Flatten, Squeeze and Unsqueeze, slices of Split, and
brought what is constant to plain attributes.
"""

from __future__ import annotations

from onnx2mvit.ir.code import KerasCode
from onnx2mvit.ir.expr import KerasExpr, alone, call, layer, unless
from onnx2mvit.ir.layout import (
    BATCH,
    Order,
    Shape,
    plain,
    reshaped_batch,
    reshaped_groups,
    reshaped_order,
    transposed,
    without,
)
from onnx2mvit.lowering.operators.context import OpContext
from onnx2mvit.lowering.operators.operands import MixesBatch
from onnx2mvit.lowering.operators.registry import operator
from onnx2mvit.matcher.rooted import require


@operator("Reshape", 5, 13, 14, 19, 21, 23, 24, 25)
def reshape(op: OpContext) -> KerasCode:
    """As `ops.reshape`, in the order that is there as far as it can be."""
    before, after, layout = op.shape(), op.output_shape, op.layout()
    batch = None
    if layout.batch is not None:
        batch = reshaped_batch(before, after, layout.batch, op.trace_batch or 1)
        if batch is None:
            raise MixesBatch(f"Reshape to {list(after)} mixes the images of a batch")
    same = (plain(len(before)), plain(len(after)))
    found = reshaped_order(_marked(before, layout.batch), _marked(after, batch), layout.order)
    want, order = found or same
    x = op.data(order=want)
    target = tuple(-1 if axis == batch else after[axis] for axis in order)
    if not op.varies(range(len(before))):
        return op.code(call("ops.reshape", x, target), order, batch)
    moved = [BATCH if axis == layout.batch else before[axis] for axis in want]
    lengths = [BATCH if axis == batch else after[axis] for axis in order]
    if [n for n in moved if n != 1] == [n for n in lengths if n != 1]:
        op.has_lengths_of(axis for axis, length in enumerate(before) if length == 1)
        return op.code(_of_ones(x, moved, lengths), order, batch)
    open_places = [at for at, axis in enumerate(order) if axis in op.varying and axis != batch]
    stays = order[0] == batch == 0 == layout.batch and (before[0] == after[0] or not open_places)
    if len(open_places) < 2 and stays and _joins(op):
        if not open_places:
            return op.code(call("ops.reshape", x, target), order, batch)
        target = tuple(-1 if at in open_places else length for at, length in enumerate(lengths))
        return op.code(layer("Reshape", target[1:])(x), order, batch)
    if (apart := _beside_open_axes(op, x, want, order, batch)) is not None:
        return op.code(apart, order, batch)
    op.has_lengths_of(range(len(before)))
    return op.code(call("ops.reshape", x, target), order, batch)


def _beside_open_axes(
    op: OpContext, x: KerasExpr, want: Order, order: Order, batch: int | None
) -> KerasExpr | None:
    """Axes of known lengths joined and divided where others, which a Reshape cannot name, stay.

    None if an axis that goes with the image's size does not stay as it is.
    """
    before, after, own = op.shape(), op.output_shape, op.layout()
    groups = reshaped_groups(_marked(before, own.batch), _marked(after, batch)) or ()
    still = {*own.varying, own.batch}
    if any(len(old) + len(new) > 2 and not still.isdisjoint(old) for old, new in groups):
        return None
    known = {axis for old, _ in groups for axis in old}
    gone = [at for at, axis in enumerate(want) if axis not in known]
    x = call("ops.squeeze", x, alone(gone)) if gone else x
    at = 0
    for old, new in sorted(groups, key=lambda group: want.index(group[0][0])):
        for _ in old[1:]:
            x = call("ops.concatenate", call("ops.unstack", x, axis=at), axis=at)
        for axis in new[:-1]:
            x = call("ops.stack", call("ops.split", x, after[axis], axis=at), axis=at)
            at += 1
        at += 1
    made = {axis for _, new in groups for axis in new}
    come = [at for at, axis in enumerate(order) if axis not in made]
    return call("ops.expand_dims", x, alone(come)) if come else x


def _of_ones(x: KerasExpr, before: list[int], after: list[int]) -> KerasExpr:
    """Axes of length one go and come; the others stay, whatever their lengths are."""
    gone = [at for at, length in enumerate(before) if length == 1]
    come = [at for at, length in enumerate(after) if length == 1]
    x = call("ops.squeeze", x, alone(gone)) if gone else x
    return call("ops.expand_dims", x, alone(come)) if come else x


def _joins(op: OpContext) -> bool:
    """True if axes that go with the image's size are joined whole, so that -1 says how long."""
    groups = reshaped_groups(op.shape(), op.output_shape)
    varying = op.layout().varying
    return groups is not None and all(
        len(new) == 1 for old, new in groups if not varying.isdisjoint(old)
    )


def _marked(shape: Shape, batch: int | None) -> Shape:
    """The shape with a batch that is no product of other lengths."""
    return tuple(n * BATCH if axis == batch else n for axis, n in enumerate(shape))


@operator("Transpose", 1, 13, 21, 23, 24, 25)
def transpose(op: OpContext) -> KerasCode:
    """Nothing but another order of the same Keras tensor."""
    layout, rank = op.layout(), len(op.shape())
    perm = op.attrs.get("perm") or tuple(reversed(range(rank)))
    batch = None if layout.batch is None else list(perm).index(layout.batch)
    return op.code(op.data(), transposed(layout.order, perm), batch)


@operator("Concat", 11, 13)
def concat(op: OpContext) -> KerasCode:
    """As `Concatenate`, in the order of the first operand that is computed."""
    axis, count = op.axis(op.attrs["axis"]), len(op.node.inputs)
    leader = next((i for i in range(count) if op.value(i).const is None), None)
    require(leader is not None, "it joins constants")
    layout = op.layout(leader or 0)
    operands = []
    for index in range(count):
        if op.value(index).const is None:
            require(op.layout(index).batch == layout.batch, "the operands' batches differ")
            op.forbid_batch_reduction([axis], index)
            operands.append(op.data(index, layout.order))
        else:
            array = op.one_row(op.const(index), layout.order).transpose(layout.order)
            operands.append(op.for_every_image(array, op.data(leader or 0), layout.batch_at))
            lengths = op.shape(index)
            op.one_size |= any(lengths[at] > 1 for at in op.varying - {axis})
    where = layout.order.index(axis)
    if count == 1:
        x = operands[0]
    elif all(op.value(index).const is None for index in range(count)):
        x = layer("Concatenate", axis=unless(where, len(layout.order) - 1))(operands)
    else:
        x = call("ops.concatenate", operands, axis=where)
    return op.code(x, layout.order, layout.batch)


@operator("Roll", 1)
def roll(op: OpContext) -> KerasCode:
    """What leaves at one end comes in at the other (what our rules make of Slice and Concat)."""
    axes, shifts, order = op.attrs["axes"], op.attrs["shifts"], op.layout().order
    op.forbid_batch_reduction(axes)
    for axis, shift in zip(axes, shifts, strict=True):
        op.from_the_front(abs(shift), axis)
    moves = sorted((order.index(axis), by) for axis, by in zip(axes, shifts, strict=True))
    where, by = (alone(numbers) for numbers in zip(*moves, strict=True))
    return op.code(call("ops.roll", op.data(), by, axis=where))


@operator("Select", 1)
def select(op: OpContext) -> KerasCode:
    """One element of an axis, which goes (what our rules make of Gather and of Slice)."""
    attrs, layout = op.attrs, op.layout()
    axis = attrs["axis"]
    op.forbid_batch_reduction([axis])
    batch = None if layout.batch is None else layout.batch - (axis < layout.batch)
    index = attrs["index"]
    if op.varies([axis]):
        index = op.from_the_front(attrs.get("stated", index), axis)
    x = op.data().along(layout.order.index(axis), index)
    return op.code(x, without(layout.order, [axis]), batch)
