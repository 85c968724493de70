"""Runs a `Graph` by onnxruntime: it is turned back into a small ONNX model."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
from onnx import helper, numpy_helper
from onnx_ir.passes import common as passes

from onnx2mvit.emitter.opset_downgrade import SINCE, OpsetDowngrade
from onnx2mvit.ir.graph import Graph, Value
from onnx2mvit.reader.as_graph import as_graph
from onnx2mvit.reader.file import source_of

Array = np.ndarray[Any, Any]


def plain(made: onnx.ModelProto) -> Graph:
    """The graph of a model as it stands in the file: with shapes, neither folded nor unified."""
    bare = onnx.ModelProto()
    bare.CopyFrom(made)
    for output in bare.graph.output:
        output.type.tensor_type.ClearField("shape")  # in ONNX's text, `float y` has rank 0
    model = ir.from_proto(onnx.shape_inference.infer_shapes(bare, data_prop=True))
    passes.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(model)
    passes.AddDefaultAttributesPass()(model)
    return as_graph(model, source_of(Path("plain.onnx"), model))


def to_model(graph: Graph) -> onnx.ModelProto:
    """The graph in ONNX's words, at an opset in which it can be written."""
    constants: dict[str, Array] = {}
    opset = graph.source.operators
    if any(node.op == "GroupNormalization" for node in graph):
        opset = SINCE["GroupNormalization"]  # its shape may be unknown

    def constant(name: str, array: Array) -> str:
        constants[name] = array
        return name

    def name(value: Value | None) -> str:
        if value is not None and value.const is not None:
            constants[value.name] = value.const
        return value.name if value is not None else ""

    downgrade = OpsetDowngrade(opset, constant)
    nodes = [
        proto
        for node in graph
        for proto in downgrade(
            node, [name(value) for value in node.inputs], [value.name for value in node.outputs]
        )
    ]
    # A graph whose output is its input or a constant has no node that computes it.
    outputs = [
        onnx.NodeProto(op_type="Identity", input=[name(value)], output=[f"output {index}"])
        for index, value in enumerate(graph.outputs)
    ]
    made = helper.make_graph(
        [*nodes, *outputs],
        "unified",
        [info(value.name, value.shape) for value in graph.inputs],
        [onnx.ValueInfoProto(name=node.output[0]) for node in outputs],
        [numpy_helper.from_array(np.asarray(c, order="C"), key) for key, c in constants.items()],
    )
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)


def info(name: str, shape: Sequence[int] | None) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape)


def answers(made: onnx.ModelProto, inputs: dict[str, Array]) -> list[Array]:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    # As it stands: optimised, a LayerNorm with Add(eps, variance) loses its eps (1.31.1).
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(
        made.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return [np.asarray(answer) for answer in session.run(None, inputs)]


def assert_same_answers(made: onnx.ModelProto, graph: Graph, tolerance: float = 1e-6) -> None:
    """Both answer alike on random input, relative to the largest number in the answer."""
    rng = np.random.default_rng(0)
    inputs = {
        value.name: rng.normal(scale=3, size=value.shape).astype(np.float32)
        for value in graph.inputs
    }
    expected, actual = answers(made, inputs), answers(to_model(graph), inputs)
    assert len(expected) == len(actual)
    for theirs, ours in zip(expected, actual, strict=True):
        assert theirs.shape == ours.shape
        assert theirs.size and np.abs(theirs).max() > 0, "an answer of zeros proves nothing"
        assert np.abs(theirs - ours).max() <= tolerance * np.abs(theirs).max()
