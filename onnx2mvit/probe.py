"""Keras's tensors at the borders of blocks, by the value of the graph that they stand for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from onnx2mvit.block import Block
from onnx2mvit.errors import InvalidModelError
from onnx2mvit.graph import Value
from onnx2mvit.layout import Order, axes_between, output_order, plain
from onnx2mvit.pattern import Pattern

if TYPE_CHECKING:
    import keras

    from onnx2mvit.rewrite import Network

Array = np.ndarray[Any, Any]


class Probe:
    """Runs a model and hands out what flows between its blocks.

    Nested models are run once more by themselves, on the reference's own tensor where it is
    known, so that what is inside of them is seen too, and errors from before do not add up.
    No tensor is held longer than it takes to look at it: together they are large.

    `outputs` are the values of the graph that the model hands out, in order.

    Raises:
        InvalidModelError: the model has not the layers of these blocks.
    """

    def __init__(
        self, model: keras.Model, blocks: Sequence[Block], outputs: Sequence[Value] = ()
    ) -> None:
        import keras

        layers = {operation.name: operation for operation in model.operations}
        wanted: dict[Value, Any] = {}
        self.orders: dict[Value, Order] = {}
        self.nested: list[tuple[Value, Probe]] = []
        for block in _layers(blocks):
            source = block.inputs[0]
            self.orders.setdefault(source, block.pattern.order(_rank(source)))
            self.orders[block.output] = self._order(block)
            if block.code is not None and not block.code.is_layer:
                continue
            name = block.path.rpartition("/")[2]
            if name not in layers:
                raise InvalidModelError(f"the Keras model has no layer {block.path!r}")
            call = _call_of(layers[name])
            wanted[block.output] = call.output_tensors[0]
            if block.code is not None:
                continue
            # What has no layer of its own (fold, unfold) is seen where the next block reads it;
            # a convolution that reads its own padding has another shape and says nothing.
            read, order = call.arguments.keras_tensors[0], block.pattern.order(_rank(source))
            straight = block.pattern.any_order or self.orders[source] == order
            if _is_padded(read) or not straight or not _same_shape(source, order, read):
                read = None
            if source not in wanted and read is not None:
                wanted[source] = read
            if block.pattern.nested:
                self.nested.append((source, Probe(layers[name], block.children)))
        for value, tensor in zip(outputs, model.outputs, strict=bool(outputs)):
            order = output_order(self.orders.get(value, Pattern.order(_rank(value))))
            wanted[value], self.orders[value] = tensor, order
        self.values = list(wanted)
        self.borders = keras.Model(model.inputs, list(wanted.values()))

    def _order(self, block: Block) -> Order:
        if block.code is not None:
            return block.code.order
        if block.pattern.any_order:
            return self.orders[block.inputs[0]]
        return block.pattern.order(_rank(block.output))

    def __call__(
        self, inputs: Any, reference: Mapping[Value, Array]
    ) -> Iterator[tuple[Value, Array]]:
        """The tensors for these inputs, in Keras's layout, one after the other in ONNX's."""
        import keras

        answers = self.borders(inputs if isinstance(inputs, list) else [inputs], training=False)
        # Of a list with one output Keras may make the output itself.
        tensors = dict(zip(self.values, keras.tree.flatten(answers), strict=True))
        inner = {
            source: to_onnx(keras.ops.convert_to_numpy(tensors[source]), self.orders[source])
            for source, _ in self.nested
            if source not in reference
        }
        while tensors:
            value, tensor = tensors.popitem()
            yield value, to_onnx(keras.ops.convert_to_numpy(tensor), self.orders[value])
        for source, probe in self.nested:
            array = reference[source] if source in reference else inner[source]
            order = Pattern.order(_rank(source))
            yield from probe(to_keras(array, order), reference)


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


def _rank(value: Value) -> int:
    return len(value.shape or ())


def _is_padded(tensor: Any) -> bool:
    # Where sizes are left open, its shape would not tell.
    return type(tensor._keras_history.operation).__name__ in ("ZeroPadding2D", "Pad")


def _same_shape(value: Value, order: Order, tensor: Any) -> bool:
    if value.shape is None or len(value.shape) != len(tensor.shape):
        return False
    shape = tuple(value.shape[axis] for axis in order)
    pairs = zip(shape[1:], tensor.shape[1:], strict=True)
    return all(theirs in (ours, None) for ours, theirs in pairs)


def to_keras(array: Array, order: Order) -> Array:
    """A tensor of ONNX in this order of its axes."""
    return array.transpose(order)


def to_onnx(array: Array, order: Order) -> Array:
    """A tensor of Keras whose axes are in this order, as ONNX has it."""
    return array.transpose(axes_between(order, plain(len(order))))


def keras_inputs(network: Network, *arrays: Array) -> Array | list[Array]:
    """ONNX's input tensors as the model takes them: one by itself, several as a list."""
    places = network.lowered.places
    pairs = zip(arrays, network.graph.inputs, strict=True)
    inputs = [to_keras(array, places[value].order) for array, value in pairs]
    return inputs[0] if len(inputs) == 1 else inputs


def outputs_of(model: keras.Model, network: Network, *arrays: Array) -> dict[str, Array]:
    """What a model answers to ONNX's input tensors, by the names of the file's outputs."""
    import keras

    answers = keras.tree.flatten(model(keras_inputs(network, *arrays), training=False))
    places, graph = network.lowered.places, network.graph
    return {
        name: to_onnx(keras.ops.convert_to_numpy(answer), output_order(places[value].order))
        for name, value, answer in zip(graph.output_names, graph.outputs, answers, strict=True)
    }
