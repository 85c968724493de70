"""One node on its way to Keras code: what a converter is given and what it answers."""

from __future__ import annotations

import ast
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from onnx2mvit.base.numbers import shortest
from onnx2mvit.ir.graph import Graph, Node, Value
from onnx2mvit.ir.layout import BATCH, Layout, Order, Shape, axes_between, plain
from onnx2mvit.matcher.pattern import Array, Mismatch, require

ELEMENTWISE = -1  # the batch is where the operands have it
LITERAL = 4  # so many numbers are written into the code; more become a weight
LARGEST_INDEX = 4096  # the same for integers, which are no weights
LARGEST_FLOAT = 1 << 24  # up to which float32 has all integers


class MixesBatch(Mismatch):
    """Raised where images of one batch would see each other."""


@dataclass(frozen=True)
class Code:
    """A Keras expression. `$0`, `$1`, … stand for `inputs`, `$name` for the layer's name.

    Every input is wanted in an order of its axes, and the result has one; `batch` is the ONNX
    axis of the result that holds the batch. `fixed_size` is true where the code holds for one
    height and width alone.
    """

    text: str
    inputs: tuple[tuple[Value, Order], ...]
    order: Order
    batch: int | None
    weights: dict[str, Array] = field(default_factory=dict)
    fixed_size: bool = False

    @property
    def is_layer(self) -> bool:
        """True if the result comes out of a layer that has a name."""
        match ast.parse(self.text.replace("$", "_"), mode="eval").body:
            case ast.Call(func=ast.Call(func=ast.Attribute(ast.Name("layers")), keywords=options)):
                return any(option.arg == "name" for option in options)
        return False


