"""ONNX's own reference implementation in float64: what a file says when nothing is rounded.

It shares nothing with the way to Keras, neither the reader, nor a pattern, nor the Keras form of
an operator, so that what both say is right. It is slow, and asked only where float32 leaves a
doubt.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, cast

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from onnx2mvit.base.quiet import one_line
from onnx2mvit.errors import UnsupportedError
from onnx2mvit.reader.cut import reads
from onnx2mvit.runtimes.float64_kernels import KERNELS
from onnx2mvit.runtimes.runner import Array, Inputs, Outputs, by_name

SIZES = ("Shape", "Size")
NARROW = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16)


class Float64Runner:
    """An ONNX file or model in float64, in its layout; floats of its inputs are widened.

    `outputs` are tensors of it that are given in the place of the file's own, if it was cut;
    `inner` are tensors between the nodes that may be asked for; the others are dropped as soon as
    no node reads them any more. Names that the file does not have are left out.
    """

    batch = None

    def __init__(
        self,
        source: Path | onnx.ModelProto,
        inner: Sequence[str] = (),
        outputs: Sequence[str] = (),
    ) -> None:
        model = source if isinstance(source, onnx.ModelProto) else onnx.load(source)
        graph = model.graph
        self.constants = widened(
            {each.name: numpy_helper.to_array(each) for each in graph.initializer}
        )
        self.inputs = [each.name for each in graph.input if each.name not in self.constants]
        self.outputs = list(outputs) or [each.name for each in graph.output]
        known = {name for node in graph.node for name in node.output}
        self.inner = [name for name in inner if name in known and name not in self.outputs]
        self.nodes = needed(graph.node, {*self.inner, *self.outputs})
        self._evaluate = Evaluation(model)
        self._feed: dict[str, Array] = {}

    def __call__(self, inputs: Inputs) -> Outputs:
        """All outputs by name.

        Raises:
            UnsupportedError: the reference implementation lacks an operator, or fails.
        """
        return self.tensors(inputs, self.outputs)

    def tensors(self, inputs: Inputs, names: Sequence[str]) -> Outputs:
        """Some outputs or inner tensors by name.

        It goes on where it was if the inputs are those of the call before, so that all of a
        network can be looked at part by part, in the order of the file.

        Raises:
            UnsupportedError: the reference implementation lacks an operator, or fails.
        """
        feed = by_name(inputs, self.inputs)
        same = self._feed and all(np.array_equal(feed[name], self._feed[name]) for name in feed)
        if not same or any(name in self._gone for name in names):
            self._start(feed)
        for name in self._handed.difference(names):
            self._handed.discard(name)
            self._drop(name)
        while any(name not in self.arrays for name in names):
            self._step(next(self._pending))
        self._handed.update(names)
        self._wanted.difference_update(names)
        return {name: self.arrays[name] for name in names}

    def near(self, feed: Mapping[str, Array], name: str, rounding: float = 0.0) -> Array:
        """An inner tensor or output, from other values of some that are before it.

        Args:
            feed: what is given by name, floats of any width in the shape that the file has.
            name: of the tensor; if it is in `feed`, it is computed all the same.
            rounding: by this share of itself each float that is given or computed on the way is
                made larger or smaller, at random but always alike; but for constants and for what
                follows from sizes and them, which is exact.

        Returns:
            The tensor, float64 where the file has floats.

        Raises:
            UnsupportedError: the reference implementation lacks an operator, or fails.
        """
        rng = np.random.default_rng(0)

        def rounded(array: Array) -> Array:
            if not rounding or isinstance(array, list) or array.dtype.kind != "f":
                return array
            changed: Array = array * (1 + rng.choice([-rounding, rounding], array.shape))
            return changed

        given = {key: rounded(array) for key, array in widened(feed).items() if key != name}
        arrays = {**self.constants, **given}
        fixed, sizes = set(self.constants), set[str]()
        for node in needed(self.nodes, {name}, given):
            made, read = self._evaluate(node, arrays), set(reads(node))
            if node.op_type == "Constant":
                fixed.update(made)
            elif node.op_type in SIZES or (read & sizes and read <= fixed | sizes):
                sizes.update(made)
            else:
                made = {key: rounded(array) for key, array in made.items()}
            arrays |= made
        return arrays[name]

    def _start(self, feed: Mapping[str, Array]) -> None:
        self._feed = dict(feed)
        self.arrays = {**self.constants, **widened(feed)}
        self._readers = Counter(chain.from_iterable(map(reads, self.nodes)))
        self._pending: Iterator[onnx.NodeProto] = iter(self.nodes)
        self._wanted = {*self.inner, *self.outputs}
        self._handed: set[str] = set()
        self._gone: set[str] = set()

    def _step(self, node: onnx.NodeProto) -> None:
        self.arrays |= self._evaluate(node, self.arrays)
        self._readers.subtract(reads(node))
        for name in (*reads(node), *node.output):
            self._drop(name)

    def _drop(self, name: str) -> None:
        """Forgets a tensor that neither a node nor anybody outside will read."""
        kept = self._wanted | self._handed | self.constants.keys() | self._feed.keys()
        if self._readers[name] <= 0 and name not in kept and name in self.arrays:
            del self.arrays[name]
            self._gone.add(name)


class Evaluation:
    """Runs single nodes of a model on arrays in float64."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.imports, self.functions = model.opset_import, model.functions

    def __call__(self, node: onnx.NodeProto, arrays: Mapping[str, Array]) -> Outputs:
        """What a node makes of the arrays that it reads, by name.

        Raises:
            UnsupportedError: the reference implementation lacks the operator, or fails.
        """
        kernel = KERNELS.get(node.op_type) if node.domain in ("", "ai.onnx") else None
        try:
            if kernel is not None and len(node.output) == 1:
                attributes = {
                    each.name: helper.get_attribute_value(each) for each in node.attribute
                }
                inputs = [arrays[name] if name else None for name in node.input]
                made = kernel(attributes, *inputs)
                if made is not None:
                    return {node.output[0]: made}
            return self.reference(node, arrays)
        except Exception as error:  # the reference implementation has no errors of its own
            raise UnsupportedError(
                f"ONNX's reference of {node.op_type}: {one_line(error)}"
            ) from error

    def reference(self, node: onnx.NodeProto, arrays: Mapping[str, Array]) -> Outputs:
        """The same by ONNX's reference implementation, whatever it raises."""
        from onnx.reference import ReferenceEvaluator

        feed = {name: arrays[name] for name in reads(node) if name in arrays}
        wider = onnx.NodeProto()
        wider.CopyFrom(node)
        for attribute in wider.attribute:
            if attribute.name in ("to", "dtype") and attribute.i in NARROW:
                attribute.i = TensorProto.DOUBLE
        graph = helper.make_graph(
            [wider],
            "node",
            [_declared(name, array) for name, array in feed.items()],
            [onnx.ValueInfoProto(name=name) for name in node.output if name],
        )
        model = helper.make_model(graph, opset_imports=self.imports, functions=self.functions)
        made = cast("list[Array]", ReferenceEvaluator(model).run(None, feed))
        names = [name for name in node.output if name]
        return widened(dict(zip(names, made, strict=True)))


