"""Stage one: a file becomes a `Graph` with concrete shapes, folded constants and one spelling."""

from __future__ import annotations

import hashlib
import logging
import math
from pathlib import Path
from typing import Any

import google.protobuf.message
import networkx
import numpy as np
import onnx
import onnx_ir as ir

from onnx2mvit.base.collector import collector_paused
from onnx2mvit.base.quiet import all_lines, loggers_at, one_line
from onnx2mvit.errors import MALFORMED, InvalidModelError, UnsupportedError
from onnx2mvit.ir.graph import Graph, Node, Source, Value
from onnx2mvit.ir.window import window_of
from onnx2mvit.reader.limits import refuse_large
from onnx2mvit.reader.rules import unify
from onnx2mvit.reader.scopes import scope_of
from onnx2mvit.reader.simplify import simplify
from onnx2mvit.reader.validation import (
    check_data,
    check_node,
    check_numbers,
    check_operators,
    check_places,
    check_text,
)

OPSETS = range(11, 26)
# A batch that no other dimension is likely to equal, so that a Reshape that mixes the batch into
# something else is not mistaken for one that does not.
TRACE_BATCH = 3
TRACE_SIZE = 256
LARGEST_IMAGES = 1 << 28
BROKEN_DATA = (OSError, *MALFORMED)


@collector_paused()
@loggers_at(logging.ERROR, "onnxscript", "onnx_ir")
def read(path: str | Path) -> Graph:
    """Reads an ONNX file.

    The batch, where dynamic, is set to `TRACE_BATCH` and a dynamic height or width to
    `TRACE_SIZE`; the graph has concrete shapes throughout, float32 tensors, and every
    exporter's spelling brought to one by the rules in `onnx2mvit.rules`.

    Raises:
        InvalidModelError: not a file, not ONNX, or ONNX that its own checker refuses.
        UnsupportedError: an opset, input or data type that we do not convert.
    """
    path = Path(path)
    digest = _check(path)
    try:
        model = ir.load(path)
    except (google.protobuf.message.DecodeError, ir.serde.SerdeError, *BROKEN_DATA) as error:
        check_places(path)
        raise InvalidModelError(f"{path} cannot be read as ONNX: {one_line(error)}") from error
    check_data(model)
    check_text(model, path.name)
    check_operators(model)
    source = source_of(path, model, digest)
    _make_concrete(model, path)
    return graph_of(model, source)


def graph_of(model: ir.Model, source: Source) -> Graph:
    """The graph of a model whose inputs have concrete shapes, whatever they are.

    Raises:
        InvalidModelError: it cannot be simplified, or it is not a graph.
        UnsupportedError: it holds control flow, or weights that are not float32.
    """
    names = [value.name or "" for value in model.graph.outputs]
    _forget_shapes(model)
    simplify(model, source.file)
    graph = as_graph(model, source)
    graph.output_names = names  # where two outputs are one value, simplifying keeps one name
    graph.folded = len(graph)
    unify(graph)
    graph.pads_like_tensorflow = any(map(_pads_more_at_the_end, graph.of(["Conv"])))
    return graph


def _pads_more_at_the_end(conv: Node) -> bool:
    image = conv.inputs[0]
    if image is None or image.shape is None or "pads" not in conv.attrs:
        return False
    try:
        window = window_of(conv)
    except ValueError:  # it is refused, with its name, where it is converted
        return False
    odd = any(before != after for before, after in window.pads)
    return odd and window.pads_as_same(image.shape[2:])


def _check(path: Path) -> str:
    if not path.exists():
        raise InvalidModelError(f"{path} does not exist")
    if not path.is_file():
        raise InvalidModelError(f"{path} is not a file")
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if path.stat().st_size == 0:
            raise InvalidModelError(f"{path} is empty")
        onnx.checker.check_model(str(path))
    except PermissionError as error:
        raise InvalidModelError(f"{path} may not be read: permission denied") from error
    except (onnx.checker.ValidationError, google.protobuf.message.DecodeError) as error:
        if "parse proto" in str(error) or "ir_version set" in str(error):
            raise InvalidModelError(
                f"{path} is not an ONNX model, or it was cut off: export or download it again"
            ) from error
        raise InvalidModelError(f"{path} is not a valid ONNX model: {all_lines(error)}") from error
    except (RuntimeError, ValueError, OSError) as error:
        raise InvalidModelError(f"{path} is not an ONNX model: {one_line(error)}") from error
    return digest


