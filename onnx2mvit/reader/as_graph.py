"""From onnx-ir's model to a `Graph`: the last look at every node and its data."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import onnx_ir as ir

from onnx2mvit.base.quiet import one_line
from onnx2mvit.errors import InvalidModelError, UnsupportedError
from onnx2mvit.ir.graph import Graph, Node, Source, Value
from onnx2mvit.reader.cut import advice, before_choice
from onnx2mvit.reader.limits import refuse_held, refuse_large
from onnx2mvit.reader.precision import TYPE_ATTRIBUTES, as_float32, float32_for, with_precision
from onnx2mvit.reader.scopes import scope_of
from onnx2mvit.reader.shapes import data_inputs
from onnx2mvit.reader.validation import BROKEN_DATA, check_attributes, check_node, check_numbers


def as_graph(model: ir.Model, source: Source) -> Graph:
    """The nodes of a model as they stand, neither folded nor unified.

    Raises:
        InvalidModelError: a node reads what no node before it computes.
        UnsupportedError: it holds control flow, or weights that are no numbers.
    """
    values: dict[ir.Value, Value] = {}

    def convert(value: ir.Value) -> Value:
        if value not in values:
            shape = value.shape
            tensor = value.const_value
            values[value] = Value(
                name=value.name or "",
                shape=tuple(int(dim) for dim in shape if isinstance(dim, int))
                if shape is not None and shape.is_static()
                else None,
                dtype=_numpy_type(value),
                const=_array(tensor) if tensor is not None else None,
            )
        return values[value]

    graph = Graph(
        inputs=[convert(value) for value in data_inputs(model)],
        outputs=[convert(value) for value in model.graph.outputs],
        source=source,
    )
    given = sum(math.prod(value.shape or ()) for value in graph.inputs)
    for position, node in enumerate(model.graph):
        metadata = dict(node.metadata_props) if node.metadata_props else {}
        names = [value.name if value is not None else None for value in node.inputs]
        op = node.op_type if node.domain in ("", "ai.onnx") else f"{node.domain}::{node.op_type}"
        converted = Node(
            op=op,
            inputs=_trim([convert(v) if v is not None and v.name else None for v in node.inputs]),
            outputs=tuple(convert(value) for value in node.outputs),
            attrs={name: _attribute(attr, node) for name, attr in node.attributes.items()},
            name=node.name or "",
            scope=scope_of(op, node.name or "", metadata, names),
            position=(position,),
        )
        _check_inputs(converted, graph)
        check_node(converted, source.dynamic_size)
        check_attributes(converted)
        refuse_large(node, given)
        graph.add(converted)
    refuse_held(graph, given)
    graph.source = with_precision(source, {value.dtype for value in values})
    return graph


def _numpy_type(value: ir.Value) -> np.dtype[Any] | None:
    dtype = float32_for(value.dtype)
    try:
        return dtype.numpy() if dtype is not None else None
    except TypeError:  # ONNX's "undefined"
        return None


def _array(tensor: ir.TensorProtocol) -> np.ndarray[Any, Any]:
    try:
        return as_float32(tensor.numpy(), tensor.dtype)
    except BROKEN_DATA as error:
        raise InvalidModelError(
            f"the data of {tensor.name!r} cannot be read: {one_line(error)}"
        ) from error


def _trim(inputs: list[Value | None]) -> tuple[Value | None, ...]:
    while inputs and inputs[-1] is None:
        inputs.pop()
    return tuple(inputs)


def _attribute(attr: ir.Attr, node: ir.Node) -> object:
    if attr.type in (ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS):
        raise UnsupportedError(
            f"node {node.name or node.outputs[0].name!r} ({node.op_type}) holds a subgraph: "
            "control flow that depends on the data cannot be converted."
            + advice(before_choice(node))
        )
    try:
        if attr.type == ir.AttributeType.TENSOR:
            return _array(attr.as_tensor())
        if attr.type in (ir.AttributeType.INTS, ir.AttributeType.FLOATS, ir.AttributeType.STRINGS):
            return tuple(attr.value)
        if attr.name in TYPE_ATTRIBUTES and attr.type == ir.AttributeType.INT:
            return int(float32_for(ir.DataType(attr.as_int())) or 0)
    except BROKEN_DATA as error:
        raise InvalidModelError(
            f"attribute {attr.name!r} of node {node.name or node.outputs[0].name!r} "
            f"({node.op_type}) cannot be read: {one_line(error)}"
        ) from error
    return attr.value


def _check_inputs(node: Node, graph: Graph) -> None:
    where = f"node {node.scope or node.name or node.output.name!r} ({node.op})"
    for value in node.inputs:
        if value is None:
            continue
        if value.const is None:
            if graph.producer(value) is None and value not in graph.inputs:
                raise InvalidModelError(f"{where} reads {value.name!r}, which nothing computes")
        elif value.const.dtype.kind not in "biu" and value.const.dtype != np.float32:
            raise UnsupportedError(
                f"{where} has {value.const.dtype} weights, which have no place in a Keras layer"
            )
        else:
            check_numbers(where, node.op, value)
