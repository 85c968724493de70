"""Keras's tensors at the borders of blocks, by the value of the graph that they stand for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from onnx2mvit.errors import InvalidModelError
from onnx2mvit.ir.block import Block
from onnx2mvit.ir.graph import Value
from onnx2mvit.ir.layout import Order, axes_between, output_order, plain

if TYPE_CHECKING:
    import keras

    from onnx2mvit.ir.network import Network

Array = np.ndarray[Any, Any]
Reference = Callable[[Value], Array | None]  # its tensor of a value, where it is known


@dataclass(frozen=True, eq=False)
class Border:
    """A place in a model where a value of the graph is seen.

    `tensor` is Keras's symbolic one in `probe.model`, `block` what ends there, as deep as it is
    still in this model; None for an input.
    """

    probe: Probe
    tensor: Any
    value: Value
    block: Block | None


Look = Callable[[Border, Array], None]


class Probe:
    """Runs a model and hands out what flows between its blocks.

    Every block is run on the reference's own tensor where that is known, so that errors from
    before do not add up: behind twenty blocks they would exceed what a single one is allowed.
    Nested models are run once more by themselves, so that what is inside of them is seen too.
    No tensor is held longer than it takes to look at it: together they are large.

    Raises:
        InvalidModelError: the model has not the layers of these blocks.
    """

    def __init__(self, model: keras.Model, blocks: Sequence[Block]) -> None:
        self.model = model
        # What the model takes, if it is one tensor: the first block reads it.
        self.source = blocks[0].inputs[0] if blocks and len(model.inputs) == 1 else None
        self.ends = {block.output for block in blocks}
        self.orders: dict[Value, Order] = {}
        self.made: dict[Any, Border] = {}  # by the layer that makes it
        self.read: dict[Any, Border] = {}  # by the layer that reads it
        self.nested: dict[Any, Probe] = {}
        layers = {operation.name: operation for operation in model.operations}
        ends = {block.output: block for block in _inside(blocks)}
        for block in _layers(blocks):
            source = block.inputs[0]
            self.orders.setdefault(source, block.pattern.order(_rank(source)))
            self.orders[block.output] = self._order(block)
            if block.code is not None and not block.code.is_layer:
                continue
            name = block.path.rpartition("/")[2]
            if name not in layers:
                raise InvalidModelError(f"the Keras model has no layer {block.path!r}")
            layer = layers[name]
            if block.code is None and self._is_read_by(layer, block):
                self.read[layer] = Border(self, _read_by(layer), source, ends.get(source))
            self.made[layer] = Border(self, _made_by(layer), block.output, block)
            if block.pattern.nested:
                self.nested[layer] = Probe(layer, block.children)

    def _order(self, block: Block) -> Order:
        if block.code is not None:
            return block.code.order
        if block.pattern.any_order:
            return self.orders[block.inputs[0]]
        return block.pattern.order(_rank(block.output))

    def _is_read_by(self, layer: Any, block: Block) -> bool:
        """True if a layer shows its block's input, which no layer before has made.

        What has no layer of its own (fold, unfold) is seen where the next block reads it; a
        convolution that reads its own padding has another shape and says nothing.
        """
        source, read = block.inputs[0], _read_by(layer)
        order = block.pattern.order(_rank(source))
        straight = block.pattern.any_order or self.orders[source] == order
        made = any(border.value is source for border in self.made.values())
        return not made and straight and not _is_padded(read) and _same_shape(source, order, read)

    def __call__(self, inputs: Any, reference: Reference, look: Look) -> None:
        """Runs the model on these inputs, in Keras's layout, and shows each tensor, in ONNX's."""
        import keras

        def show(border: Border, tensor: Any) -> None:
            array = keras.ops.convert_to_numpy(tensor)
            look(border, to_onnx(array, self.orders[border.value]))

        def run(layer: Any, *args: Any, **kwargs: Any) -> Any:
            if layer in self.read:
                show(self.read[layer], keras.tree.flatten(args)[0])
            if layer in self.nested:
                self.nested[layer](args[0], reference, look)
            answer = layer(*args, **kwargs)
            if layer not in self.made:
                return answer
            show(self.made[layer], answer)
            value = self.made[layer].value
            known = reference(value) if value in self.ends else None
            if known is None:
                return answer
            return keras.ops.convert_to_tensor(to_keras(known, self.orders[value]))

        # Keras's own way through the layers of a functional model (3.15).
        self.model._run_through_graph(keras.tree.flatten(inputs), lambda layer: layer, run)


def _layers(blocks: Sequence[Block]) -> Iterator[Block]:
    """The blocks that are one layer or one nested model, in the model that these are in."""
    for block in blocks:
        if block.pattern.is_leaf or block.pattern.nested:
            yield block
        else:
            yield from _layers(block.children)


def _inside(blocks: Sequence[Block]) -> Iterator[Block]:
    """The blocks in the model that these are in, but not in models in it, parents first."""
    for block in blocks:
        yield block
        if not block.pattern.nested:
            yield from _inside(block.children)


def _made_by(layer: Any) -> Any:
    return layer._inbound_nodes[-1].output_tensors[0]


def _read_by(layer: Any) -> Any:
    # `layer.input` of a nested model is its own inner tensor; the one in the model around it
    # is only to be had from the call (measured on Keras 3.15).
    return layer._inbound_nodes[-1].arguments.keras_tensors[0]


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
    places = network.layouts
    pairs = zip(arrays, network.graph.inputs, strict=True)
    inputs = [to_keras(array, places[value].order) for array, value in pairs]
    return inputs[0] if len(inputs) == 1 else inputs


def outputs_of(model: keras.Model, network: Network, *arrays: Array) -> dict[str, Array]:
    """What a model answers to ONNX's input tensors, by the names of the file's outputs."""
    import keras

    answers = keras.tree.flatten(model(keras_inputs(network, *arrays), training=False))
    places, graph = network.layouts, network.graph
    return {
        name: to_onnx(keras.ops.convert_to_numpy(answer), output_order(places[value].order))
        for name, value, answer in zip(graph.output_names, graph.outputs, answers, strict=True)
    }
