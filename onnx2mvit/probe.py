"""Keras's tensors at the borders of blocks, by the value of the graph that they stand for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from onnx2mvit.block import Block
from onnx2mvit.graph import Value

if TYPE_CHECKING:
    import keras

Array = np.ndarray[Any, Any]


def probe(model: keras.Model, blocks: Sequence[Block], images: Array) -> dict[Value, Array]:
    """Runs a model on images (N, H, W, C) and returns what flows between its blocks.

    Nested models are run once more on what flows into them, so that what is inside of them
    is seen too. Arrays are in Keras's layout.
    """
    import keras

    wanted: dict[Value, Any] = {}
    parts = list(_layers(blocks))
    operations = {operation.name: operation for operation in model.operations}
    for block in parts:
        node = _call_of(operations[block.path.rpartition("/")[2]])
        wanted[block.output] = node.output_tensors[0]
        # What has no layer of its own (fold, unfold) is seen where the next block reads it; a
        # convolution that reads its own padding has another shape and says nothing.
        (source, *_), read = block.inputs, node.arguments.keras_tensors[0]
        if source not in wanted and _same_shape(source, read):
            wanted[source] = read
    borders = keras.Model(model.inputs, list(wanted.values()))
    tensors = borders([images], training=False)
    values = dict(zip(wanted, map(keras.ops.convert_to_numpy, tensors), strict=True))
    for block in parts:
        if block.pattern.nested:
            inner = operations[block.path.rpartition("/")[2]]
            values |= probe(inner, block.children, values[block.inputs[0]])
    return values


def _layers(blocks: Sequence[Block]) -> Iterator[Block]:
    """The blocks that are one layer or one nested model, in the model that these are in."""
    for block in blocks:
        if block.pattern.is_leaf or block.pattern.nested:
            yield block
        else:
            yield from _layers(block.children)


def _call_of(layer: Any) -> Any:
    # `layer.output` of a nested model is its own inner tensor; the one in the model around it
    # is only to be had from the call (measured on Keras 3.12 to 3.15).
    return layer._inbound_nodes[-1]


def _same_shape(value: Value, tensor: Any) -> bool:
    if value.shape is None or len(value.shape) != len(tensor.shape):
        return False
    shape = value.shape if len(value.shape) != 4 else tuple(value.shape[i] for i in (0, 2, 3, 1))
    return shape[1:] == tuple(tensor.shape[1:])


def to_onnx_layout(array: Array) -> Array:
    """Images NHWC → NCHW; everything else as it is."""
    return array.transpose(0, 3, 1, 2) if array.ndim == 4 else array
