"""A graph for any number of images, of one that was read for a few.

What a rule or an exporter worked out for those few stands in the shapes of Reshape, Expand and
Resize, and in constants that are one for each image. Which axis holds the batch is known once
every operator is lowered by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from onnx2mvit.emitter.free_scatter import written_to_each
from onnx2mvit.errors import UnsupportedError
from onnx2mvit.ir.block import BlockType
from onnx2mvit.ir.graph import Graph, Node, Value, position
from onnx2mvit.lifter import lift
from onnx2mvit.lowering import lower
from onnx2mvit.matcher.pattern import Pattern
from onnx2mvit.matcher.rooted import Array, Mismatch, one_image_of
from onnx2mvit.matcher.rule import Builder

# Their operands are brought to one shape, so that what is alike for all images may be there once.
ARITHMETIC = (
    *("Add", "Div", "MatMul", "Max", "Mean", "Min", "Mod", "Mul", "PRelu", "Pow", "Sub", "Sum"),
)
LOGIC = ("And", "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Or", "Where", "Xor")
BROADCAST = frozenset((*ARITHMETIC, *LOGIC))
ELEMENTWISE = BROADCAST - {"MatMul"}


def batch_axes(graph: Graph, patterns: Sequence[BlockType]) -> dict[Value, int | None]:
    """Where the tensors of a network have the batch, None for those without one.

    Args:
        graph: of operators alone.
        patterns: of the network that it is of.

    Raises:
        UnsupportedError: it mixes its images, or an operator does not say what it does with them.
    """
    # Of blocks only parameters are of interest, which an Expand makes of a constant.
    parameters = [
        each for each in patterns if isinstance(each, Pattern) and set(each.roots) == {"Expand"}
    ]
    network = lower(lift(graph, parameters))
    if network.batch is not None:
        raise UnsupportedError("its images see each other, so that their number is fixed")
    if network.refused:
        node, why = next(iter(network.refused.items()))
        raise UnsupportedError(f"what {node.op} does with a batch is not known: {why}")
    return {value: layout.batch for value, layout in network.layouts.items()}


def free_batch(graph: Graph, axes: Mapping[Value, int | None]) -> Graph:
    """The same network, as a graph whose inputs and outputs may have a batch of any length.

    Args:
        graph: of operators alone; it is not changed.
        axes: where its tensors have the batch.

    Raises:
        UnsupportedError: a constant differs from image to image.
    """
    freed = _Freed(graph, axes)
    for node in graph:
        freed.add(node)
    return graph.with_nodes(sorted(freed.nodes, key=position))


class _Freed:
    """Goes through the nodes of a graph."""

    def __init__(self, graph: Graph, axes: Mapping[Value, int | None]) -> None:
        self.graph, self.axes, self.images = graph, axes, graph.batch_size or 1
        self.nodes: list[Node] = []
        self.count: Value | None = None

    def add(self, node: Node) -> None:
        """Adds a node as it is for any number of images, with what it needs for that."""
        new = Builder(node)
        known = (self.axes.get(value) for value in node.outputs)
        batch = next((axis for axis in known if axis is not None), None)
        if batch is not None and node.op in ELEMENTWISE and self.tells_rows_apart(node, batch):
            self.nodes += self.image_by_image(node, new, batch)
            return
        if batch is not None and node.op == "ScatterND":
            self.nodes += written_to_each(node, new, batch, self.for_each)
            return
        change: Callable[[Node, Builder, int], tuple[Value | None, ...]] = {
            "Reshape": self.reshaped,
            "Expand": self.expanded,
            "Resize": self.resized,
            "Concat": self.joined,
            "AffineGrid": self.sized,
            **dict.fromkeys(BROADCAST, self.broadcast),
        }.get(node.op, self.of_each)
        inputs = node.inputs if batch is None else change(node, new, batch)
        self.nodes += new.then(node, *inputs)

    def reshaped(self, node: Node, new: Builder, batch: int) -> tuple[Value | None, ...]:
        """With -1 for the batch."""
        shape = list(node.output.shape or ())
        shape[batch] = -1
        return node.inputs[0], new.constant(np.array(shape, np.int64), "shape")

    def expanded(self, node: Node, new: Builder, batch: int) -> tuple[Value | None, ...]:
        """To a shape that is worked out of the number of images."""
        return node.inputs[0], self.shape(node.output, new, batch)

    def resized(self, node: Node, new: Builder, batch: int) -> tuple[Value | None, ...]:
        """The same, where it goes by sizes, of the images too; scales would be rounded."""
        by_scales = any(value is not None for value in node.inputs[1:3])
        if by_scales or batch not in node.attrs.get("axes", [batch]):
            return node.inputs
        return node.inputs[0], None, None, self.shape(node.output, new, batch)

    def joined(self, node: Node, new: Builder, batch: int) -> tuple[Value | None, ...]:
        """What is alike for all images once for each of them."""
        return tuple(self.for_each(value, batch, new) for value in node.inputs)

    def of_each(self, node: Node, new: Builder, batch: int) -> tuple[Value | None, ...]:
        """The same, for the operands that have rows for each image."""
        inputs = list(node.inputs)
        for index, axis in _rows_of_images(node, batch).items():
            value = inputs[index] if index < len(inputs) else None
            rank = len(value.shape or ()) if value is not None else 0
            if -rank <= axis < rank:
                inputs[index] = self.for_each(value, axis % rank, new)
        return tuple(inputs)

    def sized(self, node: Node, new: Builder, batch: int) -> tuple[Value | None, ...]:
        """For images of a size that stands with their number in one constant."""
        theta, size = node.inputs
        if size is None or size.const is None:
            return node.inputs
        return theta, self.shape(Value(size.name, tuple(size.const.tolist())), new, batch)

    def for_each(self, value: Value | None, batch: int, new: Builder) -> Value | None:
        """A constant as often as there are images, if it is alike for all of them."""
        if value is None or value.const is None or 1 == value.const.shape[batch] < self.images:
            return value
        row = self.of_one_image(value, batch)
        before, rows, after = row.shape[:batch], row.shape[batch], row.shape[batch + 1 :]
        apart = new.constant(row.reshape(*before, 1, rows, *after), "row")
        whole = Value("whole", (*before, self.images, rows, *after))
        made = new.Expand(apart, self.shape(whole, new, batch), shape=whole.shape)
        return self.with_lengths(made, batch, (-1,), new, gone=2)

    def broadcast(self, node: Node, new: Builder, batch: int) -> tuple[Value | None, ...]:
        """What is alike for all images once."""
        rank = len(node.output.shape or ())
        if node.op == "MatMul" and batch >= rank - 2:  # of matrices, which are not brought there
            return node.inputs
        return tuple(
            value
            if value is None or value.const is None
            else self.row(value, batch - rank + value.const.ndim)
            for value in node.inputs
        )

    def tells_rows_apart(self, node: Node, batch: int) -> bool:
        """True if a constant of it has another number for each row of an image."""
        before = batch - len(node.output.shape or ())
        return any(
            value is not None
            and value.const is not None
            and (at := before + value.const.ndim) >= 0
            and self.of_one_image(value, at).shape[at] > 1
            for value in node.inputs
        )

    def image_by_image(self, node: Node, new: Builder, batch: int) -> list[Node]:
        """The nodes for it where the rows of an image have an axis of their own."""
        whole = node.output.shape or ()
        rows = whole[batch] // self.images
        inputs: list[Value | None] = []
        for value in node.inputs:
            at = batch - len(whole) + len(value.shape or ()) if value is not None else -1
            if value is None or at < 0:
                inputs.append(value)
            elif value.const is not None:
                array = np.expand_dims(self.of_one_image(value, at), at)
                inputs.append(Value(value.name, array.shape, array.dtype, array))
            else:
                apart = (1, 1) if (value.shape or ())[at] == 1 else (-1, rows)
                inputs.append(self.with_lengths(value, at, apart, new))
        shape = (*whole[:batch], self.images, rows, *whole[batch + 1 :])
        made: Value = getattr(new, node.op)(*inputs, shape=shape, **node.attrs)
        self.with_lengths(made, batch, (-1,), new, gone=2)
        return new.making(*node.outputs)

    @staticmethod
    def with_lengths(
        value: Value, at: int, lengths: tuple[int, ...], new: Builder, gone: int = 1
    ) -> Value:
        """A tensor with these lengths in the place of one of its axes, or of more that go."""
        before, there, after = np.split(np.array(value.shape, np.int64), (at, at + gone))
        target = np.concatenate((before, lengths, after))
        shape = np.where(target < 0, there.prod() // -np.prod(lengths), target)
        made: Value = new.Reshape(value, new.constant(target, "lengths"), shape=tuple(shape))
        return made

    def row(self, value: Value, batch: int) -> Value:
        """A constant as it is for one image."""
        if value.const is None or batch < 0 or value.const.shape[batch] == 1:
            return value
        row = self.of_one_image(value, batch)
        if row.shape[batch] > 1:
            raise UnsupportedError(f"{value.name} differs in the rows of an image")
        return Value(value.name, row.shape, row.dtype, row)

    def of_one_image(self, value: Value, batch: int) -> Array:
        """A constant as it is for one image, with as many rows as that has."""
        assert value.const is not None
        try:
            return one_image_of(value.const, batch, self.images)
        except Mismatch as error:
            raise UnsupportedError(f"{value.name} differs from image to image") from error

    def shape(self, value: Value, new: Builder, batch: int) -> Value:
        """The shape of a tensor, whose batch is that of the input."""
        shape = value.shape or ()
        rows, left = divmod(shape[batch], self.images)
        if left:
            raise UnsupportedError(f"{value.name} has {shape[batch]} rows for {self.images} images")
        count = self.counted(new)
        if rows != 1:
            count = new.Mul(count, new.constant(np.array([rows]), "rows"), shape=(1,))
        parts = [np.array(part, np.int64) for part in (shape[:batch], shape[batch + 1 :])]
        before, after = (new.constant(part, "lengths") for part in parts)
        made: Value = new.Concat(before, count, after, axis=0, shape=(len(shape),))
        return made

    def counted(self, new: Builder) -> Value:
        """How many images there are, as a tensor (1,)."""
        if self.count is None:
            axes = self.graph.batch_axes
            given = next((value for value, axis in axes.items() if axis is not None), None)
            if given is None:
                raise UnsupportedError("no input of it has a batch")
            whole = new.Shape(given, shape=(len(given.shape or ()),))
            index = new.constant(np.array([axes[given]]), "axis")
            self.count = new.Gather(whole, index, axis=0, shape=(1,))
        return self.count


def _rows_of_images(node: Node, batch: int) -> dict[int, int]:
    """Which operands of an operator have rows for each image, by their index, and on which axis.

    An axis that is counted from the end may not be there.
    """
    attrs = node.attrs
    match node.op:
        case "Attention":
            return {3: -4}
        case "Einsum" if "." not in attrs["equation"]:
            terms, _, result = attrs["equation"].replace(" ", "").partition("->")
            found = (term.find(result[batch]) for term in terms.split(","))
            return {index: axis for index, axis in enumerate(found) if axis >= 0}
        case "GatherElements":
            return {1: batch}
        case "GatherND" if attrs.get("batch_dims"):
            return {1: 0}
        case "Gemm":
            return {2: batch - 2}
        case "GridSample":
            return {1: 0}
        case "GRU" | "LSTM" | "RNN":
            states = 0 if attrs.get("layout") else 1
            return {4: 0, 5: states, 6: states}
        case "ReverseSequence" if attrs.get("batch_axis", 1) == batch:
            return {1: 0}
        case "ScatterElements":
            return {0: batch, 1: batch, 2: batch}
    return {}
