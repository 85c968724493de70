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

from onnx2mvit.graph import Graph, Node, Value
from onnx2mvit.read import _convert, _source

Array = np.ndarray[Any, Any]
NEWEST = (
    17  # the last opset in which ReduceMean has its axes as an attribute, as our rules write it
)
NORMALIZED = 21  # the first opset in which GroupNormalization has a scale for each channel


def plain(made: onnx.ModelProto) -> Graph:
    """The graph of a model as it stands in the file: with shapes, neither folded nor unified."""
    bare = onnx.ModelProto()
    bare.CopyFrom(made)
    for output in bare.graph.output:
        output.type.tensor_type.ClearField("shape")  # in ONNX's text, `float y` has rank 0
    model = ir.from_proto(onnx.shape_inference.infer_shapes(bare, data_prop=True))
    passes.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(model)
    passes.AddDefaultAttributesPass()(model)
    return _convert(model, _source(Path("plain.onnx"), model, ""))


def to_model(graph: Graph) -> onnx.ModelProto:
    constants: dict[str, Array] = {}
    used = {node.op for node in graph}
    newer = {"LayerNormalization", "HardSwish", "Resize"} & used
    opset = NEWEST if newer else min(graph.source.opset, NEWEST)
    if "GroupNormalization" in used:
        opset = NORMALIZED

    def name(value: Value | None) -> str:
        if value is not None and value.const is not None:
            constants[value.name] = value.const
        return value.name if value is not None else ""

    def numbers(node: Node, role: str, *wanted: int) -> str:
        constants[f"{node.output.name}/{role}"] = np.array(wanted, np.int64)
        return f"{node.output.name}/{role}"

    def rolled(node: Node) -> list[onnx.NodeProto]:
        x, nodes = name(node.inputs[0]), []
        pairs = list(zip(node.attrs["axes"], node.attrs["shifts"], strict=True))
        for step, (axis, shift) in enumerate(pairs):
            y = node.output.name if step == len(pairs) - 1 else f"{node.output.name}/{step}"
            least, most = np.iinfo(np.int64).min, np.iinfo(np.int64).max
            for part, start, end in (("a", -shift, most), ("b", least, -shift)):
                cut = [
                    numbers(node, f"{step}{part}{role}", number)
                    for role, number in (("start", start), ("end", end), ("axis", axis))
                ]
                nodes.append(helper.make_node("Slice", [x, *cut], [f"{y}/{part}"]))
            nodes.append(helper.make_node("Concat", [f"{y}/a", f"{y}/b"], [y], axis=axis))
            x = y
        return nodes

    def protos(node: Node) -> list[onnx.NodeProto]:
        inputs = [name(value) for value in node.inputs]
        outputs = [value.name for value in node.outputs]
        attrs = {key: value for key, value in node.attrs.items() if value is not None}
        op = node.op
        # What our rules write that ONNX would not have, or not yet.
        if op == "Reshape" and len(inputs) == 1:
            inputs.append(numbers(node, "shape", *(node.output.shape or ())))
        elif op == "Select":
            op, axis = "Gather", attrs["axis"]
            inputs.append(numbers(node, "index", attrs["index"]))
            constants[inputs[1]] = constants[inputs[1]].reshape(())
            attrs = {"axis": axis}
        elif op == "Slice" and "start" in attrs:
            inputs += [numbers(node, part, attrs[part]) for part in ("start", "end", "axis")]
            attrs = {}
        elif op == "ReduceSum" and "axes" in attrs and opset >= 13:
            inputs.append(numbers(node, "axes", *attrs.pop("axes")))
        elif op == "Resize" and len(inputs) == 1:
            inputs += ["", "", numbers(node, "sizes", *(node.output.shape or ()))]
            if attrs["mode"] == "align_corners":
                attrs = {"mode": "linear", "coordinate_transformation_mode": "align_corners"}
        elif op == "Roll":
            return rolled(node)
        elif op == "Gelu":
            make = gelu_tanh if attrs.get("approximate") == "tanh" else gelu
            return make(inputs[0], outputs[0], constants)
        return [helper.make_node(op, inputs, outputs, **attrs)]

    nodes = [proto for node in graph for proto in protos(node)]
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
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def gelu(x: str, y: str, constants: dict[str, Array]) -> list[onnx.NodeProto]:
    """An operator from opset 20, in those before."""
    for key, number in (("root", 0.5**0.5), ("one", 1.0), ("half", 0.5)):
        constants[f"{y}/{key}"] = np.array(number, np.float32)
    return [
        helper.make_node("Mul", [x, f"{y}/root"], [f"{y}/inner"]),
        helper.make_node("Erf", [f"{y}/inner"], [f"{y}/erf"]),
        helper.make_node("Add", [f"{y}/erf", f"{y}/one"], [f"{y}/share"]),
        helper.make_node("Mul", [f"{y}/share", f"{y}/half"], [f"{y}/halved"]),
        helper.make_node("Mul", [x, f"{y}/halved"], [y]),
    ]


def gelu_tanh(x: str, y: str, constants: dict[str, Array]) -> list[onnx.NodeProto]:
    numbers = {
        "three": 3.0,
        "factor": 0.044715,
        "root": (2 / np.pi) ** 0.5,
        "one": 1.0,
        "half": 0.5,
    }
    constants |= {f"{y}/{key}": np.array(number, np.float32) for key, number in numbers.items()}
    return [
        helper.make_node("Pow", [x, f"{y}/three"], [f"{y}/cube"]),
        helper.make_node("Mul", [f"{y}/cube", f"{y}/factor"], [f"{y}/scaled"]),
        helper.make_node("Add", [x, f"{y}/scaled"], [f"{y}/sum"]),
        helper.make_node("Mul", [f"{y}/sum", f"{y}/root"], [f"{y}/inner"]),
        helper.make_node("Tanh", [f"{y}/inner"], [f"{y}/tanh"]),
        helper.make_node("Add", [f"{y}/tanh", f"{y}/one"], [f"{y}/share"]),
        helper.make_node("Mul", [f"{y}/share", f"{y}/half"], [f"{y}/halved"]),
        helper.make_node("Mul", [x, f"{y}/halved"], [y]),
    ]


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
