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

    Every block is run on the reference's own tensor where that is known, so that errors from
    before do not add up: behind twenty blocks they would exceed what a single one is allowed.
    Nested models are run once more by themselves, so that what is inside of them is seen too.
    Only the `outputs`, values of the graph in the model's order, are what the whole model makes
    of its inputs. No tensor is held longer than it takes to look at it: together they are large.

    Raises:
        InvalidModelError: the model has not the layers of these blocks.
    """

    def __init__(
        self, model: keras.Model, blocks: Sequence[Block], outputs: Sequence[Value] = ()
    ) -> None:
        self.model, self.outputs = model, outputs
        self.ends = {block.output for block in blocks}
        layers = {operation.name: operation for operation in model.operations}
        self.made: dict[Any, Value] = {}  # by the layer that makes it
        self.read: dict[Any, Value] = {}  # by the layer that reads it
        self.nested: list[tuple[Value, Probe]] = []
        self.source = blocks[0].inputs[0]
        behind = {self.source}
        for block in _layers(blocks):
            name = block.path.rpartition("/")[2]
            if name not in layers:
                raise InvalidModelError(f"the Keras model has no layer {block.path!r}")
            layer = layers[name]
            self.made[layer] = block.output
            behind.add(block.output)
            # What has no layer of its own (fold, unfold) is seen where the next block reads it;
            # a convolution that reads its own padding has another shape and says nothing.
            source = block.inputs[0]
            if source not in behind and _same_shape(source, _read_by(layer)):
                self.read[layer] = source
            if block.pattern.nested:
                self.nested.append((source, Probe(layer, block.children)))

    def __call__(
        self, inputs: Array, reference: Mapping[Value, Array]
    ) -> Iterator[tuple[Value, Array]]:
        """The tensors for these inputs, one after the other, in ONNX's layout like the inputs."""
        import keras

        images, seen = [to_keras_layout(inputs)], {}

        def run(layer: Any, *args: Any, **kwargs: Any) -> Any:
            if layer in self.read:
                seen[self.read[layer]] = keras.tree.flatten(args)[0]
            answer = layer(*args, **kwargs)
            if layer not in self.made:
                return answer
            seen[value := self.made[layer]] = answer
            known = reference.get(value) if value in self.ends else None
            return answer if known is None else keras.ops.convert_to_tensor(to_keras_layout(known))

        self.model._run_through_graph(images, lambda layer: layer, run)
        inner = {self.source: inputs, **reference} | {
            source: to_onnx_layout(keras.ops.convert_to_numpy(seen[source]))
            for source, _ in self.nested
            if source in seen and source not in reference
        }
        while seen:
            value, tensor = seen.popitem()
            yield value, to_onnx_layout(keras.ops.convert_to_numpy(tensor))
        if self.outputs:
            answers = keras.tree.flatten(self.model(images[0], training=False))
            for value, answer in zip(self.outputs, answers, strict=True):
                yield value, to_onnx_layout(keras.ops.convert_to_numpy(answer))
        for source, probe in self.nested:
            yield from probe(inner[source], reference)


def _layers(blocks: Sequence[Block]) -> Iterator[Block]:
    """The blocks that are one layer or one nested model, in the model that these are in."""
    for block in blocks:
        if block.pattern.is_leaf or block.pattern.nested:
            yield block
        else:
            yield from _layers(block.children)


def _read_by(layer: Any) -> Any:
    # `layer.input` of a nested model is its own inner tensor; the one in the model around it
    # is only to be had from the call (measured on Keras 3.15).
    return layer._inbound_nodes[-1].arguments.keras_tensors[0]


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
