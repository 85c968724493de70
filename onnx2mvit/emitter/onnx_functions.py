"""The rewritten graph as an ONNX model whose blocks are model-local functions.

It shows that the rewrite alone changes nothing: onnxruntime runs it like the original file.
Blocks of one structure share a function of the domain "onnx2mvit"; their weights are its inputs.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from onnx2mvit.emitter.opset_downgrade import OpsetDowngrade
from onnx2mvit.ir.block import Block
from onnx2mvit.ir.graph import Node, Value, position
from onnx2mvit.ir.network import Network
from onnx2mvit.lifter.naming import safe
from onnx2mvit.reader.mapped import LARGE, reference_to

DOMAIN = "onnx2mvit"
IR_VERSION = 10  # functions are from 8 on

Array = np.ndarray[Any, Any]


def block_model(network: Network, outside: dict[str, Array] | None = None) -> onnx.ModelProto:
    """The network as a model in ONNX, at the shapes that the file was read at (batch and size).

    Every block at the top is one node that calls a function; those in it are called by that.

    Args:
        network: as it was lowered.
        outside: gets the weights of `LARGE` bytes and more by name, in the shape and dtype that
            they have in the file, instead of the model, which then only refers to them: it would
            copy them several times.
    """
    graph = network.graph
    library = Library(graph.source.operators)
    body = Body(library, weights_inside=True)
    for value in graph.inputs:
        body.names[value] = value.name
    body.taken |= {*(value.name for value in graph.inputs), *graph.output_names}
    for node in graph:
        body.add(node, node.output.name)
    for value, name in zip(graph.outputs, graph.output_names, strict=True):
        body.protos.append(helper.make_node("Identity", [body.name(value)], [name]))
    made = helper.make_graph(
        body.protos,
        safe(graph.source.file),
        [_info(value, value.name) for value in graph.inputs],
        [_info(v, name) for v, name in zip(graph.outputs, graph.output_names, strict=True)],
        [_tensor(array, name, outside) for name, array in body.constants.items()],
    )
    return helper.make_model(
        made,
        functions=library.functions,
        opset_imports=library.imports(),
        ir_version=IR_VERSION,
        producer_name="onnx2mvit",
    )


def _tensor(array: Array, name: str, outside: dict[str, Array] | None) -> onnx.TensorProto:
    if outside is None or array.nbytes < LARGE:
        return numpy_helper.from_array(array, name)
    outside[name] = array
    return reference_to(name, array)


def _info(value: Value, name: str) -> onnx.ValueInfoProto:
    kind = helper.np_dtype_to_tensor_dtype(value.dtype or np.dtype(np.float32))
    return helper.make_tensor_value_info(name, kind, value.shape)


class Library:
    """The functions of all blocks, one for each structure.

    `opset` is that of all operators, `brought_to` one that the model is brought to afterwards.
    """

    def __init__(self, opset: int, brought_to: int = 0) -> None:
        self.opset, self.brought_to = opset, brought_to
        self.functions: list[onnx.FunctionProto] = []
        self.names: dict[bytes, str] = {}

    def imports(self) -> list[onnx.OperatorSetIdProto]:
        """What the functions and the graph use."""
        return [helper.make_opsetid("", self.opset), helper.make_opsetid(DOMAIN, 1)]

    def call(self, block: Block) -> tuple[str, list[tuple[str, Value]]]:
        """The function of a block, and the weights it takes by the names that they have there."""
        body = Body(self, weights_inside=False)
        for number, value in enumerate(block.inputs):
            body.names[value] = "x" if number == 0 else f"x{number}"
        body.taken |= {*body.names.values(), "y"}
        for node in sorted(block.matched, key=position):
            body.add(node, "y" if block.output in node.outputs else _local_name(node))
        outputs = [body.names[value] for value in block.outputs]
        weights = [(name, value) for value, name in body.weights.items()]
        inputs = [body.names[value] for value in block.inputs] + [name for name, _ in weights]
        made = helper.make_function(
            DOMAIN, block.kind, inputs, outputs, body.protos, self.imports(), doc_string=_doc(block)
        )
        key = made.SerializeToString(deterministic=True)
        if key not in self.names:
            count = sum(1 for each in self.functions if each.doc_string == made.doc_string)
            made.name = block.kind if not count else f"{block.kind}_{count + 1}"
            self.names[key] = made.name
            self.functions.append(made)
        return self.names[key], weights


def _doc(block: Block) -> str:
    text = type(block.pattern).__doc__ or ""
    return f"{block.kind}: {' '.join(text.split())}"


def _local_name(node: Node) -> str:
    role = node.role if isinstance(node, Block) else ""  # what is in a leaf has none
    return role or node.op.rpartition(":")[2].lower()


class Body:
    """The nodes of a function or of the graph as they are written.

    With `weights_inside` constants are initializers; otherwise those with axes are inputs, and
    numbers, shapes and indices are nodes.
    """

    def __init__(self, library: Library, weights_inside: bool) -> None:
        self.library = library
        self.weights_inside = weights_inside
        self.names: dict[Value, str] = {}
        self.weights: dict[Value, str] = {}
        self.constants: dict[str, Array] = {}
        self.protos: list[onnx.NodeProto] = []
        self.taken: set[str] = set()

    def add(self, node: Node, name: str) -> None:
        """Writes a node, or the call of a block's function, with its first output called so."""
        if isinstance(node, Block):
            function, weights = self.library.call(node)
            label = _local_name(node)
            inputs = [self.name(value) for value in node.inputs]
            inputs += [self.name(value, f"{label}.{inner}") for inner, value in weights]
            outputs = self._outputs(node, name)
            named = node.name if self.weights_inside else ""
            proto = helper.make_node(function, inputs, outputs, named, domain=DOMAIN)
            self.protos.append(proto)
            return
        formal = _formal_names(node, self.library.opset)
        inputs = [
            self.name(value, wanted) if value is not None else ""
            for value, wanted in zip(node.inputs, formal, strict=False)
        ]
        library = self.library
        downgrade = OpsetDowngrade(library.opset, self._constant, library.brought_to)
        self.protos.extend(downgrade(node, inputs, self._outputs(node, name)))

    def put(self, op: str, inputs: Sequence[str], name: str, **attrs: Any) -> str:
        """Writes a node that the graph does not have; the name of what it makes, like `name`."""
        output = self._new(name)
        self.protos.append(helper.make_node(op, inputs, [output], **attrs))
        return output

    def _outputs(self, node: Node, name: str) -> list[str]:
        """Names for all outputs, the first of them this one."""
        for number, value in enumerate(node.outputs):
            self.names[value] = self._new(name if number == 0 else f"{name}_{number}")
        return [self.names[value] for value in node.outputs]

    def name(self, value: Value, wanted: str = "constant") -> str:
        """The name of a value; of a constant that comes first here, one like `wanted`."""
        if value in self.names:
            return self.names[value]
        assert value.const is not None
        array = np.ascontiguousarray(value.const).reshape(value.const.shape)
        if self.weights_inside:
            self.names[value] = self._constant(value.name or wanted, array)
        elif array.dtype.kind == "f" and array.ndim > 0:
            self.names[value] = self.weights[value] = self._new(wanted)
        else:
            self.names[value] = self._constant(wanted, array)
        return self.names[value]

    def _constant(self, wanted: str, array: Array) -> str:
        name = self._new(wanted)
        if self.weights_inside:
            self.constants[name] = array
        else:
            tensor = numpy_helper.from_array(array, name)
            self.protos.append(helper.make_node("Constant", [], [name], value=tensor))
        return name

    def _new(self, wanted: str) -> str:
        name = wanted
        for number in itertools.count(2):
            if name not in self.taken or (name == "y" and not self.weights_inside):
                break
            name = f"{wanted}_{number}"
        self.taken.add(name)
        return name


def _formal_names(node: Node, opset: int) -> Iterable[str]:
    """What ONNX calls a node's inputs: X, W, B."""
    try:
        schema = onnx.defs.get_schema(node.op, opset, "")
        names: Sequence[str] = [each.name for each in schema.inputs]
    except onnx.defs.SchemaError:
        names = []
    return itertools.chain(names, (f"input_{number}" for number in itertools.count(len(names))))
