"""ONNX files, written by tf2onnx from the Keras model: NHWC, and all its layers by name."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from onnx2mvit.deploy._interface import Interface
from onnx2mvit.optional import import_tensorflow, optional
from onnx2mvit.quiet import quiet

if TYPE_CHECKING:
    import keras

Array = np.ndarray[Any, Any]
OPSET = 18  # the newest that tf2onnx 1.17 writes


def write_onnx(
    model: keras.Model, path: Path, interface: Interface, entries: dict[str, Any]
) -> None:
    """Writes a model under the names of the interface, with `entries` as metadata.

    Raises:
        MissingDependencyError: tf2onnx is not installed, or Keras does not run on TensorFlow.
    """
    import_tensorflow()
    optional("tf2onnx", extra="deploy")
    import keras
    import onnx

    signature = keras.InputSpec(shape=interface.shape, dtype="float32", name=interface.input)
    with tempfile.TemporaryDirectory() as folder, quiet():
        file = Path(folder) / "model.onnx"
        model.export(
            str(file),
            format="onnx",
            verbose=False,
            input_signature=[signature],
            opset_version=OPSET,
        )
        made = onnx.load(file)
    own = [value.name for value in (*made.graph.input, *made.graph.output)]
    _rename(made.graph, dict(zip(own, (interface.input, *interface.outputs), strict=True)))
    for key, value in entries.items():
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        made.metadata_props.add(key=f"onnx2mvit.{key}", value=text)
    onnx.checker.check_model(made)
    onnx.save(made, path)


def _rename(graph: Any, names: dict[str, str]) -> None:
    for value in (*graph.input, *graph.output):
        value.name = names[value.name]
    for node in graph.node:
        for tensors in (node.input, node.output):
            tensors[:] = [names.get(name, name) for name in tensors]


class Onnx:
    """Runs an ONNX file by onnxruntime on images in the model's own layout."""

    def __init__(self, path: Path) -> None:
        from onnx2mvit.reference import Reference

        self.reference = Reference(path)

    def __call__(self, images: Array) -> dict[str, Array]:
        """All outputs by name."""
        return self.reference(images)
