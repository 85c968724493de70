"""Small graphs of single operators: what they become, whether they answer as onnxruntime does."""

import ast
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import onnx

from onnx2mvit import convert
from onnx2mvit.builder.build import load
from onnx2mvit.ir.network import Network
from onnx2mvit.lifter import lift
from onnx2mvit.lowering import lower
from onnx2mvit.reader import read
from tests.support.graphs import model, save
from tests.support.written import answers_alike

CONV: dict[str, Any] = {"w": (8, 8, 3, 3)}
IMAGE = "float[N,8,12,10] x"


def network(
    nodes: str, folder: Path, *, image: str = IMAGE, opset: int = 20, **weights: Any
) -> Network:
    """The graph with these nodes from an image `x` to `y` by single operators; no Keras."""
    return lower(lift(read(save(_model(nodes, image, opset, weights), folder)), ()))


def code(nodes: str, folder: Path, **how: Any) -> list[str]:
    """The Keras expressions of what no pattern took, in order."""
    found = network(nodes, folder, **how)
    assert not found.refused, found.refused
    return [str(block.code.expr) for block in found.blocks if block.code is not None]


def reason(nodes: str, folder: Path, **how: Any) -> str:
    """Why the first node that cannot be converted cannot be."""
    found = network(nodes, folder, **how)
    return next(iter(found.refused.values()))


@dataclass(frozen=True)
class Converted:
    """A converted graph that answers as onnxruntime does, as a folder and after loading too."""

    lines: str
    folder: Path
    report: dict[str, Any]

    @property
    def transposes(self) -> int:
        """How often data is moved, other than to hand it out as the file does."""
        return self.lines.partition("model = keras.Model(")[0].count("ops.transpose(")


def converted(
    nodes: str,
    folder: Path,
    *,
    image: str = IMAGE,
    outputs: str = "y",
    opset: int = 20,
    **weights: Any,
) -> Converted:
    """Converts the graph and compares it with onnxruntime; every named tensor is an output.

    So it is with the ONNX file that `deploy` writes of it, on another number of images.
    """
    file = save(_model(nodes, image, opset, weights, outputs), folder)
    answers_alike(file)
    result = convert(file, folder / "out", inputs=2)
    assert result.report["verification"]["verdict"] == "passed"
    source = result.source.read_text(encoding="utf-8")
    functions = [each for each in ast.parse(source).body if isinstance(each, ast.FunctionDef)]
    (function,) = (each for each in functions if each.name == "model")
    lines = "\n".join(ast.unparse(statement) for statement in function.body[1:])
    images = np.random.default_rng(0).normal(size=(2, *result.model.input_shape[1:]))
    ours, theirs = (
        keras.tree.flatten(made(images.astype("float32"), training=False))
        for made in (result.model, load(result.folder / "model.keras"))
    )
    for one, other in zip(ours, theirs, strict=True):
        assert np.array_equal(keras.ops.convert_to_numpy(one), keras.ops.convert_to_numpy(other))
    return Converted(re.sub(r"'", '"', lines), result.folder, result.report)


def _model(
    nodes: str, image: str, opset: int, weights: dict[str, Any], outputs: str = "y"
) -> onnx.ModelProto:
    named = ", ".join(f"float {name}" for name in outputs.split())
    made = model(f"g ({image}) => ({named}) {{ {nodes} }}", opset=opset, **weights)
    dims = made.graph.input[0].type.tensor_type.shape.dim
    if len(dims) == 4:  # it is an image, although a single operator would not tell
        dims[1].denotation = "DATA_CHANNEL"
    for output in made.graph.output:
        output.type.tensor_type.ClearField("shape")  # in ONNX's text, `float y` has rank 0
    made = onnx.shape_inference.infer_shapes(made, data_prop=True)
    for output in made.graph.output:
        if not output.type.tensor_type.HasField("shape"):  # ONNX infers none for some operators
            output.type.tensor_type.shape.CopyFrom(made.graph.input[0].type.tensor_type.shape)
    return made
