"""Bad inputs that are ONNX files: graphs that are broken, or that no image network has.

Every function makes one in a folder and returns its path; `tests/bad_inputs.py` lists them all.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tests.support.bad_files import GOOD, Make
from tests.support.graphs import model, save

QDQ = f"""{GOOD} {{
    q = QuantizeLinear(x, scale, zero)  d = DequantizeLinear(q, scale, zero)
    v = DequantizeLinear(w, scale, zero)  y = Conv(d, v) }}"""
QLINEAR = f"""{GOOD} {{
    q = QuantizeLinear(x, scale, zero)
    c = QLinearConv(q, scale, zero, w, scale, zero, scale, zero)
    y = DequantizeLinear(c, scale, zero) }}"""
IF = f"""{GOOD} {{
    s = ReduceSum<keepdims=0>(x)  c = Cast<to=9>(s)
    y = If(c) <then_branch = t () => (float[1,3,8,8] a) {{ a = Relu(x) }},
               else_branch = e () => (float[1,3,8,8] b) {{ b = Neg(x) }}> }}"""
LOOP = f"""{GOOD} {{
    s = ReduceSum<keepdims=0>(x)  n = Cast<to=7>(s)
    y = Loop(n, go, x) <body = b (int64 i, bool c, float[1,3,8,8] v) =>
        (bool d, float[1,3,8,8] u) {{ d = Identity(c)  u = Relu(v) }}> }}"""
SCAN = f"""{GOOD} {{
    y = Scan<num_scan_inputs=1, body = b (float[3,8,8] v) => (float[3,8,8] u) {{ u = Relu(v) }}>(x)
}}"""


def graph(body: str, opset: int = 20, **weights: Any) -> Make:
    """The model of this text."""
    return lambda folder: save(model(body, opset=opset, **weights), folder)


def changed(body: str, change: Callable[[onnx.ModelProto], object], **weights: Any) -> Make:
    """The model of this text, after `change`."""

    def make(folder: Path) -> Path:
        made = model(body, **weights)
        change(made)
        return save(made, folder)

    return make


def same_weight_twice(made: onnx.ModelProto) -> None:
    made.graph.initializer.append(made.graph.initializer[0])


def sparse_weight(made: onnx.ModelProto) -> None:
    values = numpy_helper.from_array(np.ones(1, np.float32), "w")
    indices = numpy_helper.from_array(np.array([2]), "indices")
    made.graph.sparse_initializer.add(values=values, indices=indices, dims=[4, 3, 1, 1])


def no_shape(made: onnx.ModelProto) -> None:
    made.graph.input[0].type.tensor_type.ClearField("shape")


def no_type(made: onnx.ModelProto) -> None:
    made.graph.input[0].ClearField("type")


def sequence_input(made: onnx.ModelProto) -> None:
    images = helper.make_tensor_sequence_value_info("x", TensorProto.FLOAT, [1, 3, 8, 8])
    made.graph.input[0].CopyFrom(images)


def foreign_operator(made: onnx.ModelProto) -> None:
    made.graph.node[0].domain = "com.example"
    made.opset_import.append(helper.make_opsetid("com.example", 1))


def quantized(body: str) -> Make:
    """A model of int8 with scale and zero point, as quantization tools write it."""

    def make(folder: Path) -> Path:
        made = model(body, scale=np.float32(0.1))
        for name, shape in (("w", (3, 3, 1, 1)), ("zero", ())):
            made.graph.initializer.append(numpy_helper.from_array(np.zeros(shape, np.int8), name))
        return save(made, folder)

    return make


def not_utf8(folder: Path) -> Path:
    path = save(changed_name(), folder)
    path.write_bytes(path.read_bytes().replace(b"NAME", b"\xff\xfe\xfd\xfc"))
    return path


def changed_name() -> onnx.ModelProto:
    made = model(f"{GOOD} {{ y = Relu(x) }}")
    made.graph.node[0].name = "NAME"
    return made


def functions(levels: int, calls: int) -> Make:
    """Local functions that each call the one below so many times."""

    def make(folder: Path) -> Path:
        ours, opsets = [], [helper.make_opsetid("", 20), helper.make_opsetid("own", 1)]
        for level in range(levels):
            names = ["x", *(f"t{call}" for call in range(1, calls)), "y"]
            op, domain = (f"f{level - 1}", "own") if level else ("Relu", "")
            nodes = [
                helper.make_node(op, [names[call]], [names[call + 1]], domain=domain)
                for call in range(calls)
            ]
            ours.append(helper.make_function("own", f"f{level}", ["x"], ["y"], nodes, opsets))
        made = model(f"{GOOD} {{ y = Relu(x) }}")
        made.graph.node[0].op_type = f"f{levels - 1}"
        made.graph.node[0].domain = "own"
        made.opset_import.append(opsets[1])
        made.functions.extend(ours)
        return save(made, folder)

    return make


def recursion(length: int, ir_version: int) -> Make:
    """Local functions that call each other round and round; ONNX looks at them from 8 on."""

    def make(folder: Path) -> Path:
        path = functions(length, 1)(folder)
        made = onnx.load(path)
        first = made.functions[0].node[0]
        first.op_type, first.domain = f"f{length - 1}", "own"
        made.ir_version = ir_version
        return save(made, folder)

    return make


NOT_A_NUMBER = np.array([1.0, np.nan] * 6, np.float32).reshape(4, 3, 1, 1)
INFINITE = np.array([1.0, np.inf] * 6, np.float32).reshape(4, 3, 1, 1)
