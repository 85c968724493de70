"""Small ONNX graphs in the text format of ONNX, read the way a file is read."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from onnx2mvit.ir.graph import Graph
from onnx2mvit.reader import read


def model(body: str, *, opset: int = 20, seed: int = 0, **weights: Any) -> onnx.ModelProto:
    """A model from the text of a graph, `g (float[1,8,16,16] x) => (float y) { … }`.

    `weights` are arrays, or shapes of seeded random ones (a tuple of integers).
    """
    made = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["" : {opset}]> {body}')
    rng = np.random.default_rng(seed)
    for name, value in weights.items():
        array = np.asarray(rng.normal(size=value) if isinstance(value, tuple) else value)
        dtype = {"f": np.float32, "b": np.bool_}.get(array.dtype.kind, np.int64)
        made.graph.initializer.append(numpy_helper.from_array(array.astype(dtype), name))
    return made


def with_tensors(body: str, opset: int = 21, **tensors: Any) -> onnx.ModelProto:
    """A model whose weights keep the type of their arrays."""
    made = model(body, opset=opset)
    for name, array in tensors.items():
        given = array if isinstance(array, onnx.TensorProto) else numpy_helper.from_array(array)
        given.name = name
        made.graph.initializer.append(given)
    return made


def save(made: onnx.ModelProto, folder: Path, name: str = "model.onnx") -> Path:
    path = folder / name
    onnx.save(made, path)
    return path


def graph(folder: Path, body: str, *, opset: int = 20, **weights: Any) -> Graph:
    """The same, written to a file and read: simplified, with concrete shapes."""
    return read(save(model(body, opset=opset, **weights), folder))