def source_of(path: Path, model: ir.Model, digest: str = "") -> Source:
    """What a model says of itself; `digest` is the SHA-256 of its file.

    Raises:
        UnsupportedError: its opset is not one of those that are read.
    """
    opset = model.opset_imports.get("", 0)
    if opset not in OPSETS:
        raise UnsupportedError(
            f"{path} uses opset {opset}; supported are {OPSETS[0]} to {OPSETS[-1]}. "
            "Export it again with one of those."
        )
    producer = " ".join(filter(None, (model.producer_name, model.producer_version)))
    return Source(
        file=path.name,
        sha256=digest,
        opset=opset,
        producer=producer or "unknown",
        nodes=len(model.graph),
        weights=model.metadata_props.get("onnx2mvit.weights", "as in the file"),
        dynamic_batch=_dynamic(model, slice(0, 1)),
        dynamic_size=_dynamic(model, slice(2, None)),
    )


def _dynamic(model: ir.Model, axes: slice) -> bool:
    shapes = [value.shape for value in _data_inputs(model) if value.shape is not None]
    return any(not isinstance(dim, int) for shape in shapes for dim in shape.dims[axes])


def _data_inputs(model: ir.Model) -> list[ir.Value]:
    return [value for value in model.graph.inputs if value.name not in model.graph.initializers]


def _make_concrete(model: ir.Model, path: Path) -> None:
    inputs = _data_inputs(model)
    if len(inputs) != 1:
        names = ", ".join(repr(value.name) for value in inputs) or "none"
        raise UnsupportedError(f"{path} has {len(inputs)} inputs ({names}); exactly one is needed")
    (value,) = inputs
    if value.type is not None and not isinstance(value.type, ir.TensorType):
        raise UnsupportedError(f"input {value.name!r} is {value.type}, not a tensor of images")
    if value.dtype != ir.DataType.FLOAT:
        raise UnsupportedError(f"input {value.name!r} is {value.dtype}, not float32")
    if value.shape is None or len(value.shape) != 4:
        shape = " ".join(str(value.shape).split())  # lengths have names, of the file
        raise UnsupportedError(f"input {value.name!r} is {shape}, not an image [N, C, H, W]")
    batch, channels, *size = value.shape
    lengths = [
        batch if isinstance(batch, int) else TRACE_BATCH,
        channels if isinstance(channels, int) else _channels(value),
        *(length if isinstance(length, int) else TRACE_SIZE for length in size),
    ]
    if min(lengths) < 1:
        raise InvalidModelError(f"input {value.name!r} has a dimension below one: {lengths}")
    if math.prod(lengths) > LARGEST_IMAGES:
        raise UnsupportedError(f"input {value.name!r} is {lengths}, too large to be compared on")
    if not model.graph.outputs:
        raise InvalidModelError(f"{path} has no outputs")
    value.shape = ir.Shape(lengths)


def _forget_shapes(model: ir.Model) -> None:
    """What the exporter declared holds for its own batch and size alone: it is inferred anew."""
    for node in model.graph.all_nodes():
        for output in node.outputs:
            output.shape = None
    for output in model.graph.outputs:
        if output not in model.graph.inputs:
            output.shape = None


def _channels(value: ir.Value) -> int:
    """How many channels an image has, by the convolution that reads it."""
    for node in value.consumers():
        weight = node.inputs[1] if node.op_type == "Conv" and len(node.inputs) > 1 else None
        shape = weight.shape if weight is not None else None
        if shape is not None and len(shape) == 4 and isinstance(shape[1], int):
            return shape[1] * node.attributes.get_int("group", 1)
    raise UnsupportedError(
        f"input {value.name!r} has a dynamic number of channels, and no convolution reads it"
    )


def as_graph(model: ir.Model, source: Source) -> Graph:
    """The nodes of a model as they stand, neither folded nor unified.

    Raises:
        InvalidModelError: a node reads what nothing computes, or the nodes go in a circle.
        UnsupportedError: it holds control flow, or weights that are not float32.
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
        inputs=[convert(value) for value in _data_inputs(model)],
        outputs=[convert(value) for value in model.graph.outputs],
        source=source,
    )
    for position, node in enumerate(model.graph):
        metadata = dict(node.metadata_props)
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
        check_node(converted)
        for value in converted.outputs:
            refuse_large(value.name, value.shape or ())
        graph.add(converted)
    if not networkx.is_directed_acyclic_graph(graph.nx):
        raise InvalidModelError(f"{source.file} has a cycle")
    return graph


def _numpy_type(value: ir.Value) -> np.dtype[Any] | None:
    try:
        return value.dtype.numpy() if value.dtype is not None else None
    except TypeError:  # ONNX's "undefined"
        return None


def _array(tensor: ir.TensorProtocol) -> np.ndarray[Any, Any]:
    try:
        return tensor.numpy()
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
            "control flow that depends on the data cannot be converted"
        )
    try:
        if attr.type == ir.AttributeType.TENSOR:
            return attr.as_tensor().numpy()
        if attr.type in (ir.AttributeType.INTS, ir.AttributeType.FLOATS, ir.AttributeType.STRINGS):
            return tuple(attr.value)
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
                f"{where} has {value.const.dtype} weights; only float32 models are converted"
            )
        else:
            check_numbers(where, node.op, value)
