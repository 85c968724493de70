"""One node on its way to Keras code: what a converter is given and what it answers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from onnx2mvit.ir.code import KerasCode, Result
from onnx2mvit.ir.expr import KerasExpr, LayerName, call
from onnx2mvit.ir.layout import BATCH, Layout, Order, Shape, axes_between, plain
from onnx2mvit.lowering.operators.operands import MixesBatch
from onnx2mvit.lowering.operators.sources import Sources
from onnx2mvit.matcher.rooted import DIFFERS, Array, one_image_of, require

Output = tuple[str, KerasExpr, Order, int | None]  # see `several`
ELEMENTWISE = -1  # the batch is where the operands have it
MARGIN = 8  # one part in so many


class OpContext(Sources):
    """What a converter is given: it reads the operands, and answers `op.code(…)`."""

    counted: tuple[int, ...] = ()
    places: int | None = None
    result_batch: int | None = ELEMENTWISE

    def broadcast(self, index: int, order: Order) -> KerasExpr:
        """The same for an operand of less rank, which gets axes of length 1 before."""
        shape, missing = self.shape(index), len(order) - len(self.shape(index))
        value = self.value(index)
        if value.const is not None:
            array = self.of_one_image(value.const.reshape((1,) * missing + shape), order)
            self.one_size |= any(array.shape[axis] > 1 for axis in self.varying)
            batch = self.batch_of_operands(len(order))
            if batch is not None and array.shape[batch] > 1:
                return self.rows_for_each_image(array.transpose(order), order.index(batch))
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
        if value.const is None:
            batch = self.layouts[value].batch
            batch = None if batch is None else batch + missing
        else:
            array = self.of_one_image(value.const.reshape(shape), order)
            batch, shape = self.batch_of_operands(len(order)), array.shape
            if batch is None or shape[batch] == 1:
                return () if array.size == 1 else _trim(array.transpose(order)).shape
        return tuple(BATCH if axis == batch else shape[axis] for axis in order)

    def of_one_image(self, array: Array, order: Order) -> Array:
        """A constant of any dtype as it is for one image, if an exporter expanded it to the batch.

        Returns:
            Of the shape that it has in ONNX, with length 1 for the batch then, or with as many rows
            as an image has there, where those differ.

        Raises:
            Mismatch: it differs from image to image.
        """
        batch = self.batch_of_operands(len(order))
        if batch is None:
            return array
        found = one_image_of(array, batch, self.trace_batch or 1)
        if found.shape[batch] > 1:  # no operand is broadcast to its rows
            computed = (each for each in self.node.inputs if each and each.const is None)
            batches = ((each, self.layouts[each].batch) for each in computed)
            rows = {(each.shape or ())[at] for each, at in batches if at is not None}
            require(rows == {array.shape[batch]}, DIFFERS)
        return found

    def one_row(self, array: Array, order: Order) -> Array:
        """The same, of any shape and dtype, where an image has one row of it.

        Raises:
            Mismatch: it differs from image to image, or in the rows of an image.
        """
        array = self.of_one_image(array, order)
        batch = self.batch_of_operands(len(order))
        one = batch is None or array.shape[batch] == 1
        require(one, "a constant differs in the rows of an image")
        return array

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

    def has_lengths_of(self, axes: Iterable[int], index: int = 0) -> None:
        """Notes that the lengths of these ONNX `axes` of an input are in the code."""
        self.one_size |= self.varies(axes, index)

    def is_for(self, places: int | None) -> None:
        """Notes that a number in the code holds for so many places in an image, unless None."""
        self.one_size |= places is not None
        self.places = places or self.places

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
            self.counted += (position,)
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
        return KerasCode(
            expr, taken, layout, self.weights, counted=self.counted, places=self.places
        )

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


def _trim(array: Array) -> Array:
    """Without leading axes of length one, which broadcasting adds again."""
    while array.ndim > 1 and array.shape[0] == 1:
        array = array[0]
    return array
