"""Small graphs of single operators: what they become, whether they answer as onnxruntime does."""

import ast
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx

from onnx2mvit.conversion import convert
from onnx2mvit.rewrite import Network, rewrite
from onnx2mvit.read import read
from tests.graphs import model, save

CONV = {"w": (8, 8, 3, 3)}
IMAGE = "float[N,8,12,10] x"


def network(nodes: str, folder: Path, *, image: str = IMAGE, opset: int = 20, **weights: Any) -> Network:
    """The graph with these nodes between an image `x` and `y`, by single operators alone, without Keras."""
    return rewrite(read(save(_model(nodes, image, opset, weights), folder)), ())


def code(nodes: str, folder: Path, **how: Any) -> list[str]:
    """The Keras expressions of what no pattern took, in order."""
    found = network(nodes, folder, **how)
    assert not found.leftovers, found.lowered.refused
    return [block.code.text for block in found.blocks if block.code is not None]


def reason(nodes: str, folder: Path, **how: Any) -> str:
    """Why the first node that cannot be converted cannot be."""
    found = network(nodes, folder, **how)
    return found.lowered.refused[found.leftovers[0]]


@dataclass(frozen=True)
class Converted:
    """A converted graph that answers as onnxruntime does, as a folder and after loading too."""

    lines: str
    folder: Path
    report: dict[str, Any]


def converted(nodes: str, folder: Path, *, image: str = IMAGE, outputs: str = "y", opset: int = 20, **weights: Any) -> Converted:
    """Converts the graph and compares it with onnxruntime; every named tensor is an output."""
    made = _model(nodes, image, opset, weights, outputs)
    result = convert(save(made, folder), folder / "out")
    assert result.report["verification"]["verdict"] == "passed"
    source = result.source.read_text(encoding="utf-8")
    tree = ast.parse(source).body[-1]
    lines = "\n".join(ast.unparse(statement) for statement in getattr(tree, "body")[1:])
    return Converted(re.sub(r"'", '"', lines), result.folder, result.report)


def _model(nodes: str, image: str, opset: int, weights: dict[str, Any], outputs: str = "y") -> onnx.ModelProto:
    named = ", ".join(f"float {name}" for name in outputs.split())
    made = model(f"g ({image}) => ({named}) {{ {nodes} }}", opset=opset, **weights)
    for output in made.graph.output:
        output.type.tensor_type.ClearField("shape")  # in ONNX's text, `float y` has rank 0
    return onnx.shape_inference.infer_shapes(made, data_prop=True)
