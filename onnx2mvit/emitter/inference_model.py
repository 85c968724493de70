"""The network as an ONNX file for servers: what a runtime should be given of what is known of it.

Its nodes are those of the lifted graph, so LayerNormalization, GELU and hard swish are one node
each, whatever the exporter wrote; normalizations and branches are in their convolutions, images are
cut into patches with channels last, and any number of them may come. Nodes are named after their
blocks.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper, version_converter

from onnx2mvit.base.quiet import one_line
from onnx2mvit.emitter.channels_last import with_channels_last
from onnx2mvit.emitter.free_batch import batch_axes, free_batch
from onnx2mvit.emitter.onnx_functions import IR_VERSION, Body, Library
from onnx2mvit.emitter.opset_downgrade import LATER
from onnx2mvit.errors import UnsupportedError
from onnx2mvit.ir.block import onnx_nodes_of
from onnx2mvit.ir.graph import Graph, Node, Value, position
from onnx2mvit.ir.layout import Order, axes_between, plain
from onnx2mvit.ir.network import Network
from onnx2mvit.lifter.activation import with_hard_swish
from onnx2mvit.lifter.merge import inference_form
from onnx2mvit.lifter.parts import parts_apart
from onnx2mvit.matcher import Builder
from onnx2mvit.reader.file import NO_UPGRADE

LARGEST = 2_000_000_000  # bytes of weights; a message has no 2 GiB
OPSET = 20  # the first that has Gelu, if the file's own is older
MANY = 256  # numbers: a mean of more is off by more than 2e-6, as onnxruntime adds them in a row

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Port:
    """An input or an output of the model: a tensor of the network, in some order of its axes.

    `shape` has None for lengths that are open.
    """

    value: Value
    name: str
    order: Order
    shape: Sequence[int | None]
    dtype: np.dtype[Any]

    @property
    def info(self) -> onnx.ValueInfoProto:
        """What ONNX declares of it."""
        kind = helper.np_dtype_to_tensor_dtype(self.dtype)
        return helper.make_tensor_value_info(self.name, kind, list(self.shape))


def inference_model(
    network: Network,
    inputs: Sequence[Port],
    outputs: Sequence[Port],
    constants: Mapping[Value, Array],
    hard_activations: bool = False,
) -> onnx.ModelProto:
    """The network as a model in ONNX, flat.

    Args:
        network: lowered.
        inputs: all of them, in the order in which the model takes them.
        outputs: some tensors of it, in the order in which the model gives them.
        constants: other arrays for some of its constants, as after training, of the same shape and
            dtype.
        hard_activations: whether hard swish is in the place of SiLU.

    Raises:
        UnsupportedError: it cannot be for any number of images, though no image sees another, or
            it is too large.
    """
    flat = with_channels_last(_flat(network, outputs))
    if hard_activations:
        flat = with_hard_swish(flat)
    graph = parts_apart(inference_form(_with_constants(flat, constants)))
    graph = graph.with_nodes(_of_all_axes(each) for node in graph for each in _in_two_steps(node))
    if network.batch is None:
        graph = free_batch(graph, batch_axes(flat, network.patterns))
    source = graph.source.operators
    body = Body(Library(source, max(source, OPSET)), weights_inside=True)
    body.taken |= {port.name for port in (*inputs, *outputs)}
    for port in inputs:
        _take(body, port)
    paths = _paths(network)
    for node in graph:
        body.add(node, f"{_path(paths, node)}/{node.op}")
    given: set[str] = set()
    for port in outputs:
        _give(body, port, given)
    if sum(array.nbytes for array in body.constants.values()) > LARGEST:
        raise UnsupportedError("its weights are too large for one message of protobuf")
    made = helper.make_model(
        helper.make_graph(
            body.protos,
            network.graph.source.file,
            [port.info for port in inputs],
            [port.info for port in outputs],
            [numpy_helper.from_array(array, name) for name, array in body.constants.items()],
        ),
        opset_imports=[helper.make_opsetid("", source), helper.make_opsetid(LATER, 1)],
        ir_version=IR_VERSION,
        producer_name="onnx2mvit",
    )
    return _brought_to(made, max(source, OPSET))


def _flat(network: Network, outputs: Sequence[Port]) -> Graph:
    """The operators that these outputs need."""
    nodes = [each for node in network.graph for each in onnx_nodes_of(node)]
    graph = network.graph.with_nodes(sorted(nodes, key=position))
    graph.outputs = [port.value for port in outputs]
    graph.output_names = [port.name for port in outputs]
    graph.sweep()
    return graph


def _with_constants(graph: Graph, arrays: Mapping[Value, Array]) -> Graph:
    others = {
        value: replace(value, shape=array.shape, const=array) for value, array in arrays.items()
    }

    def changed(node: Node) -> Node:
        inputs = tuple(others.get(value, value) if value else None for value in node.inputs)
        return node if inputs == node.inputs else replace(node, inputs=inputs)

    return graph.with_nodes(map(changed, graph))


def _in_two_steps(node: Node) -> list[Node]:
    """A mean of many numbers as one of the means of rows, which onnxruntime takes more exactly.

    `runtimes.exact_means` does that in files, whose shapes are not known, to every mean.
    """
    x, axes = node.inputs[0] if node.inputs else None, node.attrs.get("axes") or ()
    if node.op != "ReduceMean" or len(axes) < 2 or x is None or x.shape is None:
        return [node]
    shape, axes = x.shape, [axis % len(x.shape) for axis in axes]
    if math.prod(shape[axis] for axis in axes) <= MANY:
        return [node]
    last, new = max(axes), Builder(node)
    rows = new.ReduceMean(x, shape=(*shape[:last], 1, *shape[last + 1 :]), axes=(last,), keepdims=1)
    return new.then(node, rows)


def _of_all_axes(node: Node) -> Node:
    """A Resize (operator version 18) that names its axes as one of all of them.

    onnxruntime 1.31 forgets which they are where it moves a Transpose across.
    """
    attrs, shape = dict(node.attrs), node.output.shape or ()
    x, roi, scales, sizes = (*node.inputs, None, None, None)[:4]
    axes = attrs.pop("axes", None) if node.op == "Resize" and shape and roi is None else None
    if axes is None or attrs.get("keep_aspect_ratio_policy", "stretch") != "stretch":
        return node
    if scales is None:
        array = np.array(shape)
        sizes = Value("sizes", array.shape, array.dtype, array)
    elif scales.const is None:
        return node
    else:
        array = np.ones(len(shape), np.float32)
        array[list(axes)] = scales.const
        scales = Value("scales", array.shape, array.dtype, array)
    return replace(node, inputs=(x, None, scales, sizes), attrs=attrs)


def _paths(network: Network) -> dict[tuple[int, ...], str]:
    """Where an operator lies in the network, by its position: the path of its layer or block."""
    paths = {}
    for block in (each for top in network.blocks for each in top.walk()):
        for node in block.onnx_nodes():
            paths[node.position] = block.path or block.name
    return paths


def _path(paths: Mapping[tuple[int, ...], str], node: Node) -> str:
    """Where a node lies, or the one that it was made for; its operator where that is unknown."""
    places = (node.position[:length] for length in range(len(node.position), 0, -1))
    return next((paths[place] for place in places if place in paths), node.op)


def _take(body: Body, port: Port) -> None:
    """Brings an input into the order and the type of the graph."""
    name = port.name
    if port.order != plain(len(port.order)):
        perm = axes_between(port.order, plain(len(port.order)))
        name = body.put("Transpose", [name], f"{port.name}/Transpose", perm=perm)
    if port.value.dtype not in (None, port.dtype):
        kind = helper.np_dtype_to_tensor_dtype(port.value.dtype or port.dtype)
        name = body.put("Cast", [name], f"{port.name}/Cast", to=kind)
    body.names[port.value] = name


def _give(body: Body, port: Port, given: set[str]) -> None:
    """Brings an output into the order and the type that it is to have, under its name.

    Runtimes know an output by all the names that it has on the way, so it gets no Identity unless
    it is an input, a constant, or given already.
    """
    name = body.name(port.value)
    if port.value.dtype not in (None, port.dtype):
        kind = helper.np_dtype_to_tensor_dtype(port.dtype)
        name = body.put("Cast", [name], f"{port.name}/Cast", to=kind)
    if port.order != plain(len(port.order)):
        name = body.put("Transpose", [name], f"{port.name}/Transpose", perm=port.order)
    if name in given or not any(name in node.output for node in body.protos):
        name = body.put("Identity", [name], f"{port.name}/Identity")
    given.add(port.name)
    for node in body.protos:
        node.name = node.name or node.output[0]
        for tensors in (node.input, node.output):
            tensors[:] = [port.name if each == name else each for each in tensors]
    body.names = {value: port.name if n == name else n for value, n in body.names.items()}


def _names(node: onnx.NodeProto) -> Iterator[str]:
    """What a node may be called, the best first."""
    yield node.output[0]
    yield from (f"{node.output[0]}/{node.op_type}_{number}" for number in itertools.count(2))


def _brought_to(model: onnx.ModelProto, opset: int) -> onnx.ModelProto:
    """The model at a newer opset, with the operators that are `LATER` as operators of ONNX."""
    if model.opset_import[0].version < opset:
        try:
            model = version_converter.convert_version(model, opset)
        except NO_UPGRADE as error:
            raise UnsupportedError(f"onnx cannot bring it to {opset}: {one_line(error)}") from error
    taken = {node.name for node in model.graph.node}
    for node in model.graph.node:
        node.domain = "" if node.domain == LATER else node.domain
        if not node.name:  # one that the version converter made of another
            node.name = next(name for name in _names(node) if name not in taken)
            taken.add(node.name)
    del model.opset_import[:]
    model.opset_import.append(helper.make_opsetid("", opset))
    return model
