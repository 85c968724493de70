"""Checkpoints: the places in a Keras model where a value of the ONNX graph is seen."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from onnx2mvit.builder.calls import Call, calls_of
from onnx2mvit.errors import InvalidModelError
from onnx2mvit.ir.block import Block
from onnx2mvit.ir.expr import Call as Expression
from onnx2mvit.ir.expr import KerasExpr, Name, Operand
from onnx2mvit.ir.graph import Value
from onnx2mvit.ir.layout import Order
from onnx2mvit.runtimes.keras_runner import backend_runs
from onnx2mvit.runtimes.layouts import to_keras, to_onnx

if TYPE_CHECKING:
    import keras

Array = np.ndarray[Any, Any]
Known = Callable[[Value], Array | None]  # onnxruntime's tensor of a value, where it is known


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A place in a model where a value of the graph is seen.

    `tensor` is Keras's symbolic one in `model`, `block` what ends there, as deep as it is still
    in this model; None for an input.
    """

    model: CheckedModel
    tensor: Any
    value: Value
    block: Block | None


Look = Callable[[Checkpoint, Array], None]


class CheckedModel:
    """A model, and the checkpoints in it and in the models in it.

    `inputs` are the values that it takes, in its order, and in which order of axes; `outputs` those
    that it gives.

    Raises:
        InvalidModelError: the model has not the layers of these blocks.
    """

    def __init__(
        self,
        model: keras.Model,
        blocks: Sequence[Block],
        inputs: Mapping[Value, Order],
        outputs: Sequence[Value] = (),
    ) -> None:
        self.calls = calls_of(model)
        self.inputs = dict(zip(map(id, self.calls.inputs), inputs, strict=True))
        self.answers = set(map(id, self.calls.outputs))
        self.ends = {block.output for block in blocks}  # where onnxruntime's tensor goes on
        self.orders: dict[Value, Order] = dict(inputs)
        self.made: dict[Call, Checkpoint] = {}  # what a call makes
        self.read: dict[Call, Checkpoint] = {}  # what it reads
        self.nested: dict[Call, CheckedModel] = {}
        calls = {call.layer.name: call for call in self.calls.calls}
        ends = {block.output: block for block in _inside(blocks)}
        for block in _layers(blocks):
            source = block.inputs[0]
            self.orders.setdefault(source, block.pattern.order(_rank(source)))
            self.orders[block.output] = self._order(block)
            if block.code is not None and not block.code.is_layer:
                continue
            name = block.path.rpartition("/")[2]
            if name not in calls:
                raise InvalidModelError(f"the Keras model has no layer {block.path!r}")
            call = calls[name]
            if block.code is None and self._is_read_by(call, block):
                self.read[call] = Checkpoint(self, call.inputs[0], source, ends.get(source))
            self.made[call] = Checkpoint(self, call.outputs[0], block.output, block)
            if block.pattern.nested:
                orders = {value: block.pattern.order(_rank(value)) for value in block.inputs}
                self.nested[call] = nested = CheckedModel(call.layer, block.children, orders)
                if not nested.nested:
                    nested.ends = set()
        makers = {value: block for block in blocks for value in block.outputs}
        for value, tensor in zip(outputs, self.calls.outputs, strict=False):
            self._look_behind(value, tensor, makers)

    def _look_behind(self, value: Value, tensor: Any, makers: Mapping[Value, Block]) -> None:
        """Sees the floats that an output of integers is made of: a mask hides how far off they are.

        They may be made by operations that are no layers, which are seen nowhere else.
        """
        block = makers.get(value)
        if block is None or block.code is None or value.dtype is None or value.dtype.kind == "f":
            return
        while (maker := self.calls.maker(tensor)) and type(maker.layer).__name__ == "Identity":
            tensor = maker.inputs[0]
        for index, read in self._operands(block.code.expr, tensor):
            source, order = block.code.inputs[index]
            call, made_by = self.calls.maker(read), makers.get(source)
            if call is None or made_by is None or call in self.made or len(call.outputs) > 1:
                continue
            if source.dtype is None or source.dtype.kind != "f":
                self._look_behind(source, read, makers)
            elif self.orders.setdefault(source, order) == order:
                self.made[call] = Checkpoint(self, read, source, made_by)

    def _operands(self, expr: KerasExpr, tensor: Any) -> Iterator[tuple[int, Any]]:
        """Keras's tensors for the operands in an expression that gives a tensor."""
        if isinstance(expr, Operand):
            yield expr.index, tensor
        maker = self.calls.maker(tensor)
        if not isinstance(expr, Expression) or not isinstance(expr.function, Name) or not maker:
            return
        name = expr.function.text.removeprefix("ops.").replace("_", "")
        if type(maker.layer).__name__.lower() == name:
            for argument, given in zip(expr.arguments, maker.args, strict=False):
                yield from self._operands(argument, given)

    def _order(self, block: Block) -> Order:
        if block.code is not None:
            return block.code.layout.order
        first = self.orders[block.inputs[0]]
        return first if block.pattern.keeps(first) else block.pattern.gives(_rank(block.output))

    def _is_read_by(self, call: Call, block: Block) -> bool:
        """True if a layer shows its block's input, which no layer before has made.

        What has no layer of its own (fold, unfold) is seen where the next block reads it; a
        convolution that reads its own padding has another shape and says nothing.
        """
        source, read = block.inputs[0], call.inputs[0]
        order = block.pattern.order(_rank(source))
        straight = block.pattern.keeps(self.orders[source]) or self.orders[source] == order
        made = any(checkpoint.value is source for checkpoint in self.made.values())
        return not made and straight and not self._is_padded(read) and _fits(source, order, read)

    def _is_padded(self, tensor: Any) -> bool:
        # Where sizes are left open, its shape would not tell.
        maker = self.calls.maker(tensor)
        return maker is not None and type(maker.layer).__name__ in ("ZeroPadding2D", "Pad")

    def run(self, inputs: Any, known: Known, look: Look) -> list[Any]:
        """Runs every block from onnxruntime's tensor, and shows what it makes, in ONNX's layout.

        What follows a block reads onnxruntime's tensor again, so that errors from before do not
        add up: behind twenty blocks they would exceed what a single one is allowed. In a nested
        model of layers alone they do, as its answer is the block's.

        Args:
            inputs: what the model takes, in Keras's layout.
            known: gives onnxruntime's tensors, in ONNX's layout.
            look: is given each tensor of Keras, which is large and should not be kept.

        Returns:
            What the model answers, Keras's own tensors.

        Raises:
            UnsupportedError: Keras's backend cannot run a layer.
        """
        import keras

        # A model in it with several inputs takes no arrays beside tensors.
        given = keras.tree.map_structure(keras.ops.convert_to_tensor, inputs)
        tensors = by_id(self.calls.inputs, given)
        answers = {key: tensor for key, tensor in tensors.items() if key in self.answers}

        def show(checkpoint: Checkpoint, tensor: Any) -> None:
            array = keras.ops.convert_to_numpy(tensor)
            order = self.orders[checkpoint.value]
            if array.ndim == len(order) + 1:  # pixels or tokens that stand in a row in the file
                array = array.reshape(*array.shape[: len(order) - 2], -1, array.shape[-1])
            elif array.ndim == len(order) - 1:  # tokens of which the file makes pixels
                array = array.reshape(len(array), *(checkpoint.value.shape or ())[1:])
            look(checkpoint, to_onnx(array, order))

        for call in self.calls.calls:
            args, kwargs = call.arguments(tensors)
            if call in self.read:
                show(self.read[call], keras.tree.flatten(args)[0])
            if call in self.nested:
                answer = self.nested[call].run(args[0], known, look)
            else:
                with backend_runs():
                    answer = keras.tree.flatten(call.layer(*args, **kwargs))
            made = by_id(call.outputs, answer)
            answers |= {key: tensor for key, tensor in made.items() if key in self.answers}
            if call in self.made:
                checkpoint = self.made[call]
                show(checkpoint, made[id(checkpoint.tensor)])
                right = known(checkpoint.value) if checkpoint.value in self.ends else None
                if right is not None:
                    right = to_keras(right, self.orders[checkpoint.value])
                    shape = made[id(checkpoint.tensor)].shape
                    if right.ndim != len(shape):  # pixels or tokens that stand in a row
                        right = right.reshape(shape)
                    made[id(checkpoint.tensor)] = keras.ops.convert_to_tensor(right)
            tensors |= made
            for read in self.calls.last_read[call]:
                tensors.pop(read, None)
        return [answers[id(output)] for output in self.calls.outputs]


def by_id(symbolic: Sequence[Any], tensors: Any) -> dict[int, Any]:
    """What stands for symbolic tensors, by their ids."""
    import keras

    pairs = zip(symbolic, keras.tree.flatten(tensors), strict=True)
    return {id(key): tensor for key, tensor in pairs}


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


def _rank(value: Value) -> int:
    return len(value.shape or ())


def _fits(value: Value, order: Order, tensor: Any) -> bool:
    """True if a symbolic tensor has the shape of a value, as far as both are known."""
    if value.shape is None or len(value.shape) != len(tensor.shape):
        return False
    shape = tuple(value.shape[axis] for axis in order)
    pairs = zip(shape[1:], tensor.shape[1:], strict=True)
    return all(theirs in (ours, None) for ours, theirs in pairs)
