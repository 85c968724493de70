"""One node as its converter reads it: attributes, inputs, and how they lie in Keras."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from onnx2mvit.ir.graph import Graph, Node, Value
from onnx2mvit.ir.image_size import BAKED_IN
from onnx2mvit.ir.layout import Layout, Shape
from onnx2mvit.matcher.rooted import Array, Mismatch, require


class MixesBatch(Mismatch):
    """Raised where images of one batch would see each other."""


class Operands:
    """A node's attributes and inputs; what is not there, or not as it must be, is a Mismatch."""

    def __init__(self, node: Node, graph: Graph, layouts: Mapping[Value, Layout]) -> None:
        self.node = node
        self.graph = graph
        self.layouts = layouts

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

    def is_used(self, index: int) -> bool:
        """True if the node has this output, and something reads it or it is the network's."""
        if index >= len(self.node.outputs):
            return False
        output = self.node.outputs[index]
        return self.graph.is_output(output) or bool(self.graph.consumers(output))

    @property
    def output_shape(self) -> Shape:
        """The ONNX shape of the result, or of the first of several."""
        shape = self.node.output.shape
        if shape is None:
            raise Mismatch(f"its output has no known shape: {self._read()}")
        require(0 not in (shape or ()), "its output is empty")
        return shape or ()

    def _read(self) -> str:
        """What the node reads, in words, and what to do if its lengths are those of one size."""
        read = [value for value in self.node.inputs if value is not None]
        lengths = [
            value.const.tolist()
            if value.const is not None and value.const.dtype.kind == "i" and value.const.size < 10
            else list(value.shape or ())
            for value in read
        ]
        baked = f"; {BAKED_IN}" if self.graph.source.dynamic_size else ""
        return f"it reads {' and '.join(map(str, lengths))}{baked}"

    def const(self, index: int) -> Array:
        """A constant input; Mismatch if it is absent or computed."""
        array = self.value(index).const
        if array is None:
            raise Mismatch(f"input {index} is not a constant")
        return array

    def integers(self, index: int) -> list[int] | None:
        """A constant input of integers as a list, None if it is absent."""
        return [int(n) for n in self.const(index).reshape(-1)] if self.has(index) else None

    def layout(self, index: int = 0) -> Layout:
        """The order and the batch axis of an input that is computed."""
        value = self.value(index)
        require(value.const is None, f"input {index} is a constant")
        return self.layouts[value]

    def axis(self, axis: int, index: int = 0) -> int:
        """An ONNX axis counted from the front; Mismatch if the input has none such."""
        rank = len(self.shape(index))
        require(-rank <= axis < rank, f"axis {axis} is none of rank {rank}")
        return axis % rank

    def forbid_batch_reduction(self, axes: Sequence[int], index: int = 0) -> None:
        """Raises MixesBatch if one of these ONNX axes of an input holds the batch."""
        batch = self.layout(index).batch
        if batch in axes:
            raise MixesBatch(f"{self.node.op} over axis {batch} mixes the images")

    def varies(self, axes: Iterable[int], index: int = 0) -> bool:
        """True if one of these ONNX axes of an input has a length that goes with the image's."""
        value = self.value(index)
        return value.const is None and not self.layouts[value].varying.isdisjoint(axes)
