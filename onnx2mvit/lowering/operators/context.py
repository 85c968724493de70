"""One node on its way to Keras code: what a converter is given and what it answers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from onnx2mvit.base.numbers import shortest
from onnx2mvit.ir.code import KerasCode, Result
from onnx2mvit.ir.expr import KerasExpr, LayerName, Literal, Operand, call, unless
from onnx2mvit.ir.graph import Graph, Node, Value
from onnx2mvit.ir.layout import BATCH, Layout, Order, Shape, axes_between, plain
from onnx2mvit.lowering.operators.operands import MixesBatch, Operands
from onnx2mvit.lowering.varying import Varying
from onnx2mvit.matcher.rooted import Array, Mismatch, alike, require

Output = tuple[str, KerasExpr, Order, int | None]  # see `several`
ELEMENTWISE = -1  # the batch is where the operands have it
MARGIN = 8  # one part in so many
LITERAL = 4  # so many numbers are written into the code; more become a weight
LARGEST_INDEX = 4096  # the same for integers, which are no weights
LARGEST_FLOAT = 1 << 24  # up to which float32 has all integers


class OpContext(Operands):
    """What a converter is given: it reads the operands, and answers `op.code(…)`."""

    def __init__(
        self,
        node: Node,
        graph: Graph,
        layouts: Mapping[Value, Layout],
        varying: Varying,
        trace_batch: int | None,
    ) -> None:
        super().__init__(node, graph, layouts)
        self.varying_axes = varying
        self.varying = varying[node.output]
        self.image_lengths = varying.lengths
        self.trace_batch = trace_batch
        self.taken: list[tuple[Value, Order]] = []
        self.weights: dict[str, Array] = {}
        # One of what it reads may hold for one size alone, or its own code has that size in it.
        self.one_size = any(
            layouts[value].one_size
            for value in node.inputs
            if value is not None and value.const is None
        )
        self.counted: list[int] = []
        self.places: int | None = None
        self.result_batch: int | None = ELEMENTWISE

    def data(self, index: int = 0, order: Order | None = None) -> KerasExpr:
        """An input in this order of its axes, its own by default; `index` is its place."""
        value = self.value(index)
        if value.const is not None:
            array = value.const
            return self.constant(array if order is None else array.transpose(order))
        self.taken.append((value, order or self.layouts[value].order))
        return Operand(len(self.taken) - 1)

    def broadcast(self, index: int, order: Order) -> KerasExpr:
        """The same for an operand of less rank, which gets axes of length 1 before."""
        shape, missing = self.shape(index), len(order) - len(self.shape(index))
        value = self.value(index)
        if value.const is not None:
            array = self.one_row(value.const.reshape((1,) * missing + shape), order)
            self.one_size |= any(array.shape[axis] > 1 for axis in self.varying)
            return self.constant(_trim(array.transpose(order)), scalar=True)
        if missing == 0:
            return self.data(index, order)
        x, own = self.data(index), self.layouts[value].order
        have = (*range(missing), *(axis + missing for axis in own))
        x = call("ops.expand_dims", x, tuple(range(missing)))
        moved = axes_between(have, order)
        return x if moved == plain(len(order)) else call("ops.transpose", x, moved)

    def lengths(self, index: int, order: Order) -> Shape:
        """The shape of what `broadcast` gives; the batch has the length `BATCH`."""
        value, missing = self.value(index), len(order) - len(self.shape(index))
        shape = (1,) * missing + self.shape(index)
        if value.const is not None:
            array = self.one_row(value.const.reshape(shape), order).transpose(order)
            return () if array.size == 1 else _trim(array).shape
        batch = self.layouts[value].batch
        batch = None if batch is None else batch + missing
        return tuple(BATCH if axis == batch else shape[axis] for axis in order)

    def one_row(self, array: Array, order: Order) -> Array:
        """A constant of any dtype as it is for one image, if an exporter expanded it to the batch.

        Its shape is that of the tensor in `order`, with length 1 for the batch then.
        """
        batch = self.batch_of_operands(len(order))
        if batch is None or array.shape[batch] == 1:
            return array
        require(alike(array, batch), "a constant differs from image to image")
        return array.take([0], axis=batch)

    def batch_of_operands(self, rank: int) -> int | None:
        """The batch axis of what these operands give when broadcast; Mismatch if they disagree.

        A converter that does something else with them sets `result_batch`.
        """
        if self.result_batch != ELEMENTWISE:
            return self.result_batch
        found = {}
        for index, value in enumerate(self.node.inputs):
            if value is not None and value.const is None:
                batch = self.layouts[value].batch
                if batch is not None:
                    found[index] = batch + rank - len(self.shape(index))
        return self.shared_batch(found)

    def shared_batch(self, found: Mapping[int, int]) -> int | None:
        """The batch axis of the result, of those that the operands have it on, by their index.

        Raises:
            MixesBatch: they are not the same, or an image has more rows in one than in another.
        """
        if len(set(found.values())) > 1:
            raise MixesBatch(f"the operands of {self.node.op} have the batch on different axes")
        rows = {self.shape(index)[self.layout(index).batch or 0] for index in found}
        if len(rows) > 1:
            raise MixesBatch(f"the operands of {self.node.op} differ in their rows for an image")
        return next(iter(found.values()), None)

    def constant(self, array: Array, scalar: bool = False) -> KerasExpr:
        """A constant of any shape and dtype: few numbers are written out, more become a weight.

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
        switch = None if trainable else False
        weight = call("parameter", self.any_data(), array.shape, trainable=switch, name=LayerName())
        return weight if floats else call("ops.cast", weight, array.dtype.name)

    def for_every_image(self, array: Array, like: KerasExpr, batch: int | None) -> KerasExpr:
        """A constant of any dtype once for each image of a tensor with the same axes.

        Its shape has length 1 at `batch`, which is one of them, in Keras's order.
        """
        uniform = array.size > LITERAL and bool((array == array.flat[0]).all())
        number = literal(array.flat[0].item(), array.dtype)
        dtype = unless(array.dtype.name, "float32")
        full = call("ops.full", array.shape, number, dtype=dtype)
        data = full if uniform else self.constant(array)
        if batch is None:
            return data
        row = like[tuple(slice(None if axis == batch else 1) for axis in range(array.ndim))]
        return call("ops.multiply", data, call("ops.ones_like", row))

    def for_each_image(self, x: KerasExpr, batch: int, rank: int) -> KerasExpr:
        """What is alike for all images, once for each of those that the network is given.

        Args:
            x: a tensor with an axis of length one for the batch.
            batch: where that axis stands in Keras.
            rank: of the tensor.

        Raises:
            Mismatch: the network has no input by which to know how many there are.
        """
        dtype = self.node.output.dtype
        require(dtype is not None and dtype.kind == "f", f"{dtype} for each image")
        given = next((v for v in self.graph.inputs if self.layouts[v].batch_at is not None), None)
        if given is None:
            raise Mismatch("the network has no batch")
        self.taken.append((given, self.layouts[given].order))
        at = self.layouts[given].batch_at
        axes = range(len(self.layouts[given].order))
        images = Operand(len(self.taken) - 1)[tuple(slice(None) if a == at else 0 for a in axes)]
        shape = tuple(-1 if axis == batch else 1 for axis in range(rank))
        # Not a sum: where there are as many images as tokens, Keras 3.14 takes that for a bias.
        ones = call("ops.ones_like", images, dtype="float32")
        return call("ops.multiply", x, call("ops.reshape", ones, shape))

    def any_data(self) -> KerasExpr:
        """Some input that is computed, as it stands; a weight needs one to hang on.

        Raises:
            Mismatch: all are constants.
        """
        for index, value in enumerate(self.node.inputs):
            if value is not None and value.const is None:
                return self.data(index)
        raise Mismatch("it computes a constant")

    @staticmethod
    def array(array: Array) -> KerasExpr:
        """A constant tensor, whatever its shape and dtype, as code."""
        numbers = [literal(item, array.dtype) for item in array.reshape(-1).tolist()]
        flat = call("ops.array", numbers, dtype=array.dtype.name)
        return flat if array.ndim == 1 else call("ops.reshape", flat, array.shape)

    def has_lengths_of(self, axes: Iterable[int], index: int = 0) -> None:
        """Notes that the lengths of these ONNX `axes` of an input are in the code."""
        self.one_size |= self.varies(axes, index)

    def is_for(self, places: int | None) -> None:
        """Notes that a number in the code holds for so many places in an image, unless None."""
        self.one_size |= places is not None
        self.places = places or self.places

    def is_length(self, number: int) -> bool:
        """True if an axis that goes with the image's size has this length, so it may be that."""
        return number in self.image_lengths

    def from_the_front(self, position: int, axis: int) -> int:
        """A `position` that a file counts from the beginning of an ONNX axis of the first input.

        Exporters write half of an image's width as a number too. Only what lies in the first
        `MARGIN` of an axis is a margin, whatever the size of the image; all else is of one size.
        """
        if position * MARGIN >= self.shape()[axis]:
            self.has_lengths_of([axis])
        return self.from_a_border(position, axis)

    def from_a_border(self, position: int, axis: int) -> int:
        """Notes a `position` that a file of one size counts from either end of an ONNX axis.

        It holds as it stands at other sizes, as the file says, though the exporter may have made
        the number of a share of an image's height or width.
        """
        is_open = self.graph.source.dynamic_size
        if abs(position) > 1 and self.varies([axis]) and not is_open:
            self.counted.append(position)
        return position

    def code(
        self, expr: KerasExpr, order: Order | None = None, batch: int | None = ELEMENTWISE
    ) -> KerasCode:
        """The answer.

        Args:
            expr: what is computed.
            order: in which order the result has its axes; by default as the first input.
            batch: its ONNX axis that holds the batch; by default where the operands have it.
        """
        order = self.layout().order if order is None else order
        if batch == ELEMENTWISE:
            batch = self.batch_of_operands(len(order))
        require(len(order) == len(self.output_shape), "it changes the rank")
        named = sum(1 for _ in expr.find(LayerName))
        require(named < 2, "it would be several layers of one name")
        layout, taken = self.layout_of(order, batch), tuple(self.taken)
        noted: dict[str, Any] = {"counted": tuple(self.counted), "places": self.places}
        return KerasCode(expr, taken, layout, self.weights, **noted)

    def layout_of(self, order: Order, batch: int | None) -> Layout:
        """The layout of a result."""
        return Layout(order, batch, self.varying, self.one_size)

    def several(
        self, expr: KerasExpr, parts: Sequence[str], results: Sequence[Output | None]
    ) -> KerasCode:
        """The answer where an operator has several outputs.

        Args:
            expr: what is computed, a tuple of as many tensors as there are `parts`.
            parts: names for these tensors.
            results: for each output its name, what it is of these tensors ($0, $1, …), its order,
                and its ONNX axis that holds the batch; None where it cannot be had.
        """
        found = []
        for index, result in enumerate(results):
            if result is not None and self.is_used(index):
                (name, made, order, batch), value = result, self.node.outputs[index]
                layout = Layout(order, batch, self.varying_axes[value], self.one_size)
                found.append(Result(value, name, made, layout))
        first = next((result.layout for result in found if result.value is self.node.output), None)
        layout = first or self.layout_of(plain(len(self.node.output.shape or ())), None)
        inputs = tuple(self.taken)
        return KerasCode(expr, inputs, layout, self.weights, tuple(parts), tuple(found))


def literal(number: float, dtype: np.dtype[Any]) -> Literal:
    """A number as code: the shortest that is the same float32."""
    return Literal(shortest(number) if dtype == np.float32 else number)


def _trim(array: Array) -> Array:
    """Without leading axes of length one, which broadcasting adds again."""
    while array.ndim > 1 and array.shape[0] == 1:
        array = array[0]
    return array
