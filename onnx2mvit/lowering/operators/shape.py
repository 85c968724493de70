"""Operators that move data without changing it.

Reading has made one Reshape of Reshape, Flatten, Squeeze and Unsqueeze, slices of Split, and
brought what is constant to plain attributes.
"""

from __future__ import annotations

from onnx2mvit.ir.layout import (
    BATCH,
    Shape,
    plain,
    reshaped_batch,
    reshaped_order,
    transposed,
    without,
)
from onnx2mvit.lowering.operators.registry import operator
from onnx2mvit.lowering.operators.step import Code, MixesBatch, Step
from onnx2mvit.lowering.operators.text import alone, cut, layer, unless
from onnx2mvit.matcher.pattern import require


@operator("Reshape", 5, 13, 14, 19, 21, 23, 24, 25)
def reshape(step: Step) -> Code:
    """As `ops.reshape`, in the order that is there as far as it can be."""
    before, after, place = step.shape(), step.output_shape, step.place()
    batch = None
    if place.batch is not None:
        batch = reshaped_batch(before, after, place.batch, step.trace_batch or 1)
        if batch is None:
            raise MixesBatch(f"Reshape to {list(after)} mixes the images of a batch")
    same = (plain(len(before)), plain(len(after)))
    found = reshaped_order(_marked(before, place.batch), _marked(after, batch), place.order)
    want, order = found or same
    x = step.data(order=want)
    target = tuple(-1 if axis == batch else after[axis] for axis in order)
    lengths = [length for axis, length in enumerate(before) if axis != place.batch]
    step.fixed_size = sum(length != 1 for length in lengths) > 1
    return step.code(f"ops.reshape({x}, {target})", order, batch)


def _marked(shape: Shape, batch: int | None) -> Shape:
    """The shape with a batch that is no product of other lengths."""
    return tuple(n * BATCH if axis == batch else n for axis, n in enumerate(shape))


@operator("Transpose", 1, 13, 21, 23, 24, 25)
def transpose(step: Step) -> Code:
    """Nothing but another order of the same Keras tensor."""
    place, rank = step.place(), len(step.shape())
    perm = step.attrs.get("perm") or tuple(reversed(range(rank)))
    batch = None if place.batch is None else list(perm).index(place.batch)
    return step.code(step.data(), transposed(place.order, perm), batch)


@operator("Concat", 11, 13)
def concat(step: Step) -> Code:
    """As `Concatenate`, in the order of the first operand that is computed."""
    axis, count = step.axis(step.attrs["axis"]), len(step.node.inputs)
    leader = next((i for i in range(count) if step.value(i).const is None), None)
    require(leader is not None, "it joins constants")
    place = step.place(leader or 0)
    operands = []
    for index in range(count):
        if step.value(index).const is None:
            require(step.place(index).batch == place.batch, "the operands' batches differ")
            step.keep_apart([axis], index)
            operands.append(step.data(index, place.order))
        else:
            operands.append(_for_every_image(step, index, leader or 0))
    text = operands[0]
    if count > 1:
        where, parts = place.order.index(axis), f"[{', '.join(operands)}]"
        text = f"ops.concatenate({parts}, axis={where})"
        if all(step.value(index).const is None for index in range(count)):
            text = f"{layer('Concatenate', axis=unless(where, len(place.order) - 1))}({parts})"
    return step.code(text, place.order, place.batch)


def _for_every_image(step: Step, index: int, leader: int) -> str:
    """A constant that is joined to a tensor, once for each image of the batch."""
    order, batch = step.place(leader).order, step.place(leader).batch
    array = step.one_row(step.const(index), order).transpose(order)
    if batch is None:
        return step.constant(array)
    row = cut(step.data(leader), [":" if axis == batch else ":1" for axis in order])
    return f"ops.multiply({step.constant(array)}, ops.ones_like({row}))"


@operator("Roll", 1)
def roll(step: Step) -> Code:
    """What leaves at one end comes in at the other (what our rules make of Slice and Concat)."""
    axes, shifts, order = step.attrs["axes"], step.attrs["shifts"], step.place().order
    step.keep_apart(axes)
    moves = sorted((order.index(axis), by) for axis, by in zip(axes, shifts, strict=True))
    where, by = (alone(numbers) for numbers in zip(*moves, strict=True))
    return step.code(f"ops.roll({step.data()}, {by}, axis={where})", order)


@operator("Select", 1)
def select(step: Step) -> Code:
    """One element of an axis, which goes (what our rules make of Gather and of Slice)."""
    attrs, place = step.attrs, step.place()
    axis = attrs["axis"]
    step.keep_apart([axis])
    batch = None if place.batch is None else place.batch - (axis < place.batch)
    text = cut(step.data(), [str(attrs["index"]) if at == axis else ":" for at in place.order])
    return step.code(text, without(place.order, [axis]), batch)
