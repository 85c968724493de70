"""Keras's tensors at the borders of blocks, by the value of the graph that they stand for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from onnx2mvit.block import Block
from onnx2mvit.errors import InvalidModelError
from onnx2mvit.graph import Value

if TYPE_CHECKING:
    import keras

Array = np.ndarray[Any, Any]


class Probe:
    """Runs a model and hands out what flows between its blocks.

    Nested models are run once more by themselves, on the reference's own tensor where it is
    known, so that what is inside of them is seen too, and errors from before do not add up.
    No tensor is held longer than it takes to look at it: together they are large.

    Raises:
        InvalidModelError: the model has not the layers of these blocks.
    """

    def __init__(
        self, model: keras.Model, blocks: Sequence[Block], outputs: Sequence[Value] = ()
    ) -> None:
        import keras

        layers = {operation.name: operation for operation in model.operations}
        wanted: dict[Value, Any] = {}
        self.nested: list[tuple[Value, Probe]] = []
        for block in _layers(blocks):
            name = block.path.rpartition("/")[2]
            if name not in layers:
                raise InvalidModelError(f"the Keras model has no layer {block.path!r}")
            call = _call_of(layers[name])
            wanted[block.output] = call.output_tensors[0]
            # What has no layer of its own (fold, unfold) is seen where the next block reads it;
            # a convolution that reads its own padding has another shape and says nothing.
            source, read = block.inputs[0], call.arguments.keras_tensors[0]
            if source not in wanted and _same_shape(source, read):
                wanted[source] = read
            if block.pattern.nested:
                self.nested.append((source, Probe(layers[name], block.children)))
        # An output need not come from a layer: a token is taken by an index.
        wanted.update(zip(outputs, model.outputs, strict=False))
        self.values = list(wanted)
        self.borders = keras.Model(model.inputs, list(wanted.values()))

    def __call__(
        self, inputs: Array, reference: Mapping[Value, Array]
    ) -> Iterator[tuple[Value, Array]]:
        """The tensors for these inputs, one after the other, in ONNX's layout like the inputs."""
        import keras

        answers = self.borders([to_keras_layout(inputs)], training=False)
        tensors = dict(zip(self.values, answers, strict=True))
        inner = {
            source: to_onnx_layout(keras.ops.convert_to_numpy(tensors[source]))
            for source, _ in self.nested
            if source not in reference
        }
        while tensors:
            value, tensor = tensors.popitem()
            yield value, to_onnx_layout(keras.ops.convert_to_numpy(tensor))
        for source, probe in self.nested:
            yield from probe(reference[source] if source in reference else inner[source], reference)


def _layers(blocks: Sequence[Block]) -> Iterator[Block]:
    """The blocks that are one layer or one nested model, in the model that these are in."""
    for block in blocks:
        if block.pattern.is_leaf or block.pattern.nested:
            yield block
        else:
            yield from _layers(block.children)


def _call_of(layer: Any) -> Any:
    # `layer.output` of a nested model is its own inner tensor; the one in the model around it
    # is only to be had from the call (measured on Keras 3.15).
    return layer._inbound_nodes[-1]


def _same_shape(value: Value, tensor: Any) -> bool:
    if value.shape is None or len(value.shape) != len(tensor.shape):
        return False
    shape = value.shape if len(value.shape) != 4 else tuple(value.shape[i] for i in (0, 2, 3, 1))
    pairs = zip(shape[1:], tensor.shape[1:], strict=True)
    return all(theirs in (ours, None) for ours, theirs in pairs)


def to_keras_layout(array: Array) -> Array:
    """Images NCHW → NHWC; everything else as it is."""
    return array.transpose(0, 2, 3, 1) if array.ndim == 4 else array


def to_onnx_layout(array: Array) -> Array:
    """Images NHWC → NCHW; everything else as it is."""
    return array.transpose(0, 3, 1, 2) if array.ndim == 4 else array