class Step:
    """A node with its inputs' places; a converter reads it and answers `step.code(…)`."""

    def __init__(
        self,
        node: Node,
        graph: Graph,
        places: Mapping[Value, Layout],
        trace_batch: int | None,
    ) -> None:
        self.node = node
        self.graph = graph
        self.places = places
        self.trace_batch = trace_batch
        self.taken: list[tuple[Value, Order]] = []
        self.weights: dict[str, Array] = {}
        self.fixed_size = False
        self.result_batch: int | None = ELEMENTWISE

    @property
    def attrs(self) -> dict[str, Any]:
        """The node's attributes, defaults included."""
        return self.node.attrs

    def has(self, index: int) -> bool:
        """True if the input is there."""
        return index < len(self.node.inputs) and self.node.inputs[index] is not None

    def value(self, index: int = 0) -> Value:
        """An input; Mismatch if it is absent."""
        require(self.has(index), f"it has no input {index}")
        value = self.node.inputs[index]
        assert value is not None
        return value

    def shape(self, index: int = 0) -> Shape:
        """The ONNX shape of an input."""
        shape = self.value(index).shape
        require(shape is not None, f"input {index} has no known shape")
        require(0 not in (shape or ()), f"input {index} is empty")
        return shape or ()

    @property
    def output_shape(self) -> Shape:
        """The ONNX shape of the result."""
        shape = self.node.output.shape
        require(shape is not None, "its output has no known shape")
        require(0 not in (shape or ()), "its output is empty")
        return shape or ()

    def const(self, index: int) -> Array:
        """A constant input; Mismatch if it is absent or computed."""
        array = self.value(index).const
        if array is None:
            raise Mismatch(f"input {index} is not a constant")
        return array

    def integers(self, index: int) -> list[int] | None:
        """A constant input of integers as a list, None if it is absent."""
        return [int(n) for n in self.const(index).reshape(-1)] if self.has(index) else None

    def place(self, index: int = 0) -> Layout:
        """The order and the batch axis of an input that is computed."""
        value = self.value(index)
        require(value.const is None, f"input {index} is a constant")
        return self.places[value]

    def axis(self, axis: int, index: int = 0) -> int:
        """An ONNX axis counted from the front; Mismatch if the input has none such."""
        rank = len(self.shape(index))
        require(-rank <= axis < rank, f"axis {axis} is none of rank {rank}")
        return axis % rank

    def keep_apart(self, axes: Sequence[int], index: int = 0) -> None:
        """Raises MixesBatch if one of these ONNX axes of an input holds the batch."""
        if self.place(index).batch in axes:
            raise MixesBatch(f"{self.node.op} over axis {self.place(index).batch} mixes the images")

    def data(self, index: int = 0, order: Order | None = None) -> str:
        """What stands for an input in the text, in this order of its axes (its own by default)."""
        value = self.value(index)
        if value.const is not None:
            array = value.const
            return self.constant(array if order is None else array.transpose(order))
        self.taken.append((value, order or self.places[value].order))
        return f"${len(self.taken) - 1}"

    def broadcast(self, index: int, order: Order) -> str:
        """The same for an operand of less rank, which gets axes of length 1 before."""
        shape, missing = self.shape(index), len(order) - len(self.shape(index))
        value = self.value(index)
        if value.const is not None:
            array = self.one_row(value.const.reshape((1,) * missing + shape), order)
            # One axis may be that of the channels; two hold numbers for places in the image.
            self.fixed_size |= sum(length != 1 for length in array.shape) > 1
            return self.constant(_trim(array.transpose(order)), scalar=True)
        if missing == 0:
            return self.data(index, order)
        text, own = self.data(index), self.places[value].order
        have = (*range(missing), *(axis + missing for axis in own))
        text = f"ops.expand_dims({text}, {tuple(range(missing))})"
        moved = axes_between(have, order)
        return text if moved == plain(len(order)) else f"ops.transpose({text}, {moved})"

    def lengths(self, index: int, order: Order) -> Shape:
        """The shape of what `broadcast` gives; the batch has the length `BATCH`."""
        value, missing = self.value(index), len(order) - len(self.shape(index))
        shape = (1,) * missing + self.shape(index)
        if value.const is not None:
            array = self.one_row(value.const.reshape(shape), order).transpose(order)
            return () if array.size == 1 else _trim(array).shape
        batch = self.places[value].batch
        batch = None if batch is None else batch + missing
        return tuple(BATCH if axis == batch else shape[axis] for axis in order)

    def one_row(self, array: Array, order: Order) -> Array:
        """A constant as it is for one image, if an exporter expanded it to the batch."""
        batch = self.batch_of_operands(len(order))
        if batch is None or array.shape[batch] == 1:
            return array
        row = array.take([0], axis=batch)
        require(bool((array == row).all()), "a constant differs from image to image")
        return row

    def batch_of_operands(self, rank: int) -> int | None:
        """The batch axis of what these operands give when broadcast; Mismatch if they disagree.

        A converter that does something else with them sets `result_batch`.
        """
        if self.result_batch != ELEMENTWISE:
            return self.result_batch
        found = set()
        for index, value in enumerate(self.node.inputs):
            if value is not None and value.const is None:
                batch = self.places[value].batch
                if batch is not None:
                    found.add(batch + rank - len(self.shape(index)))
        if len(found) > 1:
            raise MixesBatch(f"the operands of {self.node.op} have the batch on different axes")
        return found.pop() if found else None

    def constant(self, array: Array, scalar: bool = False) -> str:
        """A constant: a few numbers are written out, more become a weight of their own.

        `scalar` writes a single element as a plain number, whatever its rank.
        """
        if array.ndim == 0 or (scalar and array.size == 1):
            return literal(array.reshape(()).item(), array.dtype)
        if array.size <= (LITERAL if array.dtype.kind == "f" else LARGEST_INDEX):
            return self.array(array)
        exact = array.dtype == np.float32 or (
            array.dtype.kind in "biu" and np.abs(array.astype(np.int64)).max() < LARGEST_FLOAT
        )
        require(exact, f"a constant of {array.dtype} has {array.size} elements")
        require(not self.weights, "it has several large constants")
        floats = array.dtype.kind == "f"
        trainable = floats and len(np.unique(array[: 1 << 16])) > 2  # a mask has two values
        self.weights["embeddings"] = array.reshape(1, -1).astype(np.float32)
        reference, _ = self.any_data()
        switch = "" if trainable else ", trainable=False"
        text = f"parameter({reference}, {array.shape}{switch}, name=$name)"
        return text if floats else f'ops.cast({text}, "{array.dtype.name}")'

    def any_data(self) -> tuple[str, Value]:
        """Some input that is computed, as it stands; a weight needs one to hang on."""
        for index, value in enumerate(self.node.inputs):
            if value is not None and value.const is None:
                return self.data(index), value
        raise Mismatch("it computes a constant")

    @staticmethod
    def array(array: Array) -> str:
        """A constant tensor as code."""
        numbers = [[literal(item, array.dtype) for item in array.reshape(-1).tolist()]]
        text = ", ".join(numbers[0])
        if array.ndim != 1:
            return f"ops.reshape(ops.array([{text}], dtype={array.dtype.name!r}), {array.shape})"
        return f"ops.array([{text}], dtype={array.dtype.name!r})"

    def written_out(self, places: Sequence[int]) -> None:
        """Notes that the length of these axes of the Keras tensor is in the code.

        Those between the first and the last may go with the size of the image.
        """
        last = len(self.shape()) - 1
        self.fixed_size |= any(0 < at < last for at in places)

    def code(self, text: str, order: Order, batch: int | None = ELEMENTWISE) -> Code:
        """The answer; the batch is where the operands have it unless it is given."""
        if batch == ELEMENTWISE:
            batch = self.batch_of_operands(len(order))
        require(len(order) == len(self.output_shape), "it changes the rank")
        require(text.count("$name") < 2, "it would be several layers of one name")
        return Code(text, tuple(self.taken), order, batch, self.weights, self.fixed_size)


def literal(number: float, dtype: np.dtype[Any]) -> str:
    """A number as code: the shortest that is the same float32."""
    if dtype.kind != "f":
        return repr(number)
    if math.isnan(number) or math.isinf(number):
        return f'float("{number}")'
    return repr(shortest(number) if dtype == np.float32 else number)


def _trim(array: Array) -> Array:
    """Without leading axes of length one, which broadcasting adds again."""
    while array.ndim > 1 and array.shape[0] == 1:
        array = array[0]
    return array
