"""Writing to the same places of every image, in a graph for any number of images.

The indices of ScatterND say which image as well, for as many as the file was read for.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from onnx2mvit.errors import UnsupportedError
from onnx2mvit.ir.graph import Node, Value
from onnx2mvit.ir.layout import axes_between, plain
from onnx2mvit.matcher import Builder, alike

ForEach = Callable[[Value | None, int, Builder], Value | None]


def written_to_each(node: Node, new: Builder, batch: int, for_each: ForEach) -> list[Node]:
    """A ScatterND (operator version 18) whose indices leave the images out.

    Images are moved behind the axes that are indexed, and back.

    Args:
        node: the operator.
        new: makes nodes in its place.
        batch: the axis of its data that has the images.
        for_each: makes of a constant, with the images on an axis, one for any number of them.

    Raises:
        UnsupportedError: the indices are computed, or not the same for every image.
    """
    data, places, updates = node.inputs
    if data is None or updates is None or places is None or places.const is None:
        raise UnsupportedError("it is computed where something is written")
    indices, rank = places.const, len(data.shape or ())
    depth, count = indices.shape[-1], indices.ndim - 1
    if batch >= depth:
        given = for_each(updates, count + batch - depth, new)
        return new.then(node, for_each(data, batch, new), places, given)
    along = _axis_of_images(indices, batch, (data.shape or ())[batch])
    order = (*(at for at in range(depth) if at != batch), batch, *range(depth, rank))
    behind = (
        *(at for at in range(count) if at != along),
        along,
        *range(count, count + rank - depth),
    )
    kept = np.delete(indices.take(0, along), batch, axis=-1)
    moved = new.Transpose(for_each(data, batch, new), perm=order)
    given = new.Transpose(for_each(updates, along, new), perm=behind)
    made = new.ScatterND(
        moved, new.constant(kept, "places"), given, shape=moved.shape, **node.attrs
    )
    new.Transpose(made, perm=axes_between(order, plain(rank)))
    return new.making(*node.outputs)


def _axis_of_images(indices: np.ndarray, batch: int, images: int) -> int:
    """The axis of the indices along which these go from image to image, and nothing else does."""
    others, own = np.delete(indices, batch, axis=-1), indices[..., batch]
    for axis in range(own.ndim):
        counted = (
            np.moveaxis(own, axis, -1) == np.arange(images) if own.shape[axis] == images else False
        )
        if np.all(counted) and alike(others, axis) and others.shape[-1]:
            return axis
    raise UnsupportedError("it does not write to the same places of every image")