def _declared(name: str, array: Array | list[Array]) -> onnx.ValueInfoProto:
    """What ONNX declares of a tensor, or of a sequence of them."""
    if isinstance(array, list):
        kind = helper.np_dtype_to_tensor_dtype(array[0].dtype)
        return helper.make_tensor_sequence_value_info(name, kind, None)
    kind = helper.np_dtype_to_tensor_dtype(array.dtype)
    return helper.make_tensor_value_info(name, kind, array.shape)


def widened(arrays: Mapping[str, Array]) -> dict[str, Array]:
    """Arrays of floats in float64, others as they are; a sequence of them is a list."""
    return {name: _wide(array) for name, array in arrays.items()}


def _wide(array: Any) -> Any:
    if isinstance(array, list):
        return [_wide(each) for each in array]
    return array.astype(np.float64) if array.dtype.kind in "fV" else np.asarray(array)


def needed(
    nodes: Sequence[onnx.NodeProto], names: set[str], known: Mapping[str, Array] | None = None
) -> list[onnx.NodeProto]:
    """The nodes that these tensors depend on, as far as they are not known, in their order."""
    wanted, found = names - (known or {}).keys(), []
    for node in reversed(nodes):
        if wanted.intersection(node.output):
            found.append(node)
            wanted.update(name for name in reads(node) if known is None or name not in known)
    return found[::-1]
