"""What an operator reads as code: tensors that are computed, and constants."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from onnx2mvit.base.numbers import shortest
from onnx2mvit.ir.expr import KerasExpr, LayerName, Literal, Operand, call, unless
from onnx2mvit.ir.graph import Graph, Node, Value
from onnx2mvit.ir.layout import Layout, Order
from onnx2mvit.lowering.operators.operands import Operands
from onnx2mvit.lowering.varying import Varying
from onnx2mvit.matcher.rooted import Array, Mismatch, require

LITERAL = 4  # so many numbers are written into the code; more become a weight
LARGEST_INDEX = 4096  # the same for integers, which are no weights
LARGEST_FLOAT = 1 << 24  # up to which float32 has all integers


class Sources(Operands):
    """Notes which tensors the code takes, what weights it has, and if it is of one size."""

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

    def data(self, index: int = 0, order: Order | None = None) -> KerasExpr:
        """An input in this order of its axes, its own by default; `index` is its place."""
        value = self.value(index)
        if value.const is not None:
            array = value.const
            return self.constant(array if order is None else array.transpose(order))
        self.taken.append((value, order or self.layouts[value].order))
        return Operand(len(self.taken) - 1)

    def is_length(self, number: int) -> bool:
        """True if an axis that goes with the image's size has this length, so it may be that."""
        return number in self.image_lengths

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

    def rows_for_each_image(self, array: Array, batch: int) -> KerasExpr:
        """Rows of one image, which lie along Keras's axis `batch`, for image after image."""
        self.one_size |= self.is_length(array.shape[batch])
        apart = self.constant(np.expand_dims(array, batch))
        shape = tuple(-1 if at == batch else length for at, length in enumerate(array.shape))
        return call("ops.reshape", self.for_each_image(apart, batch, array.ndim + 1), shape)

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


def literal(number: float, dtype: np.dtype[Any]) -> Literal:
    """A number as code: the shortest that is the same float32."""
    return Literal(shortest(number) if dtype == np.float32 else number)
